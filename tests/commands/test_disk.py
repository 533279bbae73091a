import json
import sys

import pytest
from click.testing import CliRunner

import chainrule
from chainrule.commands import main

QUICK = ["disk", "--epochs", "2", "--points", "60", "--hidden", "4", "--optimizer", "sgd", "--activation", "tanh"]


def run(*arguments):
    return CliRunner().invoke(main, [*arguments])


def test_the_table_has_a_line_for_each_network_and_the_folder_is_named(tmp_path):
    out = tmp_path / "made" / "here"
    result = run(*QUICK, "--out", str(out))
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("2-4-2, MSE, 2 epochs of 60 points, batches of 50")
    assert " ".join(lines[2].split()) == "disk activation optimizer train loss train errors test errors seconds"
    assert [line.split()[0] for line in lines[3:5]] == ["report", "balanced"]
    assert str(out) in lines[-1]
    names = {path.name for path in out.iterdir()}
    expected = {"results.json", "networks", "input-data.png", "losses.png", "output-report.png", "output-balanced.png"}
    assert names == expected


def test_results_of_before_are_not_replaced_unless_that_is_asked_for(tmp_path):
    assert run(*QUICK, "--out", str(tmp_path)).exit_code == 0
    before = (tmp_path / "results.json").read_bytes()
    result = run(*QUICK, "--out", str(tmp_path), "--radius", "0.3")
    assert result.exit_code == 1
    assert "holds input-data.png of an earlier run: choose another folder with --out, or" in result.output
    assert (tmp_path / "results.json").read_bytes() == before
    assert run(*QUICK, "--out", str(tmp_path), "--radius", "0.3", "--overwrite").exit_code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"results.json", "networks", "input-data.png", "losses.png", "output-radius-0.3.png"}
    assert [path.name for path in (tmp_path / "networks").iterdir()] == ["radius 0.3-tanh-sgd-seed0.safetensors"]


def test_results_json_says_what_was_run_and_what_came_out(tmp_path):
    run(*QUICK, "--out", str(tmp_path), "--seeds", "2", "--radius", "0.3", "--lr", "0.1")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["settings"]["radii"] == [0.3]
    assert results["machine"]["chainrule"] == chainrule.__version__
    assert [one["seed"] for one in results["runs"]] == [0, 1]
    assert all(one["rule"] == "SGD(lr=0.1)" and len(one["losses"]) == 2 for one in results["runs"])


def test_json_goes_to_standard_output_alone(tmp_path):
    result = run(*QUICK, "--json", "--out", str(tmp_path))
    assert json.loads(result.stdout) == json.loads((tmp_path / "results.json").read_text())


def test_the_same_command_gives_the_same_numbers(tmp_path):
    def losses(folder):
        run(*QUICK, "--out", str(tmp_path / folder))
        return [one["losses"] for one in json.loads((tmp_path / folder / "results.json").read_text())["runs"]]

    assert losses("a") == losses("b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "--epochs"),
        (["--points", "-3"], "--points"),
        (["--hidden", "25,x"], "must be positive integers such as 25,25,25, got '25,x'"),
        (["--radius", "wide"], "must be one of report, balanced, or a positive number, got 'wide'"),
        (["--lr", "nan"], "lr"),
        (["--optimizer", "magic"], "'magic' is not one of 'sgd', 'momentum', 'adam'"),
        (["--out", "/proc/nowhere"], "cannot write to /proc/nowhere"),
        (["--lr", "1e30"], "Likely causes: a learning rate that is too high"),
    ],
)
def test_bad_options_get_one_clear_line_and_no_traceback(arguments, message, tmp_path):
    result = run(*QUICK, "--out", str(tmp_path / "out"), *arguments)
    assert result.exit_code not in (0, None)
    assert message in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_there_is_a_table_and_a_hint(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(*QUICK, "--out", str(tmp_path))
    assert result.exit_code == 0
    assert 'pip install "chainrule[plots]"' in result.output
    assert (tmp_path / "results.json").exists()


def test_help_and_version():
    assert "disk" in run("--help").output
    assert chainrule.__version__ in run("--version").output
