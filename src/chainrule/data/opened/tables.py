"""Tables of columns, read in the pieces in which they were written: Parquet by row groups, Arrow by record batches."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...extras import require
from .file import Column, Stamp, require_unchanged


class TableFile:
    """What Parquet and Arrow files have in common: pieces of rows, of which one is read as a whole."""

    is_table = True

    def __init__(self, path: Path) -> None:
        self.path, self.stamp = path, Stamp.of(path.stat())
        with _damaged(path):
            schema, sizes = self.open()
        self.ends = np.cumsum([0, *sizes])
        self.columns = {field.name: _column(path, field, int(self.ends[-1])) for field in schema}

    def open(self) -> tuple[Any, list[int]]:
        """The schema, and the rows of each piece."""
        raise NotImplementedError

    def piece(self, i: int, names: list[str]) -> Any:
        """The columns of a piece."""
        raise NotImplementedError

    def blocks(self, rows: int) -> Sequence[tuple[int, int]]:
        """From where to where it is best read: its pieces."""
        return list(pairwise(self.ends.tolist()))

    def read(self, names: Iterable[str], start: int, stop: int) -> dict[str, np.ndarray]:
        """These rows of these columns, in the dtype on disk; of floating-point numbers those missing are NaN."""
        require_unchanged(self.path, self.path.stat(), self.stamp)
        names = list(dict.fromkeys(names))
        first, last = np.searchsorted(self.ends, [start, stop - 1], side="right") - 1
        found: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for i in range(first, last + 1):
            begin = int(self.ends[i])
            with _damaged(self.path):
                table = self.piece(i, names).slice(
                    max(start - begin, 0), min(stop, int(self.ends[i + 1])) - max(start, begin)
                )
            for name in names:
                found[name].append(_numbers(self.path, name, table.column(name), self.columns[name]))
        return {name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in found.items()}


class Parquet(TableFile):
    """A Parquet file."""

    def open(self) -> tuple[Any, list[int]]:
        """The schema, and the rows of each row group."""
        with require("pyarrow.parquet", "tables").ParquetFile(self.path) as file:
            self.metadata = file.metadata
            return file.schema_arrow, [self.metadata.row_group(i).num_rows for i in range(self.metadata.num_row_groups)]

    def piece(self, i: int, names: list[str]) -> Any:
        """The columns of a row group."""
        with require("pyarrow.parquet", "tables").ParquetFile(self.path, metadata=self.metadata) as file:
            return file.read_row_group(i, names, use_threads=False)


class Arrow(TableFile):
    """An Arrow file, of the format with random access, as Feather is too."""

    def open(self) -> tuple[Any, list[int]]:
        """The schema, and the rows of each record batch."""
        arrow = require("pyarrow", "tables")
        ipc = require("pyarrow.ipc", "tables")
        with arrow.OSFile(str(self.path)) as source:
            file = ipc.open_file(source, options=ipc.IpcReadOptions(included_fields=[0]))
            schema = ipc.open_file(source).schema
            return schema, [file.get_batch(i).num_rows for i in range(file.num_record_batches)]

    def piece(self, i: int, names: list[str]) -> Any:
        """The columns of a record batch."""
        arrow = require("pyarrow", "tables")
        ipc = require("pyarrow.ipc", "tables")
        kept = sorted(list(self.columns).index(name) for name in names)
        with arrow.OSFile(str(self.path)) as source:
            file = ipc.open_file(source, options=ipc.IpcReadOptions(included_fields=kept))
            return arrow.Table.from_batches([file.get_batch(i)])


def _column(path: Path, field: Any, rows: int) -> Column:
    """What a column is; of one that holds no numbers the dtype is that of objects."""
    types = require("pyarrow.types", "tables")
    kind = field.type
    shape: tuple[int, ...] = ()
    if types.is_fixed_size_list(kind):
        kind, shape = kind.value_type, (kind.list_size,)
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return Column(rows, shape, np.dtype(kind.to_pandas_dtype()) if is_number else np.dtype(object))


def _numbers(path: Path, name: str, values: Any, column: Column) -> np.ndarray:
    values = values.combine_chunks()
    if column.shape and not values.null_count:
        values = values.flatten()
    if values.null_count and (column.dtype.kind != "f" or column.shape):
        raise ValueError(
            f"{path}: {name} lacks {values.null_count:,} values, which only floating-point numbers may, as NaN"
        )
    numbers = np.asarray(values.to_numpy(zero_copy_only=False), column.dtype)
    return numbers.reshape(-1, *column.shape)


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """Say of which file it is said that it is damaged."""
    arrow = require("pyarrow", "tables")
    try:
        yield
    except (arrow.ArrowException, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise
        raise ValueError(f"{path}: damaged, or no file of this kind: {problem}") from None
