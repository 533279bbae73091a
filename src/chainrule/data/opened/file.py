"""What a file of samples has to be able to do."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np


class Column(NamedTuple):
    """An array of a file, without its numbers: how many rows, the shape of each, and the dtype on disk."""

    rows: int
    shape: tuple[int, ...]
    dtype: np.dtype


class File(Protocol):
    """Arrays by name, of which rows can be read; several threads may do so at the same time.

    is_table : whether its columns are numbers that stand side by side.
    """

    path: Path
    columns: dict[str, Column]
    is_table: bool

    def blocks(self, rows: int) -> Sequence[tuple[int, int]]:
        """From where to where it is best read: about so many rows each, or as it was written."""

    def read(self, names: Iterable[str], start: int, stop: int) -> dict[str, np.ndarray]:
        """These rows of these arrays, in the dtype on disk."""


class Stamp(NamedTuple):
    """How a file was when it was opened."""

    number: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Stamp":
        """That which the system tells of it."""
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


def require_unchanged(path: Path, now: os.stat_result, before: Stamp) -> None:
    """Raise ValueError unless the file is the one that was opened, as it was then."""
    if Stamp.of(now) != before:
        raise ValueError(f"{path}: was changed since it was opened; open it again when nobody writes it any more")


def require_numbers(path: Path, name: str, dtype: np.dtype) -> None:
    """Raise ValueError for an array that does not hold real numbers of at most 64 bits."""
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ValueError(f"{path}: {name} must hold real numbers of at most 64 bits, got dtype {dtype}")
