"""A network with the rules by which it reads tables: what `train_table` makes, and one file holds."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..files import build, describe, read_file, write_file
from ..layers import Sequential
from ..train import History, predict
from .description import Target, build_table, describe_table
from .encoding import Encoding
from .notes import Notes
from .read import Table, read_table
from .schema import counted, require_column, require_readable
from .scores import ClassScore, NumberScore, Score
from .target import ClassTarget, NumberTarget, known_rows


class TableModel:
    """A network that takes raw tables: files, data frames or dicts of columns, with missing values and categories.

    network : the Sequential, from encoded rows to logits of classes or to standardised numbers.
    encoding, target : the rules of its inputs and outputs, fitted to the training rows.
    history : the record of its training, None if there is none. report : what training found, as plain values.
    score : of the rows held back in training; None for a model that was loaded, whose report has the figures.
    notes : what the last table that was read had and training had not.
    """

    def __init__(
        self,
        network: Sequential,
        encoding: Encoding,
        target: Target,
        history: History | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> None:
        self.network, self.encoding, self.target = network, encoding, target
        self.history = history
        self.report: dict[str, Any] = dict(report or {})
        self.score: Score | None = None
        self.notes = Notes()

    @property
    def task(self) -> str:
        """What the target is: "classification" or "regression"."""
        return self.target.task

    @property
    def schema(self) -> list[dict[str, str]]:
        """A row for each column that training saw: name, kind, why it is of that kind, and how it is encoded."""
        return [
            {"name": f.name, "kind": f.kind, "reason": f.reason, "encoded": f.explained} for f in self.encoding.features
        ]

    def predict(self, table: Any) -> np.ndarray:
        """What the target is in each row.

        Parameters
        ----------
        table : whatever `read_table` reads. Columns that the model does not use may be there or not.

        Returns   (n,): classes as they stood in the training table, or numbers in its units

        Raises ValueError, with row and line, for a column that is missing or holds what it did not hold in training.
        Categories that training did not have are no error; `notes` counts them.
        """
        return self.target.values(self._outputs(read_table(table)))

    def predict_proba(self, table: Any) -> np.ndarray:
        """The probability of each class in each row, in the order of `target.classes`.

        Returns   (n, classes) float64

        Raises ValueError for a model of numbers, and as `predict`.
        """
        if not isinstance(self.target, ClassTarget):
            raise ValueError(f"predict_proba: `{self.target.name}` is a number, and has no classes")
        return self.target.probabilities(self._outputs(read_table(table)))

    def evaluate(self, table: Any) -> Score:
        """How well the target is predicted, in the rows in which it is known; `notes` counts the others.

        Returns   a ClassScore or a NumberScore

        Raises ValueError as `predict`, and if there is no such row.
        """
        table = read_table(table)
        require_column(table, self.target.name)
        require_readable(table, self.target.name)
        known = known_rows(table, self.target.name)
        if not known.any():
            raise ValueError(f"{table.source}: the target `{self.target.name}` is missing in every row")
        rows = table if known.all() else table.take(known)
        y = self._outputs(rows)
        if left_out := len(table) - len(rows):
            self.notes.other.append(f"{left_out:,} of {counted(len(table), 'row')} left out: no `{self.target.name}`")
        if isinstance(self.target, NumberTarget):
            self.notes.other += self.target.notes
            return NumberScore(self.target.numbers(rows), self.target.above(y), self.target.mean)
        true, unknown = self.target.encode(rows), self.target.unknown(rows)
        names = sorted(set(unknown))
        true[true < 0] = [len(self.target.classes) + names.index(name) for name in unknown]
        if unknown:
            self.notes.other.append(
                f"{counted(len(unknown), 'row')} of a class that training did not have, counted as errors"
            )
        return ClassScore.of(self.target.classes + tuple(names), true, self.target.probabilities(y))

    def save(self, path: str | PathLike[str]) -> None:
        """Write network, rules, history and report to one file, whole or not at all; `chainrule.load` reads it."""
        description, tensors = describe(self.network)
        header = {"kind": "table", "model": description, "table": describe_table(self.encoding, self.target)}
        history = {} if self.history is None else {"history": self.history.to_dict()}
        write_file(Path(path), tensors, header | history | {"report": self.report})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "TableModel":
        """The model in a file that `save` wrote.

        Raises ValueError for any other file; OSError if it cannot be read. Nothing in the file is run or unpickled.
        """
        tensors, header = read_file(path)
        if header.get("kind") != "table":
            raise ValueError(f"{path}: must hold a model of a table, got {str(header.get('kind'))[:60]!r}")
        return cls.of_file(path, tensors, header)

    @classmethod
    def of_file(
        cls, path: str | PathLike[str], tensors: Mapping[str, np.ndarray], header: Mapping[str, Any]
    ) -> "TableModel":
        """The model of a file that has been read already."""
        where = str(path)
        encoding, target = build_table(header.get("table"), where)
        network = build(header.get("model"), tensors, where=where)
        if not isinstance(network, Sequential):
            raise ValueError(f"{where}: a table's model must be a Sequential, got {type(network).__name__}")
        _require_fit(network, len(encoding.inputs), len(target.outputs), where)
        report, record = header.get("report"), header.get("history")
        if not isinstance(report, dict):
            raise ValueError(f"{where}: its report must be an object, got {str(report)[:60]}")
        try:
            history = None if record is None else History.from_dict(record)
            repr(history)
        except Exception as problem:  # whatever the fields of a damaged record may be
            raise ValueError(f"{where}: its history is damaged: {problem}") from None
        return cls(network, encoding, target, history, report)

    def _outputs(self, table: Table) -> np.ndarray:
        """What the network says of every row; `notes` are those of this table."""
        self.notes = Notes()
        y: np.ndarray = predict(self.network, self.encoding.encode(table, self.notes))
        return y

    def __repr__(self) -> str:
        used = sum(bool(feature.inputs) for feature in self.encoding.features)
        widths = f"{used} columns, {len(self.encoding.inputs)} inputs"
        return f"TableModel: {self.task} of `{self.target.name}` from {widths}\n{self.network!r}"


def _require_fit(network: Sequential, n_in: int, n_out: int, where: str) -> None:
    """Raise ValueError if the network does not take the inputs of the columns or give the outputs of the target."""
    dtype = next((parameter.value.dtype for parameter in network.param()), np.dtype("float32"))
    try:
        shape = tuple(network(np.zeros((1, n_in), dtype)).shape)
    except Exception as problem:  # of any layer that a damaged description may put there
        raise ValueError(f"{where}: its network does not take the {n_in} inputs of its columns: {problem}") from None
    if shape != (1, n_out):
        raise ValueError(f"{where}: its network must give {(1, n_out)} for its target, got {shape}")
