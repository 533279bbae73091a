import sys

import pytest
from click.testing import CliRunner

from chainrule.commands import main
from chainrule.studies import comparison
from chainrule.studies.comparison import errors
from chainrule.studies.comparison.questions import Plan, Question

TINY = Plan((Question("epochs", "Epochs", (1, 200)),), (0.2,), 1, 1, 4, 50, "quick")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(comparison, "quick", lambda: TINY)


def run(*arguments):
    return CliRunner().invoke(main, ["study", "--quick", *arguments])


def test_it_says_how_long_it_takes_then_what_came_out_and_the_second_time_measures_nothing(tmp_path):
    out = tmp_path / "made"
    result = run("--out", str(out))
    assert result.exit_code == 0, result.output
    assert "14 networks by chainrule and 4 by PyTorch; rounds of timing: 1. This takes about" in result.output
    assert "1. Both learn the same" in result.output
    assert str(out) in result.output.splitlines()[-1]
    names = {path.name for path in out.iterdir()}
    assert names == {"about.json", "courses.csv", "errors.csv", "index.html", "table.md", "times.csv"}
    before = (out / "errors.csv").read_text()
    again = run("--out", str(out))
    assert again.exit_code == 0
    assert "networks by chainrule" not in again.output
    assert (out / "errors.csv").read_text() == before


def test_a_stop_says_how_to_go_on(tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(errors, "train_ours", stopped)
    result = run("--out", str(tmp_path))
    assert result.exit_code == 130
    assert "the same command goes on" in result.output
    assert not (tmp_path / "index.html").exists()


def test_bad_folders_get_one_clear_line(tmp_path, monkeypatch):
    for arguments, message in [
        (["--page-only", "--out", str(tmp_path / "new")], "holds nothing to draw yet"),
        (["--out", "/proc/nowhere"], "cannot write to /proc/nowhere"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 1
        assert message in result.output
        assert list(tmp_path.iterdir()) == []
    comparison.Study(TINY, tmp_path / "new")
    monkeypatch.setattr(comparison, "quick", comparison.full)
    result = run("--page-only", "--out", str(tmp_path / "new"))
    assert result.exit_code == 1
    assert "choose another folder" in result.output


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = run("--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert 'pip install "chainrule[study]"' in result.output
    assert not (tmp_path / "out").exists()
