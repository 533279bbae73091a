"""One run of training: what is checked before it, written down after every epoch, and left when it ends."""

import numbers
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import random
from ..arguments import positive
from ..data.dataset import Dataset
from ..engine import CannotLower, EngineMissing
from ..losses.multi import MultiLoss
from ..module import Module, UpdateRule
from ..optimizers import Optimizer, Schedule
from ..roles import require_function, require_functions, require_loss, require_model, require_optimizer
from .history import History
from .loop import Diverged, Epoch, Loop, PythonLoop
from .metrics import Metric, counting, measures, require_metrics
from .native_loop import NativeLoop
from .prepare import prepare
from .watch import Watch

if TYPE_CHECKING:
    from .checkpoint import Checkpoint, Keeping


@dataclass
class Run:
    """What a callback sees after every epoch: `callback(run)`.

    A callback that has methods `begin(run)` and `end(run)` is told, too, when a run begins and when it is over, however
    it ends. One that has a method `ahead(history)` says how many epochs may pass before it has to be called again,
    which lets the engine run them in one go; `stop` may have one too.

    model, loss, optimizer : what is being trained; parameters may be read and set. What is set after the best epoch (by
        its loss as it was recorded) stays: it is what keep="best" leaves.
    history : the record so far, the epoch that has just ended included.
    """

    model: Module
    loss: Module
    optimizer: UpdateRule
    history: History

    def stop(self, reason: str = "stopped by a callback") -> None:
        """End the run after this epoch."""
        self.history.stopped = reason


class Session:
    """A run, whoever makes its steps: `fit` lets the loop run, `fit_many` lends the loop's network to a queue.

    The arguments are those of `fit`. Everything is checked before anything is changed.

    loop : makes the steps. history : the record.
    """

    def __init__(
        self,
        model: Module,
        loss: Module,
        train: Any,
        *,
        epochs: int,
        batch_size: int,
        validation: Any,
        optimizer: UpdateRule | None,
        seed: int,
        shuffle: bool,
        keep: str,
        stop: Callable[[History], bool] | None,
        metrics: Iterable[Metric],
        callbacks: Iterable[Callable[[Run], None]],
        max_seconds: float | None,
        threads: int | None,
        engine: str,
        checkpoint: "Checkpoint | str | PathLike[str] | None" = None,
        resume: bool = False,
    ) -> None:
        require_model("fit", model)
        require_loss("fit", loss)
        optimizer = require_optimizer("fit", optimizer, model)
        self.metrics = measures(require_metrics("fit", metrics), loss)
        self.callbacks = require_functions("fit", "callbacks", callbacks)
        stop = None if stop is None else require_function("fit", "stop", stop)
        _check_options(keep, engine, max_seconds)
        self.epochs, batch_size = positive("fit", "epochs", epochs), positive("fit", "batch_size", batch_size)
        random.check_seed(seed)
        threads = None if threads is None else positive("fit", "threads", threads)
        data = prepare("fit", "train", train, model, loss)
        held_out = None if validation is None else prepare("fit", "validation", validation, model, loss)

        how = {"batch_size": batch_size, "seed": seed, "shuffle": shuffle}
        self.loop = _loop(engine, model, loss, optimizer, data, held_out, threads=threads, **how)
        _rehearse(self.loop, data, held_out)
        self.heads = (
            [str(key) for key in loss.heads] if isinstance(loss, MultiLoss) else []
        )  # as the History calls them
        self.keep, self.stop, self.max_seconds = keep, stop, max_seconds
        self.measured = counting(loss, data if held_out is None else held_out)
        modules = model.modules()
        reseed(modules, seed)
        self._training_mode = TrainingMode(modules)
        self.history = History(engine=self.loop.name)
        self.run = Run(model, loss, optimizer, self.history)
        self.before_s = 0.0  # of the same run, before it was interrupted
        self.asked, self.due = 0, 0  # epochs of which the callbacks know, and after which they are asked again
        self.keeping: Keeping | None = None
        if checkpoint is not None:
            try:
                self._keep(checkpoint, resume, model, loss, optimizer, data, held_out, keep=keep, **how)
            except BaseException:
                self.loop.finish()
                if self.keeping is not None:
                    self.keeping.close()
                raise
        elif resume:
            raise ValueError("fit: resume=True needs to know from where: checkpoint=…")

    def _keep(
        self, checkpoint: "Checkpoint | str | PathLike[str]", resume: bool, *made_of: Any, **settings: Any
    ) -> None:
        """Keep checkpoints, and begin where the last one is, if there is one, and that is what was asked for."""
        from .checkpoint import Checkpoint, Keeping  # here, because few runs keep any, and files take time to import

        checkpoint = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
        self.keeping = keeping = Keeping(checkpoint, *made_of, metrics=self.metrics, **settings)
        if not keeping.found():
            return
        if not resume:
            raise ValueError(
                f"fit: {keeping.checkpoint.path} holds a run already; resume=True goes on with it, "
                f"or choose another folder"
            )
        keeping.resume(self.loop, self.history)
        self.before_s = self.history.total_s

    def begin(self) -> None:
        """Enter training mode, and tell the callbacks, until `finish`."""
        self._training_mode.__enter__()
        self._turn()
        for callback in self.callbacks:
            getattr(callback, "begin", _ignore)(self.run)
            self._turn()
        if self.callbacks:
            self.loop.keep_what_was_set()
        if self.history.epochs:  # a run that goes on may have come to its end before
            self._ask()
        self._wait()

    def keep_checkpoint(self, watch: Watch, *, last: bool = False) -> None:
        """Write a checkpoint, if there are to be any, and it is time for one or the run has ended."""
        if self.keeping is None:
            return
        if last or self.keeping.due(self.history.best_epoch, watch.elapsed_s):
            self.history.total_s = self.before_s + watch.elapsed_s
            self.keeping.write(self.loop, self.history, watch.elapsed_s)
        watch.pause_s = self.keeping.due_s

    def _wait(self) -> None:
        """Find out how many epochs may pass before a metric, a callback, `stop` or a schedule has to be asked."""
        asked = [*self.callbacks, *([] if self.stop is None else [self.stop])]
        ahead = [getattr(one, "ahead", _one_epoch)(self.history) for one in asked]
        if self.metrics or self.loop.listens():
            ahead.append(1)
        self.asked = self.history.epochs
        self.due = min([self.epochs, *(self.asked + max(1, n) for n in ahead)])

    def record(self, finished: list[Epoch]) -> None:
        """Write down the epochs that the loop has finished.

        Raises Diverged if it cannot go on.
        """
        measured = self._measure() if finished else {}
        for epoch in finished:
            self.history.record(
                epoch.loss,
                epoch.validation_loss,
                measured,
                learning_rate=epoch.learning_rate,
                seconds=self.before_s + epoch.seconds,
                heads=dict(zip(self.heads, epoch.heads, strict=False)),
                validation_heads=dict(zip(self.heads, epoch.validation_heads, strict=False)),
            )
            _end_epoch(self.run.optimizer, epoch.monitored)
        self.history.steps = self.loop.steps
        if self.loop.diverged:
            raise Diverged(self.loop.diverged)

    def decide(self) -> None:
        """Ask the callbacks and `stop`, if it is time to, and write down why the run ends, if it does."""
        if self.history.epochs < self.due:
            return
        self._call(self.callbacks)
        self._ask()
        self._wait()

    def _call(self, callbacks: list[Callable[[Run], None]]) -> None:
        """Call these, and let what they set belong to the epoch that has just ended."""
        for callback in callbacks:
            callback(self.run)
            self._turn()
        if callbacks:
            self.loop.keep_what_was_set()

    def _turn(self) -> None:
        """Have the schedule count for this network; a callback may have trained another one meanwhile."""
        if isinstance(self.run.optimizer, Optimizer) and isinstance(self.run.optimizer.lr, Schedule):
            self.run.optimizer.turn_to(self.loop.parameters)

    def _ask(self) -> None:
        """Ask `stop`, and look whether all epochs are done."""
        history = self.history
        if not history.stopped and self.stop is not None and self.stop(history):
            history.stopped = getattr(self.stop, "__name__", repr(self.stop))
        if not history.stopped and history.epochs >= self.epochs:
            history.stopped = "all epochs done"

    def diverge(self, diverged: Diverged) -> FloatingPointError:
        """Go back to the best parameters, and return the error for a loss or parameter that is not finite."""
        self.loop.give_back_best()
        return _diverged(self.history, diverged, self.run)

    def finish(self, elapsed_s: float, reason: str) -> None:
        """Hand everything back to Python; `reason` is why the run ended within an epoch, if it did."""
        history = self.history
        try:
            history.steps, history.total_s = self.loop.steps, self.before_s + elapsed_s
            history.stopped = history.stopped or f"{reason} in epoch {history.epochs}"
            if self.asked < history.epochs:  # while the parameters are still those of the last epoch
                self._call([callback for callback in self.callbacks if hasattr(callback, "ahead")])
        finally:
            self._hand_back()

    def _hand_back(self) -> None:
        """Leave the model and the optimizer as the run made them, whatever a callback has raised at its end."""
        history = self.history
        try:
            self.loop.finish()
            if self.keep == "best" and history.best_epoch is not None:
                self.loop.give_back_best()
        finally:
            self._training_mode.__exit__(None, None, None)
            if self.keeping is not None:
                self.keeping.close()
            with ExitStack() as ends:  # each is told, whatever another one raises
                for callback in reversed(self.callbacks):
                    ends.callback(getattr(callback, "end", _ignore), self.run)

    def _measure(self) -> dict[str, float]:
        """The metrics as the parameters are now."""
        if not self.metrics:
            return {}
        data, y = self.measured, self.loop.outputs(self.measured.x)
        return {name: measure(y, data) for name, measure in self.metrics.items()}


def _one_epoch(history: History) -> int:
    """How many epochs may pass before somebody is asked who does not say."""
    return 1


def _ignore(run: Run) -> None:
    """What a callback that is a plain function does when a run begins or ends."""


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
def carrying(history: History) -> Iterator[None]:
    """Let whatever is raised inside carry the History along, as `error.history`: a full disk must not lose it."""
    try:
        yield
    except BaseException as error:
        with suppress(AttributeError, TypeError):  # of an exception that takes no attributes
            error.history = history  # type: ignore[attr-defined]
        raise


class TrainingMode:
    """Training mode inside the block, and each module's own mode after it, however often and early it is left."""

    def __init__(self, modules: list[Module]) -> None:
        self.before = [(module, module.training) for module in modules]

    def __enter__(self) -> None:
        for module, _ in self.before:
            vars(module)["training"] = True  # so set, it is not told to compiled networks: they need not know

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for module, mode in self.before:
            vars(module)["training"] = mode


def reseed(modules: list[Module], seed: int) -> None:
    """Give each module that draws random numbers its own place in the sequence of `seed`."""
    drawing = [module for module in modules if hasattr(module, "reseed")]
    for layer, module in enumerate(drawing):
        module.reseed(seed, layer)


def _check_options(keep: str, engine: str, max_seconds: float | None) -> None:
    if engine not in ("auto", "native", "python"):
        raise ValueError(f'fit: engine must be "auto", "native" or "python", got {engine!r}')
    if keep not in ("best", "last"):
        raise ValueError(f'fit: keep must be "best" or "last", got {keep!r}')
    if max_seconds is not None and (not isinstance(max_seconds, numbers.Real) or not max_seconds > 0):
        raise ValueError(f"fit: max_seconds must be a positive number, got {max_seconds!r}")


def _rehearse(loop: Loop, data: Dataset, held_out: Dataset | None) -> None:
    """Refuse what does not fit before anything is changed."""
    try:
        loop.rehearse("train", data)
        if held_out is not None:
            loop.rehearse("validation", held_out)
    except BaseException:
        loop.finish()
        raise


def _end_epoch(optimizer: UpdateRule, loss: float) -> None:
    if hasattr(optimizer, "end_epoch"):
        optimizer.end_epoch(loss)


def _diverged(history: History, diverged: Diverged, run: Run) -> FloatingPointError:
    """The error for a loss or parameter that is not finite; the optimizer forgets the moments that led there."""
    history.stopped, optimizer = f"{diverged} in epoch {history.epochs}", run.optimizer
    if isinstance(optimizer, Optimizer):
        optimizer.forget(run.model.param())  # what it knows of other networks is sound
    elif hasattr(optimizer, "forget"):
        optimizer.forget()
    at = "its initial parameters" if history.best_epoch is None else f"the parameters of epoch {history.best_epoch}"
    error = FloatingPointError(
        f"fit: {history.stopped} (counted from 0). Likely causes: a learning rate that is too high for {optimizer!r} "
        f"(clip_norm=1.0 helps too), or data that are not scaled. The model is left at {at}"
    )
    error.history = history  # type: ignore[attr-defined]
    return error
