"""The outputs of a network, from the engine: one compiled network for each model, which is kept from call to call."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..module import Module, newest_values
from ..structures import Structure, each, leaves
from . import native, statistics
from .lower import CannotLower, lower

MOST_BYTES = 1 << 24  # of a network that is kept: larger ones compute for longer than they take to be made
HARMLESS = ("training", "seed", "layer", "optimizer")  # attributes that predictions do not depend on, and often set


class Prepared:
    """A network compiled for predictions: valid until an attribute of the model is set, or its arrays are others.

    It holds nothing of the model but its Parameters and Buffers, so a model goes when nobody else holds it, and this
    with it.
    """

    def __init__(self, model: Module, x: Structure) -> None:
        self.stale = False
        for module in model.modules():  # first, so that no change falls in between
            module.watch(self)
        self.sample_shape = each(_sample_shape, x)
        plan = lower(model, sample_shape=self.sample_shape)
        self.parameters = plan.parameters
        self.shapes, self.statistics = plan.shapes, plan.statistics
        self.dtype = np.dtype(plan.dtype)
        self.compiled = native.compile_plan(plan)

    def changed(self, name: str) -> None:
        """Hear that an attribute of the model was set."""
        self.stale = self.stale or name not in HARMLESS

    def takes(self, x: Structure) -> bool:
        """Whether it is still the model's network, and for arrays like these."""
        return not self.stale and self.sample_shape == each(_sample_shape, x)

    def outputs(self, x: Structure) -> Structure | None:
        """The outputs with the numbers as they are now; None if the arrays are not as they were."""
        if any(part.dtype != self.dtype for part in leaves(x)):
            return None
        values = newest_values(self.parameters)
        for value, shape in zip(values, self.shapes, strict=True):
            if type(value) is not np.ndarray or value.dtype != self.dtype or value.shape != shape:
                return None
        for i, value in enumerate(values):
            self.compiled.write_value(i, np.ascontiguousarray(value))
        statistics.bring(self.statistics, len(values), self.dtype.name, self.compiled.write_value)
        y: Any = self.compiled.predict(each(np.ascontiguousarray, x))
        return y


_prepared: WeakKeyDictionary[Module, Prepared] = WeakKeyDictionary()


def outputs(model: Module, x: Structure) -> Structure | None:
    """The outputs of a network in evaluation mode; None where the engine does not know it, or is not there."""
    if any(type(part) is not np.ndarray for part in leaves(x)):
        return None
    prepared = _prepared.pop(model, None)  # taken out: another thread meanwhile makes one of its own
    try:
        y = None
        if prepared is not None and prepared.takes(x):
            y = prepared.outputs(x)
        if y is None:
            prepared = Prepared(model, x)
            y = prepared.outputs(x)
    except (CannotLower, native.EngineMissing):
        return None
    if prepared is not None and prepared.compiled.bytes <= MOST_BYTES:
        _prepared[model] = prepared
    return y


def _sample_shape(x: np.ndarray) -> tuple[int, ...]:
    return tuple(x.shape[1:])
