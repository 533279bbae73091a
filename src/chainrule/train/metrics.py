"""What people ask of a trained network: functions (y, target, sample_weight=None) of all samples that return a number.

A class is the largest of several outputs; of a single output, whether it lies above `threshold`: 0.5 unless given, and
in `fit` and `evaluate` what the loss says (BCEWithLogitsLoss: 0, as its outputs are logits). Targets are class indices,
integers or whole numbers, or the like rows.

`fit`, `fit_many` and `evaluate` ask of the rows that the loss counts, with the weights that it gives them: rows whose
target the loss ignores and rows of weight 0 are left out before, and a row of weight 2 counts as two. (The weights that
a loss has for classes are no weights of rows.) Where a loss has missing="ignore", rows of which nothing is there are
left out; of the others mae, rmse and r2 take what is there, and a metric of your own is given NaN where nothing is.

With several heads (a MultiLoss) a metric is asked of one of them: `metrics={"kind": [accuracy], "size": [r2]}`, by the
name of the head or by its place in the tuple. One in a plain list is given all of it: y and target as the network and
the data have them, tuples or dicts.

A metric of your own is a function (y, target), or one with an argument named `sample_weight` too, which it is given by
that name: (n,) numbers above 0, or None where all count the same. A function of two arguments cannot weigh: it is given
the rows that count, each once.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .. import arrays
from ..arguments import as_array
from ..arrays import Array
from ..data import Dataset
from ..losses.loss import of_rows
from ..losses.multi import MultiLoss
from ..roles import require_functions
from .history import COLUMNS

Metric = Callable[..., float]


def classes(y: Array, threshold: float = 0.5) -> np.ndarray:
    """The class that each row of y speaks for; -1 where a row holds NaN and speaks for none.

    Shapes    y (batch, C) or (batch,), numbers; or class indices, integers (batch,) -> (batch,) integers
    """
    values: np.ndarray = arrays.to_numpy(y)
    if values.ndim not in (1, 2):
        raise ValueError(f"classes: y must be (batch, classes) or (batch,), got {values.shape}")
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
    values: np.ndarray = arrays.to_numpy(as_array(name, "target", target))
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


def errors(y: Array, target: Array, sample_weight: Array | None = None, *, threshold: float = 0.5) -> float:
    """How many samples are put into a wrong class; with weights, how much these weigh. NaN is in no class, so wrong."""
    wrong, weight = _wrong("errors", y, target, sample_weight, threshold)
    return int(np.count_nonzero(wrong)) if weight is None else float(weight[wrong].sum())


def error_rate(y: Array, target: Array, sample_weight: Array | None = None, *, threshold: float = 0.5) -> float:
    """The share of samples that are put into a wrong class, 0 … 1. NaN is in no class, so wrong."""
    wrong, weight = _wrong("error_rate", y, target, sample_weight, threshold)
    return float(np.average(wrong, weights=weight))


def accuracy(y: Array, target: Array, sample_weight: Array | None = None, *, threshold: float = 0.5) -> float:
    """The share of samples that are put into the right class, 0 … 1. NaN is in no class, so never right."""
    wrong, weight = _wrong("accuracy", y, target, sample_weight, threshold)
    return float(np.average(~wrong, weights=weight))


def mae(y: Array, target: Array, sample_weight: Array | None = None) -> float:
    """The mean absolute error, in the units of the target; NaN if a y is."""
    error, _, weight = _difference("mae", y, target, sample_weight)
    return _mean(np.abs(error), weight)


def rmse(y: Array, target: Array, sample_weight: Array | None = None) -> float:
    """The root of the mean squared error, in the units of the target; NaN if a y is."""
    error, _, weight = _difference("rmse", y, target, sample_weight)
    return math.sqrt(_mean(error**2, weight))


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


# -- what fit and evaluate do with metrics

OF_ONE_HEAD = (errors, error_rate, accuracy, mae, rmse, r2)
Measure = Callable[[Any, Dataset], float]  # of the outputs, and of the data that they are of


def require_metrics(who: str, metrics: Any) -> Any:
    """metrics, if they are a list of functions, or a mapping from heads to such lists."""
    if isinstance(metrics, Mapping):
        return {key: require_functions(who, f"metrics[{key!r}]", some) for key, some in metrics.items()}
    return require_functions(who, "metrics", metrics)


def measures(metrics: Any, loss: Any) -> dict[str, Measure]:
    """What `fit` asks after each epoch, by the name of its column: "accuracy", or of a head "accuracy[kind]".

    metrics : as `require_metrics` gives them.

    Raises TypeError for heads that there are not, and where a metric takes one array and there are several.
    """
    found: dict[str, Measure] = {}
    heads = loss.heads if isinstance(loss, MultiLoss) else {}
    if not isinstance(metrics, Mapping):
        for metric in metrics:
            if heads and getattr(metric, "func", metric) in OF_ONE_HEAD:
                told = ", ".join(map(repr, heads))
                raise TypeError(
                    f"fit: {name_of(metric)} takes one array, and there are the heads {told}; "
                    f"say of which: metrics={{{next(iter(heads))!r}: [{name_of(metric)}]}}"
                )
            _name(found, name_of(metric), _of_all(for_loss(metric, loss)))
        return found
    for key, some in metrics.items():
        if key not in heads:
            told = f"there are {', '.join(map(repr, heads))}" if heads else f"{loss!r} has none; give a list"
            raise TypeError(f"fit: metrics must be by the heads of the loss, got {key!r}; {told}")
        for metric in some:
            _name(found, f"{name_of(metric)}[{key}]", _of_head(for_loss(metric, heads[key]), key, heads[key]))
    return found


def _of_all(metric: Metric) -> Measure:
    return lambda y, data: float(metric(y, data.target, data.sample_weight))


def _of_head(metric: Metric, key: Any, loss: Any) -> Measure:
    def measure(y: Any, data: Dataset) -> float:
        counted = counting(loss, Dataset(y[key], data.target[key], data.sample_weight))
        return float(metric(counted.x, counted.target, counted.sample_weight))

    return measure


def _name(found: dict[str, Measure], name: str, measure: Measure) -> None:
    if name in found:
        raise ValueError(f"fit: there are two metrics named {name!r}; give one a __name__ of its own")
    if name in COLUMNS:  # of the two, a table would show one
        raise ValueError(f"fit: a metric must not be named {name!r}, like a column of the History; give it another")
    found[name] = measure


def name_of(metric: Metric) -> str:
    """What the metric is called; a functools.partial goes by the name of its function."""
    return str(getattr(getattr(metric, "func", metric), "__name__", repr(metric)))


def for_loss(metric: Metric, loss: object) -> Metric:
    """The metric as a function (y, target, sample_weight) for a network that was trained with `loss`.

    Those of classes go by the threshold of the loss. Whether it takes weights is looked at here, once.
    """
    if metric in (errors, error_rate, accuracy):
        metric = partial(metric, threshold=threshold_of(loss))
    numbers, weighs = metric in (mae, rmse, r2), takes_weights(metric)
    try:
        inspect.signature(metric).bind(None, None, **({"sample_weight": None} if weighs else {}))
    except TypeError:
        raise TypeError(f"a metric must take (y, target) or (y, target, sample_weight), got {metric!r}") from None
    except ValueError:  # some functions that were written in C do not say
        pass
    if numbers:
        return lambda y, target, sample_weight: metric(y, target, by_element(loss, target, sample_weight))
    if weighs:
        return lambda y, target, sample_weight: metric(y, target, sample_weight=sample_weight)
    return lambda y, target, sample_weight: metric(y, target)


def takes_weights(metric: Metric) -> bool:
    """Whether a metric has an argument `sample_weight`."""
    try:
        return "sample_weight" in inspect.signature(metric).parameters
    except (TypeError, ValueError):  # some functions that were written in C do not say
        return False


def counting(loss: object, data: Dataset) -> Dataset:
    """The samples that `loss` counts: those whose target it does not ignore, and whose weight is not 0.

    Where it ignores single elements, the samples of which it counts one at least.
    """
    counts = getattr(loss, "counts", _all)(data.target)
    if counts is not None:
        counts = of_rows(counts)
    if data.sample_weight is not None:
        weighs = data.sample_weight > 0
        counts = weighs if counts is None else counts & weighs
    if counts is None or bool(counts.all()):
        return data
    return data.take(np.flatnonzero(arrays.to_numpy(counts)))


def by_element(loss: object, target: Array, sample_weight: Array | None) -> Array | None:
    """The weights of samples, or of elements where `loss` ignores some: those weigh nothing.

    Shapes    target (batch, …), sample_weight (batch,) -> (batch,) or (batch, …)
    """
    counts = getattr(loss, "counts", _all)(target)
    if counts is None or counts.ndim == 1 or bool(counts.all()):
        return sample_weight
    weight: np.ndarray = arrays.to_numpy(counts).astype(np.float64)
    if sample_weight is not None:
        weight *= arrays.to_numpy(sample_weight).reshape((-1,) + (1,) * (weight.ndim - 1))
    return weight


def threshold_of(loss: object) -> float:
    """Above which value a single output says "class 1"."""
    return float(getattr(loss, "threshold", 0.5))


def _all(target: Array) -> None:
    """That every sample counts, of a loss that does not say."""


def _wrong(
    name: str, y: Array, target: Array, sample_weight: Array | None, threshold: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Which of the samples that weigh something are put into a wrong class, and their weights."""
    said, values = classes(y, threshold), arrays.to_numpy(y)
    several = values.ndim == 2 and values.shape[1] > 1
    true = labels(target, name, probabilities=not several)
    if said.shape != true.shape:
        raise ValueError(f"{name}: target must have {len(said)} samples like y, got {len(true)}")
    counts, weight = _weights(name, len(said), sample_weight)
    rows = arrays.to_numpy(target).shape[1:]
    n_classes = values.shape[1] if several else 2 if values.dtype.kind == "f" else None
    if n_classes is not None:
        if rows not in ((), (1,), values.shape[1:]):
            raise ValueError(f"{name}: target must be class indices or rows like y {values.shape}, got rows {rows}")
        outside = counts & ((true < 0) | (true >= n_classes))
        if outside.any():
            row = int(np.argmax(outside))
            raise ValueError(f"{name}: target must be in 0 … {n_classes - 1}, got {true[row]} in row {row}")
    return ((said != true) | (said < 0))[counts], weight


def _mean(values: np.ndarray, weight: np.ndarray | None) -> float:
    """The mean over all outputs, or over the elements that weigh something, as a loss has it."""
    if weight is not None and weight.ndim > 1:
        return float(np.average(values, weights=weight))
    return float(np.mean(np.average(values, axis=0, weights=weight)))


def _difference(
    name: str, y: Array, target: Array, sample_weight: Array | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """y - target, target and weights of the samples that weigh something; of elements that do not, all are 0."""
    said, true = arrays.to_numpy(y).astype(np.float64), arrays.to_numpy(target).astype(np.float64)
    if said.shape != true.shape:
        raise ValueError(f"{name}: target must have the shape of y, {said.shape}, got {true.shape}")
    if said.ndim > 1 and sample_weight is not None and tuple(sample_weight.shape) == said.shape:
        return _by_element(name, said, true, arrays.to_numpy(sample_weight))
    counts, weight = _weights(name, len(said), sample_weight)
    return (said - true)[counts], true[counts], weight


def _by_element(
    name: str, said: np.ndarray, true: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    said, true, weight = (values.reshape(len(said), -1) for values in (said, true, weight.astype(np.float64)))
    _weights(name, weight.size, weight.reshape(-1))  # refuses those that make no sense
    weighs = weight > 0
    rows = weighs.any(axis=1)
    error, true = (np.where(weighs, values, 0)[rows] for values in (said - true, true))
    return error, true, weight[rows]


def _weights(name: str, n: int, sample_weight: Array | None) -> tuple[Any, np.ndarray | None]:
    """Which of n samples weigh something, and their weights; None for all the same."""
    if n == 0:
        raise ValueError(f"{name}: there are no samples")
    if sample_weight is None:
        return np.ones(n, dtype=bool), None
    weight = arrays.to_numpy(sample_weight).astype(np.float64)
    if weight.shape != (n,):
        raise ValueError(f"{name}: sample_weight must be ({n},), got {weight.shape}")
    if not bool(((weight >= 0) & np.isfinite(weight)).all()):
        raise ValueError(f"{name}: sample_weight must be finite and not negative")
    if not weight.any():
        raise ValueError(f"{name}: sample_weight must not be all zero")
    return weight > 0, weight[weight > 0]
