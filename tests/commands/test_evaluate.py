import json

import polars as pl
import pytest
from click.testing import CliRunner
from frames import houses

import chainrule as cr
from chainrule.commands import main
from chainrule.tables import train_table


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    for target in ("price", "town"):
        train_table(houses(), target, epochs=2, hidden=(4,), progress=False).save(path / f"{target}.safetensors")
    houses(20, seed=1).write_csv(path / "new.csv")
    return path


def test_a_model_of_numbers_is_scored_in_their_unit(folder):
    result = run("evaluate", folder / "price.safetensors", folder / "new.csv")
    assert result.exit_code == 0
    score = cr.load(folder / "price.safetensors").evaluate(folder / "new.csv")
    assert result.stdout.startswith(f"{folder / 'new.csv'}: `price`, by {folder / 'price.safetensors'}\n\nscore ")
    assert f"R² {score.r2:.3f} on 20 rows" in result.stdout
    assert f"mean absolute error {score.mae:.4g}" in result.stdout


def test_a_model_of_classes_shows_its_matrix_and_json_has_it_too(folder):
    result = run("evaluate", folder / "town.safetensors", folder / "new.csv")
    assert "true, and said  Aachen  Bonn  Celle  right" in result.stdout
    found = json.loads(run("evaluate", folder / "town.safetensors", folder / "new.csv", "--json").stdout)
    assert found["task"] == "classification"
    assert sum(map(sum, found["confusion"])) == found["rows"] == 20
    assert f"{20 - found['errors']} of 20 rows right, {found['accuracy']:.1%}" in result.stdout


def test_rows_that_count_otherwise_are_told_on_standard_error(folder, tmp_path):
    houses(10).with_columns(town=pl.Series([None, "Ulm"] + ["Bonn"] * 8)).write_csv(tmp_path / "a.csv")
    result = run("evaluate", folder / "town.safetensors", tmp_path / "a.csv")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "1 of 10 rows left out: no `town`",
        "1 row of a class that training did not have, counted as errors",
    ]


def test_mistakes_get_one_clear_line(folder, tmp_path):
    houses(10).drop("price").write_csv(tmp_path / "a.csv")
    cr.Sequential(cr.Linear(2, 2)).save(tmp_path / "b.safetensors")
    for arguments, message in [
        ((folder / "price.safetensors", tmp_path / "a.csv"), "a.csv: there is no column `price`"),
        ((tmp_path / "b.safetensors", tmp_path / "a.csv"), "holds a network that knows no table"),
        ((tmp_path / "a.csv", tmp_path / "a.csv"), "damaged, or no safetensors file"),
    ]:
        result = run("evaluate", *arguments)
        assert result.exit_code == 1
        assert message in result.output
