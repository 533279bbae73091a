"""The border of constructors: an argument is what it has to be, or an error says whose it is and what came.

`owner` is the object that is being made, or the name of a function.
"""

import math
import numbers
from typing import Any

import numpy as np

from . import arrays
from .arrays import Array


def number(
    owner: object,
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    finite: bool = True,
) -> float:
    """value, if it is a number with least <= value <= most and above < value < below; finite=False lets infinity in."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{_name(owner)}: {name} must be a number, got {value!r}")
    x = float(value)
    if not (least <= x <= most and above < x and (x < below or not finite)):
        words = {"at least": least, "above": above, "at most": most, "below": below}
        bounds = [f"{word} {bound:g}" for word, bound in words.items() if math.isfinite(bound)]
        if finite and math.isinf(min(most, below)):
            bounds.append("finite")
        raise ValueError(f"{_name(owner)}: {name} must be {' and '.join(bounds)}, got {value}")
    return x


def whole(owner: object, name: str, value: Any, *, least: int | None = None) -> int:
    """value, if it is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{_name(owner)}: {name} must be an integer, got {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{_name(owner)}: {name} must be at least {least}, got {value}")
    return int(value)


def positive(owner: object, name: str, value: Any) -> int:
    """value, if it is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{_name(owner)}: {name} must be a positive integer, got {value!r}")
    return int(value)


def flag(owner: object, name: str, value: Any) -> bool:
    """value, if it is True or False."""
    if not isinstance(value, int | np.bool_ | np.integer) or value not in (0, 1):
        raise TypeError(f"{_name(owner)}: {name} must be True or False, got {value!r}")
    return bool(value)


def choice(owner: object, name: str, value: Any, options: tuple[str, ...]) -> str:
    """value, if it is one of the options."""
    if not isinstance(value, str) or value not in options:
        *most, last = (f'"{option}"' for option in options)
        raise ValueError(f"{_name(owner)}: {name} must be {', '.join(most)} or {last}, got {value!r}")
    return value


def as_array(owner: object, name: str, values: Any) -> Array:
    """values as an array of real numbers: itself if it is one, or else what NumPy makes of it."""
    array = values
    if not arrays.is_array(values):
        if isinstance(values, np.ma.MaskedArray):
            raise TypeError(f"{_name(owner)}: {name} must be a plain array, got a masked one; use its filled()")
        try:
            array = np.asarray(values)
        except ValueError as error:  # rows of different lengths
            raise ValueError(f"{_name(owner)}: {name} must be an array of numbers, but {error}") from None
    if arrays.kind(array) not in ("real floating", "integral", "bool"):
        raise TypeError(f"{_name(owner)}: {name} must hold real numbers, got dtype {arrays.dtype_name(array.dtype)}")
    return array


def _name(owner: object) -> str:
    return owner if isinstance(owner, str) else type(owner).__name__
