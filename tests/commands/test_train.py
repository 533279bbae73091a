import json
import sys

import polars as pl
import pytest
from click.testing import CliRunner
from frames import houses

import chainrule as cr
from chainrule.commands import main

QUICK = ["--epochs", "2", "--hidden", "4"]


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def table(tmp_path):
    houses().write_csv(tmp_path / "houses.csv")
    return tmp_path / "houses.csv"


@pytest.mark.parametrize(("target", "picture"), [("price", "predictions.png"), ("town", "confusion.png")])
def test_a_report_is_printed_and_everything_is_in_the_folder(tmp_path, table, target, picture):
    out = tmp_path / "made" / "here"
    result = run("train", table, "--target", target, "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{table}: 200 rows; ")
    assert str(out) in result.output.splitlines()[-1]
    names = {path.name for path in out.iterdir()}
    assert names == {"model.safetensors", "report.json", "report.txt", "losses.png", picture}
    assert (out / "report.txt").read_text() in result.output + "\n"
    report = json.loads((out / "report.json").read_text())
    assert report["command"] == "chainrule train"
    assert report["target"]["name"] == target
    assert len(report["columns"]) == 7
    assert len(report["history"]["losses"]) == 2
    assert len(cr.load(out / "model.safetensors").predict(table)) == 200


def test_the_folder_is_called_after_the_table(tmp_path, table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("train", "houses.csv", "--target", "price", *QUICK).exit_code == 0
    assert (tmp_path / "chainrule-houses" / "model.safetensors").exists()


def test_a_model_of_before_is_not_replaced_unless_that_is_asked_for(tmp_path, table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    houses(seed=1).write_csv(tmp_path / "x" / "houses.csv")
    assert run("train", "houses.csv", "--target", "price", *QUICK).exit_code == 0
    folder = tmp_path / "chainrule-houses"
    (folder / "notes.txt").write_text("mine")

    def files():
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    before = files()
    for again in (["houses.csv", "--target", "town"], ["x/houses.csv", "--target", "price"]):
        result = run("train", *again, *QUICK)
        assert result.exit_code == 1
        assert result.output.startswith(
            "Error: chainrule-houses holds losses.png of an earlier run: choose another folder"
        )
        assert "--out" in result.output
        assert "--overwrite" in result.output
        assert files() == before
    assert run("train", "houses.csv", "--target", "nobody", "--overwrite", *QUICK).exit_code == 1
    assert files() == before
    assert run("train", "x/houses.csv", "--target", "town", "--overwrite", *QUICK).exit_code == 0
    names = {"model.safetensors", "report.json", "report.txt", "losses.png", "confusion.png", "notes.txt"}
    assert set(files()) == names  # and the predictions.png of before is gone
    assert cr.load(folder / "model.safetensors").target.name == "town"


def test_folders_that_were_made_in_vain_are_gone_and_others_stay(tmp_path, table):
    (tmp_path / "there").mkdir()
    for out in ("there", "there/new/newer"):
        assert run("train", table, "--target", "nobody", "--out", tmp_path / out, *QUICK).exit_code == 1
        assert list((tmp_path / "there").iterdir()) == []
    (tmp_path / "file").write_text("")
    result = run("train", table, "--target", "price", "--out", tmp_path / "file" / "out", *QUICK)
    assert result.output.startswith(f"Error: {tmp_path / 'file' / 'out'}: ")


def test_a_run_that_breaks_off_while_it_writes_leaves_nothing(tmp_path, table, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "out" / ".unfinished-1" / "losses.png"))

    monkeypatch.setattr("chainrule.commands.train.draw", full)
    result = run("train", table, "--target", "price", "--out", tmp_path / "out", *QUICK)
    assert result.output == f"Error: {tmp_path / 'out'}: No space left on device\n"
    assert not (tmp_path / "out").exists()


def test_json_goes_to_standard_output_alone(tmp_path, table):
    result = run("train", table, "--target", "price", "--json", "--out", tmp_path / "out", *QUICK)
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "report.json").read_text())


def test_options_reach_the_training(tmp_path, table):
    options = ["--task", "regression", "--ignore", "town", "--ignore", "built", "--categorical", "garden"]
    options += ["--activation", "tanh", "--dropout", "0", "--loss", "mae", "--lr", "0.1", "--batch-size", "9"]
    options += ["--patience", "1", "--seed", "4", "--validation", "0.3", "--test", "0.2", "--numeric", "id"]
    result = run("train", table, "--target", "rooms", "--out", tmp_path / "out", *QUICK, *options)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    kinds = {row["name"]: row["kind"] for row in report["columns"] if row["reason"] == "you said so"}
    assert kinds == {"town": "ignored", "built": "ignored", "garden": "categorical", "id": "numeric"}
    assert (report["task"], report["loss"], report["batch_size"], report["seed"]) == ("regression", "mae", 9, 4)
    assert [report["rows"][part] for part in ("training", "validation", "test")] == pytest.approx([100, 60, 40], abs=3)
    assert "Tanh" in report["network"]
    assert "Dropout" not in report["network"]


def test_the_same_command_gives_the_same_numbers(tmp_path, table):
    def losses(folder):
        run("train", table, "--target", "price", "--out", tmp_path / folder, *QUICK)
        return json.loads((tmp_path / folder / "report.json").read_text())["history"]["losses"]

    assert losses("a") == losses("b")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", [], "{}: the file is empty"),
        ("a,y\n", [], "{}: there are names of columns, and no rows below them"),
        ("a,y\n1,2\n3\n", [], "{}, line 3: must have 2 fields like the names of the columns, got 1: '3'"),
        ("a,a,y\n1,2,3\n", [], "{}, line 1: more than one column is called `a`"),
        ("a,b\n1,2\n", [], "{}: there is no column `y`; there are `a`, `b`"),
        ("a,y\n1,\n2,NA\n", [], "{}: the target `y` is missing in every row"),
        ("a,y\n1,u\n2,u\n", [], "{}: the target `y` must hold at least two classes, got `u` alone"),
        ("a,y\n1,u\n2,v\n", [], "{}: the target `y` holds 2 different values in 2 rows, too few rows to learn classes"),
        ("a,y\n1.5,1.5\n2,3\n", [], "{}: 2 rows are too few: none is left for"),
        (
            "a,y\n1,u\n2,v\n",
            ["--task", "regression"],
            "{}: column `y` is the target of a regression, but row 1 (line 2)",
        ),
        ("a,y\n1,2.5\n2,3\n", ["--numeric", "b"], "{}: there is no column `b`"),
        ("a,y\n1,2.5\n2,3\n", ["--test", "0.7", "--validation", "0.7"], "validation + test must be below 1, got 1.4"),
        ("a,y\n1,u\n2,v\n", ["--hidden", "x"], "must be positive integers such as 25,25,25, got 'x'"),
        ("a,y\n1,u\n2,v\n", ["--activation", "magic"], "'magic' is not one of"),
    ],
)
def test_bad_tables_and_options_get_one_clear_line_and_leave_nothing(tmp_path, text, options, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    result = run("train", path, "--target", "y", "--out", tmp_path / "out", *QUICK, *options)
    assert result.exit_code in (1, 2)
    assert message.format(path) in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_run_that_diverges_says_so(tmp_path, table):
    result = run("train", table, "--target", "price", "--out", tmp_path / "out", "--lr", "1e30", *QUICK)
    assert result.exit_code == 1
    assert "Likely causes: a learning rate that is too high" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["houses.csv"]


def test_a_folder_that_cannot_be_written_to_is_named(table):
    result = run("train", table, "--target", "price", "--out", "/proc/nowhere", *QUICK)
    assert result.exit_code == 1
    assert result.output.startswith("Error: /proc/nowhere: ")


def test_parquet_and_npz_are_tables_too(tmp_path):
    import numpy as np

    houses().write_parquet(tmp_path / "a.parquet")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=rng.normal(size=(50, 3)), y=rng.integers(0, 2, 50))
    for name, target in (("a.parquet", "price"), ("a.npz", "y")):
        result = run("train", tmp_path / name, "--target", target, "--out", tmp_path / target, *QUICK)
        assert result.exit_code == 0, result.output


def test_without_matplotlib_there_is_a_report_and_a_hint(tmp_path, table, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("train", table, "--target", "price", "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == 0
    assert 'pip install "chainrule[plots]"' in result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.safetensors", "report.json", "report.txt"}


def test_without_polars_it_says_what_to_install(tmp_path, table, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "polars"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "polars", None)
    result = run("train", table, "--target", "price", "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == 1
    assert 'pip install "chainrule[tables]"' in result.output


def test_how_numbers_and_dates_are_written_can_be_told(tmp_path):
    dates = "0" + pl.int_range(1, 9, eager=True).cast(pl.String) + "/02/2020"
    frame = houses().with_columns(area=pl.Series(["1.234", "950"] * 100), day=pl.concat([dates] * 25))
    path = tmp_path / "a.csv"
    frame.select("area", "day", "rooms", "town").write_csv(path, separator=";")
    result = run("train", path, "--target", "town", "--out", tmp_path / "out", *QUICK)
    assert "holds '1.234', which is 1.234 if the decimal mark is a point and 1234 if it is a comma" in result.output
    assert "(--decimal)" in result.output
    result = run("train", path, "--target", "town", "--out", tmp_path / "out", *QUICK, "--decimal", ",")
    assert "(--date day=%m/%d/%Y or day=%d/%m/%Y)" in result.output
    told = ["--thousands", ".", "--date", "day=%d/%m/%Y"]
    result = run("train", path, "--target", "town", "--out", tmp_path / "out", *QUICK, *told)
    assert result.exit_code == 0, result.output
    assert "area    numeric  every value is a number  950 to 1234" in result.output
    assert "day     date     you said so              2020-02-01 to 2020-02-08" in result.output
    assert "notes         `.` between the thousands of `area` was left out" in result.output
    model = cr.load(tmp_path / "out" / "model.safetensors")
    written = {feature.name: getattr(feature, "written", "") for feature in model.encoding.features}
    assert written == {"area": "1.234,5", "day": "%d/%m/%Y", "rooms": "1234,5"}
    said = run("predict", tmp_path / "out" / "model.safetensors", path, "--proba").stdout
    same = run("predict", tmp_path / "out" / "model.safetensors", path, "--proba", *told).stdout
    other = run("predict", tmp_path / "out" / "model.safetensors", path, "--proba", "--decimal", ".").stdout
    assert said == same != other
    assert run("evaluate", tmp_path / "out" / "model.safetensors", path, "--decimal", ".").exit_code == 0
    told[-1] = "day=%d/%Q"
    result = run("train", path, "--target", "town", "--out", tmp_path / "out", "--overwrite", *QUICK, *told)
    assert "'%d/%Q' is no form of dates" in result.output


def test_columns_are_dates_if_that_is_said(tmp_path):
    houses().with_columns(built=pl.col("built").dt.to_string("%Y%m%d")).write_csv(tmp_path / "a.csv")
    for given, shown in [("built=%Y%m%d", "date         you said so"), ("built", "is to be a date, but row 1")]:
        result = run(
            "train", tmp_path / "a.csv", "--target", "price", "--out", tmp_path / shown[:5], *QUICK, "--date", given
        )
        assert shown in result.output


def test_classes_come_back_as_they_are_written(tmp_path):
    frame = houses().select(
        "area", "rooms", code=pl.Series(["01", "02", "10", "02"] * 50), flag=pl.Series(["TRUE", "FALSE"] * 100)
    )
    frame.write_csv(tmp_path / "a.csv")
    for target, classes in (("code", {"01", "02", "10"}), ("flag", {"TRUE", "FALSE"})):
        run("train", tmp_path / "a.csv", "--target", target, "--out", tmp_path / target, *QUICK)
        result = run("predict", tmp_path / target / "model.safetensors", tmp_path / "a.csv", "--proba")
        lines = [line.split(",")[0] for line in result.stdout.splitlines()]
        assert lines[0] == target
        assert set(lines[1:]) <= classes
        assert result.stdout.splitlines()[0].split(",")[1:] == [f"probability of {name}" for name in sorted(classes)]


def test_decimal_commas_are_told(tmp_path):
    frame = houses().select("area", "price").with_columns(pl.all().cast(pl.String).str.replace(".", ",", literal=True))
    frame.write_csv(tmp_path / "a.csv", separator=";")
    result = run("train", tmp_path / "a.csv", "--target", "price", "--out", tmp_path / "out", *QUICK)
    assert "notes         decimal commas in `area` were read as points\n" in result.output
    assert "              decimal commas in `price` were read as points\n" in result.output


def test_a_folder_in_the_place_of_a_file_is_found_before_the_work(tmp_path):
    houses().write_csv(tmp_path / "a.csv")
    (tmp_path / "out" / "model.safetensors").mkdir(parents=True)
    for more in ([], ["--overwrite"]):
        result = run("train", tmp_path / "a.csv", "--target", "price", "--out", tmp_path / "out", *QUICK, *more)
        assert result.exit_code == 1
        assert "model.safetensors is a folder, and a file is to come there" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.safetensors"]


def test_a_full_disk_is_told_with_the_folder(tmp_path, monkeypatch):
    houses().write_csv(tmp_path / "a.csv")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chainrule.commands.train.write_text", full)
    result = run("train", tmp_path / "a.csv", "--target", "price", "--out", tmp_path / "out", *QUICK)
    assert result.output.endswith(f"Error: {tmp_path / 'out'}: No space left on device\n")
    assert not (tmp_path / "out").exists()
