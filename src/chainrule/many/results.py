"""What came of many networks: a table, the best of them, means and spreads, an ensemble."""

import csv
import io
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from .. import extras
from ..module import Module
from ..train import History
from .ensemble import Ensemble

Row = dict[str, Any]


@dataclass
class Result:
    """One network.

    configuration, seed, fold : what it was made of; fold is None without folds.
    model : the network as `fit` left it; None if it could not be built.
    history : its record; None if it never began.
    error : what went wrong; empty if nothing did.
    """

    configuration: dict[str, Any]
    seed: int
    fold: int | None = None
    model: Module | None = None
    history: History | None = None
    error: str = ""

    @property
    def loss(self) -> float:
        """The lowest (validation) loss; NaN for a network that failed."""
        best = None if self.history is None or self.error else self.history.best_loss
        return math.nan if best is None else best

    @property
    def losses(self) -> dict[str, float]:
        """With a MultiLoss, by head, its (validation) loss in the best epoch, before its weight."""
        history = self.history
        if history is None or history.best_epoch is None or self.error:
            return {}
        by_head = history.validation_head_losses or history.head_losses
        return {name: values[history.best_epoch] for name, values in by_head.items()}

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics after the best epoch."""
        history = self.history
        if history is None or history.best_epoch is None:
            return {}
        return {name: values[history.best_epoch] for name, values in history.metrics.items()}

    def _heads(self) -> Row:
        """The losses of the heads as columns, such as loss[kind]."""
        return {f"loss[{name}]": value for name, value in self.losses.items()}

    def row(self) -> Row:
        """All that is a number or a word, by name."""
        history = self.history or History(engine="")
        row: Row = {name: _plain(value) for name, value in self.configuration.items()} | {"seed": self.seed}
        if self.fold is not None:
            row["fold"] = self.fold
        return row | {
            "loss": self.loss,
            **self._heads(),
            **self.metrics,
            "best_epoch": history.best_epoch,
            "epochs": history.epochs,
            "steps": history.steps,
            "seconds": history.total_s,
            "stopped": history.stopped,
            "engine": history.engine,
            "error": self.error,
        }


@dataclass
class Results(Sequence[Result]):
    """The networks of `fit_many`, configuration after configuration.

    results : one entry per network that was begun. total : how many there should have been; Ctrl-C leaves fewer.
    total_s : seconds that all of it took. threads : how many networks were trained at a time.
    """

    results: list[Result] = field(default_factory=list)
    total: int = 0
    total_s: float = 0.0
    threads: int = 1

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return len(self.results) < self.total or any(r.history is not None and r.history.interrupted for r in self)

    @property
    def failed(self) -> "Results":
        """The networks in which something went wrong."""
        return self._picked([result for result in self if result.error])

    def where(self, **values: Any) -> "Results":
        """The networks whose configuration (or seed, or fold) has these values."""
        known = {name for result in self for name in result.configuration} | {"seed", "fold"}
        if unknown := values.keys() - known:
            raise ValueError(f"Results.where: no network has {', '.join(sorted(unknown))}; there are {sorted(known)}")
        return self._picked([r for r in self if all(_value(r, name) == value for name, value in values.items())])

    def best(self) -> Result:
        """The network with the lowest (validation) loss."""
        done = self._done("best")
        return min(done, key=lambda result: result.loss)

    def summary(self) -> list[Row]:
        """Mean and standard deviation over seeds and folds for each configuration, the lowest mean loss first.

        Columns: the configuration, `networks` that were trained, `failed` ones, `loss` and `loss_std`, and the same two
        for each head of a MultiLoss and each metric. A standard deviation takes two networks, and is NaN for one.
        """
        groups: dict[int, list[Result]] = {}
        configurations: list[dict[str, Any]] = []
        for result in self:
            if not configurations or configurations[-1] is not result.configuration:
                configurations.append(result.configuration)
            groups.setdefault(len(configurations) - 1, []).append(result)
        rows = []
        for number, group in groups.items():
            done = [result for result in group if not result.error and math.isfinite(result.loss)]
            row = {name: _plain(value) for name, value in configurations[number].items()}
            row |= {"networks": len(done), "failed": sum(bool(result.error) for result in group)}
            columns = {"loss": [result.loss for result in done]}
            measured = [result._heads() | result.metrics for result in done]
            columns |= {
                name: [one[name] for one in measured] for name in dict.fromkeys(n for one in measured for n in one)
            }
            for name, values in columns.items():
                row[name] = statistics.fmean(values) if values else math.nan
                row[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else math.nan
            rows.append(row)
        return sorted(rows, key=lambda row: (math.isnan(row["loss"]), row["loss"]))

    def ensemble(self) -> Ensemble:
        """All networks that did not fail, as one."""
        return Ensemble([result.model for result in self._done("ensemble") if result.model is not None])

    def to_dicts(self) -> list[Row]:
        """A row per network, all with the same names."""
        rows = [result.row() for result in self]
        names = {name: None for row in rows for name in row}
        last = {name: names.pop(name) for name in [*Result({}, 0).row()][1:] if name in names}
        return [{name: row.get(name) for name in names | last} for row in rows]

    def to_csv(self, path: str | Path) -> None:
        """Write the table as CSV, UTF-8."""
        from ..files import write_text  # here, because it takes time to import

        rows, text = self.to_dicts(), io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())

    def to_pandas(self) -> Any:
        """The table as a pandas.DataFrame."""
        return extras.require("pandas", "tables").DataFrame(self.to_dicts())

    def to_polars(self) -> Any:
        """The table as a polars.DataFrame."""
        return extras.require("polars", "tables").DataFrame(self.to_dicts(), infer_schema_length=None, strict=False)

    def _done(self, who: str) -> list[Result]:
        done = [result for result in self if math.isfinite(result.loss)]
        if not done:
            why = f"; the first says: {self.results[0].error}" if self.results and self.results[0].error else ""
            raise ValueError(f"Results.{who}: no network has finished an epoch{why}")
        return done

    def _picked(self, results: list[Result]) -> "Results":
        return Results(results, len(results), self.total_s, self.threads)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> "Results": ...
    def __getitem__(self, index: int | slice) -> "Result | Results":
        return self._picked(self.results[index]) if isinstance(index, slice) else self.results[index]

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        lines = [f"Results: {len(self)} networks in {self.total_s:.3g} s, {self.threads} at a time"]
        if self.interrupted:
            lines[0] += f", interrupted: {self.total} were asked for"
        if self.failed:
            lines.append(f"  failed           {len(self.failed)}, the first: {self.failed[0].error}")
        rows = [row for row in self.summary() if row["networks"]]
        for row in rows[:SHOWN]:
            named = ", ".join(f"{name}={value}" for name, value in row.items() if name in self[0].configuration)
            spread = "" if math.isnan(row["loss_std"]) else f" ± {row['loss_std']:.2g}"
            lines.append(f"  loss {row['loss']:.4g}{spread}   {named}".rstrip())
        if len(rows) > SHOWN:
            lines.append(f"  … and {len(rows) - SHOWN} configurations more")
        return "\n".join(lines)


SHOWN = 10  # configurations in a repr


def _value(result: Result, name: str) -> Any:
    return getattr(result, name) if name in ("seed", "fold") else result.configuration.get(name)


def _plain(value: Any) -> Any:
    """A value of a configuration as it stands in a table."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else repr(value)
