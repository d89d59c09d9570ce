"""The command line: thin commands over the library; only this package prints."""

from saber.cli.app import main

__all__ = ["main"]
