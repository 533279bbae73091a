"""What has been measured, in a folder: tables of plain numbers, and what they were made with."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...files import write_text
from ..machine import machine
from .questions import BASE, CELL, Cell, Plan

Row = dict[str, Any]

CELL_COLUMNS = {name: type(getattr(BASE, name)) for name in CELL}
TABLES: dict[str, dict[str, type]] = {
    "errors": {"disk": str, "framework": str, "seed": int}
    | CELL_COLUMNS
    | {"steps": int, "train_loss": float, "test_loss": float, "test_error": float, "seconds": float, "failed": str},
    "times": {"round": int, "framework": str, "threads": str}
    | CELL_COLUMNS
    | {"steps": int, "timed_steps": int, "train_s": float, "test_s": float},
    "courses": {"disk": str, "dtype": str, "epoch": int}
    | {"chainrule": float, "torch": float, "difference": float, "difference_default_threads": float},
}


class Table:
    """Rows with the same columns, in a CSV file that is always whole.

    Parameters
    ----------
    path : of the file; the rows that it has are read.
    columns : the type of each.

    Raises ValueError for a file that is not such a table.
    """

    def __init__(self, path: Path, columns: dict[str, type]) -> None:
        self.path, self.columns = path, columns
        self.rows: list[Row] = self._read() if path.exists() else []

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows, in memory and on the disk."""
        self.rows += rows
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(self.columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())

    def _read(self) -> list[Row]:
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if reader.fieldnames != list(self.columns):
                    raise ValueError(f"the columns are {reader.fieldnames}, not {list(self.columns)}")
                return [{name: kind(row[name]) for name, kind in self.columns.items()} for row in reader]
        except (ValueError, TypeError, csv.Error) as problem:
            raise ValueError(f"{self.path} is not a table of this study: {problem}") from None


class Store:
    """The tables of a folder.

    Raises ValueError if the folder holds a study with another plan, or one made on another machine or with other
    versions: figures of both would not belong together.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        about = {"command": command(plan), "machine": machine("torch"), "plan": json.loads(json.dumps(asdict(plan)))}
        path = folder / "about.json"
        if path.exists():
            try:
                before = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as problem:
                raise ValueError(f"{path} cannot be read: {problem}") from None
            if different := sorted(_different(before, about)):
                raise ValueError(
                    f"{folder} holds a study with other settings, versions or on another machine "
                    f"({'; '.join(different)}): choose another folder"
                )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(about, indent=1) + "\n")
        self.folder, self.about = folder, about
        self.errors, self.times, self.courses = (
            Table(folder / f"{name}.csv", columns) for name, columns in TABLES.items()
        )


def command(plan: Plan) -> str:
    """What makes this study."""
    return "chainrule study" + (" --quick" if plan.name == "quick" else "")


def cell_of(row: Row) -> Cell:
    """The cell that a row is of."""
    return Cell(**{name: row[name] for name in CELL})


def _different(before: Any, now: dict[str, Any]) -> list[str]:
    if not isinstance(before, dict) or not all(isinstance(before.get(part), dict) for part in ("machine", "plan")):
        return ["about.json is not of a study"]
    old, new = before["machine"], now["machine"]
    changed = [name for name in old.keys() | new.keys() if old.get(name) != new.get(name)]
    found = [f"{name} {old.get(name)}, now {new.get(name)}" for name in changed]
    return found + ["the plan"] * (before["plan"] != now["plan"])
