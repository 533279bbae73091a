"""Means, medians, and how sure they are."""

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from ...extras import require
from .questions import CELL, Cell
from .store import Store, cell_of

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over n seeds with its 95 % confidence interval, mean ± half; `failed` are those that diverged.

    The interval is Student's, for a mean of n independent values; NaN for fewer than two.
    """

    mean: float
    half: float
    n: int
    failed: int

    @classmethod
    def of(cls, values: list[float]) -> "Mean":
        """Of values of which those that are NaN failed."""
        finite = [value for value in values if math.isfinite(value)]
        n, mean, half = len(finite), math.nan, math.nan
        if n:
            mean = statistics.fmean(finite)
        if n > 1:
            t = require("scipy.stats", "study").t.ppf((1 + CONFIDENCE) / 2, n - 1)
            half = float(t) * statistics.stdev(finite) / math.sqrt(n)
        return cls(mean, half, n, len(values) - n)

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half


@dataclass(frozen=True)
class Median:
    """A median over rounds, and its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Median":
        """Of values of which those that are NaN do not count."""
        finite = sorted(value for value in values if math.isfinite(value))
        if not finite:
            return cls(math.nan, math.nan, math.nan)
        low, middle, high = statistics.quantiles(finite, n=4, method="inclusive") if len(finite) > 1 else finite * 3
        return cls(middle, low, high)


class Summary:
    """What a store amounts to, by cell."""

    def __init__(self, store: Store) -> None:
        self.store = store
        errors: dict[Any, list[float]] = defaultdict(list)
        for row in store.errors.rows:
            errors[row["disk"], row["framework"], cell_of(row)].append(row["test_error"])
        self.errors = {key: Mean.of(values) for key, values in errors.items()}
        times: dict[Any, list[float]] = defaultdict(list)
        for row in store.times.rows:
            for what in ("train_s", "test_s"):
                times[what, row["framework"], row["threads"], cell_of(row)].append(row[what])
        self.times = {key: Median.of(values) for key, values in times.items()}
        self.frameworks = sorted({row["framework"] for row in store.times.rows})
        self.seeds = len({row["seed"] for row in store.errors.rows})
        self.rounds = len({row["round"] for row in store.times.rows})

    def error(self, disk: str, framework: str, cell: Cell) -> Mean:
        """The share of test points that are put into the wrong class."""
        return self.errors.get((disk, framework, cell), Mean.of([]))

    def time(self, what: str, framework: str, threads: str, cell: Cell) -> Median:
        """Seconds of "train_s" or "test_s"."""
        return self.times.get((what, framework, threads, cell), Median.of([]))

    def ratio(self, what: str, cell: Cell, threads: str = "1") -> float:
        """How many times as long PyTorch takes."""
        theirs, ours = (self.time(what, who, threads, cell).median for who in ("torch", "chainrule"))
        return theirs / ours

    def networks_per_second(self) -> float:
        """Of all networks that chainrule trained for the errors, the base among them: per second of one core."""
        base = [row["seconds"] for row in self.store.errors.rows if _is_base(row) and row["framework"] == "chainrule"]
        return 1 / statistics.median(base) if base else math.nan


def _is_base(row: dict[str, Any]) -> bool:
    return all(row[name] == getattr(Cell(), name) for name in CELL)
