"""What a loss says of outputs and targets: which probabilities and classes they mean."""

from typing import Any

import numpy as np

from ... import arrays
from ...arrays import Array

LOGITS = "; of logits, probabilities(y, loss) makes them"  # what may be meant


def threshold_of(loss: object) -> float:
    """Above which value a single output says "class 1"."""
    return float(getattr(loss, "threshold", 0.5))


def probabilities(y: Array, loss: object = None) -> np.ndarray:
    """The probabilities that outputs of a network mean which was trained with `loss`, in float64.

    Equation  CrossEntropyLoss, NLLLoss: softmax(y) along the classes, of log-probabilities the probabilities
              BCEWithLogitsLoss, SoftMarginLoss: σ(y)
              a loss of your own: its `probabilities(y)`, if it has such a method
              any other loss, or none: y themselves
    Shapes    y (batch, C) or (batch,) -> the same

    >>> from chainrule import CrossEntropyLoss
    >>> probabilities(np.array([[0.0, 0.0], [0.0, np.log(3)]]), CrossEntropyLoss()).round(3)
    array([[0.5 , 0.5 ],
           [0.25, 0.75]])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found: np.ndarray = getattr(loss, "probabilities", _same)(numbers(y))
    return found


def scores(y: Array, loss: object = None) -> np.ndarray:
    """What ranks samples by how likely they are to be of class 1, or of each of several classes.

    Of a single output the output, of two by how much the second lies above the first: that is the order of their
    probabilities, without the ties that rounding makes of those near 0 and 1. Of more classes their probabilities.

    Shapes    y (batch,), (batch, 1) or (batch, 2) -> (batch,);  (batch, C) -> (batch, C)
    """
    values = numbers(y)
    if values.ndim == 2 and values.shape[1] > 2:
        return probabilities(values, loss)
    with np.errstate(invalid="ignore"):
        return values[:, 1] - values[:, 0] if values.shape[1:] == (2,) else values.reshape(-1)


def answers(target: Array, loss: object) -> Array:
    """Targets as classes or their probabilities, where the loss writes them otherwise, as SoftMarginLoss does."""
    return getattr(loss, "answers", _same)(target)


def numbers(y: Array) -> np.ndarray:
    """y in float64, on NumPy."""
    values: np.ndarray = arrays.to_numpy(y).astype(np.float64)
    return values


def require_distributions(name: str, what: str, p: np.ndarray, hint: str = "") -> None:
    """Raise ValueError for rows that are no probabilities of classes that exclude each other; NaN may be anything."""
    wrong = (p < 0).any(axis=1) | (p > 1).any(axis=1) | ~np.isclose(p.sum(axis=1), 1)
    wrong &= ~np.isnan(p).any(axis=1)
    if wrong.any():
        got = p[np.argmax(wrong)]
        raise ValueError(f"{name}: each row of {what} must hold probabilities that add up to 1, got {got}{hint}")


def _same(values: Any) -> Any:
    return values
