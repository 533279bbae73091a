"""One run of training: what is checked before it, written down after every epoch, and left when it ends."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arrays
from ..averages import Averaged
from ..data.dataset import Dataset
from ..engine import CannotLower, EngineMissing
from ..losses.multi import MultiLoss
from ..module import Module, UpdateRule
from ..optimizers import Optimizer, Schedule
from ..roles import require_loss, require_model, require_optimizer
from .accumulation import AccumulatingLoop
from .history import History
from .in_files import is_in_files
from .loop import Epoch, Loop, PythonLoop
from .metrics import Measure, counting, measures
from .native_loop import NativeLoop
from .options import Options
from .prepare import prepare
from .watch import Watch
from .windowed_loop import WindowedLoop

if TYPE_CHECKING:
    from .checkpoint import Keeping

FEW = 32  # rows on which metrics are tried before a run


@dataclass
class Run:
    """What a callback sees after every epoch: `callback(run)`.

    A callback that has methods `begin(run)` and `end(run)` is told, too, when a run begins and when it is over, however
    it ends. One that has a method `ahead(history)` says how many epochs may pass before it has to be called again,
    which lets the engine run them in one go; `stop` may have one too.

    model, loss, optimizer : what is being trained; parameters may be read and set. What is set after the best epoch (by
        its loss as it was recorded) stays: it is what keep="best" leaves.
    history : the record so far, the epoch that has just ended included.
    average : with `fit(average=…)` that of the parameters so far; `model` holds those that are trained. Within
        `with run.average.shown():` it holds the average.
    """

    model: Module
    loss: Module
    optimizer: UpdateRule
    history: History
    average: Averaged | None = None

    def stop(self, reason: str = "stopped by a callback") -> None:
        """End the run after this epoch."""
        self.history.stopped = reason


class Session:
    """A run, whoever makes its steps: `fit` lets the loop run, `fit_many` lends the loop's network to a queue.

    Both go through `begin`, then `record` and `goes_on` for the epochs that the loop has finished, and `finish`,
    whatever happens. Everything is checked before anything is changed.

    options : what `fit` was told. loop : makes the steps. history : the record.
    """

    def __init__(self, model: Module, loss: Module, train: Any, options: Options) -> None:
        require_model("fit", model)
        require_loss("fit", loss)
        optimizer = require_optimizer("fit", options.optimizer, model)
        self.options = options
        self.metrics = measures(options.metrics, loss)
        data = prepare("fit", "train", train, model, loss)
        held_out = None if options.validation is None else prepare("fit", "validation", options.validation, model, loss)

        self.loop = _loop(model, loss, optimizer, data, held_out, options)
        _rehearse(self.loop, data, held_out)
        # As the History calls them.
        self.heads = [str(key) for key in loss.heads] if isinstance(loss, MultiLoss) else []
        self.measured = _measured(loss, data if held_out is None else held_out, self.metrics)
        self.data = {"train": data} | ({} if held_out is None else {"validation": held_out})
        _try(self.metrics, self.loop, self.measured)
        modules = self.loop.modules
        reseed(modules, options.seed)
        self._training_mode = TrainingMode(modules)
        average = options.average
        self.history = History(engine=self.loop.name, average="" if average is None else repr(average))
        self.run = Run(model, loss, optimizer, self.history, self.loop.average)
        self.steps_per_epoch = -(-len(data) // (options.batch_size * options.accumulate))
        self.before_s = 0.0  # of the same run, before it was interrupted
        self.asked, self.due = 0, 0  # epochs of which the callbacks know, and after which they are asked again
        self.keeping: Keeping | None = None
        if options.checkpoint is not None:
            try:
                self._keep(options, model, loss, optimizer, data, held_out)
            except BaseException:
                self.loop.finish()
                if self.keeping is not None:
                    self.keeping.close()
                raise

    def _keep(self, options: Options, *made_of: Any) -> None:
        """Keep checkpoints, and begin where the last one is, if there is one, and that is what was asked for."""
        from .checkpoint import Checkpoint, Keeping  # here, because few runs keep any, and files take time to import

        checkpoint: Any = options.checkpoint
        checkpoint = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
        settings = {name: getattr(options, name) for name in ("keep", "batch_size", "seed", "shuffle")}
        if options.accumulate > 1:
            settings["accumulate"] = options.accumulate
        if options.average is not None:
            settings["average"] = repr(options.average)
        self.keeping = keeping = Keeping(checkpoint, *made_of, metrics=self.metrics, **settings)
        if not keeping.found():
            return
        if not options.resume:
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
        for callback in self.options.callbacks:
            getattr(callback, "begin", _ignore)(self.run)
            self._turn()
        if self.options.callbacks:
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
        options = self.options
        asked = [*options.callbacks, *([] if options.stop is None else [options.stop])]
        ahead = [getattr(one, "ahead", _one_epoch)(self.history) for one in asked]
        if self.metrics or self.loop.listens():
            ahead.append(1)
        self.asked = self.history.epochs
        self.due = min([options.epochs, *(self.asked + max(1, n) for n in ahead)])

    def record(self, finished: list[Epoch]) -> None:
        """Write down the epochs that the loop has finished.

        Raises FloatingPointError, with the model back at its best parameters, if the loss or a parameter is not finite.
        """
        measured = self._measure() if finished else {}
        for epoch in finished:
            self.history.record(
                epoch.loss,
                epoch.validation_loss,
                measured,
                learning_rate=epoch.learning_rate,
                seconds=self.before_s + epoch.seconds,
                heads=self._by_head(epoch.heads),
                validation_heads=self._by_head(epoch.validation_heads),
                group_rates=self._group_rates(),
            )
            _end_epoch(self.run.optimizer, epoch.monitored)
        self.history.steps = self.loop.steps
        if self.loop.diverged:
            self.loop.give_back_best()
            raise _diverged(self.history, self.loop.diverged, self.run, self.data)

    def _by_head(self, losses: tuple[float, ...]) -> dict[str, float]:
        """The losses of the heads as the History names them; none where there is one head, or no validation data."""
        return dict(zip(self.heads, losses, strict=True)) if losses else {}

    def _group_rates(self) -> dict[str, float]:
        """The learning rates of the optimizer's groups when the epoch began that is to be written down now."""
        optimizer = self.run.optimizer
        if not isinstance(optimizer, Optimizer) or not optimizer.groups:
            return {}
        since = self.loop.steps - self.history.epochs * self.steps_per_epoch
        now = {"steps": max(0, optimizer.steps - since), "epochs": optimizer.epochs}
        return {str(i): group.lr_at(**now) for i, group in enumerate(optimizer.groups)}

    def goes_on(self, finished: list[Epoch], watch: Watch) -> bool:
        """Ask the callbacks and `stop`, if it is time to, and write down why the run ends, if it does."""
        if finished and self.history.epochs >= self.due:
            self._call(self.options.callbacks)
            self._ask()
            self._wait()
        return not self.history.stopped and (bool(finished) or not watch.reason())

    def _call(self, callbacks: Iterable[Callable[[Run], None]]) -> None:
        """Call these, and let what they set belong to the epoch that has just ended."""
        for callback in callbacks:
            callback(self.run)
            self._turn()
        if callbacks:
            self.loop.keep_what_was_set()

    def _turn(self) -> None:
        """Have the schedule count for this network; a callback may have trained another one meanwhile."""
        optimizer = self.run.optimizer
        if isinstance(optimizer, Optimizer) and any(isinstance(rule.lr, Schedule) for rule in optimizer.rules):
            optimizer.turn_to(self.loop.parameters)

    def _ask(self) -> None:
        """Ask `stop`, and look whether all epochs are done."""
        history, stop = self.history, self.options.stop
        if not history.stopped and stop is not None and stop(history):
            history.stopped = getattr(stop, "__name__", repr(stop))
        if not history.stopped and history.epochs >= self.options.epochs:
            history.stopped = "all epochs done"
        average = self.run.average
        if history.stopped and average is not None and not average.taken and self.keeping is None:  # nor does it go on
            warnings.warn(
                f"fit: {average.average!r} has taken in no weights by the end of epoch {history.epochs - 1}, counted "
                "from 0; the model has those that were trained",
                stacklevel=6,  # the caller of `fit`
            )

    def finish(self, elapsed_s: float, reason: str) -> None:
        """Hand everything back to Python; `reason` is why the run ended within an epoch, if it did."""
        history = self.history
        try:
            history.steps, history.total_s = self.loop.steps, self.before_s + elapsed_s
            history.stopped = history.stopped or f"{reason} in epoch {history.epochs}"
            if self.asked < history.epochs:  # while the parameters are still those of the last epoch
                self._call([callback for callback in self.options.callbacks if hasattr(callback, "ahead")])
        finally:
            self._hand_back()

    def _hand_back(self) -> None:
        """Leave the model and the optimizer as the run made them, whatever a callback has raised at its end."""
        history = self.history
        try:
            self.loop.finish()
            if self.options.keep == "best" and history.best_epoch is not None:
                self.loop.give_back_best()
        finally:
            self._training_mode.__exit__(None, None, None)
            if self.keeping is not None:
                self.keeping.close()
            with ExitStack() as ends:  # each is told, whatever another one raises
                for callback in reversed(list(self.options.callbacks)):
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
    model: Module, loss: Module, optimizer: Any, data: Dataset, held_out: Dataset | None, options: Options
) -> Loop:
    """The native loop where the engine knows everything that is asked for, else the Python loop."""
    how: dict[str, Any] = {name: getattr(options, name) for name in ("batch_size", "seed", "shuffle", "average")}
    python: type[PythonLoop] = PythonLoop
    if options.accumulate > 1:
        python, how = AccumulatingLoop, how | {"accumulate": options.accumulate}
    if options.engine == "python":
        return python(model, loss, optimizer, data, held_out, **how)
    native = WindowedLoop if is_in_files(data) or is_in_files(held_out) else NativeLoop
    try:
        return native(model, loss, optimizer, data, held_out, threads=options.threads, **how)
    except (CannotLower, EngineMissing) as reason:
        if options.engine == "native":
            raise ValueError(f'fit: engine="native" cannot run this: {reason}') from None
        loop = python(model, loss, optimizer, data, held_out, **how)
        loop.name = f"python, as the engine does not know {reason}"
        if isinstance(reason, EngineMissing):
            loop.name = f"python, as {reason}"
        return loop


def _measured(loss: Module, data: Dataset, metrics: Mapping[str, Measure]) -> Dataset:
    """The samples that metrics are asked of, after each epoch."""
    if not is_in_files(data):
        return counting(loss, data)
    if metrics:
        raise ValueError(
            f"fit: {', '.join(metrics)} would be asked of {len(data):,} samples in files after each epoch, and metrics "
            f"need all outputs in memory; give validation data of no more than a window, {data.window:,} samples"
        )
    return data


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

    def __init__(self, modules: Iterable[Module]) -> None:
        self.before = [(module, module.training) for module in modules]

    def __enter__(self) -> None:
        for module, _ in self.before:
            vars(module)["training"] = True  # so set, it is not told to compiled networks: they need not know

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for module, mode in self.before:
            vars(module)["training"] = mode


def reseed(modules: Iterable[Module], seed: int) -> None:
    """Give each module that draws random numbers its own place in the sequence of `seed`."""
    drawing = [module for module in modules if hasattr(module, "reseed")]
    for layer, module in enumerate(drawing):
        module.reseed(seed, layer)


def _rehearse(loop: Loop, data: Dataset, held_out: Dataset | None) -> None:
    """Refuse what does not fit before anything is changed."""
    try:
        loop.rehearse("train", data)
        if held_out is not None:
            loop.rehearse("validation", held_out)
    except BaseException:
        loop.finish()
        raise


def _try(metrics: Mapping[str, Measure], loop: Loop, data: Dataset) -> None:
    """Raise now what a metric raises, and not after an epoch, which may take hours.

    Each is asked of a few rows from all over the data, and of all of them only if it does not take those.
    """
    if not metrics:
        return
    few = data.take(np.linspace(0, len(data) - 1, FEW).astype(int)) if len(data) > FEW else data
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # whether they fit is the question, not what they give
            y = loop.outputs(few.x)
            for measure in metrics.values():
                if not _takes(measure, y, few):
                    measure(loop.outputs(data.x), data)
    except BaseException:
        loop.finish()
        raise


def _takes(measure: Measure, y: Any, data: Dataset) -> bool:
    try:
        measure(y, data)
    except Exception:  # whatever it is, it is raised again if all rows do no better
        return False
    return True


def _end_epoch(optimizer: UpdateRule, loss: float) -> None:
    if hasattr(optimizer, "end_epoch"):
        optimizer.end_epoch(loss)


def _diverged(history: History, diverged: str, run: Run, data: Mapping[str, Dataset]) -> FloatingPointError:
    """The error for a loss or parameter that is not finite; the optimizer forgets the moments that led there."""
    history.stopped, optimizer = f"{diverged} in epoch {history.epochs}", run.optimizer
    if isinstance(optimizer, Optimizer):
        optimizer.forget(run.model.param())  # what it knows of other networks is sound
    elif hasattr(optimizer, "forget"):
        optimizer.forget()
    at = "its initial parameters" if history.best_epoch is None else f"the parameters of epoch {history.best_epoch}"
    error = FloatingPointError(
        f"fit: {history.stopped} (counted from 0). Likely causes: {_odd(data)}a learning rate that is too high for "
        f"{optimizer!r} (clip_norm=1.0 helps too), or data that are not scaled. The model is left at {at}"
    )
    error.history = history  # type: ignore[attr-defined]
    return error


def _odd(data: Mapping[str, Dataset]) -> str:
    """What goes along for the loss and is not finite, which may mean something to it, as words before other causes."""
    found = ""
    for name, some in data.items():
        for of, array in some.extra.items():
            if len(rows := np.argwhere(~np.isfinite(arrays.to_numpy(array)))):
                place = tuple(rows[0])
                found += f"{name}.extra[{of!r}], which holds {arrays.to_numpy(array)[place]} in row {place[0]}; "
    return found
