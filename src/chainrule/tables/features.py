"""A column of each kind as inputs of a network, by rules that were fitted to the training rows and never change."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .columns import number_texts, numbers, positions, texts
from .notes import Notes
from .read import Table
from .schema import READERS, WORDS, Kind, counted, require_right

MOST_CATEGORIES = 128  # inputs that a column may become; the rest of its categories share one
RARE = 3  # categories that fewer training rows hold share one input too: nothing can be learned of each
FAR = 1e6  # standard deviations from the mean, beyond which a number counts as this far, so that float32 can hold it

_DAYS_OF_NUMPY = 1e9  # beyond which its dates end


@dataclass(frozen=True)
class NumberFeature:
    """A number, a date or true and false, standardised; and whether it is missing, if training had that.

    Equation  input = (x - mean) / scale, x = middle where it is missing; computed in float64
    """

    name: str
    kind: str
    reason: str
    middle: float
    mean: float
    scale: float
    indicator: bool
    low: float
    high: float
    missing: int

    KINDS: ClassVar = ("numeric", "boolean", "date")

    @classmethod
    def fit(cls, kind: Kind, table: Table) -> "NumberFeature":
        """The feature, with the median, mean and spread of the training rows."""
        values = READERS[kind.kind](table.frame[kind.name])
        require_right(table, kind.name, values, f"is {WORDS[kind.kind]} elsewhere")
        present = values.numbers[np.isfinite(values.numbers)]
        missing = len(table) - len(present)
        if len(present) == 0:  # all that there was has come into other rows
            return cls(kind.name, kind.kind, kind.reason, 0.0, 0.0, 1.0, False, 0.0, 0.0, missing)
        middle, low, high = float(np.median(present)), float(present.min()), float(present.max())
        filled = np.where(np.isfinite(values.numbers), values.numbers, middle)
        mean, scale = mean_and_scale(filled)
        return cls(kind.name, kind.kind, kind.reason, middle, mean, scale, missing > 0, low, high, missing)

    @property
    def inputs(self) -> list[str]:
        return [self.name] + [f"{self.name} is missing"] * self.indicator

    @property
    def explained(self) -> str:
        low, high, mean, middle = (self._shown(x) for x in (self.low, self.high, self.mean, self.middle))
        missing = f"; {self.missing:,} missing, taken as {middle}" if self.missing else ""
        return f"{low} to {high}, mean {mean}{missing}"

    def _shown(self, x: float) -> str:
        """A number; a date as such, and a time of the day as part of a day."""
        if self.kind != "date" or 0 <= self.low <= self.high < 1 or not abs(x) < _DAYS_OF_NUMPY:
            return f"{x:.4g}"
        return str(np.datetime64(math.floor(x), "D"))

    def encode(self, table: Table, out: np.ndarray, notes: Notes) -> None:
        values = READERS[self.kind](table.frame[self.name])
        require_right(table, self.name, values, f"is {WORDS[self.kind]} in the model")
        absent = ~np.isfinite(values.numbers)
        filled = np.where(absent, self.middle, values.numbers)
        with np.errstate(over="ignore"):
            standard = (filled - self.mean) / self.scale
            beyond = np.maximum(self.low - filled, filled - self.high) > self.high - self.low
        if infinite := int(np.isinf(values.numbers).sum()):
            notes.infinite[self.name] = infinite
        if values.missing.any() and not self.indicator:
            notes.missing[self.name] = int(values.missing.sum())
        if beyond.any() and self.low < self.high:
            notes.outside[self.name] = (int(beyond.sum()), f"{self._shown(self.low)} to {self._shown(self.high)}")
        out[:, 0] = np.clip(standard, -FAR, FAR)
        if self.indicator:
            out[:, 1] = absent


@dataclass(frozen=True)
class CategoryFeature:
    """A category as one input each that is 1 for the rows that have it and 0 for the others.

    Categories that were rare in training share the input `other`, which unknown ones join later; where none was rare, a
    row with an unknown one has zeros throughout. Missing is an input of its own, if training had that.
    """

    name: str
    kind: str
    reason: str
    categories: tuple[str, ...]
    rare: tuple[str, ...]
    indicator: bool
    as_numbers: bool
    missing: int

    KINDS: ClassVar = ("categorical",)

    @classmethod
    def fit(cls, kind: Kind, table: Table) -> "CategoryFeature":
        """The feature, with the categories of the training rows, the most frequent first."""
        column = table.frame[kind.name]
        as_numbers = not numbers(column).wrong.any()
        present = (number_texts if as_numbers else texts)(column).drop_nulls()
        counts = sorted(Counter(present.to_list()).items(), key=lambda item: (-item[1], item[0]))
        often = sum(count >= RARE for _, count in counts) or len(counts)
        names, n = tuple(category for category, _ in counts), min(often, MOST_CATEGORIES)
        missing = len(column) - len(present)
        return cls(kind.name, kind.kind, kind.reason, names[:n], names[n:], missing > 0, as_numbers, missing)

    @property
    def inputs(self) -> list[str]:
        named = [f"{self.name} = {category}" for category in self.categories]
        return named + [f"{self.name} = other"] * bool(self.rare) + [f"{self.name} is missing"] * self.indicator

    @property
    def explained(self) -> str:
        missing = f"; {self.missing:,} missing" if self.missing else ""
        others = f", and one for {counted(len(self.rare), 'rare one')}" if self.rare else ""
        shown = ", ".join(self.categories[:5]) + (", …" if len(self.categories) > 5 else "")
        return f"{counted(len(self.categories), 'input')}: {shown}{others}{missing}"

    def encode(self, table: Table, out: np.ndarray, notes: Notes) -> None:
        column = (number_texts if self.as_numbers else texts)(table.frame[self.name])
        absent, n = column.is_null().to_numpy(), len(self.categories)
        places = positions(column, self.categories + self.rare)
        unknown = (places < 0) & ~absent
        rows = np.flatnonzero(places >= 0)
        out[rows, np.minimum(places[rows], n)] = 1
        if self.rare:
            out[unknown, n] = 1
        if self.indicator:
            out[absent, -1] = 1
        elif absent.any():
            notes.missing[self.name] = int(absent.sum())
        if unknown.any():
            notes.unknown[self.name] = Counter(column.filter(unknown).to_list())


@dataclass(frozen=True)
class Ignored:
    """A column that becomes no input."""

    name: str
    kind: str
    reason: str

    KINDS: ClassVar = ("ignored",)

    @property
    def inputs(self) -> list[str]:
        return []

    @property
    def explained(self) -> str:
        return self.reason

    def encode(self, table: Table, out: np.ndarray, notes: Notes) -> None:
        """Nothing."""


Feature = NumberFeature | CategoryFeature | Ignored


def mean_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation in float64, of numbers of any size; 1 instead of a deviation of 0."""
    _, power = np.frexp(np.abs(values).max())
    small = np.ldexp(values, -power)  # by a power of two, so that nothing is rounded and no square overflows
    mean, scale = small.mean(), small.std()
    if scale <= 1e-12 * abs(mean):  # which is what rounding leaves of equal numbers
        scale = 0.0
    return float(np.ldexp(mean, power)), float(np.ldexp(scale, power)) or 1.0
