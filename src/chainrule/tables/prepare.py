"""A table as data to learn from: what its columns are, which rows are for what, every row as numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..data import Dataset
from ..extras import require
from .columns import numbers
from .description import Target
from .divide import Parts, divide
from .encoding import Encoding
from .read import Table
from .schema import Kind, find_kinds
from .target import ClassTarget, NumberTarget, choose_task, known_rows


@dataclass(frozen=True)
class Prepared:
    """Rows with a known target, the rules that read them, and what these make of them.

    rows : the table without the rows that have no target.
    parts : which of them are for training, validation and test.
    encoding, target : the rules, fitted to the training rows; of classes, to all rows.
    data : every row as numbers.
    """

    rows: Table
    parts: Parts
    encoding: Encoding
    target: Target
    data: Dataset

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
    """The same table with numbers instead of texts in its numeric columns, so that they need not be read again."""
    pl = require("polars", "tables")
    numeric = [table.frame[kind.name] for kind in kinds if kind.kind == "numeric"]
    read = [pl.Series(column.name, numbers(column).numbers) for column in numeric if column.dtype == pl.String]
    return replace(table, frame=table.frame.with_columns(read))


def prepare(
    table: Table,
    name: str,
    *,
    task: str | None,
    ignore: Iterable[str],
    categorical: Iterable[str],
    numeric: Iterable[str],
    validation: float,
    test: float,
    seed: int,
) -> Prepared:
    """Find out, divide, fit, encode; the arguments are those of `train_table`, `name` that of the target.

    Raises ValueError for what nothing can be learned from.
    """
    task, reason = choose_task(table, name, task)
    kinds = find_kinds(table, name, ignore=ignore, categorical=categorical, numeric=numeric)
    known, table = known_rows(table, name), with_numbers(table, kinds)
    rows = table if known.all() else table.take(known)
    target: Target = (ClassTarget if task == ClassTarget.TASK else NumberTarget).fit(rows, name, reason)
    try:
        parts = divide(target.strata(rows), validation=validation, test=test, seed=seed)
    except ValueError as problem:
        raise ValueError(f"{table.source}: {problem}") from None
    learned = rows.take(parts.training)
    if isinstance(target, NumberTarget):  # mean and scale are to know nothing of the other rows
        target = NumberTarget.fit(learned, name, reason)
    encoding = Encoding.fit(kinds, learned)
    return Prepared(rows, parts, encoding, target, Dataset(encoding.encode(rows), target.encode(rows)))
