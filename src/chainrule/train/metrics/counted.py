"""Which samples and elements a loss counts: those that metrics speak of."""

import numpy as np

from ... import arrays
from ...arrays import Array
from ...data import Dataset
from ...losses.loss import of_rows


def counting(loss: object, data: Dataset) -> Dataset:
    """The samples that `loss` counts: those whose target it does not ignore, and whose weight is not 0.

    Where it ignores single elements, the samples of which it counts one at least.
    """
    counts = getattr(loss, "counts", _all)(data.target)
    if counts is not None:
        counts = of_rows(counts)
    if data.sample_weight is not None:
        weighs = data.sample_weight > 0
        counts = weighs if counts is None else counts & weighs
    if counts is None or bool(counts.all()):
        return data
    return data.take(np.flatnonzero(arrays.to_numpy(counts)))


def by_element(loss: object, target: Array, sample_weight: Array | None) -> Array | None:
    """The weights of samples, or of elements where `loss` ignores some: those weigh nothing.

    Shapes    target (batch, …), sample_weight (batch,) -> (batch,) or (batch, …)
    """
    counts = getattr(loss, "counts", _all)(target)
    if counts is None or counts.ndim == 1 or bool(counts.all()):
        return sample_weight
    weight: np.ndarray = arrays.to_numpy(counts).astype(np.float64)
    if sample_weight is not None:
        weight *= arrays.to_numpy(sample_weight).reshape((-1,) + (1,) * (weight.ndim - 1))
    return weight


def _all(target: Array) -> None:
    """That every sample counts, of a loss that does not say."""
