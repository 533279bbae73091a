"""What the columns of a table are, found out from all their values, with the reason in words.

    numeric       every value is a number
    boolean       every value is true or false
    date          every value is a date or a time
    categorical   texts, of which there are few different ones
    ignored       nothing can be learned from it, or nothing that holds for other rows

What is missing does not count, and what the caller says goes before what is found.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import dates
from .columns import EXACT, Values, days, is_text, numbers, texts, truths
from .marks import IN_PARENTHESES, PROBE, Marks, fitting, two_units
from .read import Table
from .readings import date_form, in_words, number_marks

MOSTLY = 0.9  # a column with more numbers than this share is one of numbers, and the rest of it is a mistake
UNIQUE = 0.5  # texts of which more than this share are different say who a row is, not what it is like
FEW_TEXTS = 20  # as many different texts may be categories in a table of any length
MOST_TEXTS = 10_000  # different ones; the model keeps a list of them
IDENTIFIERS = 20  # rows that it takes to believe that numbers without a gap are identifiers

WORDS = {"numeric": "a number", "boolean": "true or false", "date": "a date", "categorical": "a category"}
WAYS = (Marks(), Marks(","), Marks(".", ","), Marks(",", "."))  # to write numbers, of which a column is most likely one
_DAYS_AS_NUMBERS = "%Y%m%d"


@dataclass(frozen=True)
class Kind:
    """What a column is, and why.

    written : how its texts are written: a number such as 1,234.5, or the form of a date; "" for the usual ways.
    note : what somebody should know who may see it otherwise.
    """

    name: str
    kind: str
    reason: str
    written: str = ""
    note: str = ""


def find_kinds(
    table: Table,
    target: str,
    *,
    ignore: Iterable[str] = (),
    categorical: Iterable[str] = (),
    numeric: Iterable[str] = (),
    date: Iterable[str] = (),
) -> list[Kind]:
    """The kind of every column but the target, in the order of the table.

    ignore : the names alone, or with the reasons.

    Raises ValueError for names that are no columns, for columns that are said to be two things, for texts among
    numbers, and if no column is left to learn from.
    """
    told: dict[str, str] = {}
    for kind, names in (("ignored", ignore), ("categorical", categorical), ("numeric", numeric), ("date", date)):
        for name in names:
            require_column(table, name)
            if name == target:
                raise ValueError(f"{table.source}: `{name}` is the target, and cannot be {kind} as well")
            if told.setdefault(name, kind) != kind:
                raise ValueError(f"{table.source}: `{name}` cannot be {told[name]} and {kind} at once")
    kinds = [_kind(table, name, told.get(name)) for name in table.names if name != target]
    if isinstance(ignore, Mapping):
        kinds = [replace(kind, reason=ignore.get(kind.name) or kind.reason) for kind in kinds]
    if all(kind.kind == "ignored" for kind in kinds):
        said = [f"`{kind.name}` {kind.reason}" + (f" ({kind.note})" if kind.note else "") for kind in kinds]
        reasons = "; ".join(said) or "there is only the target"
        raise ValueError(f"{table.source}: no column is left to learn from: {reasons}")
    return kinds


def require_column(table: Table, name: str) -> None:
    """Raise ValueError if the table has no such column, with the names that it has."""
    if name not in table.names:
        close = difflib.get_close_matches(name, table.names, n=1)
        hint = f"is `{close[0]}` meant? There are" if close else "there are"
        raise ValueError(f"{table.source}: there is no column `{name}`; {hint} {listed(table.names)}")


def require_readable(table: Table, name: str) -> None:
    """Raise ValueError if a column holds lists or the like."""
    if name in table.unreadable:
        raise ValueError(
            f"{table.source}: the column `{name}` must hold numbers, texts, dates or true and false, got "
            f"{table.unreadable[name]}"
        )


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
    if told is None and name in table.unreadable:
        return Kind(
            name, "ignored", f"it holds neither numbers, texts, dates nor true and false: {table.unreadable[name]}"
        )
    require_readable(table, name)
    n = len(column) - (texts(column).null_count() if is_text(column) else int(numbers(column).missing.sum()))
    if n == 0:
        return Kind(name, "ignored", "every value is missing")
    if n == len(column) and bool((column == column[0]).all()):
        return Kind(name, "ignored", f"every value is {str(column[0])[:40]}")
    if told == "categorical" or (told is None and name in table.declared):
        return _category(table, name, told)
    if told == "date":
        form = (date_form(table, name) if is_text(column) else table.dates.get(name)) or dates.ISO
        require_right(table, name, days(column, form), "is to be a date", "; say its form, as %d.%m.%Y")
        return _date(table, name, form, "you said so")
    if told == "numeric" or not is_text(column):
        return _typed(table, name, told, n)
    if found := number_marks(table, name):
        return _found_number(table, name, found, n)
    if holds_only(truths, column):
        return Kind(name, "boolean", "every value is true or false")
    if as_date := date_form(table, name):
        return _date(table, name, as_date, "every value is a date or a time")
    refuse_mixtures(table, name, n)
    return _category(table, name, told)


def _typed(table: Table, name: str, told: str | None, n: int) -> Kind:
    """The kind of a column whose type says it, or the caller."""
    column = table.frame[name]
    if told == "numeric":
        found = number_marks(table, name, any_unit=True) if is_text(column) else Marks()
        require_right(table, name, numbers(column, found), "is to be numeric")
        return _number(table, name, found or Marks(), "you said so")
    if str(column.dtype) == "Boolean":
        return Kind(name, "boolean", "every value is true or false")
    if column.dtype.is_temporal():
        form = dates.TIME if str(column.dtype) == "Time" else ""
        return Kind(name, "date", "every value is a date or a time", form)
    return _found_number(table, name, Marks(), n)


def find_numbers(table: Table, name: str) -> Kind:
    """The kind of a target that is a number.

    Raises ValueError, naming row and line, if it is none in some row.
    """
    column = table.frame[name]
    marks = (number_marks(table, name, any_unit=True) if is_text(column) else None) or Marks()
    require_right(table, name, numbers(column, marks), "is the target of a regression")
    return _number(table, name, marks, "")


def _number(table: Table, name: str, marks: Marks, reason: str) -> Kind:
    """A column of numbers, with how they are written."""
    column = table.frame[name]
    if not is_text(column):
        return Kind(name, "numeric", reason)
    bare = texts(column)
    usual = marks == Marks() and table.decimal is None and not bare.str.contains(".", literal=True).any()
    said = _said_of(name, marks, bool(bare.str.contains(",", literal=True).any()))
    if bare.str.contains(IN_PARENTHESES).any():
        said.append(f"numbers of `{name}` in parentheses were read as negative ones")
    return Kind(name, "numeric", reason, "" if usual else marks.written, "; ".join(said))


def _found_number(table: Table, name: str, marks: Marks, n: int) -> Kind:
    """The same of a column of which nobody has said so: it may count the rows, or be something else than numbers."""
    column, said = table.frame[name], []
    first, step = _step(column, marks) if n == len(column) >= IDENTIFIERS else (0.0, 0.0)
    if step == 1 and first in (0, 1):
        return Kind(name, "ignored", f"it numbers the rows: {first:.0f} to {first + n - 1:.0f}, each once")
    if step:
        said.append(f"`{name}` goes from {first:.0f} up in even steps of {step:.0f}: if it numbers the rows, ignore it")
    if not column.dtype.is_float() and not days(column.head(PROBE), _DAYS_AS_NUMBERS).wrong.any():
        if not days(column, _DAYS_AS_NUMBERS).wrong.any():
            said.append(
                f"`{name}` could be dates such as {column.drop_nulls()[0]}: if so, say its form, {_DAYS_AS_NUMBERS}"
            )
    elif is_text(column) and bool(texts(column).str.contains(r"^0\d").any()):
        said.append(f"`{name}` has numbers that begin with 0: if they are codes, say that it is categorical")
    kind = _number(table, name, marks, "every value is a number")
    return replace(kind, note="; ".join([*said, kind.note] if kind.note else said))


def _said_of(name: str, marks: Marks, commas: bool) -> list[str]:
    """How numbers were read that are not as Python writes them."""
    said = [f"decimal commas in `{name}` were read as points"] if marks.decimal == "," and commas else []
    if marks.thousands:
        said.append(f"`{marks.thousands}` between the thousands of `{name}` was left out")
    if marks.unit:
        said.append(f"numbers of `{name}` were read without their `{marks.unit}`")
    return said


def _date(table: Table, name: str, form: str, reason: str) -> Kind:
    column, usual = table.frame[name], form == dates.ISO
    said = [] if usual else [f"dates of `{name}` were read as {in_words(form)}"]
    if form == dates.TIME:
        said = [f"`{name}` was read as times of the day"]
    if is_text(column) and dates.have_zones(texts(column)):
        said.append(f"times of `{name}` with a zone were read as those of UTC")
    return Kind(name, "date", reason, "" if usual else form, "; ".join(said))


def _category(table: Table, name: str, told: str | None) -> Kind:
    present = texts(table.frame[name]).drop_nulls()
    n, different = len(present), present.n_unique()
    if told is None and different > min(max(FEW_TEXTS, UNIQUE * n), MOST_TEXTS):
        reason = f"too many different texts: {different:,} in {n:,} rows"
        return Kind(name, "ignored", reason, note=_could_be(table, name))
    if different > MOST_TEXTS:
        raise ValueError(
            f"{table.source}: column `{name}` is to be categorical, which {MOST_TEXTS:,} different values may be, got "
            f"{different:,}"
        )
    declared = "its type is a category" if name in table.declared else counted(different, "different text")
    return Kind(name, "categorical", "you said so" if told else declared)


def _could_be(table: Table, name: str) -> str:
    """What different texts look like that could be numbers or dates; "" if they do not."""
    bare = texts(table.frame[name])
    if unit := unit_of(bare):
        return f"`{name}` could be numbers with the unit `{unit}`: if so, say that it is numeric"
    if all(dates.resembles(text) for text in bare.drop_nulls().head(PROBE)):
        shown = table.frame[name][int(bare.is_not_null().to_numpy().argmax())]
        return f"`{name}` could be dates such as {shown}: if so, say their form, as %d/%m/%Y (--date)"
    some = bare.drop_nulls().head(PROBE)
    ways = [way for way in WAYS if numbers(some, way).wrong.sum() < len(some) / 2]
    if ways:
        wrong = min((numbers(bare, way).wrong for way in ways), key=lambda mask: int(mask.sum()))
        row = int(wrong.argmax())
        return f"`{name}` holds numbers in most rows, but {table.place(row)} holds {table.frame[name][row]!r}"
    return ""


def unit_of(bare: Any) -> str:
    """The unit, of no known currency, that texts have which are numbers but for it; "" if they are none."""
    units = [way.after for way in fitting(bare, any_unit=True) if way.after]
    return units[0] if units else ""


def holds_only(reader: Callable[[Any], Values], column: Any) -> bool:
    """Whether a reader can read all values; most columns that it cannot read show it early."""
    return not reader(column.head(PROBE)).wrong.any() and not reader(column).wrong.any()


def refuse_mixtures(
    table: Table, name: str, n: int, hint: str = "the column is categorical, or is to be ignored"
) -> None:
    """Raise ValueError, naming row and line, if nearly all of n texts are numbers or dates, or all but for units."""
    column = table.frame[name]
    bare, hint = texts(column), f"; mend that, or say that {hint}"
    if not numbers(bare.str.replace_all(",", "", literal=True)).wrong.any():
        require_right(table, name, numbers(column), "holds numbers with commas in odd places", hint)
    if rows := two_units(bare):
        shown = " and ".join(f"{table.place(row)} {bare[row]!r}" for row in rows)
        raise ValueError(f"{table.source}: column `{name}` holds numbers of more than one unit, {shown}{hint}")
    some, n_some = bare.drop_nulls().head(PROBE), min(n, PROBE)
    for form in dates.FORMS:
        if days(some, form).wrong.sum() < n_some / 2 and (share := 1 - days(bare, form).wrong.sum() / n) > MOSTLY:
            what = f"holds dates as {in_words(form)} in {share:.1%} of its rows"
            require_right(table, name, days(column, form), what, hint)
    ways = [way for way in WAYS if numbers(some, way).wrong.sum() < n_some / 2]
    if ways:
        values = min((numbers(column, way) for way in ways), key=lambda read: int(read.wrong.sum()))
        if (share := 1 - values.wrong.sum() / n) > MOSTLY:
            require_right(table, name, values, f"holds numbers in {share:.1%} of its rows", hint)


def _step(column: Any, marks: Marks) -> tuple[float, float]:
    """The smallest of whole numbers in any order, and how far neighbours are apart; 0 where that differs."""
    some = numbers(column.head(PROBE), marks).numbers
    if (some != np.floor(some)).any():
        return 0.0, 0.0
    values = numbers(column, marks).numbers
    if not np.isfinite(values).all():
        return 0.0, 0.0
    first = float(np.floor(values.min()))
    if abs(values).max() >= EXACT:
        values = numbers(column, marks, first).numbers + 0
    steps = np.diff(np.sort(values))
    even = len(steps) > 0 and (values == np.floor(values)).all() and (steps == steps[0]).all()
    return first, float(steps[0]) if even else 0.0
