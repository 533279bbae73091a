"""How often the right class is said."""

from typing import NamedTuple

import numpy as np

from ...arguments import choice
from ...arrays import Array
from .decisions import Decisions, one_class_each

AVERAGES = ("auto", "binary", "macro", "micro", "weighted")


def errors(y: Array, target: Array, sample_weight: Array | None = None, *, threshold: float = 0.5) -> float:
    """How many samples are put into a wrong class; with weights, how much these weigh. NaN is in no class, so wrong."""
    found = one_class_each("errors", y, target, sample_weight, threshold)
    wrong = _wrong(found)
    return int(np.count_nonzero(wrong)) if found.weight is None else float(found.weight[wrong].sum())


def error_rate(y: Array, target: Array, sample_weight: Array | None = None, *, threshold: float = 0.5) -> float:
    """The share of samples that are put into a wrong class, 0 … 1. NaN is in no class, so wrong."""
    found = one_class_each("error_rate", y, target, sample_weight, threshold)
    return float(np.average(_wrong(found), weights=found.weight))


def accuracy(y: Array, target: Array, sample_weight: Array | None = None, *, threshold: float = 0.5) -> float:
    """The share of samples that are put into the right class, 0 … 1. NaN is in no class, so never right."""
    found = one_class_each("accuracy", y, target, sample_weight, threshold)
    return float(np.average(~_wrong(found), weights=found.weight))


def balanced_accuracy(y: Array, target: Array, sample_weight: Array | None = None, *, threshold: float = 0.5) -> float:
    """The share of each class that is put into it, averaged over the classes that there are: 1 is perfect.

    Saying always the same is right as often as there are classes, 1/C, however rare the others are.

    Equation  mean over c of Σ w [said = target = c] / Σ w [target = c]; a class that is no target has no share in it
    Source    as sklearn.metrics.balanced_accuracy_score
    """
    found = _sums("balanced_accuracy", y, target, sample_weight, threshold)
    there = found.true > 0
    return float(np.mean(found.right[there] / found.true[there]))


def f1(
    y: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    average: str = "auto",
    threshold: float = 0.5,
) -> float:
    """The harmonic mean of precision and recall: 1 is perfect, 0 is never right.

    Equation  of a class  2 Σ w [said = target = c] / (Σ w [said = c] + Σ w [target = c]);  0 where it is neither
    Source    as sklearn.metrics.f1_score, van Rijsbergen 1979, "Information retrieval", chapter 7
    Note      scikit-learn's average is "binary" unless given, and it warns of classes that are never said

    Parameters
    ----------
    average : "binary", of class 1 of two; "macro", the mean over the classes that are said or true; "weighted", their
        mean by how much of each is true; "micro", of all classes taken together; by default "auto", which is "binary"
        where there are two classes (one output, two, or no class index above 1) and "macro" where there are more.

    Raises ValueError for average="binary" of more than two classes.
    """
    choice("f1", "average", average, AVERAGES)
    right, said, true = _sums("f1", y, target, sample_weight, threshold)
    if average == "auto":
        average = "macro" if len(true) > 2 else "binary"
    if average == "binary":
        if len(true) > 2:
            raise ValueError(f'f1: average="binary" is of two classes, got {len(true)}; choose "macro"')
        right, said, true = right[1:], said[1:], true[1:]
    elif average == "micro":
        right, said, true = (sums.sum(keepdims=True) for sums in (right, said, true))
    both = said + true
    each = 2 * right / np.where(both > 0, both, 1)
    if average == "weighted":
        return float(np.average(each, weights=true))
    return float(np.mean(each[both > 0])) if both.any() else 0.0


def confusion_matrix(
    y: Array, target: Array, sample_weight: Array | None = None, *, threshold: float = 0.5
) -> np.ndarray:
    """How many samples of each class are put into each class; with weights, how much these weigh.

    A row of y that holds NaN is in no class, and so in no column. No number, so `fit` cannot write it down:
    `evaluate(…).confusion_matrix`.

    Shapes    (C, C), a row for each true class, a column for each that is said: integers, with weights numbers. C is
              the number of outputs, 2 for a single one, and for class indices one more than the largest
    Source    as sklearn.metrics.confusion_matrix(labels=range(C))
    """
    found = one_class_each("confusion_matrix", y, target, sample_weight, threshold)
    n, spoken = _n_classes("confusion_matrix", found), found.said >= 0
    weight = None if found.weight is None else found.weight[spoken]
    place = found.true[spoken] * n + found.said[spoken]
    return np.bincount(place, weights=weight, minlength=n * n).reshape(n, n)


class Sums(NamedTuple):
    """How much of each class is put into it, of all that are put into it, and of all that are of it. (C,) numbers."""

    right: np.ndarray
    said: np.ndarray
    true: np.ndarray


def _sums(name: str, y: Array, target: Array, sample_weight: Array | None, threshold: float) -> Sums:
    found = one_class_each(name, y, target, sample_weight, threshold)
    n, weight = _n_classes(name, found), np.ones(len(found.said)) if found.weight is None else found.weight
    right, spoken = ~_wrong(found), found.said >= 0
    return Sums(
        np.bincount(found.true[right], weights=weight[right], minlength=n),
        np.bincount(found.said[spoken], weights=weight[spoken], minlength=n),
        np.bincount(found.true, weights=weight, minlength=n),
    )


def _n_classes(name: str, found: Decisions) -> int:
    """How many classes there are: as many as class indices name, where the outputs do not say."""
    if found.n_classes is not None:
        return found.n_classes
    if found.true.min() < 0:
        raise ValueError(f"{name}: target must be at least 0, got {found.true.min()}")
    return int(max(found.true.max(), found.said.max(), 1)) + 1


def _wrong(found: Decisions) -> np.ndarray:
    """Which samples are put into a wrong class, or into none."""
    return np.asarray((found.said != found.true) | (found.said < 0))
