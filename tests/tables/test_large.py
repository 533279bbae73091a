from functools import partial

import numpy as np
import polars as pl
import pytest
from frames import houses

from chainrule.tables import train_table
from chainrule.tables.large import is_large, sample
from chainrule.tables.parts import table_parts
from chainrule.tables.read import read_table

QUICK = {"epochs": 3, "hidden": (8,), "progress": False}


@pytest.fixture
def small(monkeypatch):
    """Everything larger than a few rows is large."""
    monkeypatch.setattr("chainrule.tables.large.LARGE", {"": 1000, "parquet": 1000})
    monkeypatch.setattr("chainrule.tables.large.SAMPLE", 300)
    monkeypatch.setattr("chainrule.tables.large.table_parts", partial(table_parts, most=4000))
    monkeypatch.setattr("chainrule.tables.parts.ROWS", 128)


@pytest.fixture(params=["csv", "parquet"])
def path(request, tmp_path):
    path = tmp_path / f"houses.{request.param}"
    getattr(houses(1000), f"write_{request.param}")(path)
    return path


def test_only_large_files_are_large(path, tmp_path, small):
    assert is_large(path)
    assert is_large(str(path))
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert not is_large(tmp_path / "a.csv")
    assert not is_large(houses())
    np.savez(tmp_path / "a.npz", x=np.zeros((1000, 2)))
    assert not is_large(tmp_path / "a.npz")


def test_a_sample_is_drawn_from_all_rows_and_stands_in_their_order(path, small):
    found, whole = sample(path, 0), read_table(path)
    assert (found.all, len(found.table)) == (1000, 300)
    assert (np.diff(found.table.rows) > 0).all()
    assert found.table.frame.equals(whole.take(found.table.rows - 1).frame)
    if whole.lines is not None:
        np.testing.assert_array_equal(found.table.lines, whole.lines[found.table.rows - 1])
    assert 100 < (found.table.rows <= 500).sum() < 200
    assert not np.array_equal(found.table.rows, sample(path, 1).table.rows)
    np.testing.assert_array_equal(found.table.rows, sample(path, 0).table.rows)


@pytest.mark.parametrize("target", ["price", "town"])
def test_all_rows_but_those_held_back_are_learned_from(path, small, target, monkeypatch):
    seen = []
    fit = train_table.__globals__["train"].fit

    def look(network, loss, data, **how):
        seen.append((data.in_files, data.read(), how["validation"]))
        return fit(network, loss, data, **how)

    monkeypatch.setattr(train_table.__globals__["train"], "fit", look)
    model = train_table(path, target, **QUICK)
    ((in_files, data, validation),) = seen
    rows = model.report["rows"]
    assert in_files
    assert (rows["all"], rows["validation"], rows["test"]) == (1000, len(validation), rows["test"])
    assert rows["training"] == len(data) == 1000 - rows["validation"] - rows["test"] - rows["without_target"]
    assert "what the columns are was found out from 300 rows of 1,000" in model.report["notes"]
    whole = read_table(path)
    x = model.encoding.encode(whole)
    everything = {row.tobytes() for row in x}
    assert {row.tobytes() for row in data.x} <= everything
    assert model.predict(path).shape == (1000,)


def test_a_column_that_numbers_the_rows_is_known_as_that(path, small):
    columns = {column["name"]: column for column in train_table(path, "price", **QUICK).schema}
    assert (columns["id"]["kind"], columns["id"]["reason"]) == ("ignored", "it numbers the rows")
    columns = {one["name"]: one for one in train_table(path, "price", ignore="town", **QUICK).schema}
    assert (columns["town"]["kind"], columns["town"]["reason"]) == ("ignored", "you said so")
    columns = {one["name"]: one for one in train_table(path, "price", numeric="id", **QUICK).schema}
    assert columns["id"]["kind"] == "numeric"


def test_it_learns_as_from_memory(path, small, monkeypatch):
    how = {"hidden": (16,), "epochs": 60, "progress": False}
    large = train_table(path, "price", **how)
    monkeypatch.setattr("chainrule.tables.large.LARGE", {})
    whole = train_table(path, "price", **how)
    assert large.evaluate(path).r2 > whole.evaluate(path).r2 - 0.1


def test_what_the_sample_did_not_show_is_an_error_with_its_row(small, tmp_path):
    frame = houses(1000).with_columns(town=pl.when(pl.col("id") == 777).then(pl.lit("Ulm")).otherwise("town"))
    frame.write_csv(tmp_path / "a.csv")
    assert 777 not in sample(tmp_path / "a.csv", 0).table.frame["id"].cast(int)
    message = r"a.csv: `town` holds 'Ulm' in row 777 \(line 778\), a class that none of 300 rows drawn at random has"
    with pytest.raises(ValueError, match=message):
        train_table(tmp_path / "a.csv", "town", **QUICK)
    frame = frame.with_columns(rooms=pl.when(pl.col("id") == 777).then(pl.lit("x")).otherwise("rooms"))
    frame.write_csv(tmp_path / "a.csv")
    message = r"column `rooms` is a number in the model, but row 777 \(line 778\) holds 'x'"
    with pytest.raises(ValueError, match=message):
        train_table(tmp_path / "a.csv", "price", **QUICK)
