"""`chainrule info`: what is in a model file."""

import json
from pathlib import Path
from typing import Any

import click

from ..files import load, read_file
from ..tables import TableModel
from ..tables.report import report_text
from ..train import History

_KINDS = {"table": "model of a table"}


@click.command(short_help="Show what is in a model file.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="MODEL")
@click.option("--json", "as_json", is_flag=True, help="Print the description that the file holds, as it is.")
def info(path: Path, as_json: bool) -> None:
    """Show what is in a model file: the architecture, how it was trained, and of what columns.

    MODEL is what model.save(path), fit(checkpoint=…) or `chainrule train` has written.
    """
    try:
        tensors, header = read_file(path)
        model = None if as_json else load(path)
    except (ValueError, OSError) as problem:
        raise click.ClickException(str(problem)) from None
    if as_json:
        click.echo(json.dumps(header, indent=1))
        return
    dtypes = " and ".join(sorted({str(tensor.dtype) for tensor in tensors.values()})) or "no numbers"
    click.echo(f"{path}: a {_KINDS.get(header['kind'], header['kind'])}, {path.stat().st_size:,} bytes, {dtypes}\n")
    click.echo(repr(model))
    if isinstance(model, TableModel):
        click.echo(f"\n{_table(path, model)}")
    elif header["kind"] == "checkpoint":
        click.echo(f"\n{_progress(header)}")
    elif "history" in header:
        click.echo(f"\n{_history(path, header['history'])!r}")


def _history(path: Path, record: Any) -> History:
    try:
        return History.from_dict(record)
    except TypeError as problem:
        raise click.ClickException(f"{path}: its history is damaged: {problem}") from None


def _table(path: Path, model: TableModel) -> str:
    """The columns, the training and the score of a model of a table."""
    try:
        return report_text(model)
    except Exception as problem:  # whatever may stand in a damaged report
        raise click.ClickException(f"{path}: its report is damaged: {problem!r}") from None


def _progress(header: dict[str, Any]) -> str:
    """How far the run of a checkpoint has come."""
    place, best = header["place"], header["best_epoch"]
    known = "no epoch is finished" if best is None else f"best epoch {best}, with the loss {header['best_loss']:.6g}"
    return f"{header['steps']:,} steps, {place['epoch']:,} epochs finished; {known}"
