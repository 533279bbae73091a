"""What several commands read in the same way."""

from collections.abc import Callable
from typing import Any

import click


def marks(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how the numbers of a table are written."""
    decimal = click.option(
        "--decimal", type=click.Choice([".", ","]), help="The decimal mark in numbers  [default: found out]"
    )
    thousands = click.option(
        "--thousands",
        type=click.Choice([",", ".", "'", " "]),
        help="What stands between thousands  [default: found out]",
    )
    return decimal(thousands(command))


def dates(more: str, metavar: str = "COLUMN=FORM") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option that says how the dates of columns are written: built=%d/%m/%Y."""

    def read(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
        parts = [(text, *text.rpartition("=")) for text in given]
        found = [(name, form) if "%" in form else (text, "") for text, name, _, form in parts]
        for name, form in found:
            if not form and "[" not in metavar:
                raise click.BadParameter(f"must say the form of the dates, as {name}=%d/%m/%Y")
        return dict(found)

    return click.option("--date", multiple=True, callback=read, metavar=metavar, help=more)


def widths(context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """Comma-separated positive integers: 25,25,25."""
    try:
        found = tuple(int(width) for width in text.split(",") if width.strip())
    except ValueError:
        found = (0,)
    if any(width < 1 for width in found):
        raise click.BadParameter(f"must be positive integers such as 25,25,25, got {text!r}")
    return found
