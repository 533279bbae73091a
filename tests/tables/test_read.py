import datetime as dt
import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from frames import houses

from chainrule.tables import Table, read_table
from chainrule.tables.columns import number_texts, texts


def same(table, frame):
    """Whether a table holds the values of a frame, whatever their types."""
    assert table.names == frame.columns
    for name in frame.columns:
        found, expected = table.frame[name], frame[name]
        if expected.dtype == pl.Date and found.dtype == pl.Datetime:
            found = found.cast(pl.Date)
        assert number_texts(texts(found)).to_list() == number_texts(texts(expected)).to_list()
    return True


def test_the_same_table_comes_from_every_source(tmp_path):
    frame = houses(30)
    frame.write_csv(tmp_path / "a.csv")
    frame.write_csv(tmp_path / "a.tsv", separator="\t")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_parquet(tmp_path / "no-ending")
    columns = {name: frame[name].to_list() for name in frame.columns}
    for source in (frame, frame.lazy(), columns, pd.DataFrame(columns), *tmp_path.iterdir(), str(tmp_path / "a.csv")):
        table = read_table(source)
        assert same(table, frame)
        assert len(table) == 30
        assert read_table(table) is table


def test_pandas_types_and_what_is_missing_in_them_are_understood():
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None], dtype="Int64"),
            "category": pd.Categorical(["x", None]),
            "moment": pd.to_datetime(["2024-01-31", None]),
            "truth": pd.array([True, None], dtype="boolean"),
            "text": ["y", None],
            3: [1.5, np.nan],
        }
    )
    found = read_table(frame).frame
    assert found.columns == ["whole", "category", "moment", "truth", "text", "3"]
    first = [1, "x", dt.datetime(2024, 1, 31), True, "y", 1.5]
    assert list(found.row(0)) == first
    assert [value is None or value != value for value in found.row(1)] == [True] * 6


def test_columns_that_are_declared_as_categories_are_known(tmp_path):
    numbers = pd.Categorical([10, 20, None])
    frame = pd.DataFrame(
        {"n": numbers, "f": pd.Categorical([1.5, 2.5, 1.5]), "t": pd.Categorical(["x", "01", "x"]), "x": [1, 2, 3]}
    )
    for table in (
        read_table(frame),
        read_table(dict(frame.items())),
        read_table({name: frame[name].array for name in frame}),
    ):
        assert table.declared == {"n", "f", "t"}
        assert table.frame.to_dict(as_series=False) == {
            "n": [10, 20, None], "f": [1.5, 2.5, 1.5], "t": ["x", "01", "x"], "x": [1, 2, 3]
        }  # fmt: skip
        assert table.take(np.array([0])).declared == table.declared
    found = read_table({"c": pd.cut([0.5, 1.5, np.nan], [0, 1, 2])})
    assert found.frame["c"].to_list() == ["(0, 1]", "(1, 2]", None]
    for dtype in (pl.Categorical, pl.Enum(["1", "2"])):
        one = pl.DataFrame({"n": pl.Series(["1", "2", "1"], dtype=dtype), "x": [1, 2, 3]})
        one.write_parquet(tmp_path / "t.parquet")
        assert read_table(one).declared == read_table(tmp_path / "t.parquet").declared == {"n"}


def test_categories_of_numbers_that_pandas_wrote_to_parquet_are_known(tmp_path):
    beside = json.dumps(
        {"columns": [{"name": "n", "pandas_type": "categorical"}, {"name": "x", "pandas_type": "int64"}]}
    )
    pl.DataFrame({"n": [1, 2], "x": [1, 2]}).write_parquet(tmp_path / "t.parquet", metadata={"pandas": beside})
    assert read_table(tmp_path / "t.parquet").declared == {"n"}
    pl.DataFrame({"n": [1, 2]}).write_parquet(tmp_path / "t.parquet", metadata={"pandas": "{"})
    assert read_table(tmp_path / "t.parquet").declared == set()


def test_arrays_of_npz_are_columns(tmp_path):
    x = np.arange(6).reshape(3, 2)
    np.savez(tmp_path / "a.npz", x=x, y=np.array(["u", "v", "w"]), z=np.ones((3, 1), ">f8"), half=np.ones(3, "float16"))
    table = read_table(tmp_path / "a.npz")
    assert table.frame.to_dict(as_series=False) == {
        "x0": [0, 2, 4],
        "x1": [1, 3, 5],
        "y": ["u", "v", "w"],
        "z": [1.0] * 3,
        "half": [1.0] * 3,
    }


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path.read_bytes()


def test_other_files_and_things_are_errors_that_name_them(tmp_path):
    path = tmp_path / "a.npz"
    cases = [
        (npz(path, a=np.ones(3), b=np.ones(2)), r"the columns must have the same length, got `a` 3, `b` 2"),
        (npz(path, a=np.ones((2, 2, 2))), r"the array a must be \(n,\) or \(n, columns\), got \(2, 2, 2\)"),
        (npz(path, a=np.array([1j])), r"the column `a` holds what no column can: dtype complex128"),
        (npz(path, a=np.array([{}])), r"damaged, or no .npz of plain arrays: Object arrays cannot be loaded"),
        (npz(path, a1=np.ones(2), a=np.ones((2, 2))), r"more than one column is called `a1`"),
        (npz(path, a=np.ones(0)), r"there are no rows"),
        (npz(path, a=np.ones(3))[:-30], r"damaged, or no .npz"),
        (b"PK\x03\x04", r"damaged, or no .npz"),
        (b"PAR1" + b"x" * 40 + b"PAR1", r"damaged, or no Parquet"),
        (b"PAR1", r"damaged, or no Parquet"),
        (b"\x1f\x8bxxx", r"must be CSV, Parquet or .npz, got a gzip archive; unpack it first"),
        (b"\xd0\xcf\x11\xe0", r"must be CSV, Parquet or .npz, got an Excel workbook; save it as CSV"),
        (b"\x93NUMPY\x01\0", r"must be CSV, Parquet or .npz, got an array of NumPy's without names; save it as .npz"),
        (b'[{"a": 1, "b": 2}]', r"must be CSV, Parquet or .npz, got JSON; save it as CSV"),
        (b'\n{"a": [1, 2],\n "b": [1, 2]}', r"must be CSV, Parquet or .npz, got JSON; save it as CSV"),
        (b"SQLite format 3\0", r"must be CSV, Parquet or .npz, got a data base; save the table as CSV"),
    ]
    for data, says in cases:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=says) as error:
            read_table(path)
        assert str(error.value).startswith(str(path))
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(TypeError, match="must be a path, a data frame or a dict of columns, got int"):
        read_table(3)


def test_archives_of_other_things_are_an_error(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<xml/>")
    with pytest.raises(ValueError, match="got an archive of other files"):
        read_table(tmp_path / "a.xlsx")


def test_frames_that_are_no_tables_are_errors():
    for data, says in [
        (pl.DataFrame(), "there are no columns"),
        (pl.DataFrame({"a": []}), "there are no rows"),
        ({}, "there are no columns"),
        ({1: [1], "1": [2]}, "more than one column is called `1`"),
        ({"a": [1], "b": [1, 2]}, "the columns must have the same length"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column is called `a`"),
    ]:
        with pytest.raises(ValueError, match=f"^the table: {says}"):
            read_table(data)


def test_rows_are_named_as_they_stood_in_the_file_whatever_was_taken_out(tmp_path):
    (tmp_path / "a.csv").write_text("a\n\n1\n2\n3\n")
    table = read_table(tmp_path / "a.csv")
    assert [table.place(i) for i in range(3)] == ["row 1 (line 3)", "row 2 (line 4)", "row 3 (line 5)"]
    rest = table.take(np.array([False, True, True])).take(np.array([1]))
    assert isinstance(rest, Table)
    assert rest.place(0) == "row 3 (line 5)"
    assert read_table({"a": [1, 2]}).take(np.array([1])).place(0) == "row 2"


@pytest.mark.parametrize("place", range(0, 900, 37))
def test_damaged_parquet_is_an_error_or_a_table(tmp_path, place):
    frame, path = houses(20), tmp_path / "a.parquet"
    frame.write_parquet(path)
    data = bytearray(path.read_bytes())
    data[-place % len(data)] ^= 0x55
    path.write_bytes(bytes(data))
    try:
        assert len(read_table(path)) > 0
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - that there is a ValueError is not demanded
