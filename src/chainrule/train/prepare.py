"""The border of training: data are checked here once, and brought to the model's library, dtype and device."""

from typing import Any

import numpy as np

from .. import arrays
from ..arguments import as_array
from ..arrays import Array
from ..data.dataset import Dataset
from ..losses import Loss
from ..module import Module


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
    integer = not arrays.is_floating(data.target)
    # Integers are class indices for a loss that knows classes, and numbers like any other for the rest.
    keep = integer and arrays.is_integer(data.target) and (not isinstance(loss, Loss) or loss.classes)
    if keep:
        target = _moved(data.target, like if like is not None else x, dtype="int64")
    else:
        target = _moved(data.target, like if like is not None else x, dtype=x.dtype)
        require_finite(who, f"{name}.target", target)
    weight = data.sample_weight
    if weight is not None:
        weight = _moved(weight, x, dtype=x.dtype)
        require_finite(who, f"{name}.sample_weight", weight)
        if bool((weight < 0).any()):
            raise ValueError(f"{who}: {name}.sample_weight must not be negative, got {float(weight.min())}")
        if float(weight.sum()) == 0:
            raise ValueError(f"{who}: {name}.sample_weight must not be all zero")
    return Dataset(x, target, weight)


def rehearse(model: Module, loss: Module, data: Dataset) -> None:
    """Find what does not fit before anything is changed: one row is tried, and all targets are checked."""
    first = data.take(slice(0, 1))
    with np.errstate(over="ignore", invalid="ignore"):  # whether it fits is the question, not what it gives
        y = model(first.x)
        loss(y, first.target, *(() if first.sample_weight is None else (first.sample_weight,)))
    if isinstance(loss, Loss):
        check_targets(loss, y, data)


def check_targets(loss: Loss, y: Array, data: Dataset) -> None:
    """Check all targets of `data`, given one row of outputs: their shape and dtype are what counts."""
    rows = arrays.namespace(y).broadcast_to(y, (len(data), *y.shape[1:]))  # a view: no memory, no arithmetic
    loss.check(rows, data.target, data.sample_weight)


def inputs(who: str, name: str, x: Any, like: Array | None) -> Array:
    """What a model is shown, in the library, dtype and on the device of `like`, checked to be finite."""
    x = as_array(who, name, x)
    dtype = like.dtype if like is not None else (x.dtype if arrays.is_floating(x) else "float32")
    x = _moved(x, like if like is not None else x, dtype=dtype)
    require_finite(who, name, x)
    return x


def reference(model: Module) -> Array | None:
    """An array that shows where and in which dtype the model computes; None if it has no parameters."""
    first = next(model.named_parameters(), None)
    return None if first is None else first[1].value


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


def _moved(x: Array, like: Array, *, dtype: Any) -> Array:
    """x where `like` is, in the given dtype, row after row in memory; x itself if it is all that already.

    The order in memory matters because matrix products add in another order where it is another, and the same numbers
    are to give the same bits.
    """
    xp, device = arrays.namespace(like), getattr(like, "device", None)
    there = arrays.namespace(x) is xp and getattr(x, "device", None) == device
    # The dtype is compared as it is, not by name: a byte-swapped float32 must be converted.
    same = x.dtype == (getattr(xp, dtype) if isinstance(dtype, str) else dtype)
    if not there or not same:
        with np.errstate(over="ignore"):  # numbers too large for the dtype become infinite, and are refused as such
            x = arrays.convert(x, xp=xp, dtype=dtype, device=device)
    if hasattr(x, "contiguous"):  # PyTorch; a tensor of somebody's graph would drag the parameters into it
        return x.detach().contiguous()
    return xp.asarray(x, order="C")
