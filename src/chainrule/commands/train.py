"""`chainrule train`: a table in, a model, a report and pictures out."""

import json
import os
from pathlib import Path
from typing import Any

import click

from ..files import write_text
from ..tables import TableModel, train_table
from ..tables.network import ACTIVATIONS
from ..tables.pictures import draw
from ..tables.report import report_text
from ..tables.target import LOSSES, TASKS
from .folder import filled, overwrite_option
from .options import dates, marks, widths
from .table_errors import table_errors

# Everything that a run may leave in its folder.
LEAVES = ("model.safetensors", "report.json", "report.txt", "losses.png", "confusion.png", "predictions.png")


@click.command()
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="TABLE")
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option("--task", type=click.Choice(TASKS), help="What the target is  [default: found out]")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="Not to be learned from; may be repeated.")
@click.option("--categorical", multiple=True, metavar="COLUMN", help="Categories, though numbers; may be repeated.")
@click.option("--numeric", multiple=True, metavar="COLUMN", help="A number, whatever it looks like; may be repeated.")
@dates("A date, and how it is written, as %d/%m/%Y; may be repeated.", "COLUMN[=FORM]")
@marks
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.15,
    show_default=True,
    help="Share of the rows to stop by.",
)
@click.option(
    "--test",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.15,
    show_default=True,
    help="Share of the rows to test with.",
)
@click.option(
    "--hidden",
    callback=widths,
    metavar="WIDTHS",
    default="64,64",
    show_default=True,
    help="Widths of the hidden layers; '' for none.",
)
@click.option(
    "--activation",
    type=click.Choice(list(ACTIVATIONS)),
    default="gelu",
    show_default=True,
    help="After each hidden layer.",
)
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of hidden outputs dropped in training.",
)
@click.option("--loss", type=click.Choice(list(LOSSES)), help="Of a regression  [default: mse]")
@click.option(
    "--lr", type=click.FloatRange(0, min_open=True), default=0.002, show_default=True, help="Learning rate of AdamW."
)
@click.option("--batch-size", type=click.IntRange(1), help="Rows per step  [default: about 50 steps an epoch]")
@click.option("--epochs", type=click.IntRange(1), default=500, show_default=True, help="The most passes over the rows.")
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Epochs to wait for a better validation loss.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of division, weights, order and dropout."
)
@click.option(
    "--max-seconds",
    type=click.FloatRange(0, min_open=True),
    default=600,
    show_default=True,
    help="The most seconds of training.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the model, the report and pictures  [default: chainrule-TABLE]",
)
@overwrite_option
@click.option("--json", "as_json", is_flag=True, help="Print report.json instead of the text.")
def train(table: Path, target: str, out: Path | None, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Learn to predict a column of a table from the others.

    TABLE is CSV (with commas, semicolons, tabs or bars), Parquet, or NumPy's .npz. What each column is, whether the
    target is a class or a number, and how columns become inputs is found out, told, and saved inside the model, so that
    `chainrule predict` takes tables as they are.

    Files larger than 256 MB, or 64 MB of Parquet, are learned from without having them in memory.
    """
    out, pictures = out or Path(f"chainrule-{table.stem}"), " and pictures"
    with table_errors(), filled(out, LEAVES, overwrite=overwrite) as folder:
        model = train_table(table, target, **options)
        text = json.dumps({"command": "chainrule train"} | description(model), indent=1)
        model.save(folder / "model.safetensors")
        write_text(folder / "report.json", text + "\n")
        write_text(folder / "report.txt", report_text(model) + "\n")
        try:
            draw(model, folder)
        except ModuleNotFoundError as missing:
            pictures = ""
            click.echo(f"no pictures: {missing}", err=True)
    click.echo(text if as_json else f"{report_text(model)}\n\nmodel.safetensors, report{pictures} are in {out}{os.sep}")


def description(model: TableModel) -> dict[str, Any]:
    """All that is known of a model as plain values: task and why, columns, report, history."""
    return {
        "task": model.task,
        "target": model.target.to_dict(),
        "columns": model.schema,
        "network": repr(model.network),
        **model.report,
        "history": None if model.history is None else model.history.to_dict(),
    }
