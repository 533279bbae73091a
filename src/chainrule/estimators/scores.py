"""The scores that early stopping goes by, as fast as the epochs that they judge."""

from collections.abc import Callable

import numpy as np

from ..train.metrics import classes


def accuracy(weight: np.ndarray | None, several: bool, threshold: float) -> Callable[[np.ndarray, np.ndarray], float]:
    """The share of samples whose label, or all of whose labels, are right, as sklearn.metrics.accuracy_score."""

    def score(y: np.ndarray, target: np.ndarray) -> float:
        if several:
            right = ((y > threshold) == (target > 0.5)).all(axis=1)
        else:
            right = classes(y, threshold) == classes(target)
        return _mean(right, weight) if np.isfinite(y).all() else np.nan

    return score


def r2(weight: np.ndarray | None, *, exponential: bool) -> Callable[[np.ndarray, np.ndarray], float]:
    """The share of the target's variance that is explained, averaged over outputs, as sklearn.metrics.r2_score."""

    def score(y: np.ndarray, target: np.ndarray) -> float:
        y = np.exp(y) if exponential else y
        if not np.isfinite(y).all():
            return np.nan
        mean = np.average(target, axis=0, weights=weight)
        residual = np.average((y - target) ** 2, axis=0, weights=weight)
        total = np.average((target - mean) ** 2, axis=0, weights=weight)
        constant = np.where(residual == 0, 1.0, 0.0)
        return float(np.mean(np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), constant)))

    return score


def _mean(right: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.average(right, weights=weight))
