"""Data frames that come one after the other, as one CSV or Parquet file or on standard output."""

import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import click

from ..extras import require
from ..files.atomic import replacing


def write_frames(frames: Iterator[Any], out: Path | None) -> None:
    """Write them to a file, which is whole in the end or what it was before; or as CSV to standard output.

    What goes to standard output is there before a later part may turn out to be wrong.

    Raises OSError that names `out` if it cannot be written.
    """
    if out is None:
        held = b""
        for i, frame in enumerate(frames):
            click.echo(held, nl=False)
            held = _csv(frame, header=i == 0)
        click.echo(held, nl=False)  # behind what there was to say of all of them
        return
    first = next(frames)  # before anything is made
    rows = 0
    with replacing(out) as file:
        for frame in _written(chain([first], frames), out, file):
            rows += frame.height
    click.echo(f"{out}: {rows:,} rows", err=True)


def _written(frames: Iterator[Any], out: Path, file: BinaryIO) -> Iterator[Any]:
    """Each of the frames, written."""
    if out.suffix == ".csv":
        for i, frame in enumerate(frames):
            file.write(_csv(frame, header=i == 0))
            yield frame
        return
    first, second = next(frames), next(frames, None)
    if second is None:
        first.write_parquet(file)
        yield first
        return
    table = first.to_arrow()
    with require("pyarrow.parquet", "tables").ParquetWriter(file, table.schema) as writer:
        for frame in chain([first, second], frames):
            writer.write_table(frame.to_arrow().cast(table.schema))
            yield frame


def _csv(frame: Any, *, header: bool) -> bytes:
    data = io.BytesIO()
    frame.write_csv(data, include_header=header)
    return data.getvalue()
