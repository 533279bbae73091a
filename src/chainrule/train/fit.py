"""Training: epochs, the best parameters, and everything that can stop a run."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..module import Module, outside_inference
from .history import History
from .options import Chosen, chosen, takes_options
from .progress import Progress
from .session import Session, carrying
from .watch import Watch

if TYPE_CHECKING:
    from typing_extensions import Unpack


@takes_options()
@outside_inference()
def fit(model: Module, loss: Module, train: Any, **options: "Unpack[Chosen]") -> History:
    """Train a model on data, by any loss.

    Parameters
    ----------
    model, loss : any Module, and a loss for its outputs; `MultiLoss` for a network with several heads.
    train : a Dataset, or the pair (x, target), or (x, target, sample_weight). x is an array, or for several inputs a
        tuple or a dict of arrays, and so is target for several heads: ((a, b), target), ({"a": a, "b": b}, target).
        The outermost tuple is always the pair. The arrays are converted to the model's library and dtype; integers stay
        class indices where the loss knows classes.
    options

    Returns   a History. Ctrl-C ends the run early, between two steps, and returns it too. A run that ends within its
              first epoch keeps the steps it has made

    Raises ValueError or TypeError for data that do not fit, before anything is changed; BlockingIOError when another
    run writes checkpoints in the same folder; FloatingPointError when the loss or a parameter becomes NaN or infinite;
    OSError when a checkpoint cannot be written. Whatever is raised once training has begun, the model is left at its
    best parameters, and the History is `error.history`.
    """
    session = Session(model, loss, train, chosen("fit", options))
    with Watch(session.options.max_seconds) as watch, Progress(session.options.epochs, session.options.progress) as bar:
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
                if bar is not None and finished:
                    bar.update(history, len(finished))
                if not session.goes_on(finished, watch):
                    break
                session.keep_checkpoint(watch)
            session.keep_checkpoint(watch, last=True)
        finally:
            session.finish(watch.elapsed_s, watch.reason() or "an exception")
