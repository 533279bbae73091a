"""A column of each kind as inputs of a network, by rules that were fitted to the training rows and never change."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .columns import EXACT, positions, texts
from .notes import Notes
from .read import Table
from .readings import in_words, read
from .schema import WORDS, Kind, counted, require_right

MOST_CATEGORIES = 128  # inputs that a column may become; the rest of its categories share one
RARE = 3  # categories that fewer training rows hold share one input too: nothing can be learned of each
FAR = 1e6  # standard deviations from the mean, beyond which a number counts as this far, so that float32 can hold it

_DAYS_OF_NUMPY = 1e9  # beyond which its dates end
_S_OF_DAY = 86_400
_NS_OF_DAY = _S_OF_DAY * 10**9
_DAYS_OF_NS = 2**63 // _NS_OF_DAY  # on either side of 1970
_NARROW = 2.0**-32  # a spread below this share of the numbers leaves float64 too few digits for it
_EPS = float(np.finfo(np.float64).eps)
MOST = 2.0**100  # beyond which no whole number is subtracted exactly


@dataclass(frozen=True)
class NumberFeature:
    """A number, a date or true and false, standardised; and whether it is missing, if training had that.

    Equation  input = (x - origin - mean) / scale, x = middle where it is missing; computed in float64, and x - origin
              exactly where x is a whole number or a date, so that what little differs in long ones is not lost
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
    written: str = ""
    origin: float = 0.0

    KINDS: ClassVar = ("numeric", "boolean", "date")

    @classmethod
    def fit(cls, kind: Kind, table: Table) -> "NumberFeature":
        """The feature, with the median, mean and spread of the training rows."""
        values = read(table, kind.name, kind.kind, kind.written)
        require_right(table, kind.name, values, f"is {WORDS[kind.kind]} elsewhere")
        origin = origin_of(values.numbers, exact=kind.kind == "date")
        if origin:
            values = read(table, kind.name, kind.kind, kind.written, origin)
        present = values.numbers[np.isfinite(values.numbers)]
        missing, said = len(table) - len(present), (kind.name, kind.kind, kind.reason)
        if len(present) == 0:  # all that there was has come into other rows
            return cls(*said, 0.0, 0.0, 1.0, False, 0.0, 0.0, missing, kind.written)
        middle, low, high = float(np.median(present)), float(present.min()), float(present.max())
        filled = np.where(np.isfinite(values.numbers), values.numbers, middle)
        mean, scale = mean_and_scale(filled)
        return cls(*said, middle, mean, scale, missing > 0, low, high, missing, kind.written, origin)

    @property
    def inputs(self) -> list[str]:
        return [self.name] + [f"{self.name} is missing"] * self.indicator

    @property
    def explained(self) -> str:
        low, high, mean, middle = (self._shown(x) for x in (self.low, self.high, self.mean, self.middle))
        missing = f"; {self.missing:,} missing, taken as {middle}" if self.missing else ""
        return f"{low} to {high}, mean {mean}{missing}"

    def _shown(self, x: float) -> str:
        """A number; a date as such, with the time where all are of nearly one; times of the day."""
        if self.origin and self.kind == "date" and abs(self.origin) < _DAYS_OF_NS:
            return str(np.datetime64(int(self.origin), "D") + np.timedelta64(round(x * _NS_OF_DAY), "ns"))
        if self.origin:
            return str(int(self.origin) + round(x)) if abs(self.origin) >= EXACT else f"{self.origin:.0f}{x:+.4g}"
        if self.kind == "date" and 0 <= self.low <= self.high < 1:
            return str(np.datetime64(round(x * _S_OF_DAY), "s"))[11:]
        if self.kind != "date" or not abs(x) < _DAYS_OF_NUMPY:
            return f"{x:.4g}"
        return str(np.datetime64(math.floor(x), "D"))

    def encode(self, table: Table, out: np.ndarray, notes: Notes) -> None:
        values = read(table, self.name, self.kind, self.written, self.origin, notes.other)
        written = in_words(self.written) if self.kind == "date" else self.written
        shown = f", written as `{written}`" if written else ""
        require_right(table, self.name, values, f"is {WORDS[self.kind]} in the model{shown}")
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

    as_numbers : whether the training rows held numbers, of which 3, 3.0 and 03 are the same; texts are what they are.
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
        as_numbers = column.dtype.is_numeric()
        present = texts(column).drop_nulls()
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
        column = texts(table.frame[self.name])
        absent, n = column.is_null().to_numpy(), len(self.categories)
        places = positions(table.frame[self.name], self.categories + self.rare, as_numbers=self.as_numbers)
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


def origin_of(values: np.ndarray, *, exact: bool) -> float:
    """A whole number to subtract from values before they become float64; 0 where their spread has digits enough.

    exact : whether they came from what tells more of them apart, as dates do, and whole numbers of 2⁵³ and more.
    """
    present = values[np.isfinite(values)]
    if len(present) == 0:
        return 0.0
    low, size = float(present.min()), float(np.abs(present).max())
    with np.errstate(over="ignore"):
        spread = float(present.max()) - low
    exact = exact or size >= EXACT
    narrow = spread <= _NARROW * size < _NARROW * MOST and (exact or spread > 4 * _EPS * size)
    return float(np.floor(low)) if narrow else 0.0


def mean_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation in float64, of numbers of any size; 1 instead of a deviation of 0."""
    _, power = np.frexp(np.abs(values).max())
    small = np.ldexp(values, -power)  # by a power of two, so that nothing is rounded and no square overflows
    low = small.min()
    above = small - low  # which is exact for numbers that differ little
    scale = above.std() if above.max() > 4 * _EPS else 0.0  # which is what rounding leaves of equal numbers
    return float(np.ldexp(low + above.mean(), power)), float(np.ldexp(scale, power)) or 1.0
