"""From a table to a model of it: kinds of columns, task, division, training, score."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral
from pathlib import Path
from typing import Any

from .. import train
from ..arguments import choice, number, positive
from ..data import Dataset
from .large import all_rows, is_large, numbering, sample
from .model import TableModel
from .network import ACTIVATIONS, batch_size_for, build_network
from .prepare import prepare
from .read import read_table
from .target import LOSSES, TASKS


def train_table(
    table: Any,
    target: str,
    *,
    task: str | None = None,
    ignore: Iterable[str] = (),
    categorical: Iterable[str] = (),
    numeric: Iterable[str] = (),
    date: Iterable[str] | Mapping[str, str] = (),
    decimal: str | None = None,
    thousands: str | None = None,
    validation: float = 0.15,
    test: float = 0.15,
    hidden: Sequence[int] = (64, 64),
    activation: str = "gelu",
    dropout: float = 0.1,
    loss: str | None = None,
    lr: float = 2e-3,
    weight_decay: float = 1e-2,
    batch_size: int | None = None,
    epochs: int = 500,
    patience: int = 20,
    seed: int = 0,
    max_seconds: float | None = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> TableModel:
    """Learn to predict one column of a table from the others.

    Parameters
    ----------
    table : a path of CSV, Parquet or .npz, a polars or pandas DataFrame, or a dict of columns; see `read_table`. Files
        larger than 256 MB, or 64 MB of Parquet, are never in memory as a whole: 200,000 rows, drawn at random, say what
        the columns are, give the rows for validation and test, and all others are learned from.
    target : the column to predict. Rows in which it is missing are left out.
    task : "classification" or "regression"; found out unless given.
    ignore, categorical, numeric, date : columns that are this, whatever is found out; one name, or several. Dates may
        come with their forms, as {"built": "%d/%m/%Y"}.
    decimal, thousands : the marks in numbers that are texts; see `read_table`. The model keeps how it read them.
    validation, test : shares of the rows to stop by and to test with, drawn at random, of every class its share.
    hidden, activation, dropout : the network: widths of the hidden layers, what follows each, and the share of its
        outputs that is dropped in training.
    loss : "mse", "huber" or "mae" (regression only), of the target in standard deviations; "mse" unless given.
    lr, weight_decay, batch_size : of AdamW; batches make about fifty steps of an epoch unless a size is given.
    epochs, patience : the most epochs, and after how many without a better validation loss to stop.
    seed : of the division, the initial weights, the order of rows and dropout.
    max_seconds : the most seconds of training.
    threads, progress : as in `fit`.

    Returns   a TableModel, with the parameters of its best epoch; its `history`, `score` and `report` say how it went

    Raises ValueError for a table or columns that nothing can be learned from, TypeError for arguments of other types.
    """
    begin = time.perf_counter()
    _check(task, validation, test, hidden, activation, loss)
    target = _name("target", target)
    forms = {_name("date", name): form for name, form in date.items()} if isinstance(date, Mapping) else {}
    written = {name: form for name, form in forms.items() if form}
    how: dict[str, Any] = {"decimal": decimal, "thousands": thousands, "date": written}
    drawn = sample(Path(table), seed, **how) if is_large(table) else None
    whole = read_table(table, **how) if drawn is None else drawn.table
    told = {"categorical": _names("categorical", categorical), "numeric": _names("numeric", numeric)}
    told["date"] = [*forms] or _names("date", date)
    left_out = dict.fromkeys(_names("ignore", ignore), "")
    if drawn is not None:
        said = {target}.union(left_out, *told.values())
        left_out |= {name: why for name, why in numbering(whole).items() if name not in said}
    ready = prepare(
        whole, target, task=task, ignore=left_out, **told, validation=validation, test=test, seed=seed
    )  # fmt: skip
    reading_s = time.perf_counter() - begin
    network = build_network(
        len(ready.encoding.inputs), len(ready.target.outputs), hidden=hidden, activation=activation, dropout=dropout,
        lr=lr, weight_decay=weight_decay, seed=seed,
    )  # fmt: skip
    every: AbstractContextManager[tuple[Dataset, int, list[str]]]
    every = all_rows(drawn, ready) if drawn else nullcontext((ready.training, len(whole) - len(ready.rows), []))
    with every as (training, without_target, found):
        learned = len(training)
        size = batch_size_for(learned) if batch_size is None else positive("train_table", "batch_size", batch_size)
        history = train.fit(
            network,
            ready.target.loss(loss),
            training,
            epochs=epochs,
            batch_size=min(size, learned),
            validation=ready.validation,
            seed=seed,
            stop=train.EarlyStopping(patience),
            max_seconds=max_seconds,
            threads=threads,
            progress=progress,
        )
    model = TableModel(network, ready.encoding, ready.target, history)
    scored_on, rows = ready.held_back
    model.score = model.evaluate(rows)
    model.report = {
        "source": whole.source,
        "rows": {
            "all": len(whole) if drawn is None else drawn.all,
            "without_target": without_target,
            "training": learned,
            "validation": len(ready.parts.validation),
            "test": len(ready.parts.test),
        },
        "scored_on": scored_on,
        "score": model.score.to_dict(),
        "loss": loss or ("mse" if model.task == "regression" else "cross-entropy"),
        "batch_size": min(size, learned),
        "seed": seed,
        "notes": [*ready.notes, *found],
        "seconds": {"reading": reading_s, "training": history.total_s, "all": time.perf_counter() - begin},
    }
    return model


def _name(argument: str, given: Any) -> str:
    """The name of a column. Whole numbers are those of pandas, which takes them for names."""
    if isinstance(given, bool) or not isinstance(given, str | Integral):
        raise TypeError(f"train_table: {argument} must be the name of a column, got {given!r}")
    return str(given)


def _names(argument: str, given: Any) -> list[str]:
    """Names of columns: one, or several."""
    several = given if isinstance(given, Iterable) and not isinstance(given, str | bytes) else [given]
    return [_name(argument, name) for name in several]


def _check(
    task: str | None, validation: float, test: float, hidden: Sequence[int], activation: str, loss: str | None
) -> None:
    """Raise ValueError or TypeError for arguments that no table can mend."""
    if task is not None:
        choice("train_table", "task", task, TASKS)
    if loss is not None:
        choice("train_table", "loss", loss, tuple(LOSSES))
    choice("train_table", "activation", activation, tuple(ACTIVATIONS))
    for width in hidden:
        positive("train_table", "hidden", width)
    for name, share in (("validation", validation), ("test", test)):
        number("train_table", name, share, least=0, below=1)
    number("train_table", "validation + test", validation + test, below=1)
