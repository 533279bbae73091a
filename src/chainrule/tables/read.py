"""A table, whatever it comes as: a file, a data frame, a dict of columns."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..extras import require
from .delimited import read_delimited

_KINDS_OF_FILES = {  # by their first bytes
    b"PAR1": "parquet",
    b"PK\x03\x04": "npz",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"ARROW1": "an Arrow file; save it as Parquet",
    b"\x89HDF": "an HDF5 file; save it as CSV, Parquet or .npz",
}


@dataclass(frozen=True)
class Table:
    """Columns with names.

    frame : a polars DataFrame.
    source : what errors call it: the path of the file, or "the table".
    rows : (n,), where each row stood in the source, counted from 1.
    lines : (n,), the line of each row, where the source has lines.
    notes : what was done in reading that somebody should know.
    """

    frame: Any
    source: str = "the table"
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    lines: np.ndarray | None = None
    notes: tuple[str, ...] = ()

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


def read_table(data: Any) -> Table:
    """The table in `data`.

    Parameters
    ----------
    data : the path of a file of separated values (CSV, with commas, semicolons, tabs or bars), of Parquet, or of
        NumPy's .npz; a polars or pandas DataFrame; a dict of columns; or a Table.

    Of an .npz file, arrays (n,) are columns of their names, and an array x (n, k) is the columns x0, x1, … What a file
    is shows in its first bytes, not in its name.

    Raises ValueError, with the line where there are lines, for what is no table; OSError if a file cannot be read;
    TypeError for anything else.
    """
    if isinstance(data, Table):
        return data
    if isinstance(data, str | PathLike):
        return _of_file(Path(data))
    pl = require("polars", "tables")
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if isinstance(data, pl.DataFrame):
        return _checked(data, "the table")
    if isinstance(data, Mapping):
        return _checked(_of_columns(data, "the table"), "the table")
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return _checked(_of_columns(_of_pandas(data), "the table"), "the table")
    raise TypeError(f"read_table: must be a path, a data frame or a dict of columns, got {type(data).__name__}")


def _of_file(path: Path) -> Table:
    data = path.read_bytes()
    kind = next((kind for first, kind in _KINDS_OF_FILES.items() if data.startswith(first)), "")
    if kind == "parquet":
        return _checked(_of_parquet(data, str(path)), str(path))
    if kind == "npz":
        return _checked(_of_columns(_of_npz(data, str(path)), str(path)), str(path))
    if kind:
        raise ValueError(f"{path}: must be CSV, Parquet or .npz, got {kind}")
    frame, lines, notes = read_delimited(str(path), data)
    return replace(_checked(frame, str(path)), lines=lines, notes=tuple(notes))


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
    """The columns of a pandas DataFrame, with None where something is missing."""
    columns: dict[str, Any] = {}
    for name, column in zip(frame.columns, (frame.iloc[:, i] for i in range(frame.shape[1])), strict=True):
        if str(name) in columns:
            raise ValueError(f"the table: more than one column is called `{name}`")
        values = column.to_numpy()
        if values.dtype.kind not in "biufM":
            values = [None if missing else value for value, missing in zip(column, column.isna(), strict=True)]
        columns[str(name)] = values
    return columns


def _of_columns(columns: Mapping[Any, Any], source: str) -> Any:
    """A DataFrame of columns that must be of one length."""
    pl = require("polars", "tables")
    made = {}
    for name, values in columns.items():
        made[str(name)] = _column(str(name), values, source)
    lengths = {name: len(column) for name, column in made.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"`{name}` {n}" for name, n in list(lengths.items())[:5])
        raise ValueError(f"{source}: the columns must have the same length, got {shown}")
    return pl.DataFrame(list(made.values()))


def _column(name: str, values: Any, source: str) -> Any:
    pl = require("polars", "tables")
    try:
        values = _as_polars_takes_it(values) if isinstance(values, np.ndarray) else values
        return pl.Series(name, values, strict=False)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as problem:
        raise ValueError(f"{source}: the column `{name}` holds what no column can: {problem}") from None


def _as_polars_takes_it(values: np.ndarray) -> np.ndarray:
    """The same values in a dtype that polars knows: of this machine's byte order, and of no unusual precision."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "M" or kind == "m":
        return values.astype("datetime64[us]" if kind == "M" else "timedelta64[us]")
    if kind == "f" and size not in (4, 8):
        return values.astype(np.float64)
    if kind not in "biufUSO":
        raise TypeError(f"dtype {values.dtype}")
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def _checked(frame: Any, source: str) -> Table:
    pl = require("polars", "tables")
    if frame.width == 0 or frame.height == 0:
        raise ValueError(f"{source}: there are no {'columns' if frame.width == 0 else 'rows'}")
    for name, dtype in frame.schema.items():
        if dtype.is_nested() or dtype in (pl.Object, pl.Binary, pl.Unknown):
            raise ValueError(
                f"{source}: the column `{name}` must hold numbers, texts, dates or true and false, got {dtype}"
            )
    return Table(frame, source, np.arange(1, frame.height + 1))
