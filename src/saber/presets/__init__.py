"""Configurations that ship with the package, as TOML."""
