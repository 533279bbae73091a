"""The column that is to be learned: classes or a number, found out or told, and what a network says about it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ..extras import require
from ..losses import CrossEntropyLoss, HuberLoss, L1Loss, MSELoss
from ..module import Module
from .columns import EXACT, is_text, numbers, positions, texts, truths
from .features import mean_and_scale, origin_of
from .read import Table
from .readings import date_form, number_marks, read
from .schema import UNIQUE, holds_only, listed, refuse_mixtures, require_column, require_readable, require_right

FEW_NUMBERS = 20  # different whole numbers that are taken for classes
ROWS_EACH = 5  # rows that there must be of each of them, on average
MOST_CLASSES = 1000
STRATUM = 20  # rows of neighbouring numbers, of which every part gets its share
TASKS = ("classification", "regression")
_WHOLE = re.compile(r"-?\d+")
LOSSES = {"mse": MSELoss, "huber": HuberLoss, "mae": L1Loss}


def choose_task(table: Table, name: str, told: str | None = None) -> tuple[str, str]:
    """Whether the target is a class or a number, and why.

    Raises ValueError if there is no such column, nothing in it, or a mixture.
    """
    require_column(table, name)
    require_readable(table, name)
    column = table.frame[name]
    present = texts(column).drop_nulls()
    if len(present) == 0:
        raise ValueError(f"{table.source}: the target `{name}` is missing in every row")
    if told is not None:
        return told, "you said so"
    different = present.n_unique()
    if name in table.declared:
        return "classification", f"the type of `{name}` is a category"
    marks = number_marks(table, name) if is_text(column) else None
    if str(column.dtype) == "Boolean" or (is_text(column) and marks is None and holds_only(truths, column)):
        return "classification", f"`{name}` is true or false"
    if column.dtype.is_temporal() or (is_text(column) and marks is None and date_form(table, name)):
        raise ValueError(
            f"{table.source}: the target `{name}` must be a number or a class, got dates; if they are classes, say "
            f"that the task is classification"
        )
    if is_text(column) and marks is None:
        refuse_mixtures(table, name, len(present), "the task is classification")
        return "classification", f"`{name}` holds {different:,} different texts"
    values = numbers(column, marks)
    known = values.numbers[~np.isnan(values.numbers)]
    if (known == np.floor(known)).all() and different <= min(FEW_NUMBERS, len(known) / ROWS_EACH):
        return "classification", f"`{name}` holds {different:,} different whole numbers"
    return "regression", f"`{name}` holds {different:,} different numbers"


@dataclass(frozen=True)
class ClassTarget:
    """One of several classes: the network says a logit for each.

    classes : the texts that they are, numbers in their order and others in the alphabet's; false before true.
    form : in which `values` gives them back: "text", "number" or "boolean" as in the table, or "words", which are the
        texts for false and true.
    """

    name: str
    task: str
    reason: str
    classes: tuple[str, ...]
    form: str

    TASK: ClassVar = "classification"

    @classmethod
    def fit(cls, table: Table, name: str, reason: str) -> "ClassTarget":
        """The target with the classes of a table.

        Raises ValueError where there is one class only, or nearly one for each row.
        """
        column = table.frame[name]
        present = texts(column).drop_nulls()
        form = _form(column, present)
        different = _spelled(present) if form == "words" else present.unique().to_list()
        if len(different) < 2:
            raise ValueError(
                f"{table.source}: the target `{name}` must hold at least two classes, got {listed(different)} alone"
            )
        values = numbers(require("polars", "tables").Series(different, dtype=present.dtype))
        all_numbers = not values.wrong.any()
        hint = "; say that the task is regression" if all_numbers else ""
        if len(different) > UNIQUE * len(present):
            raise ValueError(
                f"{table.source}: the target `{name}` holds {len(different):,} different values in {len(present):,} "
                f"rows, too few rows to learn classes from: there must be two for each class{hint}"
            )
        if len(different) > MOST_CLASSES:
            raise ValueError(
                f"{table.source}: the target `{name}` holds {len(different):,} different values in {len(present):,} "
                f"rows, too many to be classes{hint}"
            )
        if all_numbers:  # where float64 does not tell them apart, the shorter one comes first, then the alphabet
            order = sorted(zip(values.numbers, map(len, different), different, strict=True))
            different = [text for _, _, text in order]
        elif form not in ("words", "boolean"):
            different.sort()
        return cls(name, cls.TASK, reason, ("false", "true") if form == "boolean" else tuple(different), form)

    @property
    def outputs(self) -> list[str]:
        """The names of the network's outputs."""
        return [f"{self.name} = {name}" for name in self.classes]

    def encode(self, table: Table) -> np.ndarray:
        """The number of each row's class, -1 for an unknown one; every row has one. (n,) int64."""
        column = table.frame[self.name]
        if self.form in ("words", "boolean"):
            found = truths(column).numbers
            return np.where(np.isnan(found), -1, found).astype(np.int64)
        return positions(column, self.classes, as_numbers=self.form == "number")

    def unknown(self, table: Table) -> list[str]:
        """The class of each row that the model does not know, as text."""
        column = texts(table.frame[self.name])
        return list(column.filter(self.encode(table) < 0).to_list())

    def strata(self, table: Table) -> np.ndarray:
        """Groups of rows that every part gets its share of: the classes. (n,) integers."""
        return self.encode(table)

    def values(self, y: np.ndarray) -> np.ndarray:
        """The class that each row of outputs speaks for, as it stood in the table."""
        if self.form == "boolean":
            names = np.array([name == "true" for name in self.classes])
        elif self.form == "number":
            names = _as_numbers(self.classes)
        else:
            names = np.array(self.classes)
        return np.asarray(names[y.argmax(axis=1)])

    def probabilities(self, y: np.ndarray) -> np.ndarray:
        """Of every class for each row: softmax of the outputs, in float64."""
        y = y.astype(np.float64)
        p = np.exp(y - y.max(axis=1, keepdims=True))
        return np.asarray(p / p.sum(axis=1, keepdims=True))

    def loss(self, name: str | None) -> Module:
        """What the network is trained by."""
        if name is not None:
            raise ValueError(f"classes are learned by cross-entropy; the loss {name} is for numbers")
        return CrossEntropyLoss()

    def to_dict(self) -> dict[str, Any]:
        """The target as plain values, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"classes": list(self.classes)}


@dataclass(frozen=True)
class NumberTarget:
    """A number: the network says how many standard deviations it lies above the mean.

    Equation  value = y scale + mean + origin, in float64; whole numbers where the origin is so long that float64 does
              not tell them apart

    origin, written : as those of a NumberFeature.
    """

    name: str
    task: str
    reason: str
    mean: float
    scale: float
    written: str = ""
    origin: float = 0.0

    TASK: ClassVar = "regression"

    @classmethod
    def fit(cls, table: Table, name: str, reason: str, *, written: str = "", rows: str = "row") -> "NumberTarget":
        """The target, with the mean and the spread of the training rows, which errors call `rows`.

        Raises ValueError where every row has the same number.
        """
        values = _finite(table, name, written)
        if origin := origin_of(values, exact=False):
            values = _finite(table, name, written, origin)
        if values.min() == values.max():
            raise ValueError(
                f"{table.source}: the target `{name}` is {values[0] + origin:g} in every {rows}: nothing is to be "
                f"learned"
            )
        mean, scale = mean_and_scale(values)
        return cls(name, cls.TASK, reason, mean, scale, written, origin)

    @property
    def outputs(self) -> list[str]:
        """The names of the network's outputs."""
        return [self.name]

    def encode(self, table: Table) -> np.ndarray:
        """Every row's number as the network says it. (n, 1) float64."""
        return ((self.numbers(table) - self.mean) / self.scale)[:, None]

    @property
    def notes(self) -> list[str]:
        """What somebody should know who reads the score."""
        said = (
            f"`{self.name}` is counted from {self.origin:.0f} in the score, as its numbers hardly differ for their size"
        )
        return [said] if self.origin else []

    def numbers(self, table: Table) -> np.ndarray:
        """Every row's number less the origin. (n,) float64."""
        return _finite(table, self.name, self.written, self.origin)

    def strata(self, table: Table) -> np.ndarray:
        """Groups of rows that every part gets its share of: the smallest numbers, then the next. (n,) integers."""
        values = self.numbers(table)
        ranks = np.empty(len(values), np.int64)
        ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
        return ranks // STRATUM

    def values(self, y: np.ndarray) -> np.ndarray:
        """The numbers that the outputs say, in the target's own units. (n,) float64, or 64-bit integers."""
        values = self.above(y)
        if abs(self.origin) >= EXACT and (abs(values) < 2**62).all():
            whole = [int(self.origin) + int(value) for value in np.rint(values)]
            for kind in (np.int64, np.uint64):
                if not whole or np.iinfo(kind).min <= min(whole) <= max(whole) <= np.iinfo(kind).max:
                    return np.array(whole, kind)
        return values + self.origin

    def above(self, y: np.ndarray) -> np.ndarray:
        """The same less the origin. (n,) float64."""
        return np.asarray(y[:, 0].astype(np.float64) * self.scale + self.mean)

    def loss(self, name: str | None) -> Module:
        """What the network is trained by."""
        loss: Module = LOSSES[name or "mse"]()
        return loss

    def to_dict(self) -> dict[str, Any]:
        """The target as plain values, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def known_rows(table: Table, name: str) -> np.ndarray:
    """Where the target is not missing. (n,) bool."""
    return np.asarray(texts(table.frame[name]).is_not_null().to_numpy())


def _form(column: Any, present: Any) -> str:
    """In which form classes come back: numbers, if that is how every text is written that there is."""
    if not is_text(column):
        return "boolean" if str(column.dtype) == "Boolean" else "number" if column.dtype.is_numeric() else "text"
    if str(column.dtype) != "String":
        return "text"
    if numbers(present).wrong.any():
        return "words" if holds_only(truths, present) else "text"
    different = present.unique()
    pl = require("polars", "tables")
    for kind in (pl.Int64, pl.Float64):
        if (different == texts(different.cast(kind, strict=False))).fill_null(False).all():
            return "number"
    return "text"


def _as_numbers(classes: Sequence[str]) -> np.ndarray:
    """Classes as the numbers that they are: integers of 64 bits, or else float64."""
    if all(_WHOLE.fullmatch(name) for name in classes):
        whole = [int(name) for name in classes]
        for kind in (np.int64, np.uint64):
            if np.iinfo(kind).min <= min(whole) and max(whole) <= np.iinfo(kind).max:
                return np.array(whole, kind)
    return np.array([float(name) for name in classes])


def _spelled(present: Any) -> list[str]:
    """How false and true are written, most often."""
    found, spelled = truths(present).numbers, []
    for truth in (0, 1):
        some = present.filter(found == truth)
        spelled += [Counter(some.to_list()).most_common(1)[0][0]] if len(some) else []
    return spelled


def _finite(table: Table, name: str, written: str = "", origin: float = 0.0) -> np.ndarray:
    """The numbers of a column that has one in every row."""
    values = read(table, name, "numeric", written, origin)
    require_right(table, name, values, "is the target of a regression")
    bad = np.flatnonzero(~np.isfinite(values.numbers))
    if len(bad):
        raise ValueError(
            f"{table.source}: the target `{name}` must be finite, but {table.place(bad[0])} holds "
            f"{values.numbers[bad[0]]}"
        )
    return values.numbers
