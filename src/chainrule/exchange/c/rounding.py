"""How far float32 arithmetic may be from exact: a bound for each output, carried along with the numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import layers
from ...engine.plan import Plan

UNIT = 2.0**-24  # the largest relative error of one rounding in float32
LIBRARY = 16.0  # units by which an activation may be off: a margin over the few that glibc's manual lists for <math.h>

# How much an activation can stretch an error at most: the largest slope, where that is not 1.
_SLOPES: dict[type, Callable[[Any], float]] = {
    layers.LeakyReLU: lambda layer: max(1.0, abs(layer.negative_slope)),
    layers.ELU: lambda layer: max(1.0, abs(layer.alpha)),
    layers.SiLU: lambda layer: 1.1,
    layers.GELU: lambda layer: 1.13,
    layers.LogSoftmax: lambda layer: 2.0,
}


def exact_and_bound(plan: Plan, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outputs for x in float64, and how far float32 may be from each.

    Source    sums of n products: Higham 2002, "Accuracy and stability of numerical algorithms", section 3.1
    """
    y, error = x.astype(np.float64), np.zeros(x.shape)
    for op in plan.ops:
        if op.kind == "linear":
            weight = plan.parameters[op.weight].value.astype(np.float64)
            bias: Any = 0.0 if op.bias < 0 else plan.parameters[op.bias].value.astype(np.float64)
            size = (np.abs(y) + error) @ np.abs(weight).T + np.abs(bias)
            error = error @ np.abs(weight).T + (op.n_in + 2) * UNIT * size
            y = y @ weight.T + bias
        elif op.kind == "activation":
            slope = _SLOPES[type(op.layer)](op.layer) if type(op.layer) in _SLOPES else 1.0
            together = isinstance(op.layer, layers.Softmax | layers.LogSoftmax)  # every input reaches every output
            stretched = slope * (error.max(axis=1, keepdims=True) if together else error)
            before = np.abs(y)
            y = op.layer(y)
            size = np.maximum(np.abs(y), np.minimum(before, 1.0) if not together else before + op.n_in)
            error = stretched + LIBRARY * UNIT * size
    return y, error
