"""From Modules to a Plan: one rule for each Module that the engine knows.

What has no rule is refused by name, and `fit` then runs the Python loop. A rule holds for exactly its class: a subclass
may have changed anything.
"""

from collections.abc import Callable
from itertools import combinations, pairwise
from math import prod
from typing import Any

import numpy as np

from .. import arrays, layers, optimizers
from ..module import Module, Parameter
from .plan import CannotLower as CannotLower
from .plan import Op, Plan
from .rules import losses as of_losses


class Lowering:
    """A network on its way into a plan: the shape that has been reached, and the ops and parameters so far."""

    def __init__(self, shape: tuple[int, ...], in_mode: bool = False) -> None:
        self.shape = shape  # of one sample
        self.in_mode = in_mode
        self.ops: list[Op] = []
        self.parameters: list[Parameter] = []
        self.drawing: list[Module] = []

    def width(self, layer: Module) -> int:
        """The columns of the matrix that `layer` gets."""
        if len(self.shape) != 1:
            raise CannotLower(f"{_name(layer)} on samples of shape {self.shape}")
        return self.shape[0]

    def place(self, parameter: Parameter | None) -> int:
        """Where `parameter` stands in the plan's list; -1 for none."""
        if parameter is None:
            return -1
        for index, known in enumerate(self.parameters):
            if known is parameter:
                return index
        self.parameters.append(parameter)
        return len(self.parameters) - 1

    def add(self, kind: str, layer: Module, n_out: int, **places: int) -> None:
        """Add an op."""
        self.ops.append(Op(kind, layer, prod(self.shape), n_out, **places))

    def lower(self, layer: Module) -> None:
        """Add what `layer` amounts to."""
        rule = _rules.get(type(layer))
        if rule is None:
            raise CannotLower(f"{_name(layer)}")
        rule(self, layer)


Rule = Callable[[Lowering, Any], None]
_rules: dict[type, Rule] = {}


def rule(*kinds: type) -> Callable[[Rule], Rule]:
    """Register a function as the rule for Modules of exactly these classes."""

    def register(function: Rule) -> Rule:
        _rules.update(dict.fromkeys(kinds, function))
        return function

    return register


@rule(layers.Sequential)
def _sequential(lowering: Lowering, network: layers.Sequential) -> None:
    for layer in network.chain():
        lowering.lower(layer)


@rule(layers.Linear)
def _linear(lowering: Lowering, layer: layers.Linear) -> None:
    n_in, n_out = lowering.width(layer), layer.out_features
    if n_in != layer.in_features:
        raise CannotLower(f"{_name(layer)}({layer.extra_repr()}) on samples of {n_in} numbers")
    lowering.add("linear", layer, n_out, weight=lowering.place(layer.weight), bias=lowering.place(layer.bias))
    lowering.shape = (n_out,)


@rule(
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.Tanh,
    layers.Sigmoid,
    layers.SiLU,
    layers.GELU,
    layers.Softplus,
)
def _activation(lowering: Lowering, layer: Module) -> None:
    lowering.add("activation", layer, prod(lowering.shape))


@rule(layers.Softmax, layers.LogSoftmax)
def _softmax(lowering: Lowering, layer: layers.Softmax | layers.LogSoftmax) -> None:
    width = lowering.width(layer)
    if layer.dim not in (-1, 1):
        raise CannotLower(f"{_name(layer)} along dim {layer.dim}")
    lowering.add("activation", layer, width)


@rule(layers.Dropout)
def _dropout(lowering: Lowering, layer: layers.Dropout) -> None:
    if any(layer is known for known in lowering.drawing):
        raise CannotLower("a Dropout that stands twice in the network")
    lowering.drawing.append(layer)
    if layer.p > 0 and (layer.training or not lowering.in_mode):
        lowering.add("dropout", layer, prod(lowering.shape), stream=len(lowering.drawing) - 1)


@rule(layers.Identity)
def _identity(lowering: Lowering, layer: layers.Identity) -> None:
    pass


@rule(layers.Flatten)
def _flatten(lowering: Lowering, layer: layers.Flatten) -> None:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise CannotLower(f"{_name(layer)} with other than its default axes")
    lowering.shape = (prod(lowering.shape),)


OPTIMIZERS = (optimizers.SGD, optimizers.Adam, optimizers.AdamW, optimizers.RMSprop, optimizers.Adagrad)


def lower(
    model: Module,
    loss: Module | None = None,
    optimizer: Any = None,
    *,
    sample_shape: tuple[int, ...],
    class_targets: bool = False,
    in_mode: bool = False,
    **sizes: Any,
) -> Plan:
    """A plan for training `model`, or only for its outputs if there is no loss.

    Parameters
    ----------
    sample_shape : the shape of one sample.
    class_targets : whether targets are class indices.
    in_mode : whether a step leaves out what layers in evaluation mode leave out; else it is one of training for all.
    sizes : the remaining fields of the Plan: batch, samples, seed, threads, sample_weights.

    Raises CannotLower for what the engine does not know.
    """
    lowering = Lowering(tuple(sample_shape), in_mode)
    lowering.lower(model)
    if len(lowering.shape) != 1:
        raise CannotLower(f"outputs of shape {lowering.shape}")
    if loss is not None:
        of_losses.settings(loss, lowering.shape, class_targets)
    if optimizer is not None and type(optimizer) not in OPTIMIZERS:
        raise CannotLower(f"{_name(optimizer)}")
    if optimizer is not None and 0 in (optimizer.clip_value, optimizer.clip_norm):
        raise CannotLower("clipping to 0")
    if len(lowering.parameters) != len(model.param()):
        raise CannotLower("parameters outside the layers")
    dtype = _common_dtype(lowering.parameters)
    if optimizer is not None and _share_memory([parameter._value for parameter in lowering.parameters]):
        raise CannotLower("parameters that share memory")
    return Plan(
        dtype,
        prod(sample_shape),
        lowering.shape[0],
        lowering.parameters,
        lowering.ops,
        loss,
        optimizer,
        class_targets,
        **sizes,
    )


def _common_dtype(parameters: list[Parameter]) -> str:
    if not parameters:
        raise CannotLower("a network without parameters")
    dtypes = set()
    for parameter in parameters:
        value = parameter.value
        if type(value) is not np.ndarray:
            raise CannotLower("arrays that are not NumPy's")
        if not value.dtype.isnative:
            raise CannotLower("parameters in another byte order")
        if not value.flags.writeable:
            raise CannotLower("parameters that are read-only")
        dtypes.add(arrays.dtype_name(value.dtype))
    if len(dtypes) > 1 or dtypes - {"float32", "float64"}:
        raise CannotLower(f"parameters in {' and '.join(sorted(dtypes))}")
    return dtypes.pop()


def _share_memory(values: list[np.ndarray]) -> bool:
    """Whether an array overlaps another one, or itself: the engine would keep, and update, the same numbers twice."""
    bounds = [np.lib.array_utils.byte_bounds(value) for value in values]
    if any(end - begin < value.nbytes for (begin, end), value in zip(bounds, values, strict=True)):
        return True
    if all(end <= begin for (_, end), (begin, _) in pairwise(sorted(bounds))):
        return False
    return any(np.shares_memory(one, other) for one, other in combinations(values, 2))


def _name(thing: object) -> str:
    return type(thing).__name__
