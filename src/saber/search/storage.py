"""Where trials are kept: a journal file or an SQL database, and what is said when it is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saber.errors import StoreError
from saber.files import explain

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

CONNECT_SECONDS = 10
"""How long a database may take to answer before the search says that it does not."""


class StorageLostError(StoreError):
    """A storage that was there when the search began and does not answer any more."""


@dataclass
class Place:
    """Where a study lies, as it may be shown: never with a password.

    Attributes:
        shown: Path, or URL with `***` for its password.
        journal: The journal file; None for a database.
        identity: Device and inode of the journal when it was opened: another file there later is not ours.
        size: The journal's size in bytes when it was last seen; it only grows.
        secrets: What must not appear in a message.
    """

    shown: str
    journal: Path | None = None
    identity: tuple[int, int] | None = None
    size: int = 0
    secrets: tuple[str, ...] = ()

    def check(self) -> None:
        """See that the journal is still the file that was opened, and only grew.

        Raises:
            StorageLostError: It was removed, replaced or cut.
        """
        if self.journal is None:
            return
        try:
            found = self.journal.stat()
        except OSError:  # gone, or its folder or disk is
            raise self.lost("the file was removed") from None
        if (found.st_dev, found.st_ino) != self.identity:
            raise self.lost("the file was replaced by another one")
        if found.st_size < self.size:
            raise self.lost(f"the file was cut from {self.size} to {found.st_size} bytes")
        self.size = found.st_size

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A block that talks to the storage.

        Raises:
            StorageLostError: The storage is not there before, during or after the block.
        """
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        self.check()
        try:
            yield
        except (OSError, SQLAlchemyError, StorageInternalError) as error:
            raise self.lost(self.say(error)) from None  # the cause may quote the URL
        self.check()

    def lost(self, why: str) -> StorageLostError:
        """The error for a storage that is gone."""
        return StorageLostError(
            f"the trials' storage {self.shown} was lost: {why}",
            hint="Bring it back, then resume: finished trials are not run again.",
        )

    def say(self, error: BaseException) -> str:
        """The first line of an error, without secrets and without the library's link to its manual."""
        cause: Any = getattr(error, "orig", None) or error.__cause__ or error
        lines = str(getattr(cause, "orig", None) or cause).strip().splitlines()
        text = lines[0] if lines else type(error).__name__
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def open_storage(where: str | Path) -> tuple[BaseStorage, Place]:
    """Open a journal file (made if missing) or the database of a URL.

    Raises:
        StoreError: The journal is damaged or cannot be written; the URL is not one, its driver is missing,
            the server does not answer or refuses the login.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    text = str(where)
    return _open_database(text) if "://" in text else _open_journal(Path(where))


def close_storage(storage: BaseStorage) -> None:
    """Let go of a storage's connections; a journal has none."""
    from optuna.storages import RDBStorage

    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def _open_journal(path: Path) -> tuple[BaseStorage, Place]:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            check_journal(path)
        storage = JournalStorage(JournalFileBackend(str(path)))
    except OSError as error:
        explain(error, path)
        raise StoreError(
            f"cannot open the journal {path}: {error.strerror}", hint="Give the path of a file in a folder."
        ) from error
    found = path.stat()
    return storage, Place(str(path), path, (found.st_dev, found.st_ino), found.st_size)


def check_journal(path: Path) -> None:
    """Read every line of a journal.

    Raises:
        StoreError: The last line was cut short, or another one is not JSON; says where, and what is kept.
    """
    data = path.read_bytes()
    whole, _, rest = data.rpartition(b"\n")
    lines = whole.split(b"\n") if whole else []
    for number, line in enumerate(lines, 1):
        try:
            json.loads(line)
        except ValueError as error:
            raise StoreError(
                f"the journal {path} is damaged: line {number} of {len(lines)} is not JSON; "
                f"the lines before it are kept as they are",
                hint=f"Restore the file, or keep what is before: head -n {number - 1} of it, then resume.",
            ) from error
    if rest:
        size = len(data) - len(rest)
        raise StoreError(
            f"the last write to the journal {path} was cut short ({len(rest)} bytes); "
            f"the {len(lines)} whole lines before it are kept",
            hint=f"Cut the rest off and resume; only that one write is lost: truncate -s {size} '{path}'",
        )


def _open_database(text: str) -> tuple[BaseStorage, Place]:
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        url = make_url(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", text))
    except (SQLAlchemyError, ValueError):
        # without its cause: the cause may quote the URL, password and all
        raise StoreError(
            "the storage URL cannot be read", hint="Example: postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        ) from None
    hidden = {key: "***" for key in url.query if "pass" in key}
    shown = url.update_query_dict(hidden).render_as_string(hide_password=True)
    place = Place(shown.replace("%2A%2A%2A", "***"), secrets=_secrets(url.password, url.query))
    arguments = {"connect_timeout": CONNECT_SECONDS} if url.get_backend_name() == "postgresql" else {}
    try:
        full = url.render_as_string(hide_password=False)
        engine = {"connect_args": arguments, "pool_pre_ping": True}
        return RDBStorage(full, engine_kwargs=engine), place
    except ImportError:
        raise StoreError(
            f"the driver for {url.drivername} is not installed, so {place.shown} cannot be opened",
            hint="PostgreSQL: pip install saber-llm[postgresql]",
        ) from None
    except (SQLAlchemyError, StorageInternalError) as error:
        raise StoreError(
            f"the trials' storage {place.shown} cannot be opened: {place.say(error)}; nothing was changed there",
            hint="Check that the server runs, and the URL's host, port, user, password and database.",
        ) from None
    except RuntimeError as error:
        raise StoreError(
            f"the tables in {place.shown} were made by another version of Optuna: {place.say(error)}",
            hint="Give another database, or upgrade this one: optuna storage upgrade.",
        ) from None


def _secrets(password: str | None, query: Mapping[str, Any]) -> tuple[str, ...]:
    """The passwords of a URL, in its own field and among its options, as they are and as they are quoted."""
    from urllib.parse import quote, quote_plus

    found = [password or "", *(str(value) for key, value in query.items() if "pass" in key)]
    return tuple({text for one in found if one for text in (one, quote(one, safe=""), quote_plus(one))})
