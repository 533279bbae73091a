"""Which samples a loss counts: those that metrics speak of."""

import numpy as np

from ... import arrays
from ...arrays import Array
from ...data import Dataset


def counting(loss: object, data: Dataset) -> Dataset:
    """The samples that `loss` counts: those whose target it does not ignore, and whose weight is not 0."""
    counts = getattr(loss, "counts", _all)(data.target)
    if data.sample_weight is not None:
        weighs = data.sample_weight > 0
        counts = weighs if counts is None else counts & weighs
    if counts is None or bool(counts.all()):
        return data
    return data.take(np.flatnonzero(arrays.to_numpy(counts)))


def _all(target: Array) -> None:
    """That every sample counts, of a loss that does not say."""
