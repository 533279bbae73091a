"""What can go wrong with tables and their models, as one line and an exit status."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@contextmanager
def table_errors(out: Path | None = None) -> Iterator[None]:
    """Turn errors that are about the data, files or extras into messages; `out` is where something is to be written."""
    try:
        yield
    except (FloatingPointError, MemoryError, ModuleNotFoundError, TypeError, ValueError) as problem:
        raise click.ClickException(str(problem) or type(problem).__name__) from None
    except BrokenPipeError:  # nobody reads what is printed
        raise
    except OSError as problem:
        if problem.filename is None:
            raise click.ClickException(problem.strerror or str(problem)) from None
        where = Path(problem.filename)
        if (
            out is not None and where.absolute().parent == out.absolute().parent
        ):  # the temporary file that was to become it
            where = out
        raise click.ClickException(f"{where}: {problem.strerror or problem}") from None
