"""`python -m saber.cli` is the command `saber`."""

from saber.cli import main

main()
