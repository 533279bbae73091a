"""Epochs on the engine over data in files: it is handed a window at a time, while the next one is read."""

import math
from collections.abc import Iterator
from typing import Any

from ..data.dataset import Dataset
from .in_files import is_in_files
from .loop import Epoch, loss_by_parts
from .native_loop import SLICE_S, NativeLoop, in_order
from .watch import Watch


class WindowedLoop(NativeLoop):
    """NativeLoop where the data to train on, to look at, or both are in files.

    A window is handed over as a part of the epoch's samples in their order, so the engine does with it what it would do
    with all of them. Validation data are looked at here, window by window, when an epoch has ended.
    """

    read: Iterator[Any] | None = None  # windows from here on, of this epoch and those that follow
    window: Any = None  # that which is trained on

    def _rows(self, data: Dataset) -> Any:
        return None if is_in_files(data) else super()._rows(data)

    def run(self, first: int, end: int, watch: Watch) -> list[Epoch]:
        """Train for one epoch; the list is empty if `watch` cut it short, or it diverged."""
        part = self.part(first, first + 1)
        looks = is_in_files(self.held_out)
        arguments = part.arguments | {"keep_best": not looks}
        begin, outcome = watch.elapsed_s, "interrupted"
        while outcome == "interrupted" and not watch.reason():
            if is_in_files(self.data):
                arguments |= {"data": self._part(), "shuffle": False}
            left = max(0.0, min(SLICE_S, watch.max_seconds - watch.elapsed_s))
            outcome = self.native.run(**arguments, max_seconds=left)
            if watch.pauses():
                break
        if looks:
            arguments["validation_losses"][:] = 0.0
            if outcome == "finished":
                outcome = self._look(first, arguments)
        return self.finished(part, outcome, begin, watch.elapsed_s)

    def _part(self) -> Any:
        """The window that the next step is in, as the engine reads it."""
        at, rows = self.position, self.batch_size * self.plan.accumulate
        row = at.step * rows
        while (window := self.window) is None or window.epoch != at.epoch or row >= window.first + len(window.order):
            if self.read is None:
                how = {"seed": self.seed, "shuffle": self.shuffle, "epochs": None, "recycle": True}
                self.read = self.data.windows(rows, epoch=at.epoch, start=row, **how)  # type: ignore[attr-defined]
            self.window = None  # its memory goes before the next one is taken
            self.window = next(self.read)
        data = window.data
        x, target = in_order(data.x, self.plan.x), in_order(data.target, self.plan.y)
        part = {"before": window.first, "total": len(self.data), "order": window.order}
        return self.native.data(x, target, data.sample_weight, **part)

    def _look(self, epoch: int, arguments: dict[str, Any]) -> str:
        """Look at the validation data, and keep the parameters if they are the best; returns how the epoch ended."""
        self._hear_statistics()
        value, heads = loss_by_parts(self.loss, self.outputs, self.held_out.parts())  # type: ignore[union-attr]
        arguments["validation_losses"][0] = value
        if len(arguments["validation_head_losses"]):
            for i, head in zip(self._heads(), heads, strict=True):
                arguments["validation_head_losses"][i] = head
        if not math.isfinite(value):
            self.position.epoch, self.position.step = epoch, self.steps_per_epoch
            return "not finite"
        if self.native.best_epoch < 0 or value < self.native.best_loss:
            self._bring_statistics(self.native.write_value)
            self.native.keep_best(epoch, value)
        return "finished"

    def finish(self) -> None:
        """Hand everything back to Python, and read no further."""
        self.window, read, self.read = None, self.read, None
        if read is not None:
            read.close()  # type: ignore[attr-defined]
        super().finish()
