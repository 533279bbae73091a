"""A table that may be larger than memory, part by part: Parquet by rows, separated values by lines."""

import csv
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from ..extras import require
from .columns import is_text, texts
from .delimited import count_lines
from .marks import fitting
from .read import Table, checked, declared_by_pandas, kind_of_file, of_delimited, read_table

MOST = 1 << 25  # bytes of a file that are one part
ROWS = 1 << 16  # of a part of a Parquet file


def table_parts(path: Path, *, most: int = MOST, **how: Any) -> Iterator[Table]:
    """The parts of a file, or of standard input if that is what the path says: "-".

    A file of no more than `most` bytes (a thousand or more) is one part, as `read_table` reads it, with its arguments.

    Raises ValueError, with the line in the whole file, as `read_table`, and if a column of texts has another decimal
    mark in one part than in another.
    """
    if path != Path("-") and path.is_file() and path.stat().st_size <= most:
        yield read_table(path, **how)
        return
    shown: dict[str, str] = {}
    for table in _parts(path, most):
        _require_one_mark(table, shown, how.get("decimal"))
        yield read_table(table, **how)


def _parts(path: Path, most: int) -> Iterator[Table]:
    if path == Path("-"):
        data = sys.stdin.buffer.read(most)
        if kind := kind_of_file(data):
            raise ValueError(f"standard input: must be CSV, got {kind}")
        yield from _of_delimited("standard input", data, sys.stdin.buffer, most)
        return
    with path.open("rb") as file:
        data = file.read(most)
        kind = kind_of_file(data)
        if not kind:
            yield from _of_delimited(str(path), data, file, most)
    if kind == "parquet":
        yield from _of_parquet(path)
    elif kind:
        yield read_table(path)


def _of_parquet(path: Path) -> Iterator[Table]:
    pl, arrow = require("polars", "tables"), require("pyarrow", "tables")
    parquet, declared, rows = require("pyarrow.parquet", "tables"), declared_by_pandas(path), 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS, use_threads=False):
                if batch.num_rows:
                    table = checked(pl.from_arrow(batch), str(path), declared)
                    yield replace(table, rows=table.rows + rows)
                    rows += batch.num_rows
    except arrow.ArrowException as problem:
        raise ValueError(f"{path}: damaged, or no Parquet: {str(problem).splitlines()[0]}") from None
    if rows == 0:
        read_table(path)  # which says what it lacks


def _of_delimited(source: str, data: bytes, file: BinaryIO, most: int) -> Iterator[Table]:
    """Lines of about `most` bytes at a time; the first has the names and separator that all are read with."""
    head, lines, rows = b"", 0, 0
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data += file.read()  # UTF-16, whose line ends are not seen here
    while data or not head:
        more = file.read(most)
        end = _end_of_records(data) if more else len(data)
        part, data = data[:end], data[end:] + more
        if not part.strip() and (more or head):
            lines += count_lines(part)
            continue
        before = head.count(b"\n")
        try:
            table = of_delimited(source, head + part)
        except ValueError as problem:
            raise ValueError(_moved(str(problem), lines - before)) from None
        assert table.lines is not None
        yield replace(table, rows=table.rows + rows, lines=table.lines - before + lines)
        lines, rows = lines + count_lines(part), rows + len(table)
        head = head or _head(table)


def _moved(said: str, lines: int) -> str:
    """The same with so many more in each number of a line."""
    return re.sub(r"\bline (\d+)", lambda found: f"line {int(found[1]) + lines}", said)


def _end_of_records(data: bytes) -> int:
    """The byte behind the last line end that is not between quotation marks; 0 if there is none."""
    at = data.rfind(b"\n")
    while at >= 0 and data.count(b'"', 0, at) % 2:
        at = data.rfind(b"\n", 0, at)
    return at + 1


def _head(table: Table) -> bytes:
    """Lines that say the separator and the names of a table."""
    text, separator = io.StringIO(), table.separator
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(table.names)
    return f"sep={separator}\n{text.getvalue()}".encode()


def _require_one_mark(table: Table, shown: dict[str, str], told: str | None) -> None:
    """Raise ValueError if a column shows another decimal mark than in the parts before; `shown` has what those show."""
    for column in table.frame if told is None else ():
        marks = {way.decimal for way in fitting(texts(column))} if is_text(column) else set()
        if len(marks) == 1 and shown.setdefault(column.name, *marks) not in marks:
            raise ValueError(
                f"{table.source}: column `{column.name}` has another decimal mark than before from about "
                f"{table.place(0)} on; say which it is, by decimal='.' or decimal=',' (--decimal)"
            )
