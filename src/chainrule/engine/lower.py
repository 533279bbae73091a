"""From Modules to a Plan: the walk over a network, and what has to hold for the whole of it.

What a Module becomes says its rule (rules/). What has no rule is refused by name, and `fit` then runs the Python loop.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations, pairwise
from math import prod
from typing import Any

import numpy as np

from .. import arrays, losses
from ..arguments import positive
from ..module import Module, Parameter, parameters_of
from ..structures import Structure, each, is_several, leaves
from . import rules
from .plan import Head, Plan
from .rules import losses as loss_rules
from .rules import optimizers as optimizer_rules
from .rules.rule import CannotLower, Handle, Lowering, Rule, Source
from .statistics import Statistics

__all__ = ["CannotLower", "checked_shapes", "lower", "rules", "sample_shape"]  # importing the rules registers them


def lower(
    model: Module,
    loss: Module | None = None,
    optimizer: Any = None,
    *,
    sample_shape: Structure,
    class_targets: Structure = False,
    in_mode: bool = False,
    others: Mapping[type, Rule] | None = None,
    **sizes: Any,
) -> Plan:
    """A plan for training `model`, or only for its outputs if there is no loss.

    Parameters
    ----------
    sample_shape : the shape of one sample; for several inputs a tuple or dict of shapes.
    class_targets : whether targets are class indices; for several outputs a tuple or dict of such, or one for all.
    in_mode : whether a step leaves out what layers in evaluation mode leave out; else it is one of training for all.
    others : rules besides the engine's, for a plan that somebody else is to run.
    sizes : the remaining fields of the Plan: batch, samples, seed, threads.

    Raises CannotLower for what the engine does not know; ValueError for a constraint that does not fit its parameter.
    """
    lowering = Lowering(model, in_mode, others)
    x = each_shape(lowering.input, sample_shape)
    y = lowering.lower(model, x)
    if any(not isinstance(part, Handle) for part in leaves(y)):
        raise CannotLower("outputs inside of outputs")
    y = each(lambda part: lowering.flat(model, lowering.one(model, part)), y)
    y_shapes = tuple(lowering.shape(model, part) for part in leaves(y))
    heads = () if loss is None else _heads(loss, y, y_shapes, class_targets)
    parameters = tuple(lowering.parameters)
    rules = optimizer_rules.rules(optimizer, parameters)
    if len(parameters) != len(parameters_of(lowering.modules)):
        raise CannotLower("parameters outside the layers")
    values = [parameter.value for parameter in parameters]
    dtype = _common_dtype(values)
    if optimizer is not None and _share_memory(values):
        raise CannotLower("parameters that share memory")
    _require_alike(lowering.statistics, dtype)
    _require_read(lowering, y)
    return Plan(
        dtype,
        tuple(lowering.modules),
        tuple(lowering.values),
        parameters,
        tuple([value.shape for value in values]),
        tuple([_matrix(parameter, parameter in lowering.rows_of_numbers) for parameter in parameters]),
        tuple(lowering.ops),
        each(_number, x),
        each(_number, y),
        tuple(part.shape for part in leaves(x)),
        y_shapes,
        tuple(lowering.statistics),
        loss,
        heads,
        optimizer,
        *rules,
        **sizes,
    )


def sample_shape(model: Module, others: Mapping[type, Rule] | None = None) -> Structure:
    """The shape of one sample of what `model` takes, or a tuple or dict of them, as far as its layers say.

    A Linear says how many numbers it takes, of what comes to it as it is or through layers that keep its shape; a Graph
    or a Parallel says how many inputs there are. (Parallel networks that take the same may all read one array, and so
    that is what they are taken to do.)

    Raises CannotLower where they do not say it.
    """
    lowering = Lowering(model, others=others)
    source, problem = Source(lowering), None
    try:
        lowering.lower(model, source)
    except CannotLower as reason:  # what comes behind may be unknown to the engine; it is asked only for this
        problem = reason
    form = source.form
    if form is None or any(lowering.is_unknown(part) for part in leaves(form)):
        raise problem or CannotLower("a network without a Linear that says what it takes; sample_shape=… does")
    return each(lambda part: part.shape.found, form)


def checked_shapes(owner: str, shapes: Any) -> Structure:
    """The shape of one sample, or a tuple or dict of shapes, if lengths are what they hold."""
    try:
        return each_shape(lambda shape: tuple(positive(owner, "sample_shape", length) for length in shape), shapes)
    except TypeError:
        raise TypeError(
            f"{owner}: sample_shape must be a tuple of lengths, or a tuple or dict of such tuples, got {shapes!r}"
        ) from None


def each_shape(function: Callable[[tuple[int, ...]], Any], shapes: Structure) -> Structure:
    """What `function` makes of a shape, or of each of a tuple or dict of shapes."""
    if isinstance(shapes, dict):
        return {name: function(tuple(shape)) for name, shape in shapes.items()}
    if any(isinstance(part, tuple | list) for part in shapes):
        return tuple(function(tuple(shape)) for shape in shapes)
    return function(tuple(shapes))


def _matrix(parameter: Parameter, is_row: bool) -> tuple[int, int, int]:
    """A parameter to the engine: outputs, inputs (0 of a row of numbers), and a kernel's taps (0 of others)."""
    n_out, *rest = parameter.shape
    if is_row or not rest:
        return parameter.size, 0, 0
    return n_out, prod(rest), prod(rest[1:]) if len(rest) > 1 else 0


def _number(part: Handle) -> int:
    return part.number


def _heads(loss: Any, y: Structure, shapes: tuple[tuple[int, ...], ...], class_targets: Structure) -> tuple[Head, ...]:
    """The loss of each output."""
    name = type(loss).__name__
    parts: dict[Any, Any] = {0: loss}
    weights: Any = (1.0,)
    keys = list(y) if isinstance(y, dict) else list(range(len(leaves(y))))
    if type(loss) is losses.MultiLoss:
        parts, weights = loss.heads, loss.weights
        if not is_several(y) or set(parts) != set(keys):
            raise CannotLower(f"{name} with other heads than the network has outputs")
    elif is_several(y):
        raise CannotLower(f"{name} on several outputs")
    heads = []
    for key, shape in zip(keys, shapes, strict=True):
        classes = _of_head(class_targets, key)
        settings = loss_rules.settings(parts[key], shape, classes)
        heads.append(Head(parts[key], float(weights[key]), classes, settings))
    return tuple(heads)


def _of_head(class_targets: Structure, key: Any) -> bool:
    """Whether the targets of a head are class indices."""
    if not is_several(class_targets):
        return bool(class_targets)
    try:
        return bool(class_targets[key])
    except (LookupError, TypeError):
        raise CannotLower(f"class_targets={class_targets!r}, which must have a part for each output") from None


def _common_dtype(values: list[Any]) -> str:
    if not values:
        raise CannotLower("a network without parameters")
    dtypes = set()
    for value in values:
        if type(value) is not np.ndarray:
            raise CannotLower("arrays that are not NumPy's")
        if not value.dtype.isnative:
            raise CannotLower("parameters in another byte order")
        if not value.flags.writeable:
            raise CannotLower("parameters that are read-only")
        dtypes.add(value.dtype)
    names = sorted(map(arrays.dtype_name, dtypes))
    if len(names) > 1 or names[0] not in ("float32", "float64"):
        raise CannotLower(f"parameters in {' and '.join(names)}")
    return names[0]


def _require_alike(statistics: Iterable[Statistics], dtype: str) -> None:
    """Raise CannotLower for running statistics of another kind than the parameters, or of another shape than made."""
    for mean, var, batches in statistics:
        values = [mean.value, var.value, batches.value]
        if any(type(value) is not np.ndarray for value in values) or values[2].shape != ():
            raise CannotLower("running statistics that are not NumPy's")
        for value in values[:2]:
            if arrays.dtype_name(value.dtype) != dtype:
                raise CannotLower(f"running statistics in {arrays.dtype_name(value.dtype)}, parameters in {dtype}")


def _require_read(lowering: Lowering, y: Structure) -> None:
    """Raise CannotLower where running statistics follow what leads to no output: the engine does not compute that."""
    lives = {part.number for part in leaves(y)}
    for op in reversed(lowering.ops) if lowering.statistics else ():
        if op.output in lives:
            lives.update(op.inputs)
        elif op.statistics is not None:
            raise CannotLower(f"a {type(op.layer).__name__} that leads to no output")


def _share_memory(values: list[np.ndarray]) -> bool:
    """Whether an array overlaps another one, or itself: the engine would keep, and update, the same numbers twice."""
    if all(value.flags.owndata and value.flags.c_contiguous for value in values):  # nearly always: only a view shares
        return len({id(value) for value in values}) < len(values)
    bounds = [np.lib.array_utils.byte_bounds(value) for value in values]
    if any(end - begin < value.nbytes for (begin, end), value in zip(bounds, values, strict=True)):
        return True
    if all(end <= begin for (_, end), (begin, _) in pairwise(sorted(bounds))):
        return False
    return any(np.shares_memory(one, other) for one, other in combinations(values, 2))
