"""Training: epochs, the best parameters, and everything that can stop a run."""

import numbers
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import random
from ..arguments import positive
from ..arrays import Array
from ..data.dataset import Dataset
from ..engine import CannotLower, EngineMissing
from ..module import Module, UpdateRule, is_update_rule
from .history import History
from .loop import Diverged, Loop, PythonLoop
from .metrics import for_loss
from .native_loop import NativeLoop
from .prepare import prepare
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
    threads: int | None = None,
    engine: str = "auto",
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
    metrics : functions (y, target) -> number, computed after every epoch on the validation data, or else on `train`;
        `errors`, `error_rate` and `accuracy` by the threshold of the loss, as in `evaluate`.
    callbacks : functions called with a `Run` after every epoch.
    progress : show a progress bar; by default, if standard error is a terminal.
    max_seconds : end the run after this many seconds, between two steps.
    threads : the most threads that a step may use, natively; by default as many as there are cores and pay for it. The
        numbers do not depend on it.
    engine : "auto" runs natively whatever the engine knows and the rest in Python, and `History.engine` says which;
        "native" raises ValueError for what it does not know; "python" never asks it.

    Returns   a History. Ctrl-C ends the run early, between two steps, and returns it too. A run that ends within its
              first epoch keeps the steps it has made

    Raises ValueError or TypeError for data that do not fit, before anything is changed; FloatingPointError when the
    loss or a parameter becomes NaN or infinite, with the model left at its best parameters, and the History as
    `error.history`.
    """
    optimizer = optimizer if optimizer is not None else getattr(model, "optimizer", None)
    if not is_update_rule(optimizer):
        raise ValueError("fit: no optimizer; give optimizer=…, or make one the first argument of Sequential")
    measures, callbacks = _named(metrics, loss), list(callbacks)
    _check_options(keep, engine, max_seconds, [stop, *measures.values(), *callbacks])
    epochs, batch_size = positive("fit", "epochs", epochs), positive("fit", "batch_size", batch_size)
    random.check_seed(seed)
    threads = None if threads is None else positive("fit", "threads", threads)
    data = prepare("fit", "train", train, model, loss)
    held_out = None if validation is None else prepare("fit", "validation", validation, model, loss)

    how = {"batch_size": batch_size, "seed": seed, "shuffle": shuffle}
    loop = _loop(engine, model, loss, optimizer, data, held_out, threads=threads, **how)
    _rehearse(loop, data, held_out)
    modules = model.modules()
    reseed(modules, seed)
    history = History(engine=loop.name)
    run = Run(model, loss, optimizer, history)
    one_by_one = bool(measures or callbacks or stop is not None or loop.listens())
    # A loss that is not finite raises; what NumPy would warn of on the way there says it less clearly.
    quiet = np.errstate(over="ignore", invalid="ignore")
    with Watch(max_seconds) as watch, Progress(epochs, progress) as bar, training_mode(modules), quiet:
        try:
            while not history.stopped:
                end = history.epochs + 1 if one_by_one else epochs
                finished = loop.run(history.epochs, end, watch)
                measured = _measure(loop, data if held_out is None else held_out, measures) if finished else {}
                for epoch in finished:
                    history.record(
                        epoch.loss,
                        epoch.validation_loss,
                        measured,
                        learning_rate=epoch.learning_rate,
                        seconds=epoch.seconds,
                    )
                    _end_epoch(optimizer, epoch.monitored)
                history.steps = loop.steps
                if loop.diverged:
                    raise Diverged(loop.diverged)
                if not finished:
                    break
                bar.update(history, len(finished))
                for callback in callbacks:
                    callback(run)
                _decide(history, stop, epochs)
        except Diverged as diverged:
            loop.give_back_best()
            raise _diverged(history, diverged, optimizer) from None
        finally:
            loop.finish()
            history.steps, history.total_s = loop.steps, watch.elapsed_s
            history.stopped = history.stopped or f"{watch.reason() or 'an exception'} in epoch {history.epochs}"
            if keep == "best" and history.best_epoch is not None:
                loop.give_back_best()
    return history


def _loop(
    engine: str,
    model: Module,
    loss: Module,
    optimizer: Any,
    data: Dataset,
    held_out: Dataset | None,
    *,
    threads: int | None,
    **how: Any,
) -> Loop:
    """The native loop where the engine knows everything that is asked for, else the Python loop."""
    if engine == "python":
        return PythonLoop(model, loss, optimizer, data, held_out, **how)
    try:
        return NativeLoop(model, loss, optimizer, data, held_out, threads=threads, **how)
    except (CannotLower, EngineMissing) as reason:
        if engine == "native":
            raise ValueError(f'fit: engine="native" cannot run this: {reason}') from None
        loop = PythonLoop(model, loss, optimizer, data, held_out, **how)
        loop.name = f"python, as the engine does not know {reason}"
        if isinstance(reason, EngineMissing):
            loop.name = f"python, as {reason}"
        return loop


@contextmanager
def training_mode(modules: list[Module]) -> Iterator[None]:
    """Training mode inside the block, and each module's own mode after it."""
    before = [(module, module.training) for module in modules]
    try:
        for module, _ in before:
            vars(module)["training"] = True  # so set, it is not told to compiled networks: they need not know
        yield
    finally:
        for module, mode in before:
            vars(module)["training"] = mode


def reseed(modules: list[Module], seed: int) -> None:
    """Give each module that draws random numbers its own place in the sequence of `seed`."""
    drawing = [module for module in modules if hasattr(module, "reseed")]
    for layer, module in enumerate(drawing):
        module.reseed(seed, layer)


def _named(metrics: Iterable[Metric], loss: Module) -> dict[str, Metric]:
    """The metrics by name, as `loss` means them; a functools.partial goes by the name of its function."""
    named: dict[str, Metric] = {}
    for metric in metrics:
        name = getattr(getattr(metric, "func", metric), "__name__", repr(metric))
        if name in named:
            raise ValueError(f"fit: there are two metrics named {name!r}; give one a __name__ of its own")
        named[name] = for_loss(metric, loss)
    return named


def _check_options(keep: str, engine: str, max_seconds: float | None, functions: list[Any]) -> None:
    for function in functions:
        if function is not None and not callable(function):
            raise TypeError(f"fit: stop, metrics and callbacks must be functions, got {function!r}")
    if engine not in ("auto", "native", "python"):
        raise ValueError(f'fit: engine must be "auto", "native" or "python", got {engine!r}')
    if keep not in ("best", "last"):
        raise ValueError(f'fit: keep must be "best" or "last", got {keep!r}')
    if max_seconds is not None and (not isinstance(max_seconds, numbers.Real) or not max_seconds > 0):
        raise ValueError(f"fit: max_seconds must be a positive number, got {max_seconds!r}")


def _rehearse(loop: Loop, data: Dataset, held_out: Dataset | None) -> None:
    """Refuse what does not fit before anything is changed."""
    try:
        loop.rehearse(data)
        if held_out is not None:
            loop.rehearse(held_out)
    except BaseException:
        loop.finish()
        raise


def _measure(loop: Loop, data: Dataset, metrics: dict[str, Metric]) -> dict[str, float]:
    """The metrics on `data` as the parameters are now."""
    if not metrics:
        return {}
    y = loop.outputs(data.x)
    return {name: float(metric(y, data.target)) for name, metric in metrics.items()}


def _end_epoch(optimizer: UpdateRule, loss: float) -> None:
    if hasattr(optimizer, "end_epoch"):
        optimizer.end_epoch(loss)


def _decide(history: History, stop: Callable[[History], bool] | None, epochs: int) -> None:
    """Write down why the run ends, if it does."""
    if not history.stopped and stop is not None and stop(history):
        history.stopped = getattr(stop, "__name__", repr(stop))
    if not history.stopped and history.epochs >= epochs:
        history.stopped = "all epochs done"


def _diverged(history: History, diverged: Diverged, optimizer: UpdateRule) -> FloatingPointError:
    """The error for a loss or parameter that is not finite; the optimizer forgets the moments that led there."""
    history.stopped = f"{diverged} in epoch {history.epochs}"
    if hasattr(optimizer, "forget"):
        optimizer.forget()
    at = "its initial parameters" if history.best_epoch is None else f"the parameters of epoch {history.best_epoch}"
    error = FloatingPointError(
        f"fit: {history.stopped} (counted from 0). Likely causes: a learning rate that is too high for {optimizer!r} "
        f"(clip_norm=1.0 helps too), or data that are not scaled. The model is left at {at}"
    )
    error.history = history  # type: ignore[attr-defined]
    return error
