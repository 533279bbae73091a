"""The page in docs/study, its table, and the figures beside it belong together."""

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from chainrule.studies.comparison import full
from chainrule.studies.comparison.page import table
from chainrule.studies.comparison.sentences import findings
from chainrule.studies.comparison.store import TABLES, Table, cell_of
from chainrule.studies.comparison.summary import Summary

FOLDER = Path(__file__).parents[3] / "docs" / "study"


@pytest.fixture(scope="module")
def summary():
    tables = {name: Table(FOLDER / f"{name}.csv", columns) for name, columns in TABLES.items()}
    return Summary(SimpleNamespace(**tables))


def test_the_figures_are_those_of_the_full_study():
    about = json.loads((FOLDER / "about.json").read_text())
    assert about["plan"] == json.loads(json.dumps(asdict(full())))
    assert about["command"] == "chainrule study"


def test_the_table_and_the_findings_are_those_of_the_figures(summary):
    heading, rows = table(summary, full())
    lines = (FOLDER / "table.md").read_text(encoding="utf-8").splitlines()
    assert [lines[0], *lines[2:]] == ["| " + " | ".join(line) + " |" for line in [heading, *rows]]
    page = " ".join((FOLDER / "index.html").read_text(encoding="utf-8").replace("&#39;", "'").split())
    assert all(sentence in page for sentence in findings(summary, full()))


def test_every_cell_has_all_its_seeds_and_rounds_or_the_page_says_that_some_are_to_come(summary):
    for cell in full().cells():
        for who in ("chainrule", "torch"):
            for disk in ("report", "balanced"):
                one = summary.error(disk, who, cell)
                assert one.n + one.failed == summary.seeds
            assert (
                len([row for row in summary.store.times.rows if row["framework"] == who and cell_of(row) == cell]) == 20
            )
    complete = (summary.seeds, summary.rounds) == (full().seeds, full().rounds)
    assert ("Not all has been measured yet" not in (FOLDER / "index.html").read_text(encoding="utf-8")) == complete
    assert f"{summary.seeds} seeds" in (FOLDER.parent / "study.md").read_text(encoding="utf-8")
