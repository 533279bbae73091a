"""Training: epochs, the best parameters, and everything that can stop a run."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .. import arrays, random
from ..arrays import Array
from ..data import Dataset
from ..module import Module, Parameter, UpdateRule
from .evaluate import loss_of, outputs
from .history import History
from .loop import Diverged, PythonLoop
from .prepare import positive, prepare, rehearse
from .progress import Progress
from .watch import Watch

Metric = Callable[[Array, Array], float]


@dataclass
class Run:
    """What a callback sees after every epoch: `callback(run)`.

    model, loss, optimizer : what is being trained; parameters may be read and set.
    history : the record so far, the epoch that has just ended included.
    """

    model: Module
    loss: Module
    optimizer: UpdateRule
    history: History

    def stop(self, reason: str = "stopped by a callback") -> None:
        """End the run after this epoch."""
        self.history.stopped = reason


def fit(
    model: Module,
    loss: Module,
    train: Any,
    *,
    epochs: int,
    batch_size: int = 32,
    validation: Any = None,
    optimizer: UpdateRule | None = None,
    seed: int = 0,
    shuffle: bool = True,
    keep: str = "best",
    stop: Callable[[History], bool] | None = None,
    metrics: Iterable[Metric] = (),
    callbacks: Iterable[Callable[[Run], None]] = (),
    progress: bool | None = None,
    max_seconds: float | None = None,
) -> History:
    """Train a model on data, by any loss.

    Parameters
    ----------
    model, loss : any Module with one input, and a loss for its outputs.
    train : a Dataset, or arrays (x, target) or (x, target, sample_weight). They are converted to the model's library
        and dtype; integers stay class indices where the loss knows classes.
    epochs : how often every sample is visited.
    batch_size : samples per step; the last batch of an epoch may be smaller.
    validation : data like `train` that are only looked at.
    optimizer : the rule of the updates; the model's own unless given.
    seed : of the order of samples and of the dropout masks; the same seed gives the same run. To go on training in
        another order, give another seed.
    shuffle : visit the samples in an order that is new in every epoch, or as they come.
    keep : "best" leaves the parameters of the epoch with the lowest loss (validation loss where there is one), "last"
        those of the last epoch.
    stop : a function of the History that says True to end the run, such as `EarlyStopping(patience=10)`.
    metrics : functions (y, target) -> number, computed after every epoch on the validation data, or else on `train`.
    callbacks : functions called with a `Run` after every epoch.
    progress : show a progress bar; by default, if standard error is a terminal.
    max_seconds : end the run after this many seconds, between two steps.

    Returns   a History. Ctrl-C ends the run early, between two steps, and returns it too. A run that ends within its
              first epoch keeps the steps it has made

    Raises ValueError or TypeError for data that do not fit, before anything is changed; FloatingPointError when the
    loss becomes NaN or infinite, with the model left at its best parameters, and the History as `error.history`.
    """
    optimizer = optimizer if optimizer is not None else getattr(model, "optimizer", None)
    if not isinstance(optimizer, UpdateRule):
        raise ValueError("fit: no optimizer; give optimizer=…, or make one the first argument of Sequential")
    _check_options(keep, loss, max_seconds)
    epochs, batch_size = positive("fit", "epochs", epochs), positive("fit", "batch_size", batch_size)
    random.check_seed(seed)
    data = prepare("fit", "train", train, model, loss)
    held_out = None if validation is None else prepare("fit", "validation", validation, model, loss)
    for part in (data, held_out):
        if part is not None:
            rehearse(model, loss, part)

    loop = PythonLoop(model, loss, optimizer, data, batch_size=batch_size, seed=seed, shuffle=shuffle)
    run = Run(model, loss, optimizer, History(engine=loop.name))
    best = Snapshot(loop.parameters)
    metrics, callbacks, history = list(metrics), list(callbacks), run.history
    reseed(model, seed)
    with Watch(max_seconds) as watch, Progress(epochs, progress) as bar, training_mode(model):
        try:
            while not history.stopped:
                learning_rate = float(getattr(optimizer, "current_lr", math.nan))
                value = loop.epoch(history.epochs, watch)
                if value is None:
                    break
                validation_loss, measured = _look(model, loss, data, held_out, metrics)
                if not math.isfinite(value if validation_loss is None else validation_loss):
                    raise Diverged(value if validation_loss is None else validation_loss)
                history.steps = loop.steps
                is_best = history.record(
                    value, validation_loss, measured, learning_rate=learning_rate, seconds=watch.elapsed_s
                )
                if is_best:
                    best.take()
                _end_epoch(optimizer, history.monitored[-1])
                bar.update(history)
                for callback in callbacks:
                    callback(run)
                _decide(history, stop, epochs)
        except Diverged as diverged:
            best.give_back()
            raise _diverged(history, diverged.value, optimizer) from None
        finally:
            history.steps, history.total_s = loop.steps, watch.elapsed_s
            history.stopped = history.stopped or f"{watch.reason()} in epoch {history.epochs}"
            if keep == "best" and history.best_epoch is not None:
                best.give_back()
    return history


class Snapshot:
    """A copy of parameters, made now and again whenever they are better than before."""

    def __init__(self, parameters: list[Parameter]) -> None:
        self.parameters = parameters
        self.values = [arrays.convert(parameter.value) for parameter in parameters]

    def take(self) -> None:
        """Remember the parameters as they are."""
        for kept, parameter in zip(self.values, self.parameters, strict=True):
            kept[...] = parameter.value

    def give_back(self) -> None:
        """Make the parameters what they were."""
        for kept, parameter in zip(self.values, self.parameters, strict=True):
            parameter.value[...] = kept


@contextmanager
def training_mode(model: Module) -> Iterator[None]:
    """Training mode inside the block, and each module's own mode after it."""
    before = [(module, module.training) for module in model.modules()]
    model.train()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def reseed(model: Module, seed: int) -> None:
    """Give each module that draws random numbers its own place in the sequence of `seed`."""
    drawing = [module for module in model.modules() if hasattr(module, "reseed")]
    for layer, module in enumerate(drawing):
        module.reseed(seed, layer)


def _check_options(keep: str, loss: Module, max_seconds: float | None) -> None:
    if keep not in ("best", "last"):
        raise ValueError(f'fit: keep must be "best" or "last", got {keep!r}')
    if getattr(loss, "reduction", "mean") == "none":
        raise ValueError('fit: the loss must be one number, got reduction="none"')
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"fit: max_seconds must be positive, got {max_seconds}")


def _look(
    model: Module, loss: Module, data: Dataset, held_out: Dataset | None, metrics: list[Metric]
) -> tuple[float | None, dict[str, float]]:
    """The loss on the validation data, if there are any, and the metrics on them or else on the training data."""
    if held_out is None and not metrics:
        return None, {}
    seen = data if held_out is None else held_out
    y = outputs(model, seen.x)
    measured = {getattr(metric, "__name__", repr(metric)): float(metric(y, seen.target)) for metric in metrics}
    return (None if held_out is None else loss_of(loss, y, seen.target, seen.sample_weight)), measured


def _end_epoch(optimizer: UpdateRule, loss: float) -> None:
    if hasattr(optimizer, "end_epoch"):
        optimizer.end_epoch(loss)


def _decide(history: History, stop: Callable[[History], bool] | None, epochs: int) -> None:
    """Write down why the run ends, if it does."""
    if not history.stopped and stop is not None and stop(history):
        history.stopped = getattr(stop, "__name__", repr(stop))
    if not history.stopped and history.epochs >= epochs:
        history.stopped = "all epochs done"


def _diverged(history: History, value: float, optimizer: UpdateRule) -> FloatingPointError:
    """The error for a loss that is not finite; the optimizer forgets the moments that led there."""
    history.stopped = f"the loss became {value} in epoch {history.epochs}"
    if hasattr(optimizer, "forget"):
        optimizer.forget()
    at = "its initial parameters" if history.best_epoch is None else f"the parameters of epoch {history.best_epoch}"
    error = FloatingPointError(
        f"fit: {history.stopped} (counted from 0). Likely causes: a learning rate that is too high for {optimizer!r} "
        f"(clip_norm=1.0 helps too), or data that are not scaled. The model is left at {at}"
    )
    error.history = history  # type: ignore[attr-defined]
    return error
