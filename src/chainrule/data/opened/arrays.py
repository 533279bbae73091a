"""Files that hold arrays as they are in memory: .npy, .npz and safetensors.

They are read and not mapped: a mapped file that is cut off or lies on a failing disk ends the program, and its pages
count as memory of the process until the system takes them back.
"""

import json
import math
import os
import struct
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .file import Column, Stamp, require_unchanged

DTYPES = {
    "BOOL": "?",
    **{f"{kind.upper()}{8 * n}": f"<{kind}{n}" for kind in "iuf" for n in (1, 2, 4, 8) if kind + str(n) != "f1"},
}


class Place(NamedTuple):
    """Where the rows of an array lie: in which file, and from which byte on."""

    path: Path
    offset: int
    column: Column


class ArrayFile:
    """One file, or several .npy files, whose arrays lie row after row."""

    is_table = False

    def __init__(self, path: Path, places: dict[str, Place]) -> None:
        self.path, self.places = path, places
        self.columns = {name: place.column for name, place in places.items()}
        self.stamps = {place.path: Stamp.of(place.path.stat()) for place in places.values()}
        for name, (of, offset, column) in places.items():
            end, size = offset + column.rows * _row_bytes(column), self.stamps[of].size
            if end > size:
                raise ValueError(f"{of}: is cut off: {name} ends at byte {end:,}, and the file at {size:,}")

    def blocks(self, rows: int) -> Sequence[tuple[int, int]]:
        """From where to where it is best read: so many rows each."""
        n = next(iter(self.columns.values())).rows
        return [(start, min(start + rows, n)) for start in range(0, n, rows)]

    def read(self, names: Iterable[str], start: int, stop: int) -> dict[str, np.ndarray]:
        """These rows of these arrays, in the dtype on disk."""
        return {name: self._read(self.places[name], start, stop) for name in names}

    def _read(self, place: Place, start: int, stop: int) -> np.ndarray:
        column = place.column
        found = np.empty((stop - start, *column.shape), column.dtype)
        left = found.reshape(-1).view(np.uint8).data
        with place.path.open("rb", buffering=0) as file:
            require_unchanged(place.path, os.fstat(file.fileno()), self.stamps[place.path])
            file.seek(place.offset + start * _row_bytes(column))
            while len(left):
                n = file.readinto(left)
                if not n:
                    raise ValueError(f"{place.path}: is cut off: it ends before row {stop:,}")
                left = left[n:]
        return found


def npy(path: Path, paths: dict[str, Path]) -> ArrayFile:
    """Several .npy files, an array each, as one."""
    places = {}
    for name, of in paths.items():
        with of.open("rb") as file:
            places[name] = _npy_place(of, name, file)
    return ArrayFile(path, places)


def npz(path: Path) -> ArrayFile:
    """An .npz file whose arrays are not compressed, as numpy.savez writes it."""
    places = {}
    try:
        with zipfile.ZipFile(path) as members, path.open("rb") as file:
            for member in members.infolist():
                name = member.filename.removesuffix(".npy")
                if member.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(
                        f"{path}: {name} is compressed, and can only be read as a whole; numpy.savez does not"
                    )
                file.seek(member.header_offset)
                head = file.read(30)  # of the member, whose name and extra field have lengths of their own there
                file.seek(sum(struct.unpack("<HH", head[26:30])), 1)
                places[name] = _npy_place(path, name, file)
    except (zipfile.BadZipFile, struct.error) as problem:
        raise ValueError(f"{path}: damaged, or no .npz file: {problem}") from None
    return ArrayFile(path, places)


def safetensors(path: Path) -> ArrayFile:
    """A safetensors file, whoever wrote it."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(length) if length < path.stat().st_size else b"")
        header.pop("__metadata__", None)
        return ArrayFile(path, {name: _tensor(path, name, entry, 8 + length) for name, entry in header.items()})
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path}: damaged, or no safetensors file: {problem!r}") from None


def _tensor(path: Path, name: str, entry: dict[str, Any], data: int) -> Place:
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"{path}: {name} is of the dtype {entry['dtype']}, which NumPy does not have")
    (rows, *shape), dtype, (begin, _) = entry["shape"] or [0], np.dtype(DTYPES[entry["dtype"]]), entry["data_offsets"]
    return Place(path, data + begin, Column(rows, tuple(shape), dtype))


def _npy_place(path: Path, name: str, file: BinaryIO) -> Place:
    """What the header of an array says, which begins where `file` stands."""
    formats: Any = np.lib.format
    try:
        version = formats.read_magic(file)
        read = formats.read_array_header_1_0 if version == (1, 0) else formats.read_array_header_2_0
        shape, is_fortran, dtype = read(file)
    except ValueError as problem:
        raise ValueError(f"{path}: damaged, or no array of NumPy's: {problem}") from None
    if is_fortran and len(shape) > 1:
        raise ValueError(
            f"{path}: {name} lies column after column; numpy.ascontiguousarray turns it before it is saved"
        )
    rows, *rest = shape or (0,)
    return Place(path, file.tell(), Column(rows, tuple(rest), dtype))


def _row_bytes(column: Column) -> int:
    return math.prod(column.shape) * column.dtype.itemsize
