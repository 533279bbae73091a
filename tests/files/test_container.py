import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load, save

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
    assert header == {"version": 2, "kind": "test", "ü": [1, None, 0.1]}


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
        ('{"version": 0}', "JSON object with a version"),
        ('{"version": true}', "JSON object with a version"),
        ('{"version": 3}', "by a later chainrule"),
        ('{"version": 2}', "its checksum is not where it was written"),
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


TENSORS = {
    "0.weight": np.arange(6, dtype="float32").reshape(2, 3),
    "flag": np.array([True, False, True]),
    "count": np.array(7, dtype="int64"),
    "none": np.zeros((0, 3), "float16"),
    "ü": np.arange(3, dtype="float64"),
}


def test_safetensors_reads_what_is_written(tmp_path):
    write_file(tmp_path / "a", TENSORS, {"kind": "test"})
    data = (tmp_path / "a").read_bytes()
    theirs = load(data)
    assert theirs.keys() == TENSORS.keys()
    for name, x in TENSORS.items():
        np.testing.assert_array_equal(theirs[name], x, strict=True)
    with safe_open(tmp_path / "a", "numpy") as file:
        assert set(file.metadata()) == {"sha256", "chainrule"}
    length = int.from_bytes(data[:8], "little")
    theirs = save(TENSORS, metadata={"chainrule": "{}"})
    assert length % 8 == 0
    assert data[8 + length :] == theirs[8 + int.from_bytes(theirs[:8], "little") :]  # in the same order too


def test_every_flipped_bit_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_file(path, {"x": np.ones(2, "float32")}, {"a": 1})
    found = whole = path.read_bytes()
    monkeypatch.setattr(Path, "read_bytes", lambda _: found)  # thousands of files take time
    for place in range(len(whole)):
        for bit in range(8):
            found = whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
            with pytest.raises(ValueError, match=r"damaged|no JSON|checksum"):
                read_file(path)
    found = whole
    assert read_file(path)[1]["a"] == 1


def test_files_from_before_there_were_checksums_are_read(tmp_path):
    path = of_safetensors(tmp_path / "a", '{"version": 1, "kind": "test"}')
    tensors, header = read_file(path)
    np.testing.assert_array_equal(tensors["a"], np.ones(2))
    assert header == {"version": 1, "kind": "test"}


def test_a_file_that_another_program_has_written_anew_is_an_error(tmp_path):
    write_file(tmp_path / "a", TENSORS, {"kind": "test"})
    with safe_open(tmp_path / "a", "numpy") as file:
        (tmp_path / "a").write_bytes(save({"x": np.ones(2)}, metadata=file.metadata()))
    with pytest.raises(ValueError, match=r"damaged|changed by another program"):
        read_file(tmp_path / "a")


def test_numbers_that_change_while_they_are_written_make_no_damaged_file(tmp_path):
    x, done = np.zeros(1 << 20), threading.Event()

    def train():
        while not done.is_set():
            x[...] += 1

    thread = threading.Thread(target=train)
    thread.start()
    try:
        for _ in range(5):
            write_file(tmp_path / "a", {"x": x}, {})
            read_file(tmp_path / "a")
    finally:
        done.set()
        thread.join()


def test_a_header_that_no_reader_would_take_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"the header may have 100,000,000 bytes, got 100,0.*leave a very long history"
    ):
        write_file(tmp_path / "a", {}, {"x": "x" * 100_000_000})
    assert list(tmp_path.iterdir()) == []


WITHOUT_MEMORY = """
import resource, sys
import numpy as np
import safetensors.numpy
from chainrule.files import read_file, write_file

x = np.zeros(100_000_000, "uint8")
path, spare = sys.argv[1], 1_000_000 * int(sys.argv[2])
write_file(path, {"x": x[:1]}, {})
read_file(path)  # which imports what it needs
if len(sys.argv) > 3:
    write_file(path, {"x": x}, {})
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + spare,) * 2)
try:
    if len(sys.argv) > 3:
        read_file(path)
    else:
        write_file(path, {"x": x, "y": np.asarray(x[:10])}, {})
    print("done")
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is counted and limited so on Linux")
@pytest.mark.parametrize(
    ("spare", "reads", "expected"),
    [(20, (), "done"), (0, (), "MemoryError"), (50, ("read",), "MemoryError"), (150, ("read",), "MemoryError")],
)
def test_where_memory_runs_out_there_is_an_error_and_writing_takes_little(tmp_path, spare, reads, expected):
    command = [sys.executable, "-c", WITHOUT_MEMORY, str(tmp_path / "a"), str(spare), *reads]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == expected
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
