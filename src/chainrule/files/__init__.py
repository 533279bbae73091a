"""Files that survive: written whole or not at all."""

from .atomic import write_text

__all__ = ["write_text"]
