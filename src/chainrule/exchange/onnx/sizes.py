"""Shapes that a graph works out itself, as exporters write `x.reshape(x.shape[0], -1)` where the batch is free."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Axis:
    """The length of one axis of a value, which is free."""

    value: str
    index: int

    def __repr__(self) -> str:
        return "free"


Shape = list[int | Axis]
MOST = 64  # axes; NumPy has no arrays of more, and a file cannot make lists of lengths longer and longer


def size(op: str, attributes: dict[str, Any], inputs: Sequence[Any]) -> np.ndarray | None:
    """What a node makes of lengths: an array of whole numbers and Axes. None for a node that does something else.

    inputs : arrays of such, or for Shape itself the Shape.
    """
    first, *others = inputs
    if sum(map(np.size, inputs)) > MOST:
        return None
    if op == "Shape":
        return np.array(first[attributes.get("start", 0) : attributes.get("end", len(first))], object)
    if op == "Gather" and first.ndim == 1 and attributes.get("axis", 0) == 0:
        return np.array(first[others[0]], object)
    if op == "Slice" and first.ndim == 1 and len(others) >= 2 and all(other.size == 1 for other in others):
        start, end, *rest = (int(other.item()) for other in others)  # the rest is the axis, which is 0, and the step
        return np.array(first[start : end : rest[1] if len(rest) > 1 else 1], object)
    if op == "Unsqueeze" and first.ndim == 0:
        return np.array(first.reshape(1), object)
    if op == "Squeeze" and first.size == 1:
        return np.array(first.reshape(()), object)
    if op == "Concat" and all(one.ndim == 1 for one in inputs):
        return np.concatenate([np.array(one, object) for one in inputs])
    return None
