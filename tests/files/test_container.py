import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from chainrule.files import read_file, write_file


def of_safetensors(path, text):
    """A file of safetensors whose description is `text`."""
    path.write_bytes(save({"a": np.ones(2)}, metadata=None if text is None else {"chainrule": text}))
    return path


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8", "bool"])
def test_arrays_and_header_come_back(tmp_path, dtype):
    path = tmp_path / "a.safetensors"
    x = np.arange(6).reshape(2, 3).astype(dtype)
    write_file(path, {"x": x, "none": x[:0], "number": x[0, 0].reshape(())}, {"kind": "test", "ü": [1, None, 0.1]})
    tensors, header = read_file(path)
    assert {name: (a.dtype, a.shape) for name, a in tensors.items()} == {
        "x": (x.dtype, (2, 3)),
        "none": (x.dtype, (0, 3)),
        "number": (x.dtype, ()),
    }
    np.testing.assert_array_equal(tensors["x"], x)
    assert header == {"version": 1, "kind": "test", "ü": [1, None, 0.1]}


@pytest.mark.parametrize(
    "layout",
    [np.asfortranarray, lambda x: x[::-1], lambda x: x[:, ::2], lambda x: x.T, lambda x: x.astype(">f4"), np.array],
)
def test_the_layout_in_memory_does_not_matter(tmp_path, layout):
    x = layout(np.arange(12, dtype="float32").reshape(3, 4))
    write_file(tmp_path / "a", {"x": x}, {})
    np.testing.assert_array_equal(read_file(tmp_path / "a")[0]["x"], x)


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([None]), np.array([1j])])
def test_what_are_no_numbers_is_refused_and_nothing_is_written(tmp_path, value):
    with pytest.raises(TypeError, match="x must hold numbers"):
        write_file(tmp_path / "a", {"x": value}, {})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_file(tmp_path / "a", {}, {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "chainrule did not write it"),
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "JSON object with a version"),
        ("{}", "JSON object with a version"),
        ('{"version": "1"}', "JSON object with a version"),
        ('{"version": 2}', "by a later chainrule"),
    ],
)
def test_other_descriptions_are_refused(tmp_path, text, says):
    path = of_safetensors(tmp_path / "a", text)
    with pytest.raises(ValueError, match=says) as error:
        read_file(path)
    assert str(path) in str(error.value)


@given(data=st.binary(max_size=300))
def test_any_bytes_are_an_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "a"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        read_file(path)


def with_header(header, numbers=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


@pytest.mark.parametrize(
    "data",
    [
        (2**63).to_bytes(8, "little"),
        (100).to_bytes(8, "little") + b"{}",
        with_header(b"[" * 50_000),
        with_header({"x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, b"1234"),
        with_header({"x": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 2**64 - 1]}}, b"1234"),
        with_header({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234"),
        with_header({"x": {"dtype": "F64", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        with_header({"x": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        with_header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"12345678"),
        with_header({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"1234"),
    ],
)
def test_headers_that_lie_are_an_error(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged|dtype|did not write"):
        read_file(tmp_path / "a")


def test_a_file_that_is_not_there_is_another_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "a")
