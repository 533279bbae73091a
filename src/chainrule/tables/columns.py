"""A column as texts, as numbers, as dates, as true and false: whatever it came as.

A column is a polars Series. A value is missing where the library says null or NaN, and where its text, without spaces
around it, is one of MISSING. Each reader gives the values, and says which are neither missing nor what was asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..extras import require

MISSING = ("", "?", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "NaT", "None", "n/a", "nan", "null")

_DAY_S = 86_400
_DAY_FORMS = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")


@dataclass(frozen=True)
class Values:
    """A column as numbers.

    Shapes    numbers (n,) float64, NaN where nothing is; wrong (n,) bool, where there is something else
    """

    numbers: np.ndarray
    wrong: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """Where there is nothing."""
        return np.asarray(np.isnan(self.numbers) & ~self.wrong)


def texts(column: Any) -> Any:
    """The values as texts without spaces around them, null where they are missing; whole numbers have no point."""
    pl = require("polars", "tables")
    if column.dtype.is_float() or column.dtype.is_decimal():
        return column.cast(pl.Float64).fill_nan(None).cast(pl.String).str.strip_suffix(".0")
    if not _is_text(column):
        return column.cast(pl.String)
    bare = column.cast(pl.String).str.strip_chars()
    return bare.set(bare.is_in(MISSING), None)


def number_texts(column: Any) -> Any:
    """The same, with every number written in one way: 3, 3.0 and 3e0 are one category."""
    pl = require("polars", "tables")
    bare = texts(column)
    read = texts(bare.cast(pl.Float64, strict=False))
    return read.zip_with(read.is_not_null(), bare)


def numbers(column: Any) -> Values:
    """The values as numbers; true and false are 1 and 0."""
    pl = require("polars", "tables")
    if column.dtype.is_temporal():
        return _none(column)
    given = texts(column) if _is_text(column) else column
    return _values(given.cast(pl.Float64, strict=False), given)


def truths(column: Any) -> Values:
    """The values as 1 for true and 0 for false, in small or capital letters; numbers must be 0 or 1."""
    pl = require("polars", "tables")
    words = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
    bare = texts(column)
    return _values(bare.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Float64), bare)


def days(column: Any) -> Values:
    """The values as days since 1970; texts such as 2024-01-31, 2024-01-31 10:30 or 2024-01-31T10:30:00Z are dates.

    Times of the day are parts of a day, and durations are days. A time zone is passed over.
    """
    pl = require("polars", "tables")
    if column.dtype == pl.Date:
        return _values(column.to_physical().cast(pl.Float64), column)
    if column.dtype.is_temporal():
        unit = {"ns": 1e9, "us": 1e6, "ms": 1e3}[getattr(column.dtype, "time_unit", "ns")]
        return _values(column.to_physical() / (unit * _DAY_S), column)
    if column.dtype != pl.String:
        return _none(column)
    bare = texts(column)
    plain = bare.str.replace("T", " ", literal=True).str.strip_suffix("Z")
    read = plain.str.to_datetime(_DAY_FORMS[0], strict=False, time_unit="us")
    for form in _DAY_FORMS[1:]:
        if read.null_count() > bare.null_count():
            read = read.zip_with(read.is_not_null(), plain.str.to_datetime(form, strict=False, time_unit="us"))
    return _values(read.to_physical() / (1e6 * _DAY_S), bare)


def positions(column: Any, values: Sequence[str]) -> np.ndarray:
    """Where each text of a column stands among `values`; -1 if nowhere.

    Returns   (n,) int64
    """
    pl = require("polars", "tables")
    places = dict(zip(values, range(len(values)), strict=True))
    return np.array(column.replace_strict(places, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy())


def _is_text(column: Any) -> bool:
    pl = require("polars", "tables")
    return column.dtype in (pl.String, pl.Categorical, pl.Enum)


def _none(column: Any) -> Values:
    """Nothing of the column can be read."""
    return Values(np.full(len(column), np.nan), column.is_not_null().to_numpy())


def _values(read: Any, given: Any) -> Values:
    """What was read of a column, where null can mean that it was missing or that it could not be read."""
    found = np.asarray(read.to_numpy(), dtype=np.float64)  # where null is NaN
    if read.null_count() == given.null_count():
        return Values(found, np.zeros(len(found), bool))
    return Values(found, (read.is_null() & given.is_not_null()).to_numpy())
