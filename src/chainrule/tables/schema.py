"""What the columns of a table are, found out from all their values, with the reason in words.

    numeric       every value is a number
    boolean       every value is true or false
    date          every value is a date or a time
    categorical   texts, of which there are few different ones
    ignored       nothing can be learned from it, or nothing that holds for other rows

What is missing does not count, and what the caller says goes before what is found.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .columns import Values, days, numbers, texts, truths
from .read import Table

MOSTLY = 0.9  # a column with more numbers than this share is one of numbers, and the rest of it is a mistake
UNIQUE = 0.5  # texts of which more than this share are different say who a row is, not what it is like
FEW_TEXTS = 20  # as many different texts may be categories in a table of any length
MOST_TEXTS = 10_000  # different ones; the model keeps a list of them
PROBE = 100  # rows that most mistakes show in
IDENTIFIERS = 20  # rows that it takes to believe that numbers without a gap are identifiers

READERS: dict[str, Callable[[Any], Values]] = {"numeric": numbers, "boolean": truths, "date": days}
WORDS = {"numeric": "a number", "boolean": "true or false", "date": "a date", "categorical": "a category"}


@dataclass(frozen=True)
class Kind:
    """What a column is, and why."""

    name: str
    kind: str
    reason: str


def find_kinds(
    table: Table,
    target: str,
    *,
    ignore: Iterable[str] = (),
    categorical: Iterable[str] = (),
    numeric: Iterable[str] = (),
) -> list[Kind]:
    """The kind of every column but the target, in the order of the table.

    Raises ValueError for names that are no columns, for columns that are said to be two things, for texts among
    numbers, and if no column is left to learn from.
    """
    told: dict[str, str] = {}
    for kind, names in (("ignored", ignore), ("categorical", categorical), ("numeric", numeric)):
        for name in names:
            require_column(table, name)
            if name == target:
                raise ValueError(f"{table.source}: `{name}` is the target, and cannot be {kind} as well")
            if told.setdefault(name, kind) != kind:
                raise ValueError(f"{table.source}: `{name}` cannot be {told[name]} and {kind} at once")
    kinds = [_kind(table, name, told.get(name)) for name in table.names if name != target]
    if all(kind.kind == "ignored" for kind in kinds):
        reasons = "; ".join(f"`{kind.name}` {kind.reason}" for kind in kinds) or "there is only the target"
        raise ValueError(f"{table.source}: no column is left to learn from: {reasons}")
    return kinds


def require_column(table: Table, name: str) -> None:
    """Raise ValueError if the table has no such column, with the names that it has."""
    if name not in table.names:
        close = difflib.get_close_matches(name, table.names, n=1)
        hint = f"is `{close[0]}` meant? There are" if close else "there are"
        raise ValueError(f"{table.source}: there is no column `{name}`; {hint} {listed(table.names)}")


def listed(names: Iterable[Any], most: int = 12) -> str:
    """Names or values in a sentence, the first ones if there are many."""
    names = [f"`{name}`" for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def counted(n: int, noun: str) -> str:
    """A number of things: "1 row", "1,000 rows"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def require_right(table: Table, name: str, values: Values, kind: str, more: str = "") -> None:
    """Raise ValueError, naming row and line, if the column holds what cannot be read."""
    if values.wrong.any():
        row = int(np.flatnonzero(values.wrong)[0])
        others = int(values.wrong.sum()) - 1
        also = f", and {counted(others, 'more row')} the like" if others else ""
        got = str(table.frame[name][row])[:60]
        raise ValueError(f"{table.source}: column `{name}` {kind}, but {table.place(row)} holds {got!r}{also}{more}")


def _kind(table: Table, name: str, told: str | None) -> Kind:
    column = table.frame[name]
    if told == "ignored":
        return Kind(name, told, "you said so")
    values = numbers(column)
    n = len(column) - int(values.missing.sum())
    if n == 0:
        return Kind(name, "ignored", "every value is missing")
    if n == len(column) and bool((column == column[0]).all()):
        return Kind(name, "ignored", f"every value is {str(column[0])[:40]}")
    if told == "numeric":
        require_right(table, name, values, "is to be numeric")
        return Kind(name, told, "you said so")
    if told != "categorical":
        if is_boolean(column, values):
            return Kind(name, "boolean", "every value is true or false")
        if not values.wrong.any():
            if n == len(column) >= IDENTIFIERS and _counts(values.numbers):
                first, last = values.numbers.min(), values.numbers.max()
                return Kind(name, "ignored", f"it numbers the rows: {first:.0f} to {last:.0f}, each once")
            return Kind(name, "numeric", "every value is a number")
        if column.dtype.is_temporal() or holds_only(days, column):
            return Kind(name, "date", "every value is a date or a time")
        refuse_mixtures(table, name, values, n)
    return _category(table, name, told)


def _category(table: Table, name: str, told: str | None) -> Kind:
    present = texts(table.frame[name]).drop_nulls()
    n, different = len(present), present.n_unique()
    if told is None and different > min(max(FEW_TEXTS, UNIQUE * n), MOST_TEXTS):
        return Kind(name, "ignored", f"too many different texts: {different:,} in {n:,} rows")
    if different > MOST_TEXTS:
        raise ValueError(
            f"{table.source}: column `{name}` is to be categorical, which {MOST_TEXTS:,} different values may be, got "
            f"{different:,}"
        )
    return Kind(name, "categorical", "you said so" if told else counted(different, "different text"))


def holds_only(reader: Callable[[Any], Values], column: Any) -> bool:
    """Whether a reader can read all values; most columns that it cannot read show it early."""
    return not reader(column.head(PROBE)).wrong.any() and not reader(column).wrong.any()


def is_boolean(column: Any, values: Values) -> bool:
    """Whether every value is true or false, given the column as numbers; 1 and 0 are numbers."""
    return str(column.dtype) == "Boolean" or (
        bool(values.wrong.any()) and not column.dtype.is_temporal() and holds_only(truths, column)
    )


def refuse_mixtures(table: Table, name: str, values: Values, n: int) -> None:
    """Raise ValueError, naming row and line, if nearly all of n values are numbers, or all are but for commas."""
    column, share = table.frame[name], 1 - values.wrong.sum() / n
    hint = "; mend that, or say that the column is categorical, or is to be ignored"
    if str(column.dtype) == "String" and not numbers(texts(column).str.replace_all(",", "", literal=True)).wrong.any():
        require_right(table, name, values, "holds numbers, which have a point and no commas", hint)
    if share > MOSTLY:
        require_right(table, name, values, f"holds numbers in {share:.1%} of its rows", hint)


def _counts(values: np.ndarray) -> bool:
    """Whether numbers are 0, 1, 2, … or 1, 2, 3, … in any order, each once."""
    first, last = values.min(), values.max()
    return bool(first in (0, 1) and last - first == len(values) - 1 == len(np.unique(values)) - 1)
