"""How likely the targets are, by the probabilities that were said."""

import numpy as np

from ...arrays import Array
from .decisions import labels
from .outputs import LOGITS, require_distributions
from .weighing import rows, weights


def log_loss(y: Array, target: Array, sample_weight: Array | None = None) -> float:
    """The mean of -log of the probability of the true class; lower is better, log C is guessing among C.

    Equation  Σ w (-Σ_c t_c log p_c) / Σ w;  p is kept 2.2e-16 from 0 and from 1, so no sample costs more than 36.04
    Shapes    y (batch, C) probabilities, or (batch,) or (batch, 1), that of class 1; target class indices (batch,) or
              (batch, 1), of a single output also probabilities t of class 1; or (batch, C) probabilities t
    Source    as sklearn.metrics.log_loss(labels=range(C))

    In `fit` and `evaluate` a network's outputs become the probabilities that they mean for the loss: the softmax of
    logits with CrossEntropyLoss, and so on (see `probabilities`). The loss itself may weigh classes, smooth labels or
    add something; this does not, so that it compares networks of different losses.

    Raises ValueError for outputs that are no probabilities.
    """
    p = rows("log_loss", "y", y).astype(np.float64)
    if p.ndim not in (1, 2):
        raise ValueError(f"log_loss: y must be (batch, classes) or (batch,), got {p.shape}")
    n, several = len(p), p.ndim == 2 and p.shape[1] > 1
    values = rows("log_loss", "target", target)
    if len(values) != n:
        raise ValueError(f"log_loss: target must have {n} samples like y, got {len(values)}")
    counts, weight = weights("log_loss", n, sample_weight)
    p = p[counts] if several else _of_two(p[counts].reshape(-1))
    t = _shares(values[counts], p.shape[1]) if several else _of_two(_yes(values[counts]))
    require_distributions("log_loss", "y", p, LOGITS)
    eps = np.finfo(np.float64).eps
    return float(np.average(-(t * np.log(np.clip(p, eps, 1 - eps))).sum(axis=1), weights=weight))


def _of_two(yes: np.ndarray) -> np.ndarray:
    """The probabilities of class 0 and of class 1, of that of class 1. (n,) -> (n, 2)."""
    return np.stack([1 - yes, yes], axis=1)


def _yes(target: np.ndarray) -> np.ndarray:
    """The probability of class 1, of targets for a single output: of a class it is 0 or 1."""
    if target.shape[1:] not in ((), (1,)):
        raise ValueError(f"log_loss: target must be class indices or probabilities, got rows {target.shape[1:]}")
    yes = target.reshape(-1).astype(np.float64)
    if not bool(((yes >= 0) & (yes <= 1)).all()):
        raise ValueError(f"log_loss: target must be in 0 … 1, got {yes[~((yes >= 0) & (yes <= 1))][0]:g}")
    return yes


def _shares(target: np.ndarray, n_classes: int) -> np.ndarray:
    """What share of each sample each class has, (n, n_classes): all of it, where the target is the index of one."""
    if target.shape[1:] == (n_classes,):
        shares: np.ndarray = target.astype(np.float64)
        if np.isnan(shares).any():
            raise ValueError("log_loss: target must not hold NaN")
        require_distributions("log_loss", "target", shares)
        return shares
    if target.shape[1:] not in ((), (1,)):
        raise ValueError(f"log_loss: target must be class indices or rows of {n_classes}, got rows {target.shape[1:]}")
    true = labels(target, "log_loss", probabilities=False)
    outside = (true < 0) | (true >= n_classes)
    if outside.any():
        raise ValueError(f"log_loss: target must be in 0 … {n_classes - 1}, got {true[outside][0]}")
    one_hot: np.ndarray = (np.arange(n_classes) == true[:, None]).astype(np.float64)
    return one_hot
