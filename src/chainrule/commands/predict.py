"""`chainrule predict`: what a model says of the rows of a table."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from ..extras import require
from ..files import load
from ..module import Module
from ..structures import is_several
from ..tables import Table, TableModel
from ..tables.parts import table_parts
from ..tables.plain import plain_inputs
from ..train import predict as outputs_of
from .frames import write_frames
from .options import dates, marks
from .table_errors import table_errors


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="MODEL")
@click.argument("table", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path), metavar="TABLE")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A .csv or .parquet file  [default: CSV to standard output]",
)
@click.option("--proba", is_flag=True, help="Add a column with the probability of each class.")
@dates("How dates are written, as built=%d/%m/%Y; may be repeated.")
@marks
def predict(
    model: Path,
    table: Path,
    out: Path | None,
    proba: bool,
    date: dict[str, str],
    decimal: str | None,
    thousands: str | None,
) -> None:
    """Predict a row for each row of a table, in its order.

    MODEL is what `chainrule train` has written, and TABLE has the columns that it was trained with, as they were. What
    is in the table that training did not have is told on standard error. MODEL may also be a network that
    model.save(path) has written, if TABLE has nothing but numbers, a column for each of its inputs; of an .npz file the
    array x. A TABLE of more than 32 MB is read part by part, in bounded memory, and so is - , CSV from standard input.
    What it says are the columns y0, y1, …; those of an output with a name have that before their numbers.
    """
    with table_errors():
        if out is not None and out.suffix not in (".csv", ".parquet"):
            raise ValueError(f"{out}: must end with .csv or .parquet")
        found, parts = load(model), table_parts(table, decimal=decimal, thousands=thousands, date=date)
        if isinstance(found, TableModel):
            write_frames(_of_tables(found, parts, proba), out)
        else:
            write_frames((_of_network(found, rows, proba) for rows in parts), out)


def _of_tables(model: TableModel, parts: Iterator[Table], proba: bool) -> Iterator[Any]:
    """What the model says of each part; then, on standard error, what training did not have in any of them."""
    notes = None
    for rows in parts:
        yield _of_table(model, rows, proba)
        if notes is None:
            notes = model.notes
        else:
            notes.add(model.notes)
    for sentence in notes.sentences() if notes else ():
        click.echo(sentence, err=True)


def _of_table(model: TableModel, rows: Table, proba: bool) -> Any:
    if proba and model.task != "classification":
        raise ValueError(f"--proba is for classes, and `{model.target.name}` is a number")
    columns = {model.target.name: model.predict(rows)}
    if proba:
        p = model.predict_proba(rows)
        columns |= {f"probability of {name}": column for name, column in zip(model.target.classes, p.T, strict=True)}  # type: ignore[union-attr]
    return require("polars", "tables").DataFrame(columns)


def _of_network(model: Module, rows: Table, proba: bool) -> Any:
    if proba:
        raise ValueError(
            "--proba takes a model that `chainrule train` has written: this network does not know its classes"
        )
    y = outputs_of(model, plain_inputs(model, rows))
    heads = y if isinstance(y, dict) else {f"y{i}_": head for i, head in enumerate(y)} if is_several(y) else {"y": y}
    columns: dict[str, np.ndarray] = {}
    for name, head in heads.items():
        for i, column in enumerate(np.asarray(head).reshape(len(head), -1).T):
            if f"{name}{i}" in columns:
                raise ValueError(f"two outputs of the network would both make a column called {name}{i}")
            columns[f"{name}{i}"] = column
    return require("polars", "tables").DataFrame(columns)
