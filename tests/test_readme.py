"""README and the tree say the same."""

import re
from pathlib import Path

import pytest

import chainrule as cr

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    missing = [link for link in links if not link.startswith("http") and not (ROOT / link).exists()]
    assert not missing


def test_whats_where_lists_every_part_of_the_package():
    listed = set(re.findall(r"\]\(src/chainrule/(\w+)", README))
    package = ROOT / "src" / "chainrule"
    parts = {path.stem for path in package.iterdir() if not path.name.startswith("_") and path.suffix in ("", ".py")}
    assert listed == parts


def test_the_loop_in_the_readme_runs_and_learns():
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "cr.fit" in block)
    names = {}
    exec(code, names)
    assert names["result"].error_rate <= 0.04


def test_the_many_networks_of_the_readme_are_trained_and_agree():
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "cr.fit_many" in block)
    names = {"cr": cr, "test": cr.data.disk(200, seed=1)}
    exec(code, names)
    results = names["results"]
    assert len(results) == 3 * 2 * 10 * 5
    assert not results.failed
    assert names["mean"].shape == names["spread"].shape == (200, 2)
    said, true = names["mean"].argmax(axis=1), names["test"].target.argmax(axis=1)
    assert (said == true).mean() > 0.95


def test_the_table_of_the_study_is_the_one_that_was_written():
    assert (ROOT / "docs/study/table.md").read_text() in README


def test_the_layer_shown_is_the_layer_in_the_source():
    shown = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "class Tanh" in block)
    source = (ROOT / "src/chainrule/layers/activations.py").read_text()
    bare = re.sub(r": Array|\) -> tuple\[Array, Array\]|\) -> Array", lambda m: ")" if "->" in m[0] else "", source)
    assert shown.strip() in bare


def test_the_commands_shown_are_targets_of_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"make ([a-z]+)", README)) <= targets
