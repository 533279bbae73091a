"""The border of training: data are checked here once, and brought to the model's library, dtype and device."""

from typing import Any

import numpy as np

from .. import arrays
from ..arguments import as_input
from ..arrays import Array
from ..data.dataset import Dataset
from ..losses import Loss
from ..module import Module, first_value


def as_dataset(who: str, name: str, data: Any) -> Dataset:
    """`data` as a Dataset, where it may also be (x, target) or (x, target, sample_weight)."""
    if isinstance(data, Dataset):
        return data
    if isinstance(data, tuple | list) and len(data) in (2, 3):
        return Dataset(*data)
    raise TypeError(f"{who}: {name} must be a Dataset or a pair (x, target), got {type(data).__name__}")


def prepare(who: str, name: str, data: Any, model: Module, loss: Module) -> Dataset:
    """`data` checked, as a Dataset that `model` and `loss` can work on; the arrays that came are not changed.

    Raises ValueError for NaN, infinity or negative sample weights, and for a loss that is not one number.
    """
    if getattr(loss, "reduction", "mean") == "none":
        raise ValueError(f'{who}: the loss must be one number, got reduction="none"')
    data = as_dataset(who, name, data)
    like = reference(model)
    x = inputs(who, f"{name}.x", data.x, like)
    # Integers are class indices for a loss that knows classes, and numbers like any other for the rest.
    if arrays.is_integer(data.target) and (not isinstance(loss, Loss) or loss.classes):
        target = arrays.bring(data.target, x, dtype="int64")
    elif arrays.kind(data.target) == "bool" and isinstance(loss, Loss) and loss.classes:
        target = arrays.bring(data.target, x, dtype="bool")  # the loss says what it makes of them
    else:
        target = arrays.bring(data.target, x, dtype=x.dtype)
        require_finite(who, f"{name}.target", target)
    weight = data.sample_weight
    if weight is not None:
        weight = arrays.bring(weight, x, dtype=x.dtype)
        require_finite(who, f"{name}.sample_weight", weight)
        if bool((weight < 0).any()):
            raise ValueError(f"{who}: {name}.sample_weight must not be negative, got {float(weight.min())}")
        if float(weight.sum()) == 0:
            raise ValueError(f"{who}: {name}.sample_weight must not be all zero")
    return Dataset(x, target, weight)


def rehearse(model: Module, loss: Module, data: Dataset, name: str = "data") -> None:
    """Find what does not fit before anything is changed: one row is tried, and all targets are checked."""
    first = data.take(slice(0, 1))
    with np.errstate(over="ignore", invalid="ignore"):  # whether it fits is the question, not what it gives
        y = model(first.x)
        loss(y, first.target, *(() if first.sample_weight is None else (first.sample_weight,)))
    if isinstance(loss, Loss):
        check_targets(loss, y, data, name)


def require_counting(who: str, name: str, loss: Module, y: Array, data: Dataset) -> None:
    """Raise ValueError if no sample of `data` counts: a loss of nothing would be 0, and so the best there is."""
    rows = arrays.namespace(y).broadcast_to(y[:1], (len(data), *y.shape[1:]))
    if isinstance(loss, Loss) and loss.total_weight(rows, data.target, data.sample_weight) == 0:
        raise ValueError(
            f"{who}: no sample of {name} counts for {loss!r}: each has a target that it ignores, or weighs 0, or is of "
            f"a class that weighs 0"
        )


def check_targets(loss: Loss, y: Array, data: Dataset, name: str = "data") -> None:
    """Check all targets of `data`, given one row of outputs: their shape and dtype are what counts."""
    rows = arrays.namespace(y).broadcast_to(y, (len(data), *y.shape[1:]))  # a view: no memory, no arithmetic
    loss.check(rows, data.target, data.sample_weight)
    require_counting("fit", name, loss, y, data)


def inputs(who: str, name: str, x: Any, like: Array | None) -> Array:
    """What a model is shown, in the library, dtype and on the device of `like`, checked to be finite."""
    x = as_input(who, name, x, like)
    require_finite(who, name, x)
    return x


def reference(model: Module) -> Array | None:
    """An array that shows where and in which dtype the model computes; None if it has no parameters."""
    return first_value(model.walk())


def require_finite(who: str, name: str, x: Array) -> None:
    """Raise ValueError if x holds NaN or infinity, naming the first row that does."""
    xp = arrays.namespace(x)
    if bool(xp.all(xp.isfinite(x))):
        return
    bad = np.argwhere(~np.isfinite(arrays.to_numpy(x)))
    place = tuple(int(i) for i in bad[0])
    value = float(arrays.to_numpy(x)[place])
    raise ValueError(
        f"{who}: {name} must be finite in {arrays.dtype_name(x.dtype)}, got {value} in row {place[0]} "
        f"(not finite in all: {len(bad)})"
    )
