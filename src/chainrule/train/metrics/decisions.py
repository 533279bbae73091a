"""Which class an output speaks for, and which one a target names."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from ...arrays import Array
from .weighing import rows, weights


def classes(y: Array, threshold: float = 0.5, name: str = "classes") -> np.ndarray:
    """The class that each row of y speaks for; -1 where a row holds NaN and speaks for none.

    Shapes    y (batch, C) or (batch,), numbers; or class indices, integers (batch,) -> (batch,) integers
    """
    values = rows(name, "y", y)
    if values.ndim not in (1, 2):
        raise ValueError(f"{name}: y must be (batch, classes) or (batch,), got {values.shape}")
    floating = values.dtype.kind == "f"
    silent = np.isnan(values).any(axis=tuple(range(1, values.ndim))) if floating else False
    if values.ndim == 2 and values.shape[1] > 1:
        said = np.argmax(values, axis=1)
    else:
        values = values.reshape(-1)
        said = (values > threshold if floating else values).astype(np.int64)
    return np.where(silent, -1, said)


def labels(target: Array, name: str = "labels", *, probabilities: bool = True) -> np.ndarray:
    """The class that each target names: by its index, or as a row like those of the outputs.

    Of one number for each sample that is not whole, a probability, whether it lies above 1/2; `probabilities=False`
    refuses them, for outputs of several classes.

    Shapes    target (batch, C) or (batch,) -> (batch,) integers
    """
    values = rows(name, "target", target)
    if values.ndim not in (1, 2):
        raise ValueError(f"{name}: target must be (batch,) or (batch, classes), got {values.shape}")
    if values.dtype.kind == "f":
        if np.isnan(values).any():
            raise ValueError(f"{name}: target must not hold NaN")
        flat = values.reshape(-1)
        if values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1):
            indices = (flat == np.floor(flat)) & (np.abs(flat.astype(np.float64)) < 2.0**63)
            if bool(indices.all()):
                return flat.astype(np.int64)
            if not probabilities or flat.min() < 0 or flat.max() > 1:
                expected = "classes (whole numbers)" + (" or probabilities" if probabilities else "")
                raise ValueError(f"{name}: target must hold {expected}, got {flat[~indices][0]}")
    return classes(values)


class Decisions(NamedTuple):
    """What was said of the samples that weigh something, and what is true of them.

    said, true : (n,) classes, integers; -1 is said where y holds NaN, and speaks for no class.
    weight : (n,), or None where all weigh the same.
    n_classes : how many classes there are; None where y are class indices, which do not say.
    counts : (batch,), which samples these are.
    """

    said: np.ndarray
    true: np.ndarray
    weight: np.ndarray | None
    n_classes: int | None
    counts: np.ndarray


def decisions(name: str, y: Array, target: Array, sample_weight: Array | None, threshold: float) -> Decisions:
    """What y decides, next to what the target names.

    Raises ValueError for targets that name none of the classes.
    """
    said, values = classes(y, threshold, name), arrays.to_numpy(y)
    several = values.ndim == 2 and values.shape[1] > 1
    true = labels(target, name, probabilities=not several)
    if said.shape != true.shape:
        raise ValueError(f"{name}: target must have {len(said)} samples like y, got {len(true)}")
    counts, weight = weights(name, len(said), sample_weight)
    of_target = arrays.to_numpy(target).shape[1:]
    n_classes = values.shape[1] if several else 2 if values.dtype.kind == "f" else None
    if n_classes is not None:
        if of_target not in ((), (1,), values.shape[1:]):
            raise ValueError(
                f"{name}: target must be class indices or rows like y {values.shape}, got rows {of_target}"
            )
        outside = counts & ((true < 0) | (true >= n_classes))
        if outside.any():
            row = int(np.argmax(outside))
            raise ValueError(f"{name}: target must be in 0 … {n_classes - 1}, got {true[row]} in row {row}")
    return Decisions(said[counts], true[counts], weight, n_classes, counts)


def one_class_each(
    name: str, y: Array, target: Array, sample_weight: Array | None, threshold: float = 0.5
) -> Decisions:
    """The decisions, of targets that name one class for each sample.

    Raises ValueError for rows of 0 and 1 with several ones or none: labels that do not exclude each other.
    """
    found, values = decisions(name, y, target, sample_weight, threshold), arrays.to_numpy(target)
    if values.ndim == 2 and values.shape[1] > 1 and bool(np.isin(values, (0, 1)).all()):
        ones = values.sum(axis=1)
        wrong = found.counts & (ones != 1)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{name}: target must name one class for each sample, got {int(ones[row])} in row {row}; "
                f"of labels that do not exclude each other ask each column by itself"
            )
    return found
