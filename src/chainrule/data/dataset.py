"""Samples and what is to be learned of them, in batches."""

import numbers
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import arrays, random
from ..arguments import as_array, as_arrays, positive
from ..arrays import Array
from ..structures import Structure, each, leaves, named

RESERVED = ("x", "y", "target", "sample_weight")  # which mean something else to a loss


class Dataset:
    """Arrays whose first axis counts samples.

    Parameters
    ----------
    x : (n, …), what the network is shown; for a network with several inputs a tuple of such arrays, or a dict of them
        by name.
    target : (n, …), what it should say: numbers, or class indices (n,); for several heads a tuple or a dict too.
    sample_weight : (n,), how much each sample counts; None for all the same. One for all heads.
    extra : by name what a loss of your own asks for beside them, arrays (n, …), such as {"low": bounds}: it is given to
        `forward(y, target, sample_weight=None, *, low)`, in the library of the network and, if it holds floating-point
        numbers, in its dtype. The library's losses take none.

    Anything that NumPy can read as an array will do, and so will PyTorch tensors and CuPy arrays (docs/arrays.md). The
    data are neither copied nor changed. A tuple of arrays is several; a list of rows is one, as is a tuple of numbers.

    Raises ValueError if the lengths differ or there are no samples, TypeError for what are not real numbers, and for
    masked and sparse arrays, of which a part would be lost. Errors name the part: x['image'], target[1].

    >>> Dataset({"image": np.zeros((8, 3, 3)), "age": np.zeros((8, 1))}, np.arange(8))
    Dataset(x['image'] (8, 3, 3) float64, x['age'] (8, 1) float64, target (8,) int64)
    """

    in_files = False  # whether it is one that `open` has made

    def __init__(
        self, x: Any, target: Any, sample_weight: Any = None, *, extra: Mapping[str, Any] | None = None
    ) -> None:
        self.x = as_arrays("Dataset", "x", x)
        self.target = as_arrays("Dataset", "target", target)
        self.sample_weight = None if sample_weight is None else as_array("Dataset", "sample_weight", sample_weight)
        self.extra = _extra(extra)
        parts = self._named()
        for name, array in parts:
            if array.ndim == 0:
                raise ValueError(f"Dataset: {name} must have an axis of samples, got a single number")
        first, counted = parts[0]
        n = counted.shape[0]
        if n == 0:
            raise ValueError(f"Dataset: there are no samples; {first} has the shape {tuple(counted.shape)}")
        for name, array in parts:
            if array.shape[0] != n:
                raise ValueError(f"Dataset: {name} must have {n} samples like {first}, got {array.shape[0]}")
        if self.sample_weight is not None and self.sample_weight.ndim != 1:
            raise ValueError(f"Dataset: sample_weight must be ({n},), got {tuple(self.sample_weight.shape)}")

    @classmethod
    def open(
        cls,
        path: Any,
        *,
        inputs: Any = None,
        targets: Any = "target",
        sample_weight: str | None = None,
        block: int | None = None,
        window: int | None = None,
        readers: int = 1,
    ) -> "Dataset":
        """Samples that stay in their files, which may be larger than memory (docs/scaling/data.md).

        Parameters
        ----------
        path : a file: .npz (not compressed), .safetensors, or with the extra tables .parquet, .arrow, .feather. Or .npy
            files by name: {"x": "x.npy", "target": "y.npy"}. Or a folder of such files or of folders, in the order of
            their names; where there are .npy files alone, each is an array. Or a list of all these, in order.
        inputs, targets, sample_weight : which of the arrays are x, target and sample_weight: a name, or for several
            inputs or heads a tuple or dict of names. A list of columns of a table stands side by side, (n, columns).
            inputs are "x" unless given, and all other columns of a table; targets=None for data to be predicted.
        block : samples that are read at once, one after the other; a 64th of a window. Parquet and Arrow files are read
            in the pieces in which they were written.
        window : samples that are in memory at once, and are shuffled with each other; by default a power of two, of no
            more than 2²⁴ numbers. One is trained on, and for each reader one is read.
        readers : threads that read.

        An epoch takes the blocks in an order of its own, fills window after window with them, and shuffles the samples
        of each. Data of no more than a window are read as a whole, and are what they would be in memory.

        Raises ValueError for files that are damaged, lack an array or differ, OSError for what cannot be read. What is
        wrong with single numbers is found where they are read.
        """
        from .opened import Opened  # here, because most data are in memory

        return Opened.of_files(path, inputs, targets, sample_weight, block, window, readers)

    @classmethod
    def of_checked(
        cls, x: Structure, target: Structure, sample_weight: Array | None, extra: dict[str, Array] | None = None
    ) -> "Dataset":
        """A Dataset of arrays that have been looked at already."""
        data = cls.__new__(cls)
        data.x, data.target, data.sample_weight, data.extra = x, target, sample_weight, extra or {}
        return data

    def _named(self) -> list[tuple[str, Array]]:
        """Every array with what errors call it."""
        found = named("x", self.x) + named("target", self.target)
        if self.sample_weight is not None:
            found.append(("sample_weight", self.sample_weight))
        return found + named("extra", self.extra) if self.extra else found

    def __len__(self) -> int:
        return int(leaves(self.x)[0].shape[0])

    def __repr__(self) -> str:
        return f"Dataset({', '.join(f'{name} {_describe(a)}' for name, a in self._named())})"

    def read(self) -> "Dataset":
        """All samples in memory: the Dataset itself, unless it is in files."""
        return self

    def parts(self) -> Iterator["Dataset"]:
        """All samples in their order, as many at a time as are to be in memory: the Dataset itself, unless in files."""
        yield self

    def take(self, index: Any) -> "Dataset":
        """The samples that `index` (a NumPy array of positions) or a slice picks."""
        parts = (take(part, index) for part in (self.x, self.target, self.sample_weight))
        return Dataset(*parts, extra=take(self.extra, index))

    def batches(
        self, batch_size: int, *, seed: int = 0, epoch: int = 0, shuffle: bool = True, start: int = 0
    ) -> Iterator[tuple[Structure, ...]]:
        """Yield (x, target), or (x, target, sample_weight) where there are weights, batch after batch.

        Where there is `extra`, a dict of what it holds comes last. x and target have the form of the data's: an array,
        a tuple or a dict. The order is a pure function of (seed, epoch), and the one that `fit` uses. The last batch
        may be smaller. `start` is the first batch that comes.
        """
        batch_size = positive("Dataset.batches", "batch_size", batch_size)
        if epoch < 0:
            raise ValueError(f"Dataset.batches: epoch must be at least 0, got {epoch}")
        order = random.order(len(self), seed=random.check_seed(seed), epoch=epoch) if shuffle else None
        kept = [part for part in (self.x, self.target, self.sample_weight, self.extra or None) if part is not None]
        for first in range(start * batch_size, len(self), batch_size):
            stop = first + batch_size
            index = slice(first, stop) if order is None else order[first:stop]
            yield tuple(take(part, index) for part in kept)

    def split(self, fraction: float, *, seed: int = 0) -> tuple["Dataset", "Dataset"]:
        """Divide at random into two: the first gets `fraction` of the samples, the second the rest.

        Raises ValueError if one of the two would be empty.
        """
        n = self._first_of_two(fraction)
        order = random.order(len(self), seed=random.check_seed(seed), epoch=0)
        return self.take(order[:n]), self.take(order[n:])

    def _first_of_two(self, fraction: float) -> int:
        """How many samples the first part gets, if there are some for both."""
        if not isinstance(fraction, numbers.Real) or not 0 < fraction < 1:
            raise ValueError(f"Dataset.split: fraction must be between 0 and 1, got {fraction!r}")
        n = round(fraction * len(self))
        if not 0 < n < len(self):
            raise ValueError(f"Dataset.split: {fraction} of {len(self)} samples leaves one part empty")
        return n


def _extra(extra: Any) -> dict[str, Array]:
    """What goes along for the loss, by names that it can ask for."""
    if extra is None:
        return {}
    if not isinstance(extra, Mapping):
        raise TypeError(
            f'Dataset: extra must map names to arrays, such as {{"low": bounds}}, got a {type(extra).__name__}'
        )
    for name in extra:
        if not isinstance(name, str) or not name.isidentifier() or name in RESERVED:
            raise ValueError(
                f"Dataset: extra must name its arrays by words other than {', '.join(RESERVED)}, got {name!r}"
            )
    return {name: as_array("Dataset", f"extra[{name!r}]", array) for name, array in extra.items()}


def take(value: Structure, index: Any) -> Structure:
    """The rows of every array that `index` picks; of None, None."""
    return each(lambda array: _take(array, index), value)


def _take(array: Array, index: Any) -> Array:
    if array is None or isinstance(index, slice) or arrays.namespace(array) is np:
        return array if array is None else array[index]
    xp = arrays.namespace(array)
    return xp.take(array, xp.asarray(index, device=array.device), axis=0)


def _describe(array: Array) -> str:
    return f"{tuple(array.shape)} {arrays.dtype_name(array.dtype)}"
