"""Training: epochs, the best parameters, and everything that can stop a run."""

from collections.abc import Callable, Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from ..module import Module, UpdateRule, outside_inference
from .history import History
from .loop import Diverged
from .metrics import Metric
from .progress import Progress
from .session import Run, Session, carrying
from .watch import Watch

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


@outside_inference()
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
    checkpoint: "Checkpoint | str | PathLike[str] | None" = None,
    resume: bool = False,
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
    optimizer : the rule of the updates; the model's own unless given. What it remembers of this model (moments, how far
        a schedule has come) goes on where an earlier run left it.
    seed : of the order of samples and of the dropout masks; the same seed gives the same run. To go on training in
        another order, give another seed.
    shuffle : visit the samples in an order that is new in every epoch, or as they come.
    keep : "best" leaves the parameters of the epoch with the lowest loss (validation loss where there is one), "last"
        those of the last epoch.
    stop : a function of the History that says True to end the run, such as `EarlyStopping(patience=10)`.
    metrics : functions (y, target) or (y, target, sample_weight) -> number, computed after every epoch on the
        validation data, or else on `train`, of the rows that the loss counts and with their weights; `errors`,
        `error_rate` and `accuracy` by the threshold of the loss, as in `evaluate`. See `chainrule.metrics`.
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

    Returns   a History. Ctrl-C ends the run early, between two steps, and returns it too. A run that ends within its
              first epoch keeps the steps it has made

    Raises ValueError or TypeError for data that do not fit, before anything is changed; BlockingIOError when another
    run writes checkpoints in the same folder; FloatingPointError when the loss or a parameter becomes NaN or infinite;
    OSError when a checkpoint cannot be written. Whatever is raised once training has begun, the model is left at its
    best parameters, and the History is `error.history`.
    """
    session = Session(
        model,
        loss,
        train,
        epochs=epochs,
        batch_size=batch_size,
        validation=validation,
        optimizer=optimizer,
        seed=seed,
        shuffle=shuffle,
        keep=keep,
        stop=stop,
        metrics=metrics,
        callbacks=callbacks,
        max_seconds=max_seconds,
        threads=threads,
        engine=engine,
        checkpoint=checkpoint,
        resume=resume,
    )
    with Watch(max_seconds) as watch, Progress(epochs, progress) as bar:
        go(session, watch, bar)
    return session.history


def go(session: Session, watch: Watch, bar: Progress | None = None) -> None:
    """Train until the session ends, or the watch ends it.

    Raises FloatingPointError if the loss or a parameter becomes NaN or infinite.
    """
    history, loop = session.history, session.loop
    # A loss that is not finite raises; what NumPy would warn of on the way there says it less clearly.
    with np.errstate(over="ignore", invalid="ignore"), carrying(history):
        try:
            session.begin()
            if bar is not None and history.epochs:
                bar.update(history, history.epochs)
            session.keep_checkpoint(watch)
            while not history.stopped:
                finished = loop.run(history.epochs, session.due, watch)
                session.record(finished)
                if finished:
                    if bar is not None:
                        bar.update(history, len(finished))
                    session.decide()
                elif watch.reason():
                    break
                session.keep_checkpoint(watch)
            session.keep_checkpoint(watch, last=True)
        except Diverged as diverged:
            raise session.diverge(diverged) from None
        finally:
            session.finish(watch.elapsed_s, watch.reason() or "an exception")
