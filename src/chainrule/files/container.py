"""The container of all our files: safetensors, with a checksum and one JSON object in its header.

    {"__metadata__": {"sha256": "<digits>", "chainrule": "<JSON>"}, "0.weight": {"dtype": "F32", …}, …} and then numbers

The checksum is that of all bytes of the file but its own 64 digits. docs/files.md says what the JSON holds. Nothing in
such a file is code, and nothing is ever unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import replacing

KEY = "chainrule"  # of the JSON among the metadata
VERSION = 2  # 1 had no checksum, and nothing of an optimizer but its settings
SEALED = b'{"__metadata__":{"sha256":"'  # how the header of a file with a checksum begins
DIGITS = slice(8 + len(SEALED), 8 + len(SEALED) + 64)
MOST_HEADER = 100_000_000  # bytes, of every reader of safetensors
SPARE = 1 << 23  # bytes that the reader may need besides a copy of the numbers
PIECE = 1 << 20  # bytes that are written at a time

_DTYPES = {
    np.dtype(numpy): name
    for numpy, name in {
        "bool": "BOOL",
        **{f"{letter}{bits // 8}": f"{letter.upper()}{bits}" for letter in "iu" for bits in (8, 16, 32, 64)},
        **{f"f{bits // 8}": f"F{bits}" for bits in (16, 32, 64)},
    }.items()
}


def write_file(path: str | PathLike[str], tensors: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write arrays and a JSON-able header to a file that afterwards is whole, or what it was before.

    The arrays go to the disk piece by piece: a second copy of them would take memory that big models do not leave.

    Raises TypeError for arrays of dtypes that safetensors does not know, ValueError for what is no JSON.
    """
    # The widest first, as safetensors does it, so that each begins where its dtype wants to.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    head = _head(ordered, json.dumps({"version": VERSION, **header}, allow_nan=False, separators=(",", ":")))
    digest = hashlib.sha256(head[: DIGITS.start])
    digest.update(head[DIGITS.stop :])
    with replacing(path) as file:
        file.write(head)
        for _, array in ordered:
            numbers = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
            for begin in range(0, len(numbers), PIECE):
                piece = bytes(numbers[begin : begin + PIECE])  # a copy, for somebody may train the model meanwhile
                digest.update(piece)
                file.write(piece)
        file.seek(DIGITS.start)
        file.write(digest.hexdigest().encode())


def _head(tensors: list[tuple[str, np.ndarray]], text: str) -> bytes:
    """The bytes before the numbers, with zeros for the digits of the checksum."""
    entries: dict[str, Any] = {"__metadata__": {"sha256": "0" * 64, KEY: text}}
    end = 0
    for name, array in tensors:
        dtype = _DTYPES.get(array.dtype.newbyteorder("="))
        if dtype is None:
            raise TypeError(f"write_file: {name} must hold numbers of at most 64 bits, got dtype {array.dtype}")
        begin, end = end, end + array.nbytes
        entries[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, end]}
    found = json.dumps(entries, separators=(",", ":")).encode()
    found += b" " * (-len(found) % 8)  # so that the numbers are aligned
    if len(found) > MOST_HEADER:
        raise ValueError(
            f"write_file: the header may have {MOST_HEADER:,} bytes, got {len(found):,}; "
            f"leave a very long history out, or write it with its to_csv"
        )
    return len(found).to_bytes(8, "little") + found


def read_file(path: str | PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a file that `write_file` wrote, and its header.

    Raises ValueError for whatever is no such file: damaged, cut off, of another program, or of a later version;
    OSError if it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(path)
    data = path.read_bytes()  # not mapped: whoever changes a mapped file changes the arrays, or ends the program
    sealed = data.startswith(SEALED, 8)
    if sealed and data[DIGITS] != _checksum(data):
        raise ValueError(f"{path}: damaged: its bytes are not those that were written (the SHA-256 differs)")
    # load copies the numbers, and for want of memory it hangs or ends the program; this raises MemoryError before.
    bytearray(len(data) + SPARE)
    try:
        tensors = load(data)
    except SafetensorError as problem:
        raise ValueError(f"{path}: damaged, or no safetensors file: {problem}") from None
    except (KeyError, ValueError) as problem:  # a dtype that NumPy lacks, such as bfloat16
        raise ValueError(f"{path}: a dtype or shape that NumPy does not have: {problem}") from None
    # load has checked what is read here: eight bytes say how long the JSON is that follows them.
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    header = _header(path, metadata.get(KEY))
    if header["version"] > 1 and not sealed:
        raise ValueError(f"{path}: damaged, or changed by another program: its checksum is not where it was written")
    return tensors, header


def _checksum(data: bytes) -> bytes:
    """The digits of the SHA-256 of a file, which leaves those digits out."""
    view = memoryview(data)
    digest = hashlib.sha256(view[: DIGITS.start])
    digest.update(view[DIGITS.stop :])
    return digest.hexdigest().encode()


def _header(path: Path, text: str | None) -> dict[str, Any]:
    """Our JSON, checked to be an object of a version that is known."""
    if text is None:
        raise ValueError(f"{path}: holds tensors, but no description of a model: chainrule did not write it")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path}: its description is no JSON: {problem}") from None
    if not isinstance(header, dict) or type(header.get("version")) is not int or header["version"] < 1:
        raise ValueError(f"{path}: its description must be a JSON object with a version, got {text[:60]!r}")
    if header["version"] > VERSION:
        raise ValueError(
            f"{path}: written by a later chainrule (format {header['version']}, known is {VERSION}); update it"
        )
    return header
