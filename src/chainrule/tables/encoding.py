"""All columns of a table as the inputs of a network."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .features import CategoryFeature, Feature, Ignored, NumberFeature
from .notes import Notes
from .read import Table
from .schema import Kind, listed, require_readable


@dataclass(frozen=True)
class Encoding:
    """All columns of a table as the inputs of a network."""

    features: tuple[Feature, ...]

    @classmethod
    def fit(cls, kinds: Sequence[Kind], table: Table) -> "Encoding":
        """The rules for columns of these kinds, from training rows."""
        return cls(tuple(_fitted(kind, table) for kind in kinds))

    @property
    def inputs(self) -> list[str]:
        """The names of all inputs, in order."""
        return [name for feature in self.features for name in feature.inputs]

    def encode(self, table: Table, notes: Notes | None = None) -> np.ndarray:
        """Every row as numbers.

        Returns   (n, inputs) float32; what the training rows did not have is written down in `notes`

        Raises ValueError if a column is missing, or holds what it did not hold in training.
        """
        notes = Notes() if notes is None else notes
        used = [feature for feature in self.features if feature.inputs]
        names = set(table.names)
        if absent := [feature.name for feature in used if feature.name not in names]:
            what = "column is" if len(absent) == 1 else "columns are"
            raise ValueError(f"{table.source}: the model reads what is not there; the missing {what} {listed(absent)}")
        x = np.zeros((len(table), len(self.inputs)), np.float32)
        at = 0
        for feature in used:
            require_readable(table, feature.name)
            width = len(feature.inputs)
            feature.encode(table, x[:, at : at + width], notes)
            at += width
        return x

    def to_list(self) -> list[dict[str, Any]]:
        """The rules as plain values, for JSON."""
        return [
            {item.name: _plain(getattr(feature, item.name)) for item in fields(feature)} for feature in self.features
        ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _fitted(kind: Kind, table: Table) -> Feature:
    if kind.kind in NumberFeature.KINDS:
        return NumberFeature.fit(kind, table)
    if kind.kind in CategoryFeature.KINDS:
        return CategoryFeature.fit(kind, table)
    return Ignored(kind.name, kind.kind, kind.reason)
