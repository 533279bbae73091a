"""The scores that early stopping goes by, as fast as the epochs that they judge."""

from collections.abc import Callable

import numpy as np

from ..train.metrics import classes


def accuracy(several: bool, threshold: float) -> Callable[..., float]:
    """The share of samples whose label, or all of whose labels, are right, as sklearn.metrics.accuracy_score."""

    def score(y: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        y = np.where(np.isfinite(y).all(axis=1, keepdims=True), y, 0)  # a row that is no number says the first class
        if several:
            right = ((y > threshold) == (target > 0.5)).all(axis=1)
        else:
            right = classes(y, threshold) == classes(target)
        return _mean(right, sample_weight)

    return score


def r2(*, exponential: bool) -> Callable[..., float]:
    """The share of the target's variance that is explained, averaged over outputs, as sklearn.metrics.r2_score."""

    def score(y: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        y = np.exp(y) if exponential else y
        if not np.isfinite(y).all():
            return np.nan
        mean = np.average(target, axis=0, weights=sample_weight)
        residual = np.average((y - target) ** 2, axis=0, weights=sample_weight)
        total = np.average((target - mean) ** 2, axis=0, weights=sample_weight)
        constant = np.where(residual == 0, 1.0, 0.0)
        return float(np.mean(np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), constant)))

    return score


def _mean(right: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.average(right, weights=weight))
