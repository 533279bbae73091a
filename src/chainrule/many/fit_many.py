"""Training many networks: one call, all cores, no network touched by another."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from .. import random
from ..data import Dataset
from ..engine import native
from ..module import Module, Parameter, is_update_rule, outside_inference
from ..roles import require_loss, require_model, require_optimizer
from ..train.fit import go
from ..train.in_files import is_in_files
from ..train.native_loop import NativeLoop
from ..train.options import CONFIGURABLE, OF_ONE_RUN, ChosenOfMany, Options, chosen, takes_options
from ..train.prepare import as_dataset, prepare, reference
from ..train.progress import Progress
from ..train.session import Session
from ..train.watch import Watch
from .configurations import Job, configurations, folds_of, jobs, seeds_of
from .crew import Crew
from .results import Result, Results

if TYPE_CHECKING:
    from typing_extensions import Unpack


@takes_options(without=OF_ONE_RUN)
@outside_inference()
def fit_many(
    build: Callable[..., Module],
    loss: Module,
    train: Any,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    configs: Iterable[Mapping[str, Any]] | None = None,
    seeds: int | Iterable[int] = 1,
    folds: int | Iterable[Any] | None = None,
    **options: "Unpack[ChosenOfMany]",
) -> Results:
    """Train a network for every configuration × fold × seed.

    Parameters
    ----------
    build : a function of a configuration that returns a new model. What it draws (initial weights) follows from the
        seed, which it is also given if it has an argument `seed`. No two networks may share a Parameter.
    loss, train : as in `fit`.
    grid : by name, lists of values, of which every combination is a configuration. configs : or a list of
        configurations, each a dict. A configuration sets arguments of `build`, and any of batch_size, epochs, keep,
        loss, max_seconds, optimizer, shuffle, stop and train_size: the number of samples to learn from, the first ones.
    seeds : how many networks of each configuration, or their seeds; of initial weights, order of samples and dropout.
    folds : a number of parts to divide `train` into, at random, each network held to one and trained on the others; or
        pairs of positions (training, held out), such as scikit-learn's splitters yield.
    threads : how many networks are trained at a time; by default as many as there are cores.
    all other options : as in `fit`, for each network on its own; every network gets an optimizer and a loss of its own,
        copies of these or of what `build` has given it.
    progress : show a bar that counts networks; by default, if standard error is a terminal.

    Returns   Results. A network that fails has the reason in its row, and no other notices. Ctrl-C ends the networks
              that are being trained, between two steps, and returns with them and all that were finished

    Every network ends with the bits that it gets alone, from `cr.seed(seed); model = build(…)` and
    `cr.fit(model, loss, train, seed=seed, …)`.

    Raises ValueError or TypeError for names that nobody knows and counts that cannot be, before anything trains.
    """
    common = chosen("fit_many", options, without=OF_ONE_RUN)
    if folds is not None and common.validation is not None:
        raise ValueError("fit_many: give folds or validation, not both: each fold is held to what it leaves out")
    data = as_dataset("fit_many", "train", train)
    held_out = None if common.validation is None else as_dataset("fit_many", "validation", common.validation)
    data, held_out = _in_memory("train", data), None if held_out is None else _in_memory("validation", held_out)
    listed, seeds, parts = configurations(grid, configs), seeds_of(seeds), folds_of(folds, data)
    queue = jobs(build, listed, seeds, parts, len(data))
    for how in [{"loss": loss, "optimizer": common.optimizer}, *(job.options for job in queue)]:
        require_loss("fit_many", how.get("loss", loss))
        if how.get("optimizer") is not None:
            require_optimizer("fit_many", how["optimizer"], None)
            _require_no_groups(how["optimizer"])
    shares = Shares(data, held_out)
    threads = native.cores() if common.threads is None else common.threads
    results: dict[int, Result] = {}
    waiting = iter(enumerate(queue))
    numbers: dict[Session, int] = {}
    known: WeakSet[Parameter] = WeakSet()

    def begin(number: int, job: Job) -> None:
        """Build a network, and lend it to the crew; or train it here, if the engine does not know it."""
        result = results[number] = Result(job.configuration, job.seed, job.fold.number)
        try:
            with random.seeded(job.seed):
                result.model = build(**job.of_build, **({"seed": job.seed} if job.takes_seed else {}))
            _require_own_parameters(result.model, known)
            session = _session(result.model, loss, job, common, shares)
            result.history = session.history
            if isinstance(session.loop, NativeLoop):
                session.begin()
                numbers[session] = number
                crew.lend(session)
                return
            go(session, Watch(session.options.max_seconds, within=watch))
        except Exception as error:  # whatever it is, it is this network's, and the others go on
            result.error = _named(error)
        show(result)

    def end(back: Any) -> None:
        """Write down what came of a network; lend it again if it has further to go."""
        session, number = back.session, numbers[back.session]
        result = results[number]
        try:
            if back.error:
                raise RuntimeError(back.error)
            session.record(back.finished)
            if session.goes_on(back.finished, watch) and not (back.interrupted or watch.reason()):
                crew.lend(session, back.seconds)
                return
        except Exception as error:  # of a metric, or a function that decides when to stop
            result.error = _named(error)
        del numbers[session]
        session.finish(back.seconds, watch.reason() or f"max_seconds={session.options.max_seconds} were over")
        show(result)

    def show(result: Result) -> None:
        losses = [r.loss for r in results.values() if not np.isnan(r.loss)] if bar.shown else []
        failed = sum(bool(r.error) for r in results.values()) if bar.shown else 0
        bar.advance(1, {"best": f"{min(losses, default=np.nan):.4g}"} | ({"failed": failed} if failed else {}))

    quiet = np.errstate(over="ignore", invalid="ignore")  # a loss that is not finite is an error of its network
    bar = Progress(len(queue), common.progress, unit="network")
    with Watch() as watch, bar, quiet, Crew(threads) as crew:
        while True:
            if watch.reason():
                crew.stop()
            while crew.has_room() and not watch.reason() and (following := next(waiting, None)) is not None:
                begin(*following)
            if not crew.begun:
                break
            for back in crew.returned():
                end(back)
    return Results([results[i] for i in sorted(results)], len(queue), watch.elapsed_s, threads)


class Shares:
    """The data of each fold, prepared once for all networks that compute in the same dtype."""

    def __init__(self, data: Dataset, held_out: Dataset | None) -> None:
        self.data, self.held_out = data, held_out
        self.prepared: dict[Any, tuple[Dataset, Dataset | None]] = {}

    def of(self, job: Job, model: Module, loss: Module) -> tuple[Dataset, Dataset | None]:
        """What a network learns from, and what it is held to."""
        like, size = reference(model), job.options.get("train_size")
        key = (
            job.fold.number,
            size,
            type(like),
            getattr(like, "dtype", None),
            getattr(like, "device", None),
            # What each head takes for its target.
            tuple((name, type(one), getattr(one, "missing", None)) for name, one in loss.named_modules()),
        )
        if key not in self.prepared:
            train, held_out = self.data, self.held_out
            if job.fold.train is not None:
                train, held_out = self.data.take(job.fold.train), self.data.take(job.fold.held_out)
            if size is not None:
                train = train.take(slice(0, size))
            self.prepared[key] = (
                prepare("fit_many", "train", train, model, loss),
                None if held_out is None else prepare("fit_many", "validation", held_out, model, loss),
            )
        return self.prepared[key]


def _in_memory(name: str, data: Dataset) -> Dataset:
    """The data, read if they are in files and no more than a window."""
    if not is_in_files(data):
        return data
    if len(data) > data.window:
        raise ValueError(
            f"fit_many: {name} must be in memory, got {data!r}: networks that train side by side would each read the "
            f"files; take(slice(0, n)).read() reads a part, and a larger window of Dataset.open all"
        )
    return data.read()


def _require_no_groups(optimizer: Any) -> None:
    """Raise ValueError for groups of Parameters that no network will have."""
    if getattr(optimizer, "groups", ()):
        raise ValueError(
            "fit_many: groups of an optimizer are of the Parameters of one network, and each network gets its own; let "
            "build give the network its optimizer: Sequential(Adam(groups=…), …)"
        )


def _require_own_parameters(model: Module, known: "WeakSet[Parameter]") -> None:
    """Raise ValueError if another network of the same call has one of the model's Parameters; else note them."""
    require_model("build", model)
    for name, parameter in model.named_parameters():
        if parameter in known:
            raise ValueError(
                f"{name} of this network is a Parameter of another one too, and each has to be trained on its own; "
                f"let build make new layers, or copies: copy.deepcopy(layer)"
            )
    known.update(model.param())


def _session(model: Module, loss: Module, job: Job, common: Options, shares: Shares) -> Session:
    how = {name: value for name, value in job.options.items() if name in CONFIGURABLE}
    loss, optimizer = (
        copy.deepcopy(job.options.get("loss", loss)),
        copy.deepcopy(how.pop("optimizer", common.optimizer)),
    )
    own: Any = getattr(model, "optimizer", None)
    if optimizer is None and is_update_rule(own):  # which `build` may have given to other networks too
        itself = {id(parameter): parameter for parameter in model.param()}  # for what it remembers of this one
        vars(model)["optimizer"] = copy.deepcopy(own, dict(itself))
    train, held_out = shares.of(job, model, loss)
    options = replace(common, **how, validation=held_out, optimizer=optimizer, seed=job.seed, threads=1)
    return Session(model, loss, train, options)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
