"""For tests of what a clock ends: on a busy machine a moment may be over before anything has happened."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# A process that takes longer hangs. Nothing is measured by it: a test takes seconds, on a machine however busy minutes.
PATIENCE_S = 1800


def enough(run: Callable[[float], T], happened: Callable[[T], bool], first: float = 0.05) -> tuple[float, T]:
    """`run(seconds)` with longer and longer moments until something has happened; the moment, and what came of it."""
    seconds = first
    while seconds < PATIENCE_S:
        result = run(seconds)
        if happened(result):
            return seconds, result
        seconds *= 4
    raise AssertionError(f"nothing has happened in {seconds / 4:g} s")
