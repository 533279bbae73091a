"""How often the right class is said."""

import numpy as np

from ...arrays import Array
from .decisions import Decisions, decisions


def errors(y: Array, target: Array, sample_weight: Array | None = None, *, threshold: float = 0.5) -> float:
    """How many samples are put into a wrong class; with weights, how much these weigh. NaN is in no class, so wrong."""
    found = decisions("errors", y, target, sample_weight, threshold)
    wrong = _wrong(found)
    return int(np.count_nonzero(wrong)) if found.weight is None else float(found.weight[wrong].sum())


def error_rate(y: Array, target: Array, sample_weight: Array | None = None, *, threshold: float = 0.5) -> float:
    """The share of samples that are put into a wrong class, 0 … 1. NaN is in no class, so wrong."""
    found = decisions("error_rate", y, target, sample_weight, threshold)
    return float(np.average(_wrong(found), weights=found.weight))


def accuracy(y: Array, target: Array, sample_weight: Array | None = None, *, threshold: float = 0.5) -> float:
    """The share of samples that are put into the right class, 0 … 1. NaN is in no class, so never right."""
    found = decisions("accuracy", y, target, sample_weight, threshold)
    return float(np.average(~_wrong(found), weights=found.weight))


def _wrong(found: Decisions) -> np.ndarray:
    """Which samples are put into a wrong class, or into none."""
    return np.asarray((found.said != found.true) | (found.said < 0))
