"""A line per epoch in a file, there as soon as the epoch is over."""

import csv
import io
import json
import math
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

from ..files import write_text
from ..train import Run


class EpochLog:
    """What both kinds of file share: opened when a run begins, a line after each epoch, closed when it ends.

    A run that goes on from a checkpoint goes on in its file: lines of epochs that will come again, and a line that was
    cut off, are dropped first. Any other run writes the file anew.

    Parameters
    ----------
    path : of the file.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        if not isinstance(path, str | PathLike):
            raise TypeError(f"{type(self).__name__}: path must be a path, got {path!r}")
        self.path = Path(path)
        self.file: TextIO | None = None
        self.empty = True  # so far

    def begin(self, run: Run) -> None:
        """Open the file."""
        done, kept = run.history.epochs, ""
        if self.path.is_file() or not self.path.exists():  # of a pipe or a device nothing can be kept
            kept = self._kept(self.path.read_text("utf-8"), done) if done and self.path.exists() else ""
            write_text(self.path, kept)
        self.empty = not kept
        self.file = self.path.open("a", encoding="utf-8", newline="")

    def __call__(self, run: Run) -> None:
        """Write the line of the epoch that has just ended."""
        if self.file is None:
            raise RuntimeError(f"{type(self).__name__}: the run has not begun; call begin(run) first")
        self.file.write(self._line(run.history.row(run.history.epochs - 1)))
        self.file.flush()
        self.empty = False

    def end(self, run: Run) -> None:
        """Close the file."""
        file, self.file = self.file, None
        if file is not None:
            with suppress(OSError):  # each line has been brought out already, or has said that it could not be
                file.close()

    def _kept(self, text: str, done: int) -> str:
        """What stays of a file, if the first epochs are done and the others will come."""
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if line.endswith("\n") and self._epoch(line) < done)

    def _epoch(self, line: str) -> int:
        """The epoch of a line; -1 for a heading."""
        raise NotImplementedError

    def _line(self, row: dict[str, Any]) -> str:
        """The line of an epoch."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


class CSVLog(EpochLog):
    """A table with the columns epoch, loss, validation_loss, metrics, learning_rate and seconds.

    Of an optimizer with groups learning_rate[0], … are theirs.
    """

    def _line(self, row: dict[str, Any]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if self.empty:
            writer.writerow(row)
        writer.writerow(row.values())
        return text.getvalue()

    def _epoch(self, line: str) -> int:
        first = line.split(",", 1)[0]
        return int(first) if first.isdecimal() else -1


class JSONLinesLog(EpochLog):
    """A JSON object a line, with the same names; null for a metric that is NaN or infinite, which JSON lacks."""

    def _line(self, row: dict[str, Any]) -> str:
        return json.dumps({name: value if math.isfinite(value) else None for name, value in row.items()}) + "\n"

    def _epoch(self, line: str) -> int:
        try:
            return int(json.loads(line)["epoch"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"JSONLinesLog: {self.path} must hold an epoch a line, got {line[:60]!r}; choose another file"
            ) from None
