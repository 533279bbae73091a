"""Folders that commands fill: whole or not at all, and over an earlier run only when told to."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

# What a command that fills a folder takes, to write where it has written before.
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace what an earlier run has left in the folder, old pictures too."
)


@contextmanager
def filled(out: Path, mine: Iterable[str], *, overwrite: bool) -> Iterator[Path]:
    """A folder to write into, whose files come into `out` together at the end; after an error there are none of them.

    It is made at once, so that a place that cannot be written to is found before the work. With overwrite, what an
    earlier run has left goes when the new files come.

    Parameters
    ----------
    mine : the files that a run may leave, as patterns of names within `out`. Nothing else there is touched.

    Raises ValueError if an earlier run has left any of them, unless they are to be overwritten; OSError with the name
    `out` if something cannot be written.
    """
    old = sorted({path for pattern in mine for path in out.glob(pattern)})
    if folders := [path for path in old if path.is_dir()]:
        raise ValueError(f"{folders[0]} is a folder, and a file is to come there: choose another folder with --out")
    if old and not overwrite:
        raise ValueError(
            f"{out} holds {old[0].relative_to(out)} of an earlier run: choose another folder with --out, or replace "
            f"what that run has left with --overwrite"
        )
    made: list[Path] = []
    try:
        made = _make(out)
        with tempfile.TemporaryDirectory(dir=out, prefix=".unfinished-") as name:
            folder = Path(name)
            yield folder
            new = [path for path in folder.rglob("*") if path.is_file()]
            for path in {*old} - {out / path.relative_to(folder) for path in new}:
                path.unlink()
            for path in new:
                place = out / path.relative_to(folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                path.replace(place)
    except OSError as problem:
        _remove(made)
        if problem.filename is not None and out not in Path(problem.filename).parents:
            raise
        raise OSError(
            problem.errno, problem.strerror, str(out)
        ) from None  # a full disk, or files that nobody has heard of
    except BaseException:
        _remove(made)
        raise


def _make(out: Path) -> list[Path]:
    """Make a folder and those that it lies in; returns those that were not there, the innermost first."""
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)
    return missing


def _remove(folders: list[Path]) -> None:
    """Remove folders that were made in vain."""
    with suppress(OSError):  # somebody else has put something there
        for folder in folders:
            folder.rmdir()
