"""What happened in a run of `fit`."""

import csv
import io
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

BY_NAME = ("metrics", "head_losses", "validation_head_losses", "group_learning_rates")  # with a list for each name
COLUMNS = ("epoch", "loss", "validation_loss", "learning_rate", "seconds")  # of each row, besides metrics


@dataclass(repr=False)
class History:
    """The record of a training run. Lists hold one entry per finished epoch; epochs count from 0.

    losses : the mean loss over the batches of the epoch, as the parameters moved.
    validation_losses : the loss on the validation data after the epoch; empty where there are none.
    metrics : by name, the metrics after the epoch, on the validation data or else on the training data: on the rows
        that the loss counts, with their weights.
    learning_rates : the learning rate of the epoch's first step.
    group_learning_rates : the same of each of the optimizer's groups, under its number: "0", "1", …
    epoch_s : seconds since the run began, at the end of the epoch.
    steps : updates made; after a loss that is not finite, those of the epochs that were finished.
    total_s : seconds of the whole run.
    best_epoch : the epoch with the lowest (validation) loss, before its callbacks; None before the first has ended.
    stopped : why the run ended.
    engine : what computed the steps: "python".
    average : the average of the weights of which validation losses and metrics are; empty if there was none.
    head_losses, validation_head_losses : with a MultiLoss, by head, the same as `losses` and `validation_losses` of it
        alone, before its weight. Heads without names go by their number: "0", "1", …
    """

    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    learning_rates: list[float] = field(default_factory=list)
    epoch_s: list[float] = field(default_factory=list)
    steps: int = 0
    total_s: float = 0.0
    best_epoch: int | None = None
    stopped: str = ""
    engine: str = "python"
    head_losses: dict[str, list[float]] = field(default_factory=dict)
    validation_head_losses: dict[str, list[float]] = field(default_factory=dict)
    average: str = ""
    group_learning_rates: dict[str, list[float]] = field(default_factory=dict)

    def record(
        self,
        loss: float,
        validation_loss: float | None,
        metrics: dict[str, float],
        *,
        learning_rate: float,
        seconds: float,
        heads: Mapping[str, float] = MappingProxyType({}),
        validation_heads: Mapping[str, float] = MappingProxyType({}),
        group_rates: Mapping[str, float] = MappingProxyType({}),
    ) -> bool:
        """Add an epoch; returns whether it is the best so far."""
        groups = self.group_learning_rates  # of which a callback may have made more or fewer
        rates = {**dict.fromkeys(groups, math.nan), **group_rates}
        for name in rates:
            groups.setdefault(name, [math.nan] * self.epochs)
        columns = [self.losses, self.learning_rates, self.epoch_s]
        values = [loss, learning_rate, seconds]
        if validation_loss is not None:
            columns.append(self.validation_losses)
            values.append(validation_loss)
        for by_name, found in zip(BY_NAME, (metrics, heads, validation_heads, rates), strict=True):
            for name, value in found.items():
                columns.append(getattr(self, by_name).setdefault(name, []))
                values.append(value)
        # In one call, where Python handles no signal: an epoch is written down whole, or not at all.
        deque(map(list.append, columns, values), maxlen=0)
        best = self.best_loss
        if best is None or self.monitored[-1] < best:
            self.best_epoch = self.epochs - 1
        return self.best_epoch == self.epochs - 1

    def row(self, epoch: int) -> dict[str, Any]:
        """What is known of one epoch, by name; the validation loss only where there is one."""
        found = {"epoch": epoch, "loss": self.losses[epoch]}
        found |= {f"loss[{name}]": values[epoch] for name, values in self.head_losses.items()}
        if self.validation_losses:
            found["validation_loss"] = self.validation_losses[epoch]
        found |= {f"validation_loss[{name}]": values[epoch] for name, values in self.validation_head_losses.items()}
        found |= {name: values[epoch] for name, values in self.metrics.items()}
        found["learning_rate"] = self.learning_rates[epoch]
        found |= {f"learning_rate[{name}]": rates[epoch] for name, rates in self.group_learning_rates.items()}
        return found | {"seconds": self.epoch_s[epoch]}

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write a table with one row per epoch: epoch, loss, validation_loss, metrics, learning_rate, seconds.

        With several heads loss[kind] and validation_loss[kind] come after them, for the head "kind"; with groups of an
        optimizer learning_rate[0], … after its own.
        """
        from ..files import write_text  # here, because it takes time to import

        text = io.StringIO()
        rows = [self.row(epoch) for epoch in range(self.epochs)]
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["epoch", "loss"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(Path(path), text.getvalue())

    def plot(self, *, title: str = "", ax: Any = None) -> Any:
        """The losses of each epoch as a matplotlib figure; this is `plots.losses(history)`."""
        from .. import plots  # here, because plots stand above training

        return plots.losses(self, title=title, ax=ax)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values, for JSON."""
        record = {item.name: getattr(self, item.name) for item in fields(self)}
        copied = {name: value.copy() for name, value in record.items() if isinstance(value, list)}
        by_name = {name: {key: values.copy() for key, values in record[name].items()} for name in BY_NAME}
        return record | copied | by_name

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "History":
        """The History that `to_dict` gave."""
        return cls(**record)

    def take_over(self, earlier: "History") -> None:
        """Go on from an earlier record; the engine stays that of this run."""
        for item in fields(self):
            if item.name not in ("engine", "stopped"):
                setattr(self, item.name, getattr(earlier, item.name))

    @property
    def epochs(self) -> int:
        """The number of finished epochs."""
        return len(self.losses)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the run."""
        return self.stopped.startswith("interrupted")

    @property
    def monitored(self) -> list[float]:
        """The losses that decide which epoch is best: of the validation data, or else of training."""
        return self.validation_losses or self.losses

    @property
    def best_loss(self) -> float | None:
        """The lowest of the monitored losses."""
        return None if self.best_epoch is None else self.monitored[self.best_epoch]

    def __repr__(self) -> str:
        lines = [
            f"History: {_count(self.epochs, 'epoch')}, {_count(self.steps, 'step')}, "
            f"{self.total_s:.3g} s, engine {self.engine}"
        ]
        shown = {"loss": self.losses} | {f"loss[{name}]": values for name, values in self.head_losses.items()}
        shown["validation loss"] = self.validation_losses
        shown |= {f"validation[{name}]": values for name, values in self.validation_head_losses.items()}
        for name, values in (shown | self.metrics).items():
            if values:
                best = "" if self.best_epoch is None else f"   best epoch {values[self.best_epoch]:.4g}"
                lines.append(f"  {name:16} {values[0]:.4g} → {values[-1]:.4g}{best}")
        if self.average:
            lines.append(f"  averaged         {self.average}")
        if self.best_epoch is not None:
            lines.append(f"  best epoch       {self.best_epoch}, counted from 0")
        lines.append(f"  stopped          {self.stopped or 'not yet'}")
        return "\n".join(lines)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
