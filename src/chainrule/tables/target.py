"""The column that is to be learned: classes or a number, found out or told, and what a network says about it."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ..losses import CrossEntropyLoss, HuberLoss, L1Loss, MSELoss
from ..module import Module
from .columns import days, number_texts, numbers, positions, texts
from .features import mean_and_scale
from .read import Table
from .schema import UNIQUE, holds_only, is_boolean, listed, refuse_mixtures, require_column, require_right

FEW_NUMBERS = 20  # different whole numbers that are taken for classes
ROWS_EACH = 5  # rows that there must be of each of them, on average
MOST_CLASSES = 1000
STRATUM = 20  # rows of neighbouring numbers, of which every part gets its share
TASKS = ("classification", "regression")
LOSSES = {"mse": MSELoss, "huber": HuberLoss, "mae": L1Loss}


def choose_task(table: Table, name: str, told: str | None = None) -> tuple[str, str]:
    """Whether the target is a class or a number, and why.

    Raises ValueError if there is no such column, nothing in it, or a mixture.
    """
    require_column(table, name)
    column = table.frame[name]
    present = texts(column).drop_nulls()
    if len(present) == 0:
        raise ValueError(f"{table.source}: the target `{name}` is missing in every row")
    if told is not None:
        return told, "you said so"
    if column.dtype.is_temporal() or holds_only(days, column):
        raise ValueError(f"{table.source}: the target `{name}` must be a number or a class, got dates")
    values, different = numbers(column), present.n_unique()
    if is_boolean(column, values):
        return "classification", f"`{name}` is true or false"
    if values.wrong.any():
        refuse_mixtures(table, name, values, len(present))
        return "classification", f"`{name}` holds {different:,} different texts"
    known = values.numbers[~np.isnan(values.numbers)]
    if (known == np.floor(known)).all() and different <= min(FEW_NUMBERS, len(known) / ROWS_EACH):
        return "classification", f"`{name}` holds {different:,} different whole numbers"
    return "regression", f"`{name}` holds {different:,} different numbers"


@dataclass(frozen=True)
class ClassTarget:
    """One of several classes: the network says a logit for each.

    classes : as texts, numbers in their order and texts in the alphabet's.
    form : "text", "number" or "boolean", in which `values` gives them back.
    """

    name: str
    task: str
    reason: str
    classes: tuple[str, ...]
    form: str

    TASK: ClassVar = "classification"

    @classmethod
    def fit(cls, table: Table, name: str, reason: str) -> "ClassTarget":
        """The target with the classes of a table.

        Raises ValueError where there is one class only, or nearly one for each row.
        """
        column = table.frame[name]
        values = numbers(column)
        form = "boolean" if is_boolean(column, values) else "text" if values.wrong.any() else "number"
        present = _as_texts(column, form).drop_nulls()
        different = present.unique().to_list()
        if len(different) < 2:
            raise ValueError(
                f"{table.source}: the target `{name}` must hold at least two classes, got {listed(different)} alone"
            )
        if len(different) > min(MOST_CLASSES, UNIQUE * len(present)):
            hint = "; say that the task is regression" if form == "number" else ""
            raise ValueError(
                f"{table.source}: the target `{name}` holds {len(different):,} different values in {len(present):,} "
                f"rows, too many to be classes{hint}"
            )
        order = sorted(different, key=float) if form == "number" else sorted(different)
        return cls(name, cls.TASK, reason, tuple(order), form)

    @property
    def outputs(self) -> list[str]:
        """The names of the network's outputs."""
        return [f"{self.name} = {name}" for name in self.classes]

    def encode(self, table: Table) -> np.ndarray:
        """The number of each row's class, -1 for an unknown one; every row has one. (n,) int64."""
        return positions(_as_texts(table.frame[self.name], self.form), self.classes)

    def unknown(self, table: Table) -> list[str]:
        """The class of each row that the model does not know, as text."""
        column = _as_texts(table.frame[self.name], self.form)
        return list(column.filter(positions(column, self.classes) < 0).to_list())

    def strata(self, table: Table) -> np.ndarray:
        """Groups of rows that every part gets its share of: the classes. (n,) integers."""
        return self.encode(table)

    def values(self, y: np.ndarray) -> np.ndarray:
        """The class that each row of outputs speaks for, as it stood in the table."""
        if self.form == "boolean":
            names = np.array([name == "true" for name in self.classes])
        elif self.form == "number":
            names = np.array([float(name) for name in self.classes])
            names = names.astype(np.int64) if (names == np.floor(names)).all() and (abs(names) < 2**53).all() else names
        else:
            names = np.array(self.classes)
        return np.asarray(names[y.argmax(axis=1)])

    def probabilities(self, y: np.ndarray) -> np.ndarray:
        """Of every class for each row: softmax of the outputs, in float64."""
        y = y.astype(np.float64)
        p = np.exp(y - y.max(axis=1, keepdims=True))
        return np.asarray(p / p.sum(axis=1, keepdims=True))

    def loss(self, name: str | None) -> Module:
        """What the network is trained by."""
        if name is not None:
            raise ValueError(f"classes are learned by cross-entropy; the loss {name} is for numbers")
        return CrossEntropyLoss()

    def to_dict(self) -> dict[str, Any]:
        """The target as plain values, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"classes": list(self.classes)}


@dataclass(frozen=True)
class NumberTarget:
    """A number: the network says how many standard deviations it lies above the mean.

    Equation  value = y scale + mean, in float64
    """

    name: str
    task: str
    reason: str
    mean: float
    scale: float

    TASK: ClassVar = "regression"

    @classmethod
    def fit(cls, table: Table, name: str, reason: str) -> "NumberTarget":
        """The target, with the mean and the spread of the training rows.

        Raises ValueError where every row has the same number.
        """
        values = _finite(table, name)
        if values.min() == values.max():
            raise ValueError(
                f"{table.source}: the target `{name}` is {values[0]:g} in every row: nothing is to be learned"
            )
        mean, scale = mean_and_scale(values)
        return cls(name, cls.TASK, reason, mean, scale)

    @property
    def outputs(self) -> list[str]:
        """The names of the network's outputs."""
        return [self.name]

    def encode(self, table: Table) -> np.ndarray:
        """Every row's number as the network says it. (n, 1) float64."""
        return ((_finite(table, self.name) - self.mean) / self.scale)[:, None]

    def strata(self, table: Table) -> np.ndarray:
        """Groups of rows that every part gets its share of: the smallest numbers, then the next. (n,) integers."""
        values = _finite(table, self.name)
        ranks = np.empty(len(values), np.int64)
        ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
        return ranks // STRATUM

    def values(self, y: np.ndarray) -> np.ndarray:
        """The numbers that the outputs say, in the target's own units. (n,) float64."""
        return np.asarray(y[:, 0].astype(np.float64) * self.scale + self.mean)

    def loss(self, name: str | None) -> Module:
        """What the network is trained by."""
        loss: Module = LOSSES[name or "mse"]()
        return loss

    def to_dict(self) -> dict[str, Any]:
        """The target as plain values, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def known_rows(table: Table, name: str) -> np.ndarray:
    """Where the target is not missing. (n,) bool."""
    return np.asarray(texts(table.frame[name]).is_not_null().to_numpy())


def _as_texts(column: Any, form: str) -> Any:
    if form == "boolean":
        return texts(column).str.to_lowercase().replace({"1": "true", "0": "false"})
    return number_texts(column) if form == "number" else texts(column)


def _finite(table: Table, name: str) -> np.ndarray:
    """The numbers of a column that has one in every row."""
    values = numbers(table.frame[name])
    require_right(table, name, values, "is the target of a regression")
    bad = np.flatnonzero(~np.isfinite(values.numbers))
    if len(bad):
        raise ValueError(
            f"{table.source}: the target `{name}` must be finite, but {table.place(bad[0])} holds "
            f"{values.numbers[bad[0]]}"
        )
    return values.numbers
