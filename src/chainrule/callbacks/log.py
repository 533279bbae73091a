"""Epochs as messages of Python's logging."""

import logging

from ..arguments import positive
from ..train import Run


class Log:
    """A message when the run begins, every so many epochs, and when it ends.

    Parameters
    ----------
    logger : a logger, or its name.
    level : of the messages.
    every : epochs from one message to the next.
    """

    def __init__(
        self, logger: logging.Logger | str = "chainrule", *, level: int = logging.INFO, every: int = 1
    ) -> None:
        if not isinstance(logger, logging.Logger | str):
            raise TypeError(f"Log: logger must be a logger or its name, got {logger!r}")
        self.logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self.level, self.every = level, positive(self, "every", every)

    def begin(self, run: Run) -> None:
        """Say what is trained."""
        self.logger.log(
            self.level,
            "training %s parameters with %s, engine %s",
            f"{run.model.num_parameters:,}",
            repr(run.optimizer),  # as it is now: a record may be read much later
            run.history.engine,
        )

    def __call__(self, run: Run) -> None:
        """Say how the epoch went."""
        epoch = run.history.epochs - 1
        if epoch % self.every == 0:
            row = run.history.row(epoch)
            words = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
            self.logger.log(self.level, "epoch %d: %s", epoch, words)

    def end(self, run: Run) -> None:
        """Say how the run ended."""
        history = run.history
        best = "" if history.best_loss is None else f", best loss {history.best_loss:.4g} in epoch {history.best_epoch}"
        self.logger.log(
            self.level, "%s after %d epochs and %.3g s%s", history.stopped, history.epochs, history.total_s, best
        )
