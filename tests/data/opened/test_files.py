"""What is wrong with files is said clearly, and before anything is trained where it can be."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chainrule import Dataset

X, TARGET = np.ones((100, 2), np.float32), np.zeros(100)


def _npz(path, **arrays):
    np.savez(path, **({"x": X, "target": TARGET} | arrays))
    return path


@pytest.mark.parametrize(
    ("arrays", "asked", "message"),
    [
        ({}, {"inputs": "image"}, "has no 'image' for x; it has 'x', 'target'"),
        ({}, {"inputs": ["x"]}, r"'x' is no column of numbers that could stand beside others: \(2,\) float32 a row"),
        ({"target": TARGET[1:]}, {}, "the arrays must have as many rows each, got {'x': 100, 'target': 99}"),
        ({"x": np.array(["a"] * 100)}, {}, "x must hold real numbers of at most 64 bits, got dtype <U1"),
        ({"x": np.asfortranarray(np.ones((100, 2)))}, {}, "x lies column after column; numpy.ascontiguousarray"),
        ({"x": X[:0], "target": TARGET[:0]}, {}, "there are no samples"),
        ({}, {"window": 0}, "window must be a positive integer, got 0"),
        ({}, {"readers": 0}, "readers must be a positive integer, got 0"),
        ({}, {"targets": ()}, "targets must name arrays"),
    ],
)
def test_arrays_that_are_not_as_they_must_be(arrays, asked, message, tmp_path):
    path = _npz(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        Dataset.open(path, **asked)


def test_names_that_are_none(tmp_path):
    with pytest.raises(TypeError, match="inputs must be the name of an array"):
        Dataset.open(_npz(tmp_path / "a.npz"), inputs=3)
    with pytest.raises(TypeError, match="path must be a path"):
        Dataset.open([])


def test_compressed_members_are_refused_with_the_way_out(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=X, target=TARGET)
    with pytest.raises(ValueError, match=r"x is compressed, and can only be read as a whole; numpy.savez does not"):
        Dataset.open(tmp_path / "a.npz")


def test_an_npy_file_alone_is_told_how_to_name_it(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ValueError, match=r"name the arrays of .npy files: {'x': 'x.npy'"):
        Dataset.open(tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "arrow", "parquet", "npy"])
def test_a_file_of_anything_else_is_damaged(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"\x01nothing of the kind" * 100)
    with pytest.raises(ValueError, match=rf"a.{suffix}: damaged"):
        Dataset.open({"x": path} if suffix == "npy" else path)


def test_a_file_that_is_cut_off_is_found_at_once(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "target.npy", TARGET)
    os.truncate(tmp_path / "x.npy", 500)
    with pytest.raises(ValueError, match=r"x.npy: is cut off: x ends at byte 928, and the file at 500"):
        Dataset.open(tmp_path)


def test_parts_must_be_alike(tmp_path):
    _npz(tmp_path / "a.npz")
    _npz(tmp_path / "b.npz", x=np.ones((3, 5), np.float32), target=TARGET[:3])
    with pytest.raises(ValueError, match=r"b.npz: 'x' must be \(2,\) float32 a row as in .*a.npz, got \(5,\) float32"):
        Dataset.open(tmp_path)


def test_a_file_that_changes_is_noticed_when_it_is_read(tmp_path):
    data = Dataset.open(_npz(tmp_path / "a.npz"))
    _npz(tmp_path / "a.npz", x=X + 1)
    with pytest.raises(ValueError, match="was changed since it was opened"):
        data.read()


def test_columns_of_words_and_gaps_are_refused(tmp_path):
    pq.write_table(pa.table({"a": [1, None, 3], "b": ["x", "y", "z"], "c": [1.0, None, 2.0]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="b must hold real numbers of at most 64 bits, got dtype object"):
        Dataset.open(tmp_path / "a.parquet", targets="c")
    with pytest.raises(ValueError, match="a lacks 1 values, which only floating-point numbers may, as NaN"):
        Dataset.open(tmp_path / "a.parquet", inputs=["a"], targets="c").read()
    data = Dataset.open(tmp_path / "a.parquet", inputs=["c"], targets=None)
    np.testing.assert_array_equal(data.read().x, [[1], [np.nan], [2]])


def test_lists_of_one_length_are_rows(tmp_path):
    rows = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12, dtype=np.float16)), 3)
    pq.write_table(pa.table({"x": rows, "target": np.arange(4)}), tmp_path / "a.parquet", row_group_size=2)
    data = Dataset.open(tmp_path / "a.parquet", inputs="x")
    np.testing.assert_array_equal(data.take(slice(1, 3)).read().x, [[3, 4, 5], [6, 7, 8]])
    assert data.read().x.dtype == np.float16
