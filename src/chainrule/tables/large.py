"""Learning from tables larger than memory: a sample says what the columns are, and all rows become files of numbers."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Dataset
from ..extras import require
from .columns import numbers
from .notes import Notes
from .parts import table_parts
from .prepare import Prepared
from .read import Table, kind_of_file
from .schema import counted
from .target import known_rows

LARGE = {"": 1 << 28, "parquet": 1 << 26}  # bytes, of separated values and of Parquet, which unpacks to more
SAMPLE = 200_000  # rows by which a large table is known


@dataclass(frozen=True)
class Sample:
    """Rows of a large file, drawn at random; `all` says how many there are."""

    path: Path
    how: dict[str, Any]
    table: Table
    all: int


def is_large(table: Any) -> bool:
    """Whether it is the path of a file that is not to be in memory as a whole."""
    if not isinstance(table, str | Path) or not Path(table).is_file():
        return False
    with Path(table).open("rb") as file:
        kind = kind_of_file(file.read(1000))
    return kind in LARGE and Path(table).stat().st_size > LARGE[kind]


def sample(path: Path, seed: int, **how: Any) -> Sample:
    """SAMPLE rows in their order, or all if there are no more: every row draws a number, and the smallest are taken."""
    rng, kept, n = np.random.default_rng(seed), [], 0
    keys, most = np.empty(0), np.inf
    for part in table_parts(path, **how):
        drawn = rng.random(len(part))
        chosen = np.flatnonzero(drawn <= most)
        kept.append(part.take(chosen))
        keys, n = np.concatenate([keys, drawn[chosen]]), n + len(part)
        if len(keys) > 2 * SAMPLE:
            kept, keys, most = _smallest(kept, keys)
    kept, _, _ = _smallest(kept, keys)
    return Sample(path, how, kept[0], n)


def numbering(table: Table) -> dict[str, str]:
    """The columns of a sample that number the rows of the whole, and so say nothing of others; with the reason."""
    found = {}
    for column in table.frame if len(table) > 1 else ():
        from_row = numbers(column).numbers - table.rows
        if np.isfinite(from_row).all() and np.ptp(from_row) == 0:
            found[column.name] = "it numbers the rows"
    return found


def _smallest(parts: list[Table], keys: np.ndarray) -> tuple[list[Table], np.ndarray, float]:
    """The rows with the SAMPLE smallest keys as one table, their keys, and the largest of these."""
    pl = require("polars", "tables")
    lines = None if parts[0].lines is None else np.concatenate([part.lines for part in parts if part.lines is not None])
    frame, rows = pl.concat([part.frame for part in parts]), np.concatenate([part.rows for part in parts])
    chosen = np.sort(np.argsort(keys, kind="stable")[:SAMPLE])
    table = replace(parts[0], frame=frame, rows=rows, lines=lines).take(chosen)
    return [table], keys[chosen], float(keys[chosen].max())


@contextmanager
def all_rows(found: Sample, ready: Prepared) -> Iterator[tuple[Dataset, int, list[str]]]:
    """The rows to learn from, as numbers in a folder that is there until the block ends.

    Those are all with a target but the ones that the sample holds back for validation and test.

    Returns   the Dataset, how many rows have no target, and what these rows have that the sample had not

    Raises ValueError, with row and line, for what the sample says cannot be.
    """
    held = np.concatenate([ready.rows.rows[part] for part in (ready.parts.validation, ready.parts.test)])
    without, notes = 0, None
    with tempfile.TemporaryDirectory(prefix="chainrule-") as folder:
        for i, part in enumerate(table_parts(found.path, **found.how)):
            known = known_rows(part, ready.target.name)
            without += int((~known).sum())
            rows = part.take(known & ~np.isin(part.rows, held))
            if len(rows):
                here = Notes()
                x, target = ready.encoding.encode(rows, here), ready.target.encode(rows)
                _require_known(ready, rows, target)
                if notes is None:
                    notes = here
                else:
                    notes.add(here)
                np.savez(Path(folder) / f"part-{i}.npz", x=x, target=target)
        said = [f"what the columns are was found out from {counted(len(found.table), 'row')} of {found.all:,}"]
        yield Dataset.open(folder), without, [*said, *(notes.sentences() if notes else ())]


def _require_known(ready: Prepared, rows: Table, target: np.ndarray) -> None:
    """Raise ValueError for a class that the sample does not have."""
    if target.dtype.kind == "i" and (target < 0).any():
        row = int(np.argmax(target < 0))
        raise ValueError(
            f"{rows.source}: `{ready.target.name}` holds {str(rows.frame[ready.target.name][row])!r} in "
            f"{rows.place(row)}, a class that none of {SAMPLE:,} rows drawn at random has; leave such rows out"
        )
