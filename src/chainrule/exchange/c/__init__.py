"""C99 source of a trained network, for places with no Python."""

from .measure import Measured, measure
from .source import to_c

__all__ = ["Measured", "measure", "to_c"]
