"""The command line: `chainrule COMMAND`, one file per command."""

from .main import main

__all__ = ["main"]
