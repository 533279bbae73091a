"""The border of training: data are checked here once, and brought to the model's library, dtype and device."""

import copy
from functools import partial
from typing import Any

import numpy as np

from .. import arrays
from ..arguments import as_input
from ..arrays import Array
from ..data.dataset import Dataset
from ..layers.normalization.batch import BatchNorm
from ..losses import Loss
from ..losses.extra import given, require_extra, require_weighing
from ..losses.multi import MultiLoss, naming
from ..module import Module, first_value
from ..structures import Structure, each, leaves, named, rebuild
from .in_files import is_in_files


def as_dataset(who: str, name: str, data: Any) -> Dataset:
    """`data` as a Dataset, where it may also be (x, target) or (x, target, sample_weight).

    The outermost tuple is always that pair; x and target inside it may be tuples or dicts of arrays themselves.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, tuple | list) and len(data) in (2, 3):
        if len(data) == 3 and len(getattr(data[2], "shape", ())) > 1:
            raise ValueError(
                f"{who}: {name} is (x, target, sample_weight), and sample_weight must be (n,), got "
                f"{tuple(data[2].shape)}; two inputs are a tuple of their own: ((a, b), target)"
            )
        return Dataset(*data)
    got = type(data).__name__
    if isinstance(data, dict | tuple | list):
        got += f" of {len(data)}; several inputs are a tuple or a dict of their own in it: ((a, b), target)"
    raise TypeError(f"{who}: {name} must be a Dataset or a pair (x, target), got {got}")


def prepare(who: str, name: str, data: Any, model: Module, loss: Module) -> Dataset:
    """`data` checked, as a Dataset that `model` and `loss` can work on; the arrays that came are not changed.

    Raises ValueError for NaN, infinity, sample weights that are none, and for a loss that is not one number.
    """
    if getattr(loss, "reduction", "mean") == "none":
        raise ValueError(f'{who}: the loss must be one number, got reduction="none"')
    data = as_dataset(who, name, data)
    require_extra(who, name, loss, data.extra)
    if is_in_files(data):
        if data.fields.target is None:
            raise ValueError(f"{who}: {name} was opened without targets, got {data!r}")
        if data.fields.sample_weight is not None:
            require_weighing(who, name, loss)
        if len(data) > data.window:
            like = reference(model)
            is_numpy = like is None or arrays.namespace(like) is np
            like = np.empty(0, like.dtype) if is_numpy and like is not None else like
            return data.prepared(partial(_ready, who, name, like, loss, is_whole=False), by_block=is_numpy)
        data = data.read()
    if data.sample_weight is not None:
        require_weighing(who, name, loss)
    return _ready(who, name, reference(model), loss, data)


def _ready(who: str, name: str, like: Array | None, loss: Module, data: Dataset, *, is_whole: bool = True) -> Dataset:
    """`data`, or a part of it, as a network whose parameters are like `like` takes it."""
    x = inputs(who, f"{name}.x", data.x, like)
    target, first = data.target, leaves(x)[0]
    heads = [loss] * len(leaves(target))
    if isinstance(loss, MultiLoss):
        loss.check_heads("target", target)
        target = rebuild(dict.fromkeys(loss.names) if loss.names else target, [target[key] for key in loss.heads])
        heads = list(loss.losses)
    parts = zip(named(f"{name}.target", target), heads, strict=True)
    target = rebuild(target, [_target(who, of, part, first, head) for (of, part), head in parts])
    weight = data.sample_weight
    if weight is not None:
        weight = arrays.bring(weight, first, dtype=first.dtype)
        _require_weights(who, f"{name}.sample_weight", weight, is_whole)
    return Dataset.of_checked(x, target, weight, {of: _extra(array, first) for of, array in data.extra.items()})


def _require_weights(who: str, name: str, weight: Array, is_whole: bool = True) -> None:
    """Raise ValueError for weights that are not finite, negative, all zero, or so small or large that losses get lost.

    A weight times a loss has to be a number with all its digits, for losses from eps to 1 / eps.
    """
    require_finite(who, name, weight)
    if bool((weight < 0).any()):
        raise ValueError(f"{who}: {name} must not be negative, got {float(weight.min())}")
    numbers: np.ndarray = arrays.to_numpy(weight).astype(np.float64)
    largest, total = float(numbers.max()), float(numbers.sum())
    if total == 0 and not is_whole:
        return
    if total == 0:
        raise ValueError(f"{who}: {name} must not be all zero")
    kind = np.finfo(np.float64 if arrays.dtype_name(weight.dtype) == "float64" else np.float32)
    least, most = float(kind.tiny) / float(kind.eps), float(kind.max) * float(kind.eps)
    if largest < least or total > most:
        raise ValueError(
            f"{who}: {name} must be of a size by which {arrays.dtype_name(weight.dtype)} can weigh losses, the largest "
            f"at least {least:.2g} and all together at most {most:.2g}, got {largest:.2g} and {total:.2g}; divide them "
            f"by their mean"
        )


def _target(who: str, name: str, target: Array, like: Array, loss: Module) -> Array:
    """What one head should say, as its loss takes it."""
    knows_classes = isinstance(loss, Loss) and loss.classes
    # Integers are class indices for a loss that knows classes, and numbers like any other for the rest.
    if arrays.is_integer(target) and (knows_classes or not isinstance(loss, Loss)):
        return arrays.bring(target, like, dtype="int64")
    if arrays.kind(target) == "bool" and knows_classes:
        return arrays.bring(target, like, dtype="bool")  # the loss says what it makes of them
    target = arrays.bring(target, like, dtype=like.dtype)
    require_finite(who, name, target, or_nan=getattr(loss, "missing", "error") == "ignore")
    return target


def _extra(array: Array, like: Array) -> Array:
    """What goes along for the loss: floating-point numbers in the dtype of x, integers and truth values as they are.

    Infinity and NaN mean there what the loss says.
    """
    kind = arrays.kind(array)
    return arrays.bring(array, like, dtype={"integral": "int64", "bool": "bool"}.get(kind, like.dtype))


def rehearse(model: Module, loss: Module, data: Dataset, name: str = "data") -> None:
    """Find what does not fit before anything is changed: one row is tried, and all targets are checked."""
    alone = not any(norm.running_mean is None for norm in batch_norms(model))
    first = data.take(slice(0, 1 if alone else 2))  # two, where the rows of a batch are normalized by each other
    with np.errstate(over="ignore", invalid="ignore"):  # whether it fits is the question, not what it gives
        y = model(first.x)
        weight = () if first.sample_weight is None else (first.sample_weight,)
        loss(y, first.target, *weight, **given(loss, first.extra))
    if isinstance(loss, Loss):
        n = len(data)  # as views of that one row: no memory, no arithmetic
        rows = each(lambda part: arrays.namespace(part).broadcast_to(part[:1], (n, *part.shape[1:])), y)
        check_targets(loss, rows, data, name)


def rehearse_one_row(model: Module, data: Dataset, batch_size: int) -> None:
    """Refuse a batch of one sample, if there is to be one, where BatchNorm needs more to learn from."""
    n = len(data)
    if (min(n, batch_size) != 1 and n % batch_size != 1) or not batch_norms(model):
        return
    try:
        copy.deepcopy(model).train().forward(data.take(slice(0, 1)).x)
    except ValueError as problem:
        raise ValueError(
            f"fit: {n} samples in batches of {batch_size} leave a batch of one; choose another batch_size: {problem}"
        ) from None


def batch_norms(model: Module) -> list[BatchNorm]:
    """The layers that normalize the samples of a batch together."""
    return [module for module in model.walk() if isinstance(module, BatchNorm)]


def require_counting(who: str, name: str, loss: Module, y: Structure, data: Dataset) -> None:
    """Raise ValueError if no sample of `data` counts: a loss of nothing would be 0, and so the best there is.

    y : outputs for all of them, of which only the shape counts.
    """
    if isinstance(loss, MultiLoss):
        for key, head, part, target in loss.parts(y, data.target):
            with naming(key):
                require_counting(who, name, head, part, Dataset.of_checked(data.x, target, data.sample_weight))
    elif isinstance(loss, Loss) and loss.total_weight(y, data.target, data.sample_weight) == 0:
        raise ValueError(
            f"{who}: no sample of {name} counts for {loss!r}: each has a target that it ignores, or weighs 0, or is of "
            f"a class that weighs 0"
        )


def check_targets(loss: Loss, y: Structure, data: Dataset, name: str = "data") -> None:
    """Check all targets of `data`, given outputs for all: their shape and dtype are what counts.

    Those in files are checked when they are read.
    """
    if is_in_files(data):
        data.checks.append(
            lambda part: loss.check(each(lambda rows: rows[: len(part)], y), part.target, part.sample_weight)
        )
        return
    loss.check(y, data.target, data.sample_weight)
    require_counting("fit", name, loss, y, data)


def inputs(who: str, name: str, x: Any, like: Array | None) -> Structure:
    """What a model is shown, in the library, dtype and on the device of `like`, checked to be finite."""
    x = as_input(who, name, x, like)
    for of, part in named(name, x):
        require_finite(who, of, part)
    return x


def reference(model: Module) -> Array | None:
    """An array that shows where and in which dtype the model computes; None if it has no parameters."""
    return first_value(model.walk())


def require_finite(who: str, name: str, x: Array, *, or_nan: bool = False) -> None:
    """Raise ValueError if x holds infinity, or NaN where that may not be, naming the first row that does."""
    if bool(arrays.namespace(x).isfinite(x).all()):
        return
    numbers = arrays.to_numpy(x)
    bad = np.argwhere(np.isinf(numbers) if or_nan else ~np.isfinite(numbers))
    if not len(bad):
        return
    place = tuple(int(i) for i in bad[0])
    value = float(numbers[place])
    raise ValueError(
        f"{who}: {name} must be finite{' or NaN' * or_nan} in {arrays.dtype_name(x.dtype)}, got {value} in row "
        f"{place[0]} (not finite in all: {len(bad)})"
    )
