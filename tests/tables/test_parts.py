import io
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from frames import houses

from chainrule.tables.notes import Notes
from chainrule.tables.parts import table_parts
from chainrule.tables.read import read_table

AWKWARD = 'a;"b ""x"""\n1;"one\ntwo; ""three"""\n\n2;plain\n   \n3;"x;y"\n'


def _require_same(parts, whole):
    assert pl.concat([part.frame for part in parts]).equals(whole.frame)
    np.testing.assert_array_equal(np.concatenate([part.rows for part in parts]), whole.rows)
    if whole.lines is not None:
        np.testing.assert_array_equal(np.concatenate([part.lines for part in parts]), whole.lines)
    assert {part.separator for part in parts} == {whole.separator}


@pytest.mark.parametrize("most", [1000, 1001, 3333])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_parts_are_the_rows_and_lines_of_the_whole(most, end, tmp_path):
    text = AWKWARD + "".join(f'{i};"row {i}\n;"\n' for i in range(4, 900))
    (tmp_path / "a.csv").write_bytes(text.replace("\n", end).encode())
    parts = list(table_parts(tmp_path / "a.csv", most=most))
    assert len(parts) > 1
    _require_same(parts, read_table(tmp_path / "a.csv"))


def test_parquet_comes_by_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("chainrule.tables.parts.ROWS", 64)
    frame = houses(500).with_columns(town=pl.col("town").cast(pl.Categorical))
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=150)
    parts, whole = list(table_parts(tmp_path / "a.parquet", most=1000)), read_table(tmp_path / "a.parquet")
    assert max(map(len, parts)) <= 64
    frame = pl.concat([part.frame.cast({"town": pl.String}) for part in parts])
    assert frame.equals(whole.frame.cast({"town": pl.String}))
    np.testing.assert_array_equal(np.concatenate([part.rows for part in parts]), whole.rows)
    assert {part.declared for part in parts} == {whole.declared}


def test_a_small_file_is_one_part_and_standard_input_is_read_to_its_end(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text(AWKWARD)
    (one,) = table_parts(tmp_path / "a.csv")
    _require_same([one], read_table(tmp_path / "a.csv"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(AWKWARD.encode())))
    _require_same(list(table_parts(Path("-"), most=1000)), one)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "standard input: the file is empty"),
        (b"PAR1 and more", "standard input: must be CSV, got parquet"),
        (b"a,b\n" + b"1,2\n" * 500 + b"1,2,3\n", "standard input, line 502: must have 2 fields"),
        (b"a,b\n" + b"1,2\n" * 500 + b'1,"2\n', "standard input, line 502: a quotation mark is opened"),
        (
            b"a,b\n" + b"1.5,2\n" * 500 + b'"1,25",2\n' * 500,
            "has another decimal mark than before",
        ),
    ],
)
def test_errors_speak_of_the_whole_input(data, message, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(ValueError, match=message):
        list(table_parts(Path("-"), most=1000))


def test_a_damaged_parquet_file_says_so(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" * 1000)
    with pytest.raises(ValueError, match=r"a.parquet: damaged, or no Parquet"):
        list(table_parts(tmp_path / "a.parquet", most=1000))


def test_notes_of_parts_add_up():
    one = Notes({"town": Counter(Ulm=2)}, {"rooms": 1}, {}, {"area": (3, "1 to 9")}, ["dates as x"])
    one.add(Notes({"town": Counter(Ulm=1, Hof=1)}, {"rooms": 4}, {"area": 1}, {"area": (1, "1 to 9")}, ["dates as x"]))
    assert one == Notes(
        {"town": Counter(Ulm=3, Hof=1)}, {"rooms": 5}, {"area": 1}, {"area": (4, "1 to 9")}, ["dates as x"]
    )
    with pytest.raises(ValueError, match=r"not all of the table is written alike \(dates as x\)"):
        one.add(Notes())
