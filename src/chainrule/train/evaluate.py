"""Using a model without changing it: its outputs, its loss, its errors."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from .. import arrays
from ..arguments import positive
from ..arrays import Array
from ..data import Dataset
from ..data.dataset import take
from ..engine import run
from ..losses.extra import given
from ..losses.multi import MultiLoss
from ..module import Module
from ..roles import require_loss, require_model
from ..structures import Structure, each, is_several, leaves, named, names, rebuild
from . import metrics
from .in_files import is_in_files
from .metrics import Metric, measures, require_metrics
from .prepare import inputs, prepare, reference, require_counting

BATCH_SIZE = 4096  # rows that pass through the network at a time; it bounds memory and changes no result
NOTHING: Mapping[str, Any] = MappingProxyType({})

Measured = TypeVar("Measured", float, np.ndarray)


def predict(model: Module, x: Any, *, batch_size: int = BATCH_SIZE) -> Structure:
    """The model's outputs for x, computed in evaluation mode and in batches.

    Parameters
    ----------
    model : any Module.
    x : (n, …), anything that NumPy can read as an array, or an array of the model's library; converted to its dtype.
        For a network with several inputs, a tuple of them or a dict of them by name. Or a Dataset, whose x it is; one
        that `Dataset.open` has made is read window by window, and only the outputs are in memory.
    batch_size : rows at a time.

    Returns   (n, …) in the model's library and dtype; of several heads what the network gives, a tuple or a dict

    Raises ValueError for NaN or infinity in x, no rows, different numbers of rows, or the wrong width.
    """
    require_model("predict", model)
    if isinstance(x, Dataset):
        return joined([predict(model, part.x, batch_size=batch_size) for part in x.parts()])
    x = inputs("predict", "x", x, reference(model))
    parts = named("x", x)
    first, shown = parts[0]
    for name, part in parts:
        if not part.shape or part.shape[0] == 0:
            raise ValueError(f"predict: {name} must be (n, …) with at least one row, got {tuple(part.shape)}")
        if part.shape[0] != shown.shape[0]:
            raise ValueError(f"predict: {name} must have {shown.shape[0]} rows like {first}, got {part.shape[0]}")
    return native_outputs(model, x, positive("predict", "batch_size", batch_size))


def native_outputs(model: Module, x: Structure, batch_size: int) -> Structure:
    """The outputs from the engine, where it knows the model, else from Python."""
    y = run.outputs(model, x)
    return outputs(model, x, batch_size) if y is None else y


def outputs(model: Module, x: Structure, batch_size: int = BATCH_SIZE) -> Structure:
    """The outputs from Python, without checks."""
    n = leaves(x)[0].shape[0]
    if n <= batch_size:
        return model(x)
    return joined([model(take(x, slice(start, start + batch_size))) for start in range(0, n, batch_size)])


def joined(parts: list[Structure]) -> Structure:
    """Arrays, or structures of them, one after the other."""
    columns = zip(*map(leaves, parts), strict=True)
    return rebuild(parts[0], [arrays.namespace(column[0]).concat(list(column), axis=0) for column in columns])


class Evaluation:
    """What `evaluate` found.

    loss : the loss over all samples.
    y, target, sample_weight : the outputs of the model, what they should have been, and what each counts (or None).
    errors, error_rate, accuracy, balanced_accuracy, f1 : of the classification that the outputs amount to (see
        `metrics.classes`). confusion_matrix : the table of it, (C, C).
    roc_auc, log_loss : of the probabilities that the loss says the outputs mean (see `metrics.probabilities`).
    mae, rmse, mape, r2 : of the outputs as numbers.
    metrics : by name, what `evaluate` was asked for besides.

    All speak of the samples that the loss counts, with their weights (see `metrics`).

    With a MultiLoss there are several heads, and the metrics are asked of one of them:

    heads : by name a dict, or a tuple, of an Evaluation for each: `result.heads["kind"].accuracy`.
    losses : the loss of each head, before its weight, in the same form: `result.losses["kind"]`.

    Without, `heads` is the Evaluation itself and `losses` its loss.
    """

    def __init__(
        self, value: float, y: Structure, data: Dataset, loss: Module, asked: Mapping[str, metrics.Measure] = NOTHING
    ) -> None:
        self.loss, self.y, self.target, self.sample_weight = value, y, data.target, data.sample_weight
        self._loss, self._extra = loss, data.extra
        self.metrics = {name: measure(self._counted.x, self._counted) for name, measure in asked.items()}

    @cached_property
    def _counted(self) -> Dataset:
        return metrics.counting(self._loss, Dataset(self.y, self.target, self.sample_weight))

    @cached_property
    def heads(self) -> Structure:
        """An Evaluation for each head."""
        if not isinstance(self._loss, MultiLoss):
            return self
        found = []
        for _, head, y, target in self._loss.parts(self.y, self.target):
            value = loss_of(head, y, target, self.sample_weight, self._extra)
            found.append(Evaluation(value, y, Dataset(y, target, self.sample_weight), head))
        return dict(zip(self._loss.names, found, strict=True)) if self._loss.names else tuple(found)

    @property
    def losses(self) -> Structure:
        """The loss of each head, before its weight."""
        return each(lambda head: head.loss, self.heads)

    def _measure(self, metric: Callable[..., Measured]) -> Measured:
        if is_several(self.y):
            heads = " or ".join(f".heads{of}" for of in names(self.y))
            raise ValueError(f"Evaluation: {metrics.name_of(metric)} is of one head; there are {heads}")
        data = self._counted
        found: Measured = metrics.for_loss(metric, self._loss)(data.x, data.target, data.sample_weight)
        return found

    @property
    def errors(self) -> float:
        """The number of samples put into a wrong class; with weights, how much these weigh."""
        return self._measure(metrics.errors)

    @property
    def error_rate(self) -> float:
        """The share of samples put into a wrong class, 0 … 1."""
        return self._measure(metrics.error_rate)

    @property
    def accuracy(self) -> float:
        """The share of samples put into the right class, 0 … 1."""
        return self._measure(metrics.accuracy)

    @property
    def balanced_accuracy(self) -> float:
        """The share of each class put into it, averaged over the classes that there are."""
        return self._measure(metrics.balanced_accuracy)

    @property
    def f1(self) -> float:
        """The F1 score of class 1 of two, or its mean over more classes."""
        return self._measure(metrics.f1)

    @property
    def confusion_matrix(self) -> np.ndarray:
        """How many samples of each class, a row, were put into each, a column; with weights, how much these weigh."""
        return self._measure(metrics.confusion_matrix)

    @property
    def roc_auc(self) -> float:
        """The area under the ROC curve; of more than two classes, the mean of each against the rest."""
        return self._measure(metrics.roc_auc)

    @property
    def log_loss(self) -> float:
        """The mean of -log of the probability of the true class."""
        return self._measure(metrics.log_loss)

    @property
    def mae(self) -> float:
        """The mean absolute error."""
        return self._measure(metrics.mae)

    @property
    def rmse(self) -> float:
        """The root of the mean squared error."""
        return self._measure(metrics.rmse)

    @property
    def mape(self) -> float:
        """The mean of the absolute errors as shares of the target."""
        return self._measure(metrics.mape)

    @property
    def r2(self) -> float:
        """The share of the target's variance that is explained."""
        return self._measure(metrics.r2)

    def __repr__(self) -> str:
        losses = self.losses if isinstance(self._loss, MultiLoss) else None
        of = "" if losses is None else f", losses={each(lambda loss: float(f'{loss:.6g}'), losses)}"
        asked = "".join(f", {name}={value:.6g}" for name, value in self.metrics.items())
        return f"Evaluation(loss={self.loss:.6g}{of}{asked}, n={len(leaves(self.y)[0])})"


def evaluate(
    model: Module,
    loss: Module,
    data: Any,
    *,
    batch_size: int = BATCH_SIZE,
    metrics: Iterable[Metric] | Mapping[Any, Iterable[Metric]] = (),
) -> Evaluation:
    """Compare a model's outputs with the targets; nothing is changed.

    Parameters
    ----------
    model, loss : any Module, and a loss for its outputs.
    data : a Dataset, or (x, target) or (x, target, sample_weight), in which x and target may be tuples or dicts of
        arrays: ((a, b), target), as in `fit`. Of one in files all but x is in memory in the end.
    batch_size : rows that pass through the network at a time.
    metrics : what else to ask, as in `fit`: a list of functions (y, target) or (y, target, sample_weight), those of
        scikit-learn too; with a MultiLoss by head.

    Returns   an Evaluation: `.loss`, and on request `.errors`, `.error_rate`, `.accuracy`, `.balanced_accuracy`, `.f1`,
              `.confusion_matrix`, `.roc_auc`, `.log_loss`, `.mae`, `.rmse`, `.mape`, `.r2`; `.metrics` by name; with a
              MultiLoss `.losses`, one number for each head, and `.heads["kind"].accuracy`

    Raises ValueError and TypeError as `fit` does; also where no sample counts.
    """
    require_model("evaluate", model)
    require_loss("evaluate", loss)
    asked = measures(require_metrics("evaluate", metrics), loss, "evaluate")
    batch_size = positive("evaluate", "batch_size", batch_size)
    ready = prepare("evaluate", "data", data, model, loss)
    if is_in_files(ready):
        y, ready = _by_parts(model, ready.parts(), batch_size)
    else:
        y = native_outputs(model, ready.x, batch_size)
    value = loss_of(loss, y, ready.target, ready.sample_weight, ready.extra)
    require_counting("evaluate", "data", loss, y, ready)
    return Evaluation(value, y, ready, loss, asked)


def _by_parts(model: Module, parts: Iterable[Dataset], batch_size: int) -> tuple[Structure, Dataset]:
    """The outputs for samples that come in parts, and all of them but x."""
    found = [
        Dataset.of_checked(native_outputs(model, part.x, batch_size), part.target, part.sample_weight) for part in parts
    ]
    weights = [part.sample_weight for part in found]
    weight = None if weights[0] is None else joined(weights)
    y, target = joined([part.x for part in found]), joined([part.target for part in found])
    return y, Dataset.of_checked(None, target, weight)


def loss_of(
    loss: Module, y: Structure, target: Structure, sample_weight: Array | None, extra: Mapping[str, Array]
) -> float:
    """The loss as a number, weighted where there are weights, given what it asks for of `extra`."""
    inputs = (y, target) if sample_weight is None else (y, target, sample_weight)
    return float(loss(*inputs, **given(loss, extra)))


def losses_of(
    loss: Module, y: Structure, target: Structure, sample_weight: Array | None, extra: Mapping[str, Array]
) -> tuple[float, tuple[float, ...]]:
    """The loss as a number, and of a MultiLoss those of its heads, before their weights."""
    if type(loss) is not MultiLoss:
        return loss_of(loss, y, target, sample_weight, extra), ()
    parts = loss.parts(y, target)
    found = {key: loss_of(head, part, wanted, sample_weight, extra) for key, head, part, wanted in parts}
    return weighted(loss, found.values()), tuple(found.values())


def weighted(loss: MultiLoss, values: Iterable[float]) -> float:
    """The loss, of those of its heads."""
    return sum(loss.weights[key] * value for key, value in zip(loss.heads, values, strict=True))
