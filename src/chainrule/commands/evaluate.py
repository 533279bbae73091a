"""`chainrule evaluate`: how well a model predicts the rows of a table."""

import json
from pathlib import Path

import click

from ..files import load
from ..tables import TableModel, read_table
from ..tables.report import score_text
from .options import dates, marks
from .table_errors import table_errors


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="MODEL")
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="TABLE")
@click.option("--json", "as_json", is_flag=True, help="Print the score as JSON.")
@dates("How dates are written, as built=%d/%m/%Y; may be repeated.")
@marks
def evaluate(
    model: Path, table: Path, as_json: bool, date: dict[str, str], decimal: str | None, thousands: str | None
) -> None:
    """Compare what a model predicts with what a table says.

    MODEL is what `chainrule train` has written. TABLE has the columns that it was trained with, and the target; rows in
    which the target is missing are left out. What is in the table that training did not have is told on standard error.
    """
    with table_errors():
        found = load(model)
        if not isinstance(found, TableModel):
            raise ValueError(
                f"{model}: holds a network that knows no table; evaluate takes what `chainrule train` writes"
            )
        score = found.evaluate(read_table(table, decimal=decimal, thousands=thousands, date=date))
    for sentence in found.notes.sentences():
        click.echo(sentence, err=True)
    if as_json:
        click.echo(
            json.dumps({"model": str(model), "table": str(table), "task": found.task} | score.to_dict(), indent=1)
        )
    else:
        click.echo(f"{table}: `{found.target.name}`, by {model}\n\n{score_text(score.to_dict(), 'score')}")
