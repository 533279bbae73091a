"""What several commands read in the same way."""

import click


def widths(context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """Comma-separated positive integers: 25,25,25."""
    try:
        found = tuple(int(width) for width in text.split(",") if width.strip())
    except ValueError:
        found = (0,)
    if any(width < 1 for width in found):
        raise click.BadParameter(f"must be positive integers such as 25,25,25, got {text!r}")
    return found
