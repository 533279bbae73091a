"""Padding: each place of y is one of x, or none."""

from typing import Any

import numpy as np

from ... import layers
from ...layers.padding import check_room, padded
from ...layers.windows import Amounts
from ...structures import Structure
from .rule import Handle, Lowering, rule
from .spatial import Lengths, image, positions, probe


@rule(
    layers.ZeroPad1d,
    layers.ZeroPad2d,
    layers.ZeroPad3d,
    layers.ConstantPad1d,
    layers.ConstantPad2d,
    layers.ConstantPad3d,
    layers.ReflectionPad1d,
    layers.ReflectionPad2d,
    layers.ReflectionPad3d,
    layers.ReplicationPad1d,
    layers.ReplicationPad2d,
    layers.ReplicationPad3d,
    layers.CircularPad1d,
    layers.CircularPad2d,
    layers.CircularPad3d,
)
def _pad(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only, _, lengths = image(lowering, layer, x, layer.axes)
    return around(lowering, layer, only, lengths, layer._amounts, layer.mode, getattr(layer, "value", 0.0))


def around(
    lowering: Lowering, layer: Any, x: Handle, lengths: Lengths, amounts: Amounts, mode: str, value: float = 0.0
) -> Handle:
    """An op that puts more around x, or none if there is nothing to put."""
    if not any(map(any, amounts)):
        return x
    check_room(layer, probe((1, 1, *lengths)), amounts, mode)
    places = np.arange(np.prod(lengths), dtype=np.int64).reshape((1, 1, *lengths))
    came_from = padded(places, amounts, mode, -1)  # the same function says it, of the places' numbers
    sources = came_from.reshape(-1)
    there = sources >= 0
    begins = np.concatenate([[0], np.cumsum(there)])
    told = {"begins": begins.tolist(), "sources": sources[there].tolist(), "weights": [1.0] * int(there.sum())}
    return positions(lowering, layer, x, tuple(came_from.shape[2:]), told, value)
