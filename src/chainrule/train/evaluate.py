"""Using a model without changing it: its outputs, its loss, its errors."""

from functools import cached_property
from typing import Any

from .. import arrays
from ..arguments import positive
from ..arrays import Array
from ..data import Dataset
from ..engine import run
from ..module import Module
from ..roles import require_loss, require_model
from . import metrics
from .prepare import inputs, prepare, reference, require_counting

BATCH_SIZE = 4096  # rows that pass through the network at a time; it bounds memory and changes no result


def predict(model: Module, x: Any, *, batch_size: int = BATCH_SIZE) -> Array:
    """The model's outputs for x, computed in evaluation mode and in batches.

    Parameters
    ----------
    model : any Module with one input.
    x : (n, …), anything that NumPy can read as an array, or an array of the model's library; converted to its dtype.
    batch_size : rows at a time.

    Returns   (n, …) in the model's library and dtype

    Raises ValueError for NaN or infinity in x, no rows, or the wrong width.
    """
    x = inputs("predict", "x", x, reference(require_model("predict", model)))
    if x.ndim == 0 or x.shape[0] == 0:
        raise ValueError(f"predict: x must be (n, …) with at least one row, got {tuple(x.shape)}")
    return native_outputs(model, x, positive("predict", "batch_size", batch_size))


def native_outputs(model: Module, x: Array, batch_size: int) -> Array:
    """The outputs from the engine, where it knows the model, else from Python."""
    y = run.outputs(model, x)
    return outputs(model, x, batch_size) if y is None else y


def outputs(model: Module, x: Array, batch_size: int = BATCH_SIZE) -> Array:
    """The outputs from Python, without checks."""
    if x.shape[0] <= batch_size:
        return model(x)
    parts = [model(x[start : start + batch_size]) for start in range(0, x.shape[0], batch_size)]
    return arrays.namespace(x).concat(parts, axis=0)


class Evaluation:
    """What `evaluate` found.

    loss : the loss over all samples.
    y, target, sample_weight : the outputs of the model, what they should have been, and what each counts (or None).
    errors, error_rate, accuracy : of the classification that the outputs amount to (see `metrics.classes`).
    mae, rmse, r2 : of the outputs as numbers.

    All speak of the samples that the loss counts, with their weights (see `metrics`).
    """

    def __init__(self, value: float, y: Array, data: Dataset, loss: Module) -> None:
        self.loss, self.y, self.target, self.sample_weight = value, y, data.target, data.sample_weight
        self._loss = loss

    @cached_property
    def _counted(self) -> Dataset:
        return metrics.counting(self._loss, Dataset(self.y, self.target, self.sample_weight))

    def _measure(self, metric: metrics.Metric) -> float:
        data = self._counted
        return metrics.for_loss(metric, self._loss)(data.x, data.target, data.sample_weight)

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
    def mae(self) -> float:
        """The mean absolute error."""
        return self._measure(metrics.mae)

    @property
    def rmse(self) -> float:
        """The root of the mean squared error."""
        return self._measure(metrics.rmse)

    @property
    def r2(self) -> float:
        """The share of the target's variance that is explained."""
        return self._measure(metrics.r2)

    def __repr__(self) -> str:
        return f"Evaluation(loss={self.loss:.6g}, n={len(self.y)})"


def evaluate(model: Module, loss: Module, data: Any, *, batch_size: int = BATCH_SIZE) -> Evaluation:
    """Compare a model's outputs with the targets; nothing is changed.

    Parameters
    ----------
    model, loss : any Module, and a loss for its outputs.
    data : a Dataset, or arrays (x, target) or (x, target, sample_weight).
    batch_size : rows that pass through the network at a time.

    Returns   an Evaluation: `.loss`, and on request `.errors`, `.error_rate`, `.accuracy`, `.mae`, `.rmse`, `.r2`

    Raises ValueError and TypeError as `fit` does; also where no sample counts.
    """
    require_model("evaluate", model)
    require_loss("evaluate", loss)
    ready = prepare("evaluate", "data", data, model, loss)
    y = native_outputs(model, ready.x, positive("evaluate", "batch_size", batch_size))
    value = loss_of(loss, y, ready.target, ready.sample_weight)
    require_counting("evaluate", "data", loss, y, ready)
    return Evaluation(value, y, ready, loss)


def loss_of(loss: Module, y: Array, target: Array, sample_weight: Array | None) -> float:
    """The loss as a number, weighted where there are weights."""
    inputs = (y, target) if sample_weight is None else (y, target, sample_weight)
    return float(loss(*inputs))
