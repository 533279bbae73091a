"""A plan, run once: the outputs of a network."""

from typing import Any

import numpy as np

from ..module import Module, newest_values
from ..structures import Structure, each, leaves
from . import native
from .lower import CannotLower, lower


def outputs(model: Module, x: Structure) -> Structure | None:
    """The outputs of a network in evaluation mode; None where the engine does not know it, or is not there."""
    try:
        if any(type(part) is not np.ndarray for part in leaves(x)):
            return None
        plan = lower(model, sample_shape=each(lambda part: tuple(part.shape[1:]), x))
        compiled = native.compile_plan(plan)
    except (CannotLower, native.EngineMissing):
        return None
    if any(part.dtype != plan.dtype for part in leaves(x)):
        return None
    for i, value in enumerate(newest_values(plan.parameters)):
        compiled.write_value(i, np.ascontiguousarray(value))
    y: Any = compiled.predict(each(np.ascontiguousarray, x))
    return y
