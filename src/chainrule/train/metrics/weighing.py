"""What a metric is given, as arrays of NumPy's, and how much each sample counts."""

from typing import Any

import numpy as np

from ... import arrays
from ...arguments import as_array
from ...arrays import Array


def rows(name: str, what: str, values: Any) -> np.ndarray:
    """values as an array with a row for each sample; TypeError or ValueError for what is none."""
    plain = type(values) is np.ndarray and values.dtype.kind in "fiub"  # as all that fit and evaluate ask of
    found: np.ndarray = values if plain else arrays.to_numpy(as_array(name, what, values))
    if not found.ndim:
        raise ValueError(f"{name}: {what} must have a row for each sample, (batch, …), got a single number")
    return found


def weights(name: str, n: int, sample_weight: Array | None) -> tuple[Any, np.ndarray | None]:
    """Which of n samples weigh something, and their weights; None for all the same."""
    if n == 0:
        raise ValueError(f"{name}: there are no samples")
    if sample_weight is None:
        return np.ones(n, dtype=bool), None
    weight = arrays.to_numpy(as_array(name, "sample_weight", sample_weight)).astype(np.float64)
    if weight.shape != (n,):
        raise ValueError(f"{name}: sample_weight must be ({n},), got {weight.shape}")
    if not bool(((weight >= 0) & np.isfinite(weight)).all()):
        raise ValueError(f"{name}: sample_weight must be finite and not negative")
    if not weight.any():
        raise ValueError(f"{name}: sample_weight must not be all zero")
    return weight > 0, weight[weight > 0]
