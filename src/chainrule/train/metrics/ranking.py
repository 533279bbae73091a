"""Whether samples of a class are ranked above the others."""

from itertools import combinations

import numpy as np

from ...arguments import choice
from ...arrays import Array
from .decisions import one_class_each
from .outputs import LOGITS, require_distributions
from .weighing import rows


def roc_auc(
    y: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    multi_class: str = "ovr",
    average: str = "macro",
) -> float:
    """The area under the ROC curve: how often a sample of a class is ranked above one of another. 1/2 is guessing.

    Equation  of two classes  Σ w⁺ w⁻ ([y⁺ > y⁻] + [y⁺ = y⁻] / 2) / (Σ w⁺ Σ w⁻), over pairs of a sample of class 1 and
              one of class 0; NaN if one of the two is missing, or a y is NaN
    Shapes    y (batch,) or (batch, 1), numbers that are higher for class 1, such as logits; (batch, C) probabilities
    Source    as sklearn.metrics.roc_auc_score(labels=range(C)); Hanley, McNeil 1982; "ovo": Hand, Till 2001
    Note      scikit-learn takes no weights with "ovo", and asks for multi_class where there are more than two classes

    In `fit` and `evaluate` a network's outputs, logits of several classes too, become what they mean for the loss.

    Parameters
    ----------
    multi_class : of more than two classes, "ovr" ranks by the probability of each class its samples against all others,
        "ovo" each pair of classes that are there, both ways.
    average : of these areas "macro" is the mean, "weighted" the mean by how much of the class, or of the pair, is true;
        "micro" is, with "ovr", one area of all probabilities together.

    Raises ValueError for rows of several outputs that do not add up to 1.
    """
    choice("roc_auc", "multi_class", multi_class, ("ovr", "ovo"))
    averages = ("macro", "weighted", "micro") if multi_class == "ovr" else ("macro", "weighted")
    choice("roc_auc", "average", average, averages)
    values = rows("roc_auc", "y", y).astype(np.float64)
    found = one_class_each("roc_auc", values, target, sample_weight)
    values, true = values[found.counts], found.true
    weight = np.ones(len(true)) if found.weight is None else found.weight
    if values.ndim == 1 or values.shape[1] == 1:
        return area(values.reshape(-1), true == 1, weight)
    require_distributions("roc_auc", "y", values, LOGITS)
    n = values.shape[1]
    if n == 2:
        return area(values[:, 1], true == 1, weight)
    of_class = np.arange(n) == true[:, None]
    if average == "micro":
        return area(values.reshape(-1), of_class.reshape(-1), np.repeat(weight, n))
    if multi_class == "ovr":
        areas = [area(values[:, c], of_class[:, c], weight) for c in range(n)]
        shares = weight @ of_class
    else:
        pairs = list(combinations(np.unique(true), 2))
        areas = [_between(a, b, values, true, weight) for a, b in pairs]
        shares = np.array([weight @ (of_class[:, a] | of_class[:, b]) for a, b in pairs])
    if not areas:
        return float("nan")
    if average == "macro":
        return float(np.mean(areas))
    there = shares > 0  # a class that is missing has no area, and no share in the mean
    return float(np.average(np.array(areas)[there], weights=shares[there]))


def area(score: np.ndarray, yes: np.ndarray, weight: np.ndarray) -> float:
    """How often a score of "yes" lies above one of "no", by their weights; a tie is half of it.

    Shapes    score, yes, weight (n,); yes of True and False
    """
    if np.isnan(score).any() or yes.all() or not yes.any():
        return float("nan")
    _, place = np.unique(score, return_inverse=True)
    of_yes, of_no = (np.bincount(place, weights=weight * which) for which in (yes, ~yes))
    of_yes, of_no = of_yes / of_yes.sum(), of_no / of_no.sum()
    return float(of_yes @ (np.cumsum(of_no) - of_no / 2))


def _between(a: int, b: int, values: np.ndarray, true: np.ndarray, weight: np.ndarray) -> float:
    """The mean of both areas of a pair of classes: by the probability of the one, and by that of the other."""
    pair = (true == a) | (true == b)
    return sum(area(values[pair, c], true[pair] == c, weight[pair]) for c in (a, b)) / 2
