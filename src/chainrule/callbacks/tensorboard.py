"""A run in TensorBoard."""

from os import PathLike
from pathlib import Path
from typing import Any

from .. import arrays
from ..arguments import positive
from ..extras import require
from ..train import Run


class TensorBoard:
    """Losses, metrics and the learning rate as curves; the model and its optimizer as text; weights as histograms.

    Look at them with `tensorboard --logdir FOLDER`, which is a program of its own.

    Parameters
    ----------
    folder : for the event files; a folder for each run lets TensorBoard compare them.
    histograms : every so many epochs, the distribution of each parameter; None for never.

    Raises ModuleNotFoundError when the run begins, if tensorboardX is not installed (chainrule[tensorboard]).
    """

    def __init__(self, folder: str | PathLike[str], *, histograms: int | None = None) -> None:
        if not isinstance(folder, str | PathLike):
            raise TypeError(f"TensorBoard: folder must be a path, got {folder!r}")
        self.folder = Path(folder)
        self.histograms = None if histograms is None else positive(self, "histograms", histograms)
        self.writer: Any = None

    def begin(self, run: Run) -> None:
        """Open an event file; of a run that goes on, what lies after its checkpoint is hidden."""
        done = run.history.epochs
        writer = require("tensorboardX", "tensorboard").SummaryWriter
        self.writer = writer(str(self.folder), purge_step=done or None)
        self.writer.add_text("model", f"```\n{run.model!r}\n```", done)
        self.writer.add_text("optimizer", f"`{run.optimizer!r}`", done)

    def __call__(self, run: Run) -> None:
        """Add a point to each curve."""
        if self.writer is None:
            raise RuntimeError("TensorBoard: the run has not begun; call begin(run) first")
        epoch = run.history.epochs - 1
        tags = {"loss": "loss/training", "validation_loss": "loss/validation", "learning_rate": "learning_rate"}
        for name, value in run.history.row(epoch).items():
            if name not in ("epoch", "seconds"):
                column, _, head = name.removesuffix("]").partition("[")  # of a head, such as "loss[kind]"
                tag = tags.get(column, f"metrics/{column}") + (f"/{head}" if head else "")
                self.writer.add_scalar(tag, value, epoch)
        if self.histograms is not None and epoch % self.histograms == 0:
            for name, parameter in run.model.named_parameters():
                self.writer.add_histogram(name, arrays.to_numpy(parameter.value), epoch)

    def end(self, run: Run) -> None:
        """Close the event file."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None
