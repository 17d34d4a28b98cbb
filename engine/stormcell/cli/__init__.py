"""The command `stormcell`."""

from stormcell.cli.main import main

__all__ = ["main"]
