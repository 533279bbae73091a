"""Samples and what is to be learned of them, in batches."""

import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import arrays, random
from ..arguments import as_array, positive
from ..arrays import Array


class Dataset:
    """Arrays whose first axis counts samples.

    Parameters
    ----------
    x : (n, …), what the network is shown.
    target : (n, …), what it should say: numbers, or class indices (n,).
    sample_weight : (n,), how much each sample counts; None for all the same.

    Anything that NumPy can read as an array will do, and so will PyTorch tensors and CuPy arrays (docs/arrays.md). The
    data are neither copied nor changed.

    Raises ValueError if the lengths differ or there are no samples, TypeError for what are not real numbers, and for
    masked and sparse arrays, of which a part would be lost.
    """

    def __init__(self, x: Any, target: Any, sample_weight: Any = None) -> None:
        self.x = as_array("Dataset", "x", x)
        self.target = as_array("Dataset", "target", target)
        self.sample_weight = None if sample_weight is None else as_array("Dataset", "sample_weight", sample_weight)
        for name, array in (("x", self.x), ("target", self.target), ("sample_weight", self.sample_weight)):
            if array is not None and array.ndim == 0:
                raise ValueError(f"Dataset: {name} must have an axis of samples, got a single number")
        n = self.x.shape[0]
        if n == 0:
            raise ValueError("Dataset: there are no samples; x has the shape " + str(tuple(self.x.shape)))
        for name, array in (("target", self.target), ("sample_weight", self.sample_weight)):
            if array is not None and array.shape[0] != n:
                raise ValueError(f"Dataset: {name} must have {n} samples like x, got {array.shape[0]}")
        if self.sample_weight is not None and self.sample_weight.ndim != 1:
            raise ValueError(f"Dataset: sample_weight must be ({n},), got {tuple(self.sample_weight.shape)}")

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def __repr__(self) -> str:
        parts = [f"x {_describe(self.x)}", f"target {_describe(self.target)}"]
        if self.sample_weight is not None:
            parts.append(f"sample_weight {_describe(self.sample_weight)}")
        return f"Dataset({', '.join(parts)})"

    def take(self, index: Any) -> "Dataset":
        """The samples that `index` (a NumPy array of positions) or a slice picks."""
        picked = [_take(a, index) for a in (self.x, self.target, self.sample_weight)]
        return Dataset(*picked)

    def batches(
        self, batch_size: int, *, seed: int = 0, epoch: int = 0, shuffle: bool = True
    ) -> Iterator[tuple[Array, ...]]:
        """Yield (x, target), or (x, target, sample_weight) where there are weights, batch after batch.

        The order is a pure function of (seed, epoch), and the one that `fit` uses. The last batch may be smaller.
        """
        batch_size = positive("Dataset.batches", "batch_size", batch_size)
        if epoch < 0:
            raise ValueError(f"Dataset.batches: epoch must be at least 0, got {epoch}")
        order = random.order(len(self), seed=random.check_seed(seed), epoch=epoch) if shuffle else None
        kept = [a for a in (self.x, self.target, self.sample_weight) if a is not None]
        for start in range(0, len(self), batch_size):
            stop = start + batch_size
            index = slice(start, stop) if order is None else order[start:stop]
            yield tuple(_take(array, index) for array in kept)

    def split(self, fraction: float, *, seed: int = 0) -> tuple["Dataset", "Dataset"]:
        """Divide at random into two: the first gets `fraction` of the samples, the second the rest.

        Raises ValueError if one of the two would be empty.
        """
        if not isinstance(fraction, numbers.Real) or not 0 < fraction < 1:
            raise ValueError(f"Dataset.split: fraction must be between 0 and 1, got {fraction!r}")
        n = round(fraction * len(self))
        if not 0 < n < len(self):
            raise ValueError(f"Dataset.split: {fraction} of {len(self)} samples leaves one part empty")
        order = random.order(len(self), seed=random.check_seed(seed), epoch=0)
        return self.take(order[:n]), self.take(order[n:])


def _take(array: Array, index: Any) -> Array:
    if array is None or isinstance(index, slice) or arrays.namespace(array) is np:
        return array if array is None else array[index]
    xp = arrays.namespace(array)
    return xp.take(array, xp.asarray(index, device=array.device), axis=0)


def _describe(array: Array) -> str:
    return f"{tuple(array.shape)} {arrays.dtype_name(array.dtype)}"
