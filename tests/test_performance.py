"""docs/performance.md and README say what the results beside the benchmarks say."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs/performance.md", ROOT / "benchmarks/results"

pytestmark = pytest.mark.skipif(not RESULTS.exists(), reason="no results have been kept")


def test_the_page_is_what_the_results_make_it(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "README.md").read_text("utf-8"), "utf-8")
    command = [sys.executable, ROOT / "benchmarks/performance_page.py", "--out", tmp_path, "--readme", readme]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert readme.read_text("utf-8") == (ROOT / "README.md").read_text("utf-8"), "run performance_page.py"
    assert (tmp_path / "performance.md").read_text("utf-8") == PAGE.read_text("utf-8"), "run performance_page.py"
    drawn = {path.name for path in (tmp_path / "images").iterdir()}
    shown = PAGE.read_text("utf-8") + readme.read_text("utf-8")
    assert drawn == set(re.findall(r'images/([\w.-]+)"', shown))
    assert all((PAGE.parent / "images" / name).exists() for name in drawn)


def test_a_benchmark_that_came_later_and_has_no_results_yet_leaves_its_section_out(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    writer = importlib.import_module("performance_page")
    results = writer.read(RESULTS)
    for name in writer.LATER:
        results.pop(name, None)
    text = writer.page(results)
    assert "{{" not in text
    for name in writer.LATER:
        assert f"`python benchmarks/{name}.py`" in (ROOT / "benchmarks/performance_page.md").read_text("utf-8")
        assert f"{name}.py" not in text


def test_its_links_lead_somewhere():
    text = PAGE.read_text("utf-8")
    headings = {re.sub(r"\W+", "-", heading.lower()) for heading in re.findall(r"^## (.*)$", text, re.M)}
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert link[1:] in headings if link.startswith("#") else (PAGE.parent / link).exists(), link
