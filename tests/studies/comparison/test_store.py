import dataclasses
import json

import pytest

from chainrule.studies.comparison.questions import BASE, Cell
from chainrule.studies.comparison.store import TABLES, Store, Table, cell_of

COLUMNS = {"name": str, "n": int, "x": float}


def test_rows_come_back_as_they_were(tmp_path):
    path = tmp_path / "t.csv"
    rows = [{"name": 'a, "b"\nc', "n": 3, "x": 0.1 + 0.2}, {"name": "", "n": -1, "x": 1e-300}]
    Table(path, COLUMNS).add(rows[:1])
    table = Table(path, COLUMNS)
    table.add(rows[1:])
    assert table.rows == Table(path, COLUMNS).rows == rows


@pytest.mark.parametrize("text", ["", "name,n\n", "name,n,x\na,b,c\n", "name,n,x\na,1\n", "\0"])
def test_what_is_no_such_table_is_refused_and_left(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"t\.csv is not a table of this study"):
        Table(path, COLUMNS)
    assert path.read_text() == text


def test_a_cell_comes_back_from_its_row(measured):
    assert {cell_of(row) for row in measured.store.times.rows} == set(measured.plan.cells())
    assert Cell(**{name: TABLES["errors"][name](str(value)) for name, value in vars(BASE).items()}) == BASE


def test_a_folder_with_another_study_is_refused(tmp_path, plan):
    Store(tmp_path, plan)
    with pytest.raises(ValueError, match=r"\(the plan\): choose another folder"):
        Store(tmp_path, dataclasses.replace(plan, seeds=3))
    about = json.loads((tmp_path / "about.json").read_text())
    about["machine"]["torch"] = "1.0"
    (tmp_path / "about.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"torch 1\.0, now 2"):
        Store(tmp_path, plan)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": 3, "plan": {}}'])
def test_a_broken_description_is_refused(tmp_path, plan, text):
    (tmp_path / "about.json").write_text(text)
    with pytest.raises(ValueError, match=r"about\.json"):
        Store(tmp_path, plan)
