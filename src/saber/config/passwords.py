"""Passwords in URLs: they are used, and never written down."""

from __future__ import annotations

import re

_USER = re.compile(r"(\w://[^:/@\s]*):[^\n]*@")
_QUERY = re.compile(r"([?&][^=&\s]*pass[^=&\s]*=)[^&\s\"']*", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """A text in which `***` stands for the passwords of its URLs, and everything else is as it was.

    From the first colon behind the user's name to the line's last `@` counts as the password: it may hold either.
    """
    return _QUERY.sub(r"\1***", _USER.sub(r"\1:***@", text))
