"""Which arrays of a file the network is shown, and which say what it should learn."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...structures import Structure, each, is_several, leaves, named
from .file import Column, File, require_numbers

Field = str | list[str]  # the name of an array, or those of the columns that stand side by side in one


class Fields(NamedTuple):
    """Where x, target and sample_weight come from: the structure that each has, with a Field for every array."""

    x: Structure
    target: Structure
    sample_weight: Any

    def named(self) -> list[tuple[str, Field]]:
        """Every Field with what errors call it."""
        parts = zip(("x", "target", "sample_weight"), self, strict=True)
        return [one for name, part in parts if part is not None for one in named(name, part)]

    def names(self) -> list[str]:
        """The arrays of a file that are read."""
        return [name for _, field in self.named() for name in _names(field)]


def chosen(files: list[File], inputs: Any, targets: Any, sample_weight: str | None) -> Fields:
    """The Fields that are asked for, which every one of the files must have alike.

    Raises ValueError for what is not there, or not the same in all files, TypeError for what names no arrays.
    """
    first = files[0]
    if inputs is None:
        rest = [name for name in first.columns if name not in Fields(None, targets, sample_weight).names()]
        inputs = rest if first.is_table else "x"
    fields = Fields(
        *(
            None if one is None else _checked(of, one)
            for of, one in zip(("inputs", "targets", "sample_weight"), (inputs, targets, sample_weight), strict=True)
        )
    )
    for file in files:
        rows = {}
        for name, field in fields.named():
            for of in _names(field):
                if of not in file.columns:
                    raise ValueError(
                        f"{file.path}: has no {of!r} for {name}; it has {', '.join(map(repr, file.columns))}"
                    )
                if file.columns[of][1:] != first.columns[of][1:]:
                    raise ValueError(
                        f"{file.path}: {of!r} must be {_told(first.columns[of])} a row as in {first.path}, got "
                        f"{_told(file.columns[of])}"
                    )
                require_numbers(file.path, of, file.columns[of].dtype)
                rows[of] = file.columns[of].rows
            column(file, field)
        if len(set(rows.values())) > 1:
            raise ValueError(f"{file.path}: the arrays must have as many rows each, got {rows}")
    return fields


def column(file: File, field: Field) -> Column:
    """What the array of a Field is in a file."""
    found = [file.columns[name] for name in _names(field)]
    if isinstance(field, str):
        return found[0]
    for name, one in zip(field, found, strict=True):
        if one.shape:
            raise ValueError(
                f"{file.path}: {name!r} is no column of numbers that could stand beside others: {_told(one)} a row"
            )
    return Column(found[0].rows, (len(field),), np.result_type(*(one.dtype for one in found)))


def array(field: Field, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The array of a Field, given what was read."""
    return arrays[field] if isinstance(field, str) else np.stack([arrays[name] for name in field], axis=1)


def _checked(name: str, asked: Any) -> Structure:
    for part in leaves(asked):
        if not isinstance(part, str) and not (
            isinstance(part, list) and part and all(isinstance(of, str) for of in part)
        ):
            raise TypeError(
                f"Dataset.open: {name} must be the name of an array, a list of columns, or a tuple or dict of "
                f"those, got {asked!r}"
            )
    if is_several(asked) and not asked:
        raise ValueError(f"Dataset.open: {name} must name arrays, got {asked!r}")
    return each(lambda part: part, asked)


def _names(field: Field) -> list[str]:
    return [field] if isinstance(field, str) else field


def _told(one: Column) -> str:
    return f"{one.shape} {one.dtype}"
