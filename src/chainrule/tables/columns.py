"""A column as texts, as numbers, as dates, as true and false: whatever it came as.

A column is a polars Series. A value is missing where the library says null or NaN, and where its text, without spaces
around it, is one of MISSING. Each reader gives the values, and says which are neither missing nor what was asked for.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..extras import require
from . import dates
from .marks import Marks

MISSING = ("", "?", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "NaT", "None", "n/a", "nan", "null")

EXACT = 2.0**53  # beyond which float64 does not tell all whole numbers apart

_DAY_S = 86_400
_DIGITS = re.compile("(?:%[YymdHMS])+")
_WHOLE = r"^[+-]?\d+(?:\.0*)?$"


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


def is_text(column: Any) -> bool:
    """Whether a column holds texts, of which a category is one."""
    pl = require("polars", "tables")
    return column.dtype in (pl.String, pl.Categorical, pl.Enum)


def texts(column: Any) -> Any:
    """The values as texts without spaces around them, null where they are missing.

    Texts are left as they are: 01234 and 1234 are two, and 1.0 and 1. Whole numbers have no point, and full seconds no
    fraction.
    """
    pl = require("polars", "tables")
    if column.dtype.is_float():  # 0.1 of 32 bits is 0.1 too
        wide = column if column.dtype == pl.Float32 else column.cast(pl.Float64)
        return wide.fill_nan(None).cast(pl.String).str.strip_suffix(".0")
    if column.dtype.is_decimal() or column.dtype in (pl.Datetime, pl.Time):
        return column.cast(pl.String).str.replace(r"(\.\d*?)0+$", "${1}").str.strip_suffix(".")
    if column.dtype == pl.Duration:  # which the library writes in ways that differ between its versions
        return pl.Series(column.name, [None if value is None else str(value) for value in column], dtype=pl.String)
    if not is_text(column):
        return column.cast(pl.String)
    bare = column.cast(pl.String).str.strip_chars()
    return bare.set(bare.is_in(MISSING), None)


def number_texts(bare: Any) -> Any:
    """Texts with every whole number written in one way: 3, 03 and 3.0 are the same, of whatever length."""
    whole = bare.str.contains(_WHOLE).fill_null(False)
    plain = bare.str.strip_prefix("+").str.replace(r"\.0*$", "").str.replace(r"^(-?)0+(\d)", "${1}${2}")
    return bare.zip_with(~whole, plain.replace({"-0": "0"}))


def numbers(column: Any, marks: Marks | None = None, origin: float = 0.0) -> Values:
    """The values less `origin`, a whole number, as float64; true and false are 1 and 0.

    Whole numbers are subtracted from exactly, however long they are. marks : how texts are written, as Python unless
    given.
    """
    pl = require("polars", "tables")
    if column.dtype.is_temporal():
        return _none(column)
    given = texts(column) if is_text(column) or column.dtype.is_decimal() else column
    plain = (marks or Marks()).plain(given) if given.dtype == pl.String else given
    read = plain.cast(pl.Float64, strict=False)
    if origin:
        exact = None if plain.dtype.is_float() else whole_numbers(plain)
        read = read - origin
        if exact is not None:
            rest = (exact - pl.Series([int(origin)], dtype=pl.Int128)).cast(pl.Float64)
            read = rest.zip_with(rest.is_not_null(), read)
    return _values(read, given)


def whole_numbers(plain: Any) -> Any:
    """The whole numbers among texts or numbers, exactly; null elsewhere."""
    pl = require("polars", "tables")
    given = number_texts(plain) if plain.dtype == pl.String else plain
    return given.cast(pl.Int128, strict=False)


def truths(column: Any) -> Values:
    """The values as 1 for true and 0 for false, in small or capital letters; numbers must be 0 or 1."""
    pl = require("polars", "tables")
    words = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
    bare = texts(column)
    return _values(bare.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Float64), bare)


def days(column: Any, form: str = dates.ISO, origin: float = 0.0) -> Values:
    """The values as days since 1970, less `origin`, a whole number that is subtracted exactly.

    Times of the day are parts of a day, and durations are days. Moments with a time zone are those of UTC. form : how
    texts are written, and numbers such as 20240131.
    """
    pl = require("polars", "tables")
    if column.dtype == pl.Date:
        return _values((column.to_physical().cast(pl.Int64) - int(origin)).cast(pl.Float64), column)
    if column.dtype.is_temporal():
        units = {"ns": 10**9, "us": 10**6, "ms": 10**3}[getattr(column.dtype, "time_unit", "ns")]
        return _values(_as_days(column.to_physical(), units, origin), column)
    if not is_text(column) and (form == dates.ISO or not column.dtype.is_numeric()):
        return _none(column)
    bare = texts(column)
    if column.dtype.is_numeric() or _DIGITS.fullmatch(form):
        bare = _without_point(bare)
    return _values(_as_days(*dates.moments(bare, form), origin), bare)


def _as_days(moments: Any, units: int, origin: float) -> Any:
    day = units * _DAY_S
    return (moments - int(origin) * day) / day


def positions(column: Any, values: Sequence[str], *, as_numbers: bool = False) -> np.ndarray:
    """Where each value of a column stands among texts; -1 if nowhere.

    What is not there as a text is looked for as a whole number, and found if one of `values` alone is that number: a
    column of numbers has 1 where one of texts has 01. Of a column of texts only 3.0 and 3 are the same, unless the
    values were numbers themselves (`as_numbers`). True and false of a column of such are TRUE and False.

    Returns   (n,) int64
    """
    pl = require("polars", "tables")
    bare = texts(column)
    found = _places(bare, values)
    lost = pl.Series(found < 0) & bare.is_not_null()
    if lost.any():
        loose = _as_numbers if as_numbers or not is_text(column) else _without_point
        if column.dtype == pl.Boolean or {"true", "false"} >= set(values):
            loose = _small
        names = loose(pl.Series(values, dtype=pl.String)).to_list()
        alone = [name if names.count(name) == 1 else None for name in names]
        rest = _places(loose(bare.set(~lost, None)), alone)
        found = np.where(rest >= 0, rest, found)
    return found


def _as_numbers(bare: Any) -> Any:
    """Texts with every number written in one way: 0.25, .250 and 2.5e-1 are the same, and whole ones of any length."""
    pl = require("polars", "tables")
    whole = number_texts(bare)
    others = whole.set(whole.str.contains(_WHOLE).fill_null(False), None).cast(pl.Float64, strict=False)
    return texts(others).zip_with(others.is_not_null(), whole)


def _without_point(bare: Any) -> Any:
    """Texts such as 3.0 without the point, as libraries write whole numbers of a column that lacks some."""
    return bare.str.replace(r"^([+-]?\d+)\.0+$", "${1}")


def _small(bare: Any) -> Any:
    """True and false as the library writes them, and no Python or spreadsheet."""
    return bare.str.to_lowercase()


def _places(bare: Any, values: Sequence[str | None]) -> np.ndarray:
    pl = require("polars", "tables")
    places = {value: i for i, value in enumerate(values) if value is not None}
    return np.array(bare.replace_strict(places, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy())


def _none(column: Any) -> Values:
    """Nothing of the column can be read."""
    return Values(np.full(len(column), np.nan), column.is_not_null().to_numpy())


def _values(read: Any, given: Any) -> Values:
    """What was read of a column, where null can mean that it was missing or that it could not be read."""
    found = np.asarray(read.to_numpy(), dtype=np.float64)  # where null is NaN
    if read.null_count() == given.null_count():
        return Values(found, np.zeros(len(found), bool))
    return Values(found, (read.is_null() & given.is_not_null()).to_numpy())
