import io
from functools import partial

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from frames import houses

import chainrule as cr
from chainrule.commands import main
from chainrule.structures import leaves
from chainrule.tables import train_table
from chainrule.tables.parts import table_parts


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of numbers, one of classes, and new rows."""
    path = tmp_path_factory.mktemp("models")
    for target in ("price", "town"):
        train_table(houses(), target, epochs=2, hidden=(4,), progress=False).save(path / f"{target}.safetensors")
    houses(20, seed=1).drop("id", "country").write_csv(path / "new.csv")
    return path


def test_predictions_go_to_standard_output_as_csv(folder):
    result = run("predict", folder / "price.safetensors", folder / "new.csv")
    assert result.exit_code == 0
    assert result.stderr == ""
    found = pl.read_csv(io.StringIO(result.stdout))
    assert found.columns == ["price"]
    expected = cr.load(folder / "price.safetensors").predict(houses(20, seed=1))
    np.testing.assert_array_equal(found["price"].to_numpy(), expected)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_classes_and_their_probabilities_go_to_a_file(folder, tmp_path, form):
    result = run("predict", folder / "town.safetensors", folder / "new.csv", "--proba", "--out", tmp_path / f"a.{form}")
    assert (result.exit_code, result.stdout) == (0, "")
    found = getattr(pl, f"read_{form}")(tmp_path / f"a.{form}")
    assert found.columns == ["town", *(f"probability of {name}" for name in ("Aachen", "Bonn", "Celle"))]
    np.testing.assert_allclose(found.drop("town").sum_horizontal().to_numpy(), 1)


def test_what_training_did_not_have_is_told_on_standard_error(folder, tmp_path):
    houses(3).with_columns(town=pl.lit("Ulm"), rooms=pl.lit(None)).write_csv(tmp_path / "a.csv")
    result = run("predict", folder / "price.safetensors", tmp_path / "a.csv")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 4
    assert result.stderr.splitlines() == [
        "column `town`: 3 rows with a category that training did not have: `Ulm`",
        "column `rooms`: 3 rows without a value, which training always had",
    ]


def test_what_is_not_as_it_was_is_an_error_with_row_and_line(folder, tmp_path):
    path = tmp_path / "a.csv"
    houses(20).with_columns(rooms=pl.Series(["3"] * 16 + ["abc"] + ["4"] * 3)).write_csv(path)
    result = run("predict", folder / "price.safetensors", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: {path}: column `rooms` is a number in the model, but row 17 (line 18) holds 'abc'\n"
    )
    houses(20).drop("area", "town").write_csv(path)
    result = run("predict", folder / "price.safetensors", path)
    assert result.stderr == (
        f"Error: {path}: the model reads what is not there; the missing columns are `area`, `town`\n"
    )


def test_other_mistakes_get_one_clear_line_and_leave_nothing(folder, tmp_path):
    model, table = folder / "price.safetensors", folder / "new.csv"
    for arguments, message in [
        ((model, table, "--proba"), "--proba is for classes, and `price` is a number"),
        ((model, table, "--out", tmp_path / "a.txt"), "a.txt: must end with .csv or .parquet"),
        ((model, table, "--out", tmp_path / "nowhere" / "a.csv"), f"{tmp_path / 'nowhere' / 'a.csv'}: No such file"),
        ((model, table, "--out", "nowhere/a.csv"), "Error: nowhere/a.csv: No such file or directory\n"),
        ((table, table), "damaged, or no safetensors file"),
        ((model, model), "holds a zero byte"),
    ]:
        result = run("predict", *arguments)
        assert result.exit_code == 1
        assert message in result.output
    assert run("predict", model, tmp_path / "nowhere.csv").exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_plain_network_takes_a_table_of_numbers(tmp_path):
    network = cr.Sequential(cr.Linear(2, 3, rng=0), cr.Tanh(), cr.Linear(3, 2, rng=1))
    network.save(tmp_path / "a.safetensors")
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    np.savez(tmp_path / "x.npz", x=x, y=np.zeros(5))
    result = run("predict", tmp_path / "a.safetensors", tmp_path / "x.npz")
    assert result.exit_code == 0, result.output
    found = pl.read_csv(io.StringIO(result.stdout))
    assert found.columns == ["y0", "y1"]
    np.testing.assert_allclose(found.to_numpy(), network(x), rtol=1e-5, atol=1e-6)
    result = run("predict", tmp_path / "a.safetensors", tmp_path / "x.npz", "--proba")
    assert "this network does not know its classes" in result.output
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,3\n")
    assert "must have 2 columns" in run("predict", tmp_path / "a.safetensors", tmp_path / "t.csv").output


@pytest.mark.parametrize(
    ("heads", "columns"),
    [
        (cr.Parallel({"kind": cr.Linear(2, 3, rng=0), "size": cr.Linear(2, 1, rng=1)}), "kind0 kind1 kind2 size0"),
        (cr.Parallel(cr.Linear(2, 3, rng=0), cr.Linear(2, 1, rng=1)), "y0_0 y0_1 y0_2 y1_0"),
    ],
    ids=["named", "a tuple"],
)
def test_a_plain_network_with_several_heads_gives_the_columns_of_all(tmp_path, heads, columns):
    heads.save(tmp_path / "heads.safetensors")
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    np.savez(tmp_path / "x.npz", x=x)
    result = run("predict", tmp_path / "heads.safetensors", tmp_path / "x.npz")
    assert result.exit_code == 0, result.output
    found = pl.read_csv(io.StringIO(result.stdout))
    assert found.columns == columns.split()
    np.testing.assert_allclose(found.to_numpy(), np.hstack(leaves(heads(x))), rtol=1e-5, atol=1e-6)


def test_dates_need_a_form_here(folder):
    result = run("predict", folder / "price.safetensors", folder / "new.csv", "--date", "built")
    assert result.exit_code == 2
    assert "must say the form of the dates, as built=%d/%m/%Y" in result.output


@pytest.fixture
def in_parts(monkeypatch):
    """Parts of a few rows, as those of tables larger than memory have."""
    monkeypatch.setattr("chainrule.commands.predict.table_parts", partial(table_parts, most=500))
    monkeypatch.setattr("chainrule.tables.parts.ROWS", 7)


@pytest.mark.parametrize("table", ["csv", "parquet"])
@pytest.mark.parametrize("out", ["csv", "parquet"])
def test_large_tables_pass_part_by_part_from_file_to_file(folder, tmp_path, in_parts, table, out):
    new = houses(100, seed=1).drop("id", "country")
    getattr(new, f"write_{table}")(tmp_path / f"new.{table}")
    to = tmp_path / f"a.{out}"
    result = run("predict", folder / "town.safetensors", tmp_path / f"new.{table}", "--proba", "--out", to)
    assert (result.exit_code, result.stderr) == (0, f"{to}: 100 rows\n")
    found, model = getattr(pl, f"read_{out}")(to), cr.load(folder / "town.safetensors")
    assert found["town"].to_list() == model.predict(new).tolist()
    np.testing.assert_allclose(found.drop("town").to_numpy(), model.predict_proba(new), rtol=1e-6)


def test_standard_input_passes_to_standard_output(folder, in_parts):
    new = houses(100, seed=1).with_columns(town=pl.lit("Ulm"))
    result = CliRunner().invoke(main, ["predict", str(folder / "price.safetensors"), "-"], input=new.write_csv())
    assert result.exit_code == 0
    expected = cr.load(folder / "price.safetensors").predict(new)
    np.testing.assert_allclose(pl.read_csv(io.StringIO(result.stdout))["price"].to_numpy(), expected, rtol=1e-12)
    assert result.stderr == "column `town`: 100 rows with a category that training did not have: `Ulm`\n"


def test_what_is_wrong_in_a_later_part_leaves_the_file_as_it_was(folder, tmp_path, in_parts):
    houses(100).with_columns(rooms=pl.Series(["3"] * 90 + ["abc"] + ["4"] * 9)).write_csv(tmp_path / "new.csv")
    (tmp_path / "a.csv").write_text("before")
    result = run("predict", folder / "price.safetensors", tmp_path / "new.csv", "--out", tmp_path / "a.csv")
    assert result.exit_code == 1
    assert result.stderr.endswith("column `rooms` is a number in the model, but row 91 (line 92) holds 'abc'\n")
    assert {path.name: path.read_text() for path in tmp_path.glob("a*")} == {"a.csv": "before"}
