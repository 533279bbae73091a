"""Separated values, such as CSV: every line is checked, and the line of every row is known to the errors.

Understood are UTF-8, UTF-16 that begins with its mark, the line ends of every system, fields in quotation marks with
line ends inside, and whichever of , ; tab | separates the fields. Empty lines are passed over. Every field stays the
text that it is.
"""

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..extras import require

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_CHUNK = 1 << 22  # bytes that are looked at together; it bounds memory
_SAMPLE = 1 << 16  # bytes that show what separates the fields
_QUOTE, _LINE_END = 34, 10
_SAYS_SEPARATOR = re.compile(rb'"?sep=([,;\t|])"?\n', re.I)  # a first line that is there for Excel
_LIKE_A_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class _Records:
    """Where the records of a file are: the rows of its table, and the line of names.

    Shapes    all (n,): begin, end, bytes without the line end; line, counted from 1; fields, how many there are
    """

    begin: np.ndarray
    end: np.ndarray
    line: np.ndarray
    fields: np.ndarray
    open_line: int  # the line of a quotation mark that nothing closes; 0 if there is none

    def keep(self, which: np.ndarray | slice) -> "_Records":
        """Those records alone."""
        return _Records(self.begin[which], self.end[which], self.line[which], self.fields[which], self.open_line)


def read_delimited(source: str, data: bytes) -> tuple[Any, np.ndarray, str]:
    """The table in a file's bytes as a polars DataFrame of texts, the line of each row, and what separates the fields.

    Raises ValueError, which names the line, for what is no table.
    """
    data = _utf8(source, data)
    if not data.strip():
        raise ValueError(f"{source}: the file is empty")
    separator = _separator(source, data[:_SAMPLE])
    found = _records(data, separator)
    _require_closed(source, data, found.open_line, separator)
    found = found.keep(~_blank(data, found))
    if _SAYS_SEPARATOR.match(data) and len(found.line) > 1:
        found = found.keep(slice(1, None))
    names = _names(source, data, found, separator)
    _require_even(source, data, found, len(names))
    if len(found.line) == 1:
        raise ValueError(f"{source}: there are names of columns, and no rows below them")
    return _parse(source, data, found, names, separator), found.line[1:], separator


def _utf8(source: str, data: bytes) -> bytes:
    """The same text in UTF-8, with line feeds alone at line ends."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            data = data.decode("utf-16").encode("utf-8")
        except UnicodeError as problem:
            raise ValueError(f"{source}: begins like UTF-16, and is none: {problem}") from None
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\0" in data:
        line = _line(data, data.index(b"\0"))
        raise ValueError(f"{source}, line {line}: holds a zero byte: this is no text, or UTF-16 without its mark")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line, byte = _line(data, problem.start), data[problem.start]
        raise ValueError(
            f"{source}, line {line}: the byte 0x{byte:02x} is no UTF-8; if the file is in Latin-1 or Windows-1252, "
            f"save it as UTF-8"
        ) from None
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _line(data: bytes, place: int) -> int:
    """The line of a byte, counted from 1, whatever the line ends are."""
    return count_lines(data, place) + 1


def count_lines(data: bytes, end: int | None = None) -> int:
    """How many lines end before a byte, or in all of the data."""
    return data.count(b"\n", 0, end) + data.count(b"\r", 0, end) - data.count(b"\r\n", 0, end)


def _records(data: bytes, separator: str) -> _Records:
    """Find the records. A line end or separator between quotation marks is part of a field.

    Memory is bounded by a chunk and by a few numbers per record; nothing is done once per byte in Python.
    """
    whole = np.frombuffer(data, np.uint8)
    quoted, lines, fields, open_line = False, 0, 0, 0
    ends, line_counts, field_counts = [], [], []
    for start in range(0, len(whole), _CHUNK):
        part = whole[start : start + _CHUNK]
        line_end, between = part == _LINE_END, part == ord(separator)
        line_count = np.cumsum(line_end, dtype=np.int64) + lines
        quotes = part == _QUOTE
        if quoted or quotes.any():
            inside = np.logical_xor.accumulate(quotes) ^ quoted
            if inside[-1]:
                opened = int(np.flatnonzero(quotes)[-1]) if quotes.any() else -1
                open_line = int(line_count[opened]) + 1 if opened >= 0 else open_line
            quoted = bool(inside[-1])
            line_end, between = line_end & ~inside, between & ~inside
        field_count = np.cumsum(between, dtype=np.int64) + fields
        here = np.flatnonzero(line_end)
        ends.append(here + start)
        line_counts.append(line_count[here])
        field_counts.append(field_count[here])
        lines, fields = int(line_count[-1]), int(field_count[-1])
    if not data.endswith(b"\n"):
        ends, line_counts = [*ends, np.array([len(data)])], [*line_counts, np.array([lines + 1])]
        field_counts.append(np.array([fields]))
    end = np.concatenate(ends)
    before = np.concatenate([[0], np.concatenate(line_counts)[:-1]])
    field_total = np.concatenate([[0], np.concatenate(field_counts)])
    begin = np.concatenate([[0], end[:-1] + 1])
    return _Records(begin, end, before + 1, np.diff(field_total) + 1, open_line if quoted else 0)


def _require_closed(source: str, data: bytes, open_line: int, separator: str) -> None:
    """Raise ValueError if a quotation mark is not around a whole field; doubled it stands for itself inside of one."""
    if b'"' not in data:
        return
    whole = np.frombuffer(data, np.uint8)
    marks = np.flatnonzero(whole == _QUOTE)
    opening, closing = marks[0::2], marks[1::2]
    around = np.array([ord(separator), _LINE_END, _QUOTE], np.uint8)  # a second one doubles it
    bad_opening = opening[(opening > 0) & ~np.isin(whole[opening - 1], around)]
    after = np.minimum(closing + 1, len(whole) - 1)
    bad_closing = np.flatnonzero((closing + 1 < len(whole)) & ~np.isin(whole[after], around))
    first_opening = bad_opening[0] if len(bad_opening) else len(whole)
    first_closing = closing[bad_closing[0]] if len(bad_closing) else len(whole)
    if first_opening < first_closing:
        line = _line(data, int(first_opening))
        raise ValueError(
            f"{source}, line {line}: a quotation mark stands inside a field: put marks around the whole field, and "
            f"double those inside"
        )
    if len(bad_closing):
        line, until = _line(data, int(opening[bad_closing[0]])), _line(data, int(first_closing))
        where = "" if line == until else f" in line {until}"
        raise ValueError(
            f"{source}, line {line}: a quotation mark is opened, and the one that closes it{where} is not at the end "
            f"of a field"
        )
    if open_line:
        raise ValueError(f"{source}, line {open_line}: a quotation mark is opened, and nothing closes it")


def _blank(data: bytes, found: _Records) -> np.ndarray:
    """Which records hold nothing but spaces."""
    blank = np.asarray(found.end == found.begin)
    for i in np.flatnonzero((found.fields == 1) & ~blank) if found.fields.max() > 1 else []:
        blank[i] = not data[found.begin[i] : found.end[i]].strip()
    return blank


def _separator(source: str, sample: bytes) -> str:
    """What separates as many fields in each line as in the first one, or in the most lines.

    Of several it is the one that leaves the larger share of fields that are numbers, as in "T, degC;p", "20,5;1013";
    and then the one with more fields. Raises ValueError if that is not one of them alone.
    """
    if told := _SAYS_SEPARATOR.match(sample):
        return told[1].decode()
    found = {}
    for separator in SEPARATORS:
        records = _records(sample, separator)
        records = records.keep(~_blank(sample, records)).keep(slice(0, 20))
        fields = records.fields[:-1] if len(records.fields) > 1 else records.fields  # the last one may be cut off
        if fields[0] > 1:
            found[separator] = (int((fields == fields[0]).sum()), int(fields[0]), records.keep(slice(1, len(fields))))
    lines = max((lines for lines, _, _ in found.values()), default=0)
    able = [separator for separator, (count, _, _) in found.items() if count == lines] or [","]
    if len(able) == 1:
        return able[0]
    order = {}
    for separator in able:
        _, wide, rows = found[separator]
        order[separator] = (_numbers_among(sample, rows, separator), wide)
    best = [separator for separator in able if order[separator] == max(order.values())]
    if len(best) > 1:
        names = " and ".join(SEPARATORS[separator] for separator in best)
        raise ValueError(
            f"{source}: {names} separate {order[best[0]][1]} fields in each line alike, and which are meant cannot be "
            f"seen: put quotation marks around the fields that hold the others"
        )
    return best[0]


def _numbers_among(data: bytes, rows: _Records, separator: str) -> float:
    """Which share of the fields of some rows look like numbers."""
    texts = [data[begin:end].decode("utf-8", "replace") for begin, end in zip(rows.begin, rows.end, strict=True)]
    fields = [field.strip() for row in csv.reader(texts, delimiter=separator) for field in row]
    return sum(_LIKE_A_NUMBER.fullmatch(field) is not None for field in fields) / max(len(fields), 1)


def _names(source: str, data: bytes, found: _Records, separator: str) -> list[str]:
    """The names of the columns; one that has none is called after its place."""
    line = int(found.line[0])
    text = data[found.begin[0] : found.end[0]].decode("utf-8")
    names = [name.strip() for name in next(csv.reader(text.splitlines(keepends=True), delimiter=separator))]
    names = [name or f"column {i}" for i, name in enumerate(names, start=1)]
    if all(_is_number(name) for name in names):
        raise ValueError(
            f"{source}, line {line}: must hold the names of the columns, got the numbers {separator.join(names)[:60]}"
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{source}, line {line}: more than one column is called `{twice[0]}`")
    return names


def _require_even(source: str, data: bytes, found: _Records, n: int) -> None:
    """Raise ValueError if a record has more or fewer fields than there are columns."""
    bad = np.flatnonzero(found.fields != n)
    if len(bad):
        first = bad[0]
        text = data[found.begin[first] : found.end[first]].decode("utf-8", "replace")
        most = int(np.bincount(found.fields[1:]).argmax())
        if n < most and (found.fields[1:] == most).sum() > max(len(found.fields) / 2, 1):
            title = data[found.begin[0] : found.end[0]].decode("utf-8", "replace")
            raise ValueError(
                f"{source}, line {found.line[0]}: must hold names of columns, but has {n} field{'s' * (n > 1)}, "
                f"and most lines below have {most}: {title[:60]!r}"
            )
        more = "" if len(bad) == 1 else f"; {len(bad):,} lines are so"
        fields = "1 field like the name of the column" if n == 1 else f"{n} fields like the names of the columns"
        raise ValueError(
            f"{source}, line {found.line[first]}: must have {fields}, got {found.fields[first]}: {text[:60]!r}{more}"
        )


def _parse(source: str, data: bytes, found: _Records, names: list[str], separator: str) -> Any:
    """The records after the first as a DataFrame of texts."""
    pl = require("polars", "tables")
    begin, end = found.begin[1:], found.end[1:]
    if (begin[1:] == end[:-1] + 1).all():
        body = data[begin[0] : end[-1]]
    else:  # empty lines between them
        body = b"\n".join(data[b:e] for b, e in zip(begin.tolist(), end.tolist(), strict=True))
    try:
        frame = pl.read_csv(
            body,
            has_header=False,
            new_columns=names,
            separator=separator,
            infer_schema=False,
            quote_char='"' if b'"' in body else None,
        )
    except pl.exceptions.PolarsError as problem:
        said = str(problem).splitlines()[0]
        raise ValueError(f"{source}: cannot be read from line {found.line[1]} on: {said}") from None
    if frame.height != len(begin):
        raise ValueError(f"{source}: the quotation marks do not show where its rows end")
    return frame


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
