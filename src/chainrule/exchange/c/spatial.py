"""What layers over series and images have in common in C: where their windows lie on the places of x.

A sample lies there as in Python, channel by channel, row by row. A series is an image of one row.
"""

from math import prod
from typing import Any

import numpy as np

from ...engine.plan import Op, Value
from ...engine.rules.rule import CannotLower, Handle, Lowering, name_of
from ...structures import Structure
from .kind import Bounded, Kind

Lengths = tuple[int, ...]


class Spatial(Kind):
    """One that makes images of images, for predictions, or below all that is trained."""

    overwrites = False
    comes_back = False


def image(lowering: Lowering, layer: Any, x: Structure, channels: int | None = None) -> tuple[Handle, Lengths]:
    """x, in the order in which C has it, and the shape of its samples: the channels, then the lengths."""
    only = lowering.one(layer, x)
    shape = lowering.shape(layer, only)
    if len(shape) != layer.axes + 1 or shape[0] != (channels or shape[0]):
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    return lowering.flat(layer, only), shape


def add(
    lowering: Lowering, layer: Any, x: Handle, shape: Lengths, parameters: Any = (), kind: str = "", **settings: Any
) -> Handle:
    """An op that makes samples of this shape, of the kind with the name of the layer's class unless it is another."""
    value = Value(prod(shape))
    return lowering.add(kind or name_of(layer), layer, [x], value, shape, parameters, gives=shape, **settings)


def probe(shape: Lengths) -> np.ndarray:
    """An array like a sample of this shape that takes no memory, for functions that look at its shape alone."""
    return np.broadcast_to(np.float32(0), (1, *shape))


def rows_and_columns(lengths: Any) -> Lengths:
    """Lengths along two axes: those of a series are behind one of 1."""
    return (1, *lengths)[-2:]


def as_images(op: Op, x: Bounded) -> Bounded:
    """Numbers and their errors in the shape in which the layer takes them."""
    before, error = (part.reshape(len(part), *op.settings["reads"]) for part in x)
    return before, error


def as_row(y: np.ndarray) -> np.ndarray:
    """What a layer makes, as (rows, 1, numbers)."""
    return y.reshape(len(y), 1, -1)
