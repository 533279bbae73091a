"""A table, whatever it comes as: a file, a data frame, a dict of columns."""

import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..extras import require
from .columns import is_text, texts
from .dates import require_form
from .delimited import read_delimited
from .marks import fitting

_KINDS_OF_FILES = {  # by their first bytes
    b"PAR1": "parquet",
    b"PK\x03\x04": "npz",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"ARROW1": "an Arrow file; save it as Parquet",
    b"\x89HDF": "an HDF5 file; save it as CSV, Parquet or .npz",
    b"\x93NUMPY": "an array of NumPy's without names; save it as .npz, by numpy.savez(path, x=array)",
    b"SQLite format 3": "a data base; save the table as CSV",
    b"BZh": "a bzip2 archive; unpack it first",
    b"\xfd7zXZ": "an xz archive; unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd archive; unpack it first",
}
_BEGIN = 1000  # bytes
_LIKE_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[\s*[\[{]|\{\s*\"[^\"]*\"\s*:)")


@dataclass(frozen=True)
class Table:
    """Columns with names.

    frame : a polars DataFrame.
    source : what errors call it: the path of the file, or "the table".
    rows : (n,), where each row stood in the source, counted from 1.
    lines : (n,), the line of each row, where the source has lines.
    separator : what separates the fields of the source; "" where nothing has to.
    declared : the columns whose type says that they hold categories.
    decimal, thousands : the marks in the numbers of texts; None where nobody has said.
    dates : the forms of the dates of columns, as those of strftime, where somebody has said.
    unreadable : the columns whose values are nothing that a network could learn from, such as lists, and their type.
    """

    frame: Any
    source: str = "the table"
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    lines: np.ndarray | None = None
    separator: str = ""
    declared: frozenset[str] = frozenset()
    decimal: str | None = None
    thousands: str | None = None
    dates: Mapping[str, str] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def decimals(self) -> frozenset[str]:
        """The decimal marks that columns show of which there is no doubt."""
        found = [{marks.decimal for marks in fitting(texts(column))} for column in self.frame if is_text(column)]
        return frozenset(next(iter(marks)) for marks in found if len(marks) == 1)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.frame.columns)

    def __len__(self) -> int:
        return int(self.frame.height)

    def place(self, row: Any) -> str:
        """A row as errors name it: "row 17 (line 18)"."""
        line = "" if self.lines is None else f" (line {self.lines[row]})"
        return f"row {self.rows[row]}{line}"

    def take(self, which: np.ndarray) -> "Table":
        """The rows at these positions, or where this is true."""
        which = np.flatnonzero(which) if which.dtype == bool else which
        lines = None if self.lines is None else self.lines[which]
        return replace(self, frame=self.frame[which], rows=self.rows[which], lines=lines)


def read_table(
    data: Any, *, decimal: str | None = None, thousands: str | None = None, date: Mapping[str, str] | None = None
) -> Table:
    """The table in `data`.

    Parameters
    ----------
    data : the path of a file of separated values (CSV, with commas, semicolons, tabs or bars), of Parquet, or of
        NumPy's .npz; a polars or pandas DataFrame; a dict of columns; or a Table.
    decimal, thousands : the marks in numbers that are texts, as "," and "."; found out, column by column, unless given.
    date : the forms of dates that are texts, as {"built": "%d/%m/%Y"}; found out for columns that are not named.

    Of an .npz file, arrays (n,) are columns of their names, and an array x (n, k) is the columns x0, x1, … What a file
    is shows in its first bytes, not in its name.

    Raises ValueError, with the line where there are lines, for what is no table; OSError if a file cannot be read;
    TypeError for anything else.
    """
    table = _table(data)
    for name, mark, marks in (("decimal", decimal, ".,"), ("thousands", thousands, ",.' ")):
        if mark is not None and (not isinstance(mark, str) or mark not in tuple(marks)):
            raise ValueError(f"read_table: {name} must be one of {' '.join(map(repr, marks))}, got {mark!r}")
    if decimal is not None and decimal == thousands:
        raise ValueError(f"read_table: decimal and thousands cannot both be {decimal!r}")
    for name, form in (date or {}).items():
        require_form(form)
        if name not in table.names:
            raise ValueError(f"{table.source}: there is no column `{name}` that dates could be in")
    if decimal is None and thousands is None and not date:
        return table
    return replace(
        table,
        decimal=decimal or table.decimal,
        thousands=thousands or table.thousands,
        dates={**table.dates, **(date or {})},
    )


def _table(data: Any) -> Table:
    if isinstance(data, Table):
        return data
    if isinstance(data, str | PathLike):
        return _of_file(Path(data))
    pl = require("polars", "tables")
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if isinstance(data, pl.DataFrame):
        return checked(data, "the table")
    if isinstance(data, Mapping):
        return checked(*_of_columns(data, "the table"))
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return checked(*_of_columns(_of_pandas(data), "the table"))
    raise TypeError(f"read_table: must be a path, a data frame or a dict of columns, got {type(data).__name__}")


def _of_file(path: Path) -> Table:
    data, source = path.read_bytes(), str(path)
    kind = kind_of_file(data)
    if kind == "parquet":
        return checked(_of_parquet(data, source), source, declared_by_pandas(io.BytesIO(data)))
    if kind == "npz":
        return checked(*_of_columns(_of_npz(data, source), source))
    if kind:
        raise ValueError(f"{source}: must be CSV, Parquet or .npz, got {kind}")
    return of_delimited(source, data)


def kind_of_file(data: bytes) -> str:
    """What a file is that begins so, and perhaps what to do about it; "" for separated values."""
    kind = next((kind for first, kind in _KINDS_OF_FILES.items() if data.startswith(first)), "")
    if not kind and _LIKE_JSON.match(data[:_BEGIN]):
        return "JSON; save it as CSV, as by pandas.read_json(…).to_csv(…, index=False)"
    return kind


def of_delimited(source: str, data: bytes) -> Table:
    """The table of separated values."""
    frame, lines, separator = read_delimited(source, data)
    return replace(checked(frame, source), lines=lines, separator=separator)


def declared_by_pandas(file: Path | BinaryIO) -> frozenset[str]:
    """The columns of a file of Parquet that are categories by what pandas has written beside them.

    The library reads categories of texts as such, and those of numbers as numbers.
    """
    pl = require("polars", "tables")
    try:
        columns = json.loads(pl.read_parquet_metadata(file)["pandas"])["columns"]
        return frozenset(str(one["name"]) for one in columns if one["pandas_type"] == "categorical")
    except (AttributeError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError):  # pandas has not written it
        return frozenset()


def _of_parquet(data: bytes, source: str) -> Any:
    pl = require("polars", "tables")
    try:
        return pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError) as problem:
        raise ValueError(f"{source}: damaged, or no Parquet: {str(problem).splitlines()[0]}") from None
    except BaseException as problem:  # a panic of the library, which says that the file is damaged
        if type(problem).__name__ != "PanicException":
            raise
        raise ValueError(f"{source}: damaged, or no Parquet") from None


def _of_npz(data: bytes, source: str) -> dict[str, np.ndarray]:
    """The arrays of a file of NumPy's as columns. Nothing is unpickled."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, KeyError, MemoryError, NotImplementedError, zipfile.BadZipFile) as problem:
        raise ValueError(f"{source}: damaged, or no .npz of plain arrays: {problem}") from None
    columns: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(
                f"{source}: must be CSV, Parquet or .npz, got an archive of other files (of Excel, perhaps)"
            )
        if array.ndim not in (1, 2):
            raise ValueError(f"{source}: the array {name} must be (n,) or (n, columns), got {array.shape}")
        wide = array.ndim == 2 and array.shape[1] != 1
        parts = {f"{name}{i}": column for i, column in enumerate(array.T)} if wide else {name: array.reshape(-1)}
        if both := columns.keys() & parts.keys():
            raise ValueError(f"{source}: more than one column is called `{sorted(both)[0]}`")
        columns |= parts
    return columns


def _of_pandas(frame: Any) -> dict[str, Any]:
    """The columns of a pandas DataFrame."""
    columns: dict[str, Any] = {}
    for name, column in zip(frame.columns, (frame.iloc[:, i] for i in range(frame.shape[1])), strict=True):
        if str(name) in columns:
            raise ValueError(f"the table: more than one column is called `{name}`")
        columns[str(name)] = column
    return columns


def _of_columns(columns: Mapping[Any, Any], source: str) -> tuple[Any, str, frozenset[str]]:
    """A DataFrame of columns that must be of one length, its source, and which columns are declared categories."""
    pl = require("polars", "tables")
    made = {}
    for name, values in columns.items():
        if str(name) in made:  # as 1 and "1"
            raise ValueError(f"{source}: more than one column is called `{name}`")
        made[str(name)] = _column(str(name), values, source)
    lengths = {name: len(column) for name, column in made.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"`{name}` {n}" for name, n in list(lengths.items())[:5])
        raise ValueError(f"{source}: the columns must have the same length, got {shown}")
    declared = frozenset(str(name) for name, values in columns.items() if _is_category_of_pandas(values))
    return pl.DataFrame(list(made.values())), source, declared


def _is_category_of_pandas(values: Any) -> bool:
    return str(getattr(values, "dtype", "")) == "category"


def _column(name: str, values: Any, source: str) -> Any:
    pl = require("polars", "tables")
    try:
        if hasattr(values, "isna"):
            values = _values_of_pandas(require("pandas", "tables").Series(values))
        values = _as_polars_takes_it(values) if isinstance(values, np.ndarray) else values
        return pl.Series(name, values, strict=False)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as problem:
        raise ValueError(f"{source}: the column `{name}` holds what no column can: {problem}") from None


def _values_of_pandas(column: Any) -> Any:
    """The values of a Series, with None where something is missing.

    Those of a category are its own, numbers or texts, and not the numbers by which it counts them.
    """
    if getattr(column.dtype, "tz", None) is not None:  # the same moments, in nanoseconds if that is what they have
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if _is_category_of_pandas(column):
        if column.cat.categories.dtype.kind not in "biufMm":  # intervals too have a text
            column = column.map(str, na_action="ignore")
    else:
        values = column.to_numpy()
        if values.dtype.kind in "biufMm":
            return values
    return [None if missing else value for value, missing in zip(column, column.isna(), strict=True)]


def _as_polars_takes_it(values: np.ndarray) -> np.ndarray:
    """The same values in a dtype that polars knows: of this machine's byte order, and of no unusual precision."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "M" or kind == "m":
        unit = "ns" if np.datetime_data(values.dtype) == ("ns", 1) else "us"  # finer ones are no type of polars
        return values.astype(f"{'datetime64' if kind == 'M' else 'timedelta64'}[{unit}]")
    if kind == "f" and size not in (4, 8):
        return values.astype(np.float64)
    if kind not in "biufUSO":
        raise TypeError(f"dtype {values.dtype}")
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def checked(frame: Any, source: str, declared: frozenset[str] = frozenset()) -> Table:
    """The table of a DataFrame, without what no network could learn from."""
    pl = require("polars", "tables")
    if frame.width == 0 or frame.height == 0:
        raise ValueError(f"{source}: there are no {'columns' if frame.width == 0 else 'rows'}")
    unreadable = {name: _type(frame[name]) for name, dtype in frame.schema.items() if _holds_others(dtype)}
    frame = frame.with_columns(pl.lit(None).alias(name) for name in unreadable)
    declared |= {name for name, dtype in frame.schema.items() if dtype in (pl.Categorical, pl.Enum)}
    declared &= set(frame.columns)
    return Table(frame, source, np.arange(1, frame.height + 1), declared=declared, unreadable=unreadable)


def _holds_others(dtype: Any) -> bool:
    """Whether a type is none of numbers, texts, dates, and true and false."""
    pl = require("polars", "tables")
    return bool(dtype.is_nested() or dtype in (pl.Object, pl.Binary, pl.Unknown))


def _type(column: Any) -> str:
    """The type of a column's values; that of the first one where the library knows none."""
    if str(column.dtype) != "Object":
        return str(column.dtype)
    return next((type(value).__name__ for value in column if value is not None), "Object")
