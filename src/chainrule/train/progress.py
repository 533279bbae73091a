"""The progress bar, where a person watches."""

import sys
from types import TracebackType
from typing import Any

from .history import History


class Progress:
    """A line with epoch, loss, validation loss and steps per second, on standard error.

    Parameters
    ----------
    total : how many there will be.
    show : True or False; None shows it if standard error is a terminal.
    unit : of what.
    """

    def __init__(self, total: int, show: bool | None = None, *, unit: str = "epoch") -> None:
        self.bar: Any = None
        if show or (show is None and sys.stderr is not None and sys.stderr.isatty()):
            from tqdm import tqdm  # here, because importing it costs more than the rest of training

            self.bar = tqdm(total=total, unit=unit, dynamic_ncols=True, leave=False)

    @property
    def shown(self) -> bool:
        """Whether there is anything to see."""
        return self.bar is not None

    def update(self, history: History, epochs: int = 1) -> None:
        """Show the last entry of the history, after so many more epochs."""
        if self.bar is None:
            return
        shown = {"loss": f"{history.losses[-1]:.4g}"}
        if history.validation_losses:
            shown["validation"] = f"{history.validation_losses[-1]:.4g}"
        shown["steps/s"] = f"{history.steps / max(history.epoch_s[-1], 1e-9):,.0f}"
        self.advance(epochs, shown)

    def advance(self, n: int, shown: dict[str, Any]) -> None:
        """Show that so many more are done, and these words."""
        if self.bar is not None:
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update(n)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()
