"""The options of training: each has its name, type, default, check and words here, and is used where it is needed.

`Options` is what the rest of training reads. `fit` and `fit_many` take options as `**options`; `takes_options` gives
them the signature and the words that a user sees, and `Chosen` tells type checkers the same.
"""

import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, InitVar, dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from .. import random
from ..arguments import choice, flag, positive
from ..averages import Average, require_average
from ..module import UpdateRule
from ..roles import require_function, require_functions
from .history import History
from .metrics import Metric, require_metrics

if TYPE_CHECKING:
    from typing_extensions import Required

    from .checkpoint import Checkpoint
    from .session import Run

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True, eq=False)
class Options:
    """How to train, besides what is trained on what.

    Parameters
    ----------
    epochs : how often every sample is visited.
    batch_size : samples per step; the last batch of an epoch may be smaller.
    accumulate : batches per step: their gradients are added up, and one update made of them. The numbers are those of
        a batch so many times as large, to rounding, in the memory of one; only each batch draws its own dropout mask,
        and BatchNorm goes by each batch.
    validation : data like `train` that are only looked at.
    optimizer : the rule of the updates; the model's own unless given. What it remembers of this model (moments, how far
        a schedule has come) goes on where an earlier run left it.
    seed : of the order of samples and of the dropout masks; the same seed gives the same run. To go on training in
        another order, give another seed.
    shuffle : visit the samples in an order that is new in every epoch, or as they come.
    keep : "best" leaves the parameters and running statistics of the epoch with the lowest loss (validation loss where
        there is one), "last" those of the last epoch.
    average : an average of the weights, `EMA(0.999)` or `SWA(start)`. What is trained stays as it is; but validation
        loss and metrics, and so `stop` and `keep`, are of the averaged weights, and these the model is left with.
        Running statistics stay those of the weights that are trained; `update_bn` takes them anew.
        `History.losses` are of the weights that are trained, and the loss that decides where there is no validation.
    stop : a function of the History that says True to end the run, such as `EarlyStopping(patience=10)`.
    metrics : functions (y, target) or (y, target, sample_weight) -> number, computed after every epoch on the
        validation data, or else on `train`, of the rows that the loss counts and with their weights; those of
        `chainrule.metrics` and of sklearn.metrics of the classes and probabilities that the outputs mean to the loss,
        as in `evaluate`. With a MultiLoss by head: {"kind": [accuracy], "size": [r2]}. See `chainrule.metrics`. Before
        the first step each is tried on a few rows, so that one that cannot be raises then.
    callbacks : functions called with a `Run` after every epoch; `chainrule.callbacks` has some.
    progress : show a progress bar; by default, if standard error is a terminal.
    max_seconds : end the run after this many seconds, between two steps.
    checkpoint : a folder, or a Checkpoint, to write down how far the run has come: every ten seconds, at best epochs,
        and at the end.
    resume : go on from the checkpoint in that folder, if there is one, and end with the bits of a run that was never
        interrupted. What the numbers depend on must be as it was; `epochs` may be more.
    threads : the most threads that a step may use, natively; by default as many as there are cores and pay for it. The
        numbers do not depend on it.
    engine : "auto" runs natively whatever the engine knows and the rest in Python, and `History.engine` says which;
        "native" raises ValueError for what it does not know; "python" never asks it. The two agree to rounding, but
        denormal numbers are 0 to the engine (see `compile`).
    """

    epochs: int
    batch_size: int = 32
    accumulate: int = 1
    validation: Any = None
    optimizer: UpdateRule | None = None
    seed: int = 0
    shuffle: bool = True
    keep: str = "best"
    average: Average | None = None
    stop: Callable[[History], bool] | None = None
    metrics: Iterable[Metric] | Mapping[Any, Iterable[Metric]] = ()
    callbacks: Iterable[Callable[["Run"], None]] = ()
    progress: bool | None = None
    max_seconds: float | None = None
    checkpoint: "Checkpoint | str | PathLike[str] | None" = None
    resume: bool = False
    threads: int | None = None
    engine: str = "auto"
    who: InitVar[str] = "fit"

    def __post_init__(self, who: str) -> None:
        """Refuse what no option can be; what depends on the model and the data is for the session."""
        choice(who, "engine", self.engine, ("auto", "native", "python"))
        choice(who, "keep", self.keep, ("best", "last"))
        shuffle, resume = flag(who, "shuffle", self.shuffle), flag(who, "resume", self.resume)
        seconds = self.max_seconds
        if seconds is not None and (not isinstance(seconds, numbers.Real) or not seconds > 0):
            raise ValueError(f"{who}: max_seconds must be a positive number, got {seconds!r}")
        if self.average is not None:
            require_average(who, self.average)
        if self.stop is not None:
            require_function(who, "stop", self.stop)
        random.check_seed(self.seed)
        if resume and self.checkpoint is None:
            raise ValueError(f"{who}: resume=True needs to know from where: checkpoint=…")
        vars(self).update(  # lists, plain integers and truth values from here on
            epochs=positive(who, "epochs", self.epochs),
            batch_size=positive(who, "batch_size", self.batch_size),
            accumulate=positive(who, "accumulate", self.accumulate),
            shuffle=shuffle,
            resume=resume,
            threads=None if self.threads is None else positive(who, "threads", self.threads),
            metrics=require_metrics(who, self.metrics),
            callbacks=require_functions(who, "callbacks", self.callbacks),
        )


# What may differ from network to network of fit_many, by its configurations.
CONFIGURABLE = (
    "accumulate",
    "average",
    "batch_size",
    "epochs",
    "keep",
    "max_seconds",
    "optimizer",
    "shuffle",
    "stop",
)
# What a run among many has not: its seed is one of `seeds`, and there is no one thing to watch or to write down.
OF_ONE_RUN = ("seed", "callbacks", "checkpoint", "resume")


class ChosenOfMany(TypedDict, total=False):
    """The options of `fit_many` for type checkers; a test holds them against Options."""

    epochs: "Required[int]"
    batch_size: int
    accumulate: int
    validation: Any
    optimizer: UpdateRule | None
    shuffle: bool
    keep: str
    average: Average | None
    stop: Callable[[History], bool] | None
    metrics: Iterable[Metric] | Mapping[Any, Iterable[Metric]]
    progress: bool | None
    max_seconds: float | None
    threads: int | None
    engine: str


class Chosen(ChosenOfMany, total=False):
    """The options of `fit` for type checkers."""

    seed: int
    callbacks: Iterable[Callable[["Run"], None]]
    checkpoint: "Checkpoint | str | PathLike[str] | None"
    resume: bool


# Where others have what is no option here.
ELSEWHERE = dict.fromkeys(("lr", "learning_rate", "scheduler"), "; an optimizer has the rate: optimizer=Adam(lr=…)")
ELSEWHERE |= {"sample_weight": "; weights go with the data: (x, target, sample_weight)"}
ELSEWHERE |= dict.fromkeys(("validation_data", "val_data"), "; it is called validation")

NAMES = tuple(field.name for field in fields(Options))


def chosen(who: str, options: Mapping[str, Any], without: tuple[str, ...] = ()) -> Options:
    """The Options that somebody gave to the function `who`.

    Raises TypeError for a name that is none of them, and without `epochs`.
    """
    for name in options:
        if name not in NAMES or name in without:
            raise TypeError(f"{who}() got an unexpected keyword argument {name!r}{ELSEWHERE.get(name, '')}")
    if "epochs" not in options:
        raise TypeError(f"{who}() missing 1 required keyword-only argument: 'epochs'")
    return Options(**options, who=who)


def takes_options(without: tuple[str, ...] = ()) -> Callable[[Function], Function]:
    """Give a function of `**options` the signature, the types and the words of the options that it takes.

    Where its docstring has a line "options", theirs come in its place.
    """

    def told(function: Function) -> Function:
        own = inspect.signature(function)
        named = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        for field in fields(Options):
            if field.name not in without:
                default = inspect.Parameter.empty if field.default is MISSING else field.default
                kind = inspect.Parameter.KEYWORD_ONLY
                named.append(inspect.Parameter(field.name, kind, default=default, annotation=field.type))
        function.__signature__ = own.replace(parameters=named)  # type: ignore[attr-defined]
        function.__annotations__ = {p.name: p.annotation for p in named} | {"return": own.return_annotation}
        words = inspect.cleandoc(Options.__doc__ or "").partition("----------\n")[2]
        doc = inspect.cleandoc(function.__doc__ or "")
        function.__doc__ = doc.replace("\noptions\n", f"\n{words}\n")
        return function

    return told
