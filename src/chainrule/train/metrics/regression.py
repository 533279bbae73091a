"""How far numbers are from what they should be.

sample_weight is (batch,), or of the shape of y: a weight of each element, where some are 0 because nobody knows what
they should be. What the target holds there counts nothing, be it NaN.
"""

import math

import numpy as np

from ... import arrays
from ...arrays import Array
from .weighing import rows, weights


def mae(y: Array, target: Array, sample_weight: Array | None = None) -> float:
    """The mean absolute error, in the units of the target; NaN if a y is."""
    error, _, weight = _difference("mae", y, target, sample_weight)
    return _mean(np.abs(error), weight)


def rmse(y: Array, target: Array, sample_weight: Array | None = None) -> float:
    """The root of the mean squared error, in the units of the target; NaN if a y is."""
    error, _, weight = _difference("rmse", y, target, sample_weight)
    return math.sqrt(_mean(error**2, weight))


def mape(y: Array, target: Array, sample_weight: Array | None = None) -> float:
    """The mean of the absolute errors as shares of the target: 0.1 is 10 %; NaN if a y is.

    Equation  mean of |y - target| / max(|target|, 2.2e-16): a target of 0 makes of any error a huge number
    Source    as sklearn.metrics.mean_absolute_percentage_error
    """
    error, true, weight = _difference("mape", y, target, sample_weight)
    return _mean(np.abs(error) / np.maximum(np.abs(true), np.finfo(np.float64).eps), weight)


def r2(y: Array, target: Array, sample_weight: Array | None = None) -> float:
    """The share of the target's variance that y explains, averaged over outputs; 1 is perfect, 0 is "always the mean".

    Equation  1 - Σ w (y - target)² / Σ w (target - mean)², mean = Σ w target / Σ w;  a constant target gives 1 if met
              exactly, else 0; NaN if a y is
    Source    as sklearn.metrics.r2_score
    """
    error, true, weight = _difference("r2", y, target, sample_weight)
    if weight is not None and weight.ndim > 1:  # outputs of which nothing is known have no share
        known = weight.any(axis=0)
        error, true, weight = error[:, known], true[:, known], weight[:, known]
    residual = np.average(error**2, axis=0, weights=weight)
    total = np.average((true - np.average(true, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    constant = np.where(np.isnan(residual), np.nan, np.where(residual == 0, 1.0, 0.0))
    return float(np.mean(np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), constant)))


def _mean(values: np.ndarray, weight: np.ndarray | None) -> float:
    """The mean over all outputs, or over the elements that weigh something, as a loss has it."""
    if weight is not None and weight.ndim > 1:
        return float(np.average(values, weights=weight))
    return float(np.mean(np.average(values, axis=0, weights=weight)))


def _difference(
    name: str, y: Array, target: Array, sample_weight: Array | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """y - target, target and weights of the samples that weigh something; of elements that do not, all are 0."""
    said, true = (rows(name, *given).astype(np.float64) for given in (("y", y), ("target", target)))
    if said.shape != true.shape:
        raise ValueError(f"{name}: target must have the shape of y, {said.shape}, got {true.shape}")
    if said.ndim > 1 and sample_weight is not None and np.shape(sample_weight) == said.shape:
        return _by_element(name, said, true, arrays.to_numpy(sample_weight))
    counts, weight = weights(name, len(said), sample_weight)
    return (said - true)[counts], true[counts], weight


def _by_element(
    name: str, said: np.ndarray, true: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    said, true, weight = (values.reshape(len(said), -1) for values in (said, true, weight.astype(np.float64)))
    weights(name, weight.size, weight.reshape(-1))  # refuses those that make no sense
    weighs = weight > 0
    rows = weighs.any(axis=1)
    error, true = (np.where(weighs, values, 0)[rows] for values in (said - true, true))
    return error, true, weight[rows]
