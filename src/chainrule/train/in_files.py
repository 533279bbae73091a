"""Whether data are in files; what comes of it is said where it does."""

from typing import TYPE_CHECKING, TypeGuard

from ..data.dataset import Dataset

if TYPE_CHECKING:
    from ..data.opened import Opened


def is_in_files(data: Dataset | None) -> "TypeGuard[Opened]":
    """Whether it is one that `Dataset.open` has made."""
    return data is not None and data.in_files


def first_row(data: Dataset) -> Dataset:
    """What shows the shapes and dtypes: the data themselves, or of those in files the first sample."""
    return data.take(slice(0, 1)).read() if data.in_files else data
