"""The files that a path, a list of paths or a mapping of names to paths stands for."""

import re
from collections.abc import Callable, Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from . import arrays, tables
from .file import File

KINDS: dict[str, Callable[[Path], File]] = {
    ".npz": arrays.npz,
    ".safetensors": arrays.safetensors,
    ".parquet": tables.Parquet,
    ".arrow": tables.Arrow,
    ".feather": tables.Arrow,
}


def files(path: Any) -> list[File]:
    """The files, in order; a folder's by their names, in which numbers count as such: part-2 comes before part-10.

    Raises ValueError for what is no file of samples, and OSError for what cannot be read.
    """
    if isinstance(path, Mapping):
        return [_npy({str(name): Path(of) for name, of in path.items()})]
    if isinstance(path, str | PathLike):
        return _of(Path(fspath(path)))
    if isinstance(path, Iterable):
        found = [file for part in path for file in files(part)]
        if found:
            return found
    raise TypeError(
        f"Dataset.open: path must be a path, a list of paths or a mapping of names to .npy files, got {path!r}"
    )


def _of(path: Path) -> list[File]:
    if not path.is_dir():
        if path.suffix not in KINDS:
            hint = (
                "; name the arrays of .npy files: {'x': 'x.npy', 'target': 'target.npy'}"
                if path.suffix == ".npy"
                else ""
            )
            raise ValueError(f"Dataset.open: {path} must be a folder or end with {', '.join(KINDS)}{hint}")
        return [KINDS[path.suffix](path)]
    inside = sorted(path.iterdir(), key=_natural)
    arrays_there = {one.stem: one for one in inside if one.suffix == ".npy"}
    parts = [one for one in inside if one.suffix in KINDS or (one.is_dir() and not one.name.startswith("."))]
    if arrays_there and not parts:
        return [_npy(arrays_there, path)]
    if arrays_there or not parts:
        raise ValueError(f"Dataset.open: the folder {path} must hold parts ({', '.join(KINDS)}, folders) or .npy files")
    return [file for part in parts for file in _of(part)]


def _npy(paths: dict[str, Path], folder: Path | None = None) -> File:
    for name, path in paths.items():
        if path.suffix != ".npy":
            raise ValueError(f"Dataset.open: {name} must be an .npy file, got {path}")
    return arrays.npy(folder or next(iter(paths.values())).parent, paths)


def _natural(path: Path) -> list[Any]:
    """What names are sorted by, where numbers in them count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
