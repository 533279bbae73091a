"""How far float32 arithmetic may be from exact: a bound for each output, carried along with the numbers."""

import numpy as np

from ...engine.plan import Plan
from .kind import Bounded
from .kinds import KINDS
from .layout import program_of


def bounds(plan: Plan, x: list[np.ndarray]) -> list[np.ndarray]:
    """How far float32 may be from each output, (rows, outputs), of inputs (rows, inputs), layer by layer."""
    work, values = program_of(plan, learns=False), plan.values
    weights = [parameter.value.astype(np.float64) for parameter in plan.parameters]
    found: dict[int, Bounded] = {
        i: (a.astype(np.float64), np.zeros(a.shape)) for i, a in zip(work.inputs, x, strict=True)
    }
    for op in work.ops:
        shapes = [(-1, values[i].positions, values[i].columns) for i in op.inputs]
        parts = [found[value] for value in work.reads(op)]
        read = [(y.reshape(shape), error.reshape(shape)) for (y, error), shape in zip(parts, shapes, strict=True)]
        found[op.output] = KINDS[op.kind].bounded(op, [weights[i] for i in op.parameters], read)
    return [found[value][1].reshape(len(x[0]), -1) for value in work.outputs]
