"""How far numbers are from what they should be."""

import math

import numpy as np

from ... import arrays
from ...arrays import Array
from .weighing import weights


def mae(y: Array, target: Array, sample_weight: Array | None = None) -> float:
    """The mean absolute error, in the units of the target; NaN if a y is."""
    error, _, weight = _difference("mae", y, target, sample_weight)
    return float(np.mean(np.average(np.abs(error), axis=0, weights=weight)))


def rmse(y: Array, target: Array, sample_weight: Array | None = None) -> float:
    """The root of the mean squared error, in the units of the target; NaN if a y is."""
    error, _, weight = _difference("rmse", y, target, sample_weight)
    return math.sqrt(float(np.mean(np.average(error**2, axis=0, weights=weight))))


def r2(y: Array, target: Array, sample_weight: Array | None = None) -> float:
    """The share of the target's variance that y explains, averaged over outputs; 1 is perfect, 0 is "always the mean".

    Equation  1 - Σ w (y - target)² / Σ w (target - mean)², mean = Σ w target / Σ w;  a constant target gives 1 if met
              exactly, else 0; NaN if a y is
    Source    as sklearn.metrics.r2_score
    """
    error, true, weight = _difference("r2", y, target, sample_weight)
    residual = np.average(error**2, axis=0, weights=weight)
    total = np.average((true - np.average(true, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    constant = np.where(np.isnan(residual), np.nan, np.where(residual == 0, 1.0, 0.0))
    return float(np.mean(np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), constant)))


def _difference(
    name: str, y: Array, target: Array, sample_weight: Array | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """y - target, target and weights of the samples that weigh something."""
    said, true = arrays.to_numpy(y).astype(np.float64), arrays.to_numpy(target).astype(np.float64)
    if said.shape != true.shape:
        raise ValueError(f"{name}: target must have the shape of y, {said.shape}, got {true.shape}")
    counts, weight = weights(name, len(said), sample_weight)
    return (said - true)[counts], true[counts], weight
