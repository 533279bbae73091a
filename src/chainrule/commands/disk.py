"""`chainrule disk`: the report's experiment, from the command line."""

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..data import RADII
from ..files import write_text
from ..studies import disk as study
from ..studies.machine import machine
from .folder import filled, overwrite_option
from .options import widths

# Everything that a run may leave in its folder.
LEAVES = ("results.json", "networks/*-seed*.safetensors", "input-data.png", "losses.png", "output-*.png")


def _radii(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> tuple[str | float, ...]:
    """Each the name of a radius, or a positive number."""
    radii: list[str | float] = []
    for text in texts:
        try:
            radii.append(text if text in RADII else float(text))
        except ValueError:
            radii.append(0.0)
        if isinstance(radii[-1], float) and not 0 < radii[-1] < math.inf:
            raise click.BadParameter(f"must be one of {', '.join(RADII)}, or a positive number, got {text!r}")
    return tuple(radii)


@click.command()
@click.option("--epochs", type=click.IntRange(1), default=200, show_default=True, help="Passes over the data.")
@click.option("--batch-size", type=click.IntRange(1), default=50, show_default=True, help="Points per step.")
@click.option(
    "--lr", type=click.FloatRange(0, min_open=True), help="Learning rate  [default: sgd 0.5, momentum 0.05, adam 0.005]"
)
@click.option(
    "--hidden",
    callback=widths,
    metavar="WIDTHS",
    default="25,25,25",
    show_default=True,
    help="Widths of the hidden layers.",
)
@click.option(
    "--activation",
    "activations",
    type=click.Choice(list(study.ACTIVATIONS)),
    multiple=True,
    help="May be repeated  [default: all]",
)
@click.option(
    "--optimizer",
    "optimizers",
    type=click.Choice(list(study.OPTIMIZERS)),
    multiple=True,
    help="May be repeated  [default: all]",
)
@click.option(
    "--radius",
    "radii",
    callback=_radii,
    metavar="RADIUS",
    multiple=True,
    help="report (1/2π), balanced (1/√2π) or a number; may be repeated  [default: report, balanced]",
)
@click.option(
    "--points", type=click.IntRange(1), default=1000, show_default=True, help="To learn from, and as many to test."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of points, weights and order.")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="Networks per row, which then shows medians."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="chainrule-disk",
    show_default=True,
    help="Folder for pictures, results.json and networks.",
)
@overwrite_option
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of the table.")
def disk(
    activations: tuple[str, ...],
    optimizers: tuple[str, ...],
    radii: tuple[str | float, ...],
    out: Path,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn which points of the unit square lie in a disk.

    Trains the report's network, 2-25-25-25-2 with MSE, for every activation, optimizer and disk that is asked for,
    tests it on as many other points, prints a table, and writes pictures and results to a folder.
    """
    default = study.Settings()
    settings = study.Settings(
        activations=activations or default.activations,
        optimizers=optimizers or default.optimizers,
        radii=radii or default.radii,
        **options,
    )
    pictures = "pictures, "
    try:
        with filled(out, LEAVES, overwrite=overwrite) as folder:
            text, rows = _run(settings, as_json)
            write_text(folder / "results.json", text + "\n")
            study.save_networks(rows, folder / "networks")
            try:
                study.draw(settings, rows, folder)
            except ModuleNotFoundError as missing:
                pictures = ""
                click.echo(f"no pictures: {missing}", err=True)
    except (FloatingPointError, ValueError) as problem:
        raise click.ClickException(str(problem)) from None
    except OSError as problem:
        raise click.ClickException(f"cannot write to {out}: {problem.strerror}") from None
    click.echo(text if as_json else f"\n{pictures}results.json and networks are in {out}{os.sep}")


def _run(settings: study.Settings, quiet: bool) -> tuple[str, list[study.Row]]:
    """Train the networks, line by line, and return results.json too."""
    rows = []
    if not quiet:
        click.echo(_heading(settings))
    for row in study.run(settings):
        rows.append(row)
        if not quiet:
            click.echo(_line(settings, row))
    results = {
        "command": "chainrule disk",
        "settings": asdict(settings),
        "machine": machine(),
        "runs": [run.to_dict() for row in rows for run in row.runs],
    }
    return json.dumps(results, indent=1), rows


def _heading(settings: study.Settings) -> str:
    widths = "-".join(str(width) for width in (2, *settings.hidden, 2))
    plural = f"medians over {settings.seeds} seeds" if settings.seeds > 1 else f"seed {settings.seed}"
    what = f"{widths}, MSE, {settings.epochs} epochs of {settings.points:,} points, batches of {settings.batch_size}"
    columns = f"{'disk':12}{'activation':12}{'optimizer':27}"
    columns += f"{'train loss':>11}{'train errors':>16}{'test errors':>16}{'seconds':>9}"
    return f"{what}; {plural}\n\n{columns}"


def _line(settings: study.Settings, row: study.Row) -> str:
    one = row.runs[0]

    def errors(name: str) -> str:
        count = row.median(name)
        return f"{count:5g} {count / settings.points:8.1%}"

    return (
        f"{study.radius_name(one.radius):12}{one.activation:12}{one.model.optimizer!r:27}"
        f"{row.median('train_loss'):11.5f}{errors('train_errors'):>16}{errors('test_errors'):>16}"
        f"{row.median('train_s'):9.2f}"
    )
