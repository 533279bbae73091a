"""How the texts of a column are to be read as numbers or dates, by all that is known: the caller, the table, the model.

Where a column can be read in one way only, that is it. Where there are two, as of 70,545 or of 01/02/2020, what the
caller has said of the table decides; else how the model's training rows were written and, of numbers, the decimal mark
that other columns show. If nothing is known, or these two disagree, it is an error that shows both.
"""

import re
from typing import Any

import numpy as np

from ..extras import require
from . import dates, marks
from .columns import Values, days, is_text, numbers, texts, truths
from .marks import Marks
from .read import Table

_IN_WORDS = (
    ("year", "%Y %y"),
    ("month", "%m %B %b"),
    ("day", "%d %e"),
    ("hour", "%H %I"),
    ("minute", "%M"),
    ("second", "%S"),
    (".fraction", "%.f .%f"),
    ("zone", "%z"),
    ("day of the year", "%j"),
    ("year-month-day", "%F"),
    ("hour:minute:second", "%T"),
)


def read(
    table: Table, name: str, kind: str, written: str = "", origin: float = 0.0, notes: list[str] | None = None
) -> Values:
    """A column as numbers, less `origin`.

    kind : "numeric", "boolean" or "date". written : how its texts were written in training, "" if that is not known.
    notes : where it is said if they are written in another way now.

    Raises ValueError if the column can be read in two ways.
    """
    column = table.frame[name]
    if kind == "boolean":
        return truths(column)
    if kind == "date":
        values = days(column, table.dates.get(name) or written or dates.ISO, origin)
        if not values.wrong.any() or not is_text(column):
            return values
        form = date_form(table, name) or written or dates.ISO
        if notes is not None and form != (written or dates.ISO):
            notes.append(f"column `{name}`: dates as {in_words(form)}, in training as {in_words(written or dates.ISO)}")
        return days(column, form, origin)
    known = Marks.of(written) if written else None
    found = number_marks(table, name, known, [known or Marks()]) if is_text(column) else None
    if notes is not None and found is not None and known is not None and found.decimal != known.decimal:
        notes.append(f"column `{name}`: numbers as {found.written}, in training as {known.written}")
    return numbers(column, found or known, origin)


def number_marks(
    table: Table, name: str, known: Marks | None = None, units: list[Marks] | None = None, any_unit: bool = False
) -> Marks | None:
    """How the numbers of a column of texts are written; None if not all of them are numbers.

    known : how they were written in training. units, any_unit : as `marks.fitting` takes them.

    Raises ValueError if there are two ways, and nothing decides.
    """
    bare = texts(table.frame[name])
    found = marks.fitting(bare, units=units, any_unit=any_unit)
    said = {"decimal": table.decimal, "thousands": table.thousands}
    told = " and ".join(f"{what}={mark!r}" for what, mark in said.items() if mark)
    allowed = [
        way
        for way in found
        if table.decimal in (None, way.decimal)
        and way.decimal != table.thousands
        and (table.thousands is None or way.thousands in ("", table.thousands))
    ]
    if found and told and not allowed:
        row = _first(bare.str.contains(r"[.,' ]"))
        raise ValueError(
            f"{table.source}: column `{name}`: {table.place(row)} holds {bare[row]!r}, which is no number with {told}"
        )
    ways: dict[str, Marks] = {}
    for way in allowed:
        ways.setdefault(way.decimal, way)
    if len(ways) < 2:
        return next(iter(ways.values()), None)
    marked = bare.str.contains(r"[.,]").fill_null(False)
    if not marked.any():  # both read the same
        return ways[known.decimal if known else "."]
    shown = (table.decimals if len(table.decimals) == 1 else frozenset()) | ({known.decimal} if known else frozenset())
    if len(shown) == 1:
        return ways[next(iter(shown))]
    if (
        not shown
        and table.separator in ("", ",")
        and "," not in table.decimals
        and not bare.str.contains(",", literal=True).any()
    ):
        return ways["."]  # who writes numbers for programs
    row, (point, comma) = _first(marked), (ways["."], ways[","])
    values = [way.plain(bare)[row] for way in (point, comma)]
    raise ValueError(
        f"{table.source}: column `{name}` can be read in two ways: {table.place(row)} holds {bare[row]!r}, which is "
        f"{values[0]} if the decimal mark is a point and {values[1]} if it is a comma; say which, by decimal='.' or "
        f"decimal=',' (--decimal)"
    )


def date_form(table: Table, name: str) -> str | None:
    """The form of the dates of a column of texts; None if not all of them are dates.

    Raises ValueError if there are two, and nothing decides.
    """
    if told := table.dates.get(name):
        return told
    bare = texts(table.frame[name])
    found = dates.fitting(bare)
    if len(found) > 1:
        row = _first(bare.is_not_null())
        readings = " or ".join(f"{_moment(bare[row], form)} as {in_words(form)}" for form in found)
        said = " or ".join(f"{name}={form}" for form in found)
        raise ValueError(
            f"{table.source}: column `{name}` can be read in two ways: {table.place(row)} holds {bare[row]!r}, which "
            f"is {readings}; say which, by date={{{name!r}: {found[0]!r}}} (--date {said})"
        )
    return found[0] if found else None


def in_words(form: str) -> str:
    """A form of dates: "day.month.year"."""
    form = re.sub("(%.)(?=%)", r"\1 ", form)
    for word, directives in _IN_WORDS:
        for directive in directives.split():
            form = form.replace(directive, word)
    return form


def _moment(text: str, form: str) -> str:
    pl = require("polars", "tables")
    found, units = dates.moments(pl.Series([text]), form)
    return str(np.datetime64(found[0] // units, "s").astype("datetime64[D]"))


def _first(mask: Any) -> int:
    """The first row of which something is true; the first of all where it is true of none."""
    return int(mask.fill_null(False).to_numpy().argmax())
