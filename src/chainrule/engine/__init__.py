"""The native engine's Python face: networks become plans, and plans run outside Python."""

from .compiled import Compiled, compile  # noqa: A004 - its name in the design
from .lower import CannotLower, lower
from .native import EngineMissing, available
from .plan import Plan

__all__ = ["CannotLower", "Compiled", "EngineMissing", "Plan", "available", "compile", "lower"]
