"""A table as data to learn from: what its columns are, which rows are for what, every row as numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import Dataset
from ..extras import require
from .columns import EXACT, is_text, numbers, texts, whole_numbers
from .dates import ISO, moments
from .description import Target
from .divide import Parts, divide
from .encoding import Encoding
from .marks import Marks
from .read import Table
from .schema import Kind, find_kinds, find_numbers, unit_of
from .target import ClassTarget, NumberTarget, choose_task, known_rows


@dataclass(frozen=True)
class Prepared:
    """Rows with a known target, the rules that read them, and what these make of them.

    rows : the table without the rows that have no target.
    parts : which of them are for training, validation and test.
    encoding, target : the rules, fitted to the training rows; of classes, to all rows.
    data : every row as numbers.
    notes : what was made of columns that somebody may see otherwise.
    """

    rows: Table
    parts: Parts
    encoding: Encoding
    target: Target
    data: Dataset
    notes: tuple[str, ...] = ()

    @property
    def training(self) -> Dataset:
        """What is learned from."""
        return self.data.take(self.parts.training)

    @property
    def validation(self) -> Dataset | None:
        """What decides when to stop."""
        return self.data.take(self.parts.validation) if len(self.parts.validation) else None

    @property
    def held_back(self) -> tuple[str, Table]:
        """The rows that say how good the model is: for test, or else for validation, or else for training."""
        parts = {"test": self.parts.test, "validation": self.parts.validation, "training": self.parts.training}
        name = next(name for name, rows in parts.items() if len(rows))
        return name, self.rows.take(parts[name])


def with_numbers(table: Table, kinds: Iterable[Kind]) -> Table:
    """The same table with numbers and moments instead of texts in such columns, so that they need not be read again.

    Numbers are float64, or 128-bit integers where that does not tell them apart.
    """
    of_texts = [kind for kind in kinds if kind.kind in _READ and is_text(table.frame[kind.name])]
    return replace(
        table, frame=table.frame.with_columns([_READ[one.kind](table.frame[one.name], one) for one in of_texts])
    )


def _numbers(column: Any, kind: Kind) -> Any:
    pl = require("polars", "tables")
    marks = Marks.of(kind.written) if kind.written else Marks()
    found = numbers(column, marks)
    if np.nanmax(np.abs(found.numbers), initial=0) >= EXACT:
        exact = whole_numbers(marks.plain(texts(column)))
        if exact.null_count() == np.isnan(found.numbers).sum():
            return exact.alias(column.name)
    return pl.Series(column.name, found.numbers)


def _moments(column: Any, kind: Kind) -> Any:
    pl = require("polars", "tables")
    found, units = moments(texts(column), kind.written or ISO)
    return found.cast(pl.Datetime("ns" if units == 10**9 else "us")).alias(column.name)


_READ = {"numeric": _numbers, "date": _moments}


def prepare(
    table: Table,
    name: str,
    *,
    task: str | None,
    ignore: Iterable[str],
    categorical: Iterable[str],
    numeric: Iterable[str],
    date: Iterable[str] = (),
    validation: float,
    test: float,
    seed: int,
) -> Prepared:
    """Find out, divide, fit, encode; the arguments are those of `train_table`, `name` that of the target.

    Raises ValueError for what nothing can be learned from.
    """
    task, reason = choose_task(table, name, task)
    kinds = find_kinds(table, name, ignore=ignore, categorical=categorical, numeric=numeric, date=date)
    of_target = find_numbers(table, name) if task == NumberTarget.TASK else Kind(name, task, reason)
    known, table = known_rows(table, name), with_numbers(table, [*kinds, of_target])
    rows = table if known.all() else table.take(known)
    written = of_target.written
    target: Target = (
        ClassTarget.fit(rows, name, reason)
        if task == ClassTarget.TASK
        else NumberTarget.fit(rows, name, reason, written=written)
    )
    try:
        parts = divide(target.strata(rows), validation=validation, test=test, seed=seed)
    except ValueError as problem:
        raise ValueError(f"{table.source}: {problem}") from None
    learned = rows.take(parts.training)
    if isinstance(target, NumberTarget):  # mean and scale are to know nothing of the other rows
        target = NumberTarget.fit(learned, name, reason, written=written, rows="training row")
    encoding = Encoding.fit(kinds, learned)
    notes = [kind.note for kind in [*kinds, of_target] if kind.note]
    if isinstance(target, ClassTarget) and is_text(rows.frame[name]) and (unit := unit_of(texts(rows.frame[name]))):
        notes.append(f"`{name}` could be numbers with the unit `{unit}`: if so, say that the task is regression")
    if isinstance(target, NumberTarget):
        notes += target.notes
    data = Dataset(encoding.encode(rows), target.encode(rows))
    return Prepared(rows, parts, encoding, target, data, tuple(notes))
