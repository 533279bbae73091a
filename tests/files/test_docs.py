"""What docs/files.md shows runs as it is printed, and what it says is so."""

import json
import re
import runpy
from pathlib import Path

import pytest

import chainrule as cr
from chainrule.files import read_file

PAGE = (Path(__file__).parents[2] / "docs" / "files.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_program_of_the_page_runs_by_itself(tmp_path, monkeypatch, number):
    monkeypatch.chdir(tmp_path)
    Path("block.py").write_text(BLOCKS[number], "utf-8")
    names = runpy.run_path("block.py")
    assert cr.evaluate(names["model"], cr.MSELoss(), names["validation"]).error_rate < 0.1


def test_there_are_programs_on_the_page():
    assert len(BLOCKS) == 2


def test_a_model_is_described_as_the_page_shows(tmp_path):
    model = cr.Sequential(cr.Adam(lr=0.01), cr.Linear(2, 3), cr.ReLU(), cr.Linear(3, 1, bias=False))
    model.save(tmp_path / "a")
    shown = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.S)[1].replace(", …", ""))
    written = read_file(tmp_path / "a")[1]
    optimizer = shown["model"].pop("optimizer")
    assert written["model"].pop("optimizer").items() >= optimizer.items()
    assert written == shown


@pytest.mark.parametrize(
    ("rule", "times"), [(cr.SGD(momentum=0.9), 2), (cr.SGD(), 1), (cr.Adam(), 3), (cr.Adam(amsgrad=True), 4)]
)
def test_a_file_grows_with_the_moments_as_the_page_says(tmp_path, rule, times):
    model = cr.Sequential(rule, cr.Linear(2, 100), cr.Tanh(), cr.Linear(100, 2))
    cr.fit(model, cr.MSELoss(), cr.data.disk(50, seed=0), epochs=1)
    model.save(tmp_path / "a")
    sizes = [sum(x.nbytes for x in numbers.values()) for numbers in (read_file(tmp_path / "a")[0], model.state_dict())]
    assert sizes[0] == times * sizes[1]


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE)
    assert [
        link for link in links if "://" not in link and not (Path(__file__).parents[2] / "docs" / link).exists()
    ] == []
