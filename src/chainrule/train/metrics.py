"""What people ask of a trained network. Each metric takes (y, target) for all samples and returns a number.

A class is the largest of several outputs; of a single output, whether it lies above `threshold`: 0.5 unless given, and
in `fit` and `evaluate` what the loss says (BCEWithLogitsLoss: 0, as its outputs are logits). Targets are class indices
or the like rows.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import arrays
from ..arrays import Array


def classes(y: Array, threshold: float = 0.5) -> np.ndarray:
    """The class that each row of y speaks for.

    Shapes    y (batch, C) or (batch,), numbers; or class indices, integers (batch,) -> (batch,) integers
    """
    values: np.ndarray = arrays.to_numpy(y)
    if values.ndim > 2:
        raise ValueError(f"classes: y must be (batch, classes) or (batch,), got {values.shape}")
    if values.ndim == 2 and values.shape[1] > 1:
        return np.asarray(np.argmax(values, axis=1))
    values = values.reshape(-1)
    return np.asarray(values > threshold if values.dtype.kind == "f" else values).astype(np.int64)


def errors(y: Array, target: Array, threshold: float = 0.5) -> int:
    """How many samples are put into a wrong class."""
    said, true = classes(y, threshold), classes(target)
    if said.shape != true.shape:
        raise ValueError(f"errors: target must have {len(said)} samples like y, got {len(true)}")
    return int(np.count_nonzero(said != true))


def error_rate(y: Array, target: Array, threshold: float = 0.5) -> float:
    """The share of samples that are put into a wrong class, 0 … 1."""
    return errors(y, target, threshold) / len(y)


def accuracy(y: Array, target: Array, threshold: float = 0.5) -> float:
    """The share of samples that are put into the right class, 0 … 1."""
    return 1 - error_rate(y, target, threshold)


def for_loss(metric: Callable[..., Any], loss: object) -> Callable[[Array, Array], Any]:
    """The metric as it is meant for a network that was trained with `loss`: by the threshold of that loss."""
    return partial(metric, threshold=threshold_of(loss)) if metric in (errors, error_rate, accuracy) else metric


def threshold_of(loss: object) -> float:
    """Above which value a single output says "class 1"."""
    return float(getattr(loss, "threshold", 0.5))


def mae(y: Array, target: Array) -> float:
    """The mean absolute error, in the units of the target."""
    return float(np.mean(np.abs(_difference("mae", y, target))))


def rmse(y: Array, target: Array) -> float:
    """The root of the mean squared error, in the units of the target."""
    return math.sqrt(float(np.mean(_difference("rmse", y, target) ** 2)))


def r2(y: Array, target: Array) -> float:
    """The share of the target's variance that y explains, averaged over outputs; 1 is perfect, 0 is "always the mean".

    Equation  1 - Σ (y - target)² / Σ (target - mean)²;  a constant target gives 1 if met exactly, else 0
    Source    as sklearn.metrics.r2_score
    """
    residual = np.sum(_difference("r2", y, target) ** 2, axis=0)
    true = arrays.to_numpy(target).astype(np.float64)
    total = np.sum((true - true.mean(axis=0)) ** 2, axis=0)
    constant = np.where(residual == 0, 1.0, 0.0)
    return float(np.mean(np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), constant)))


def _difference(name: str, y: Array, target: Array) -> np.ndarray:
    said, true = arrays.to_numpy(y).astype(np.float64), arrays.to_numpy(target).astype(np.float64)
    if said.shape != true.shape:
        raise ValueError(f"{name}: target must have the shape of y, {said.shape}, got {true.shape}")
    return said - true
