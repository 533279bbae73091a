import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pytest
from frames import houses
from sklearn import datasets
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chainrule.tables import TableModel, read_table, train_table
from chainrule.tables.divide import divide
from chainrule.tables.target import ClassTarget, NumberTarget

QUICK = {"epochs": 3, "progress": False}


def bundled(name):
    found = getattr(datasets, f"load_{name}")(as_frame=True)
    return pl.DataFrame({column: found.frame[column].to_numpy() for column in found.frame.columns})


@pytest.mark.parametrize(("name", "right"), [("iris", 0.9), ("wine", 0.92), ("breast_cancer", 0.92), ("digits", 0.94)])
def test_real_classes_are_learned_as_well_as_a_linear_model_learns_them(name, right):
    frame = bundled(name)
    model = train_table(frame, "target", progress=False)
    assert model.task == "classification"
    assert model.history.engine.startswith("native")
    assert model.report["scored_on"] == "test"
    x, y = frame.drop("target").to_numpy(), frame["target"].to_numpy()
    peer = (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x[::2], y[::2]).score(x[1::2], y[1::2])
    )
    assert model.score.accuracy > min(right, peer - 0.05)


def test_a_real_number_is_learned_as_well_as_a_linear_model_learns_it():
    frame = bundled("diabetes")
    model = train_table(frame, "target", progress=False)
    assert model.task == "regression"
    assert model.history.engine.startswith("native")
    x, y = frame.drop("target").to_numpy(), frame["target"].to_numpy()
    peer = LinearRegression().fit(x[::2], y[::2]).score(x[1::2], y[1::2])
    assert model.score.r2 > peer - 0.1


def test_columns_of_every_kind_with_missing_values_are_learned_from():
    model = train_table(houses(600), "price", progress=False)
    assert model.score.r2 > 0.8
    assert model.score.rmse < 0.45 * model.report["score"]["rmse_of_the_mean"]


def test_what_is_read_from_the_inputs_is_fitted_to_the_training_rows_alone():
    frame = houses(400).with_columns(target=pl.Series([f"c{i % 2}" for i in range(400)]))
    model = train_table(frame, "target", **QUICK)
    feature = next(f for f in model.encoding.features if f.name == "rooms")
    assert feature.mean != pytest.approx(frame["rooms"].mean(), rel=1e-9)
    assert feature.mean == pytest.approx(frame["rooms"].mean(), rel=0.05)


def test_the_same_seed_gives_the_same_bits_and_another_one_others():
    first, same, other = (train_table(houses(), "price", seed=seed, **QUICK) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.predict(houses()), same.predict(houses()))
    assert (first.predict(houses()) != other.predict(houses())).any()
    timeless = [{k: v for k, v in model.report.items() if k != "seconds"} for model in (first, same)]
    assert timeless[0] == timeless[1]


def test_the_table_that_came_is_not_changed():
    frame, columns = houses(), {name: houses()[name].to_list() for name in houses().columns}
    train_table(frame, "price", **QUICK)
    train_table(columns, "price", **QUICK)
    assert frame.equals(houses())
    assert columns == {name: houses()[name].to_list() for name in houses().columns}


def test_rows_without_a_target_are_left_out_and_counted():
    frame = houses().with_columns(price=pl.when(pl.col("rooms") == 3).then(None).otherwise("price"))
    model = train_table(frame, "price", **QUICK)
    rows = model.report["rows"]
    assert rows["without_target"] == (frame["rooms"] == 3).sum() > 0
    assert rows["training"] + rows["validation"] + rows["test"] == 200 - rows["without_target"]


def test_every_class_is_learned_even_one_of_a_single_row():
    frame = houses().with_columns(kind=pl.Series(["a", "b"] * 99 + ["once", "a"]))
    for seed in range(5):
        model = train_table(frame, "kind", seed=seed, **QUICK)
        assert model.target.classes == ("a", "b", "once")


@pytest.mark.parametrize(
    ("shares", "scored_on", "monitored"),
    [
        ({}, "test", True),
        ({"test": 0}, "validation", True),
        ({"validation": 0}, "test", False),
        ({"validation": 0, "test": 0}, "training", False),
    ],
)
def test_the_score_is_of_the_rows_that_were_held_back(shares, scored_on, monitored):
    model = train_table(houses(), "price", **shares, **QUICK)
    assert model.report["scored_on"] == scored_on
    assert model.report["score"]["rows"] == model.report["rows"][scored_on] > 0
    assert bool(model.history.validation_losses) == monitored


def test_what_is_asked_for_is_done():
    model = train_table(
        houses(), "rooms", task="regression", ignore=["town"], categorical=["garden"], numeric=["id"], hidden=(5,),
        activation="tanh", dropout=0.2, loss="huber", lr=0.01, weight_decay=0.1, batch_size=7, epochs=2, seed=3,
        progress=False,
    )  # fmt: skip
    assert model.task == "regression"
    assert {row["name"]: row["kind"] for row in model.schema if row["reason"] == "you said so"} == {
        "town": "ignored",
        "garden": "categorical",
        "id": "numeric",
    }
    assert [type(layer).__name__ for layer in model.network] == ["Linear", "Tanh", "Dropout", "Linear"]
    assert repr(model.network.optimizer) == "AdamW(lr=0.01, weight_decay=0.1)"
    assert (model.report["loss"], model.report["batch_size"], model.report["seed"]) == ("huber", 7, 3)
    assert model.history.epochs == 2


def test_early_stopping_waits_as_long_as_it_is_told():
    model = train_table(houses(), "price", patience=3, progress=False, lr=0.05)
    assert model.history.epochs == model.history.best_epoch + 1 + 3


def test_time_can_be_limited():
    model = train_table(houses(), "price", epochs=10**6, patience=10**6, max_seconds=0.05, progress=False)
    assert "max_seconds=0.05 were over" in model.history.stopped
    assert model.predict(houses(3)).shape == (3,)


def test_whole_numbers_of_a_few_kinds_are_classes_unless_told_otherwise():
    assert isinstance(train_table(houses(), "rooms", **QUICK).target, ClassTarget)


def test_infinite_numbers_in_a_column_are_missing_ones():
    frame = houses().with_columns(area=pl.when(pl.col("rooms") == 3).then(float("inf")).otherwise("area"))
    model = train_table(frame, "price", **QUICK)
    assert next(f for f in model.encoding.features if f.name == "area").indicator
    assert np.isfinite(model.predict(frame)).all()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"task": "magic"}, ValueError, 'task must be "classification" or "regression", got \'magic\''),
        ({"loss": "magic"}, ValueError, 'loss must be "mse", "huber" or "mae"'),
        ({"activation": "magic"}, ValueError, "activation must be"),
        ({"hidden": (0,)}, ValueError, "hidden must be a positive integer"),
        ({"validation": -0.1}, ValueError, "validation must be at least 0"),
        ({"test": 1.0}, ValueError, "test must be at least 0 and below 1"),
        ({"test": 0.5, "validation": 0.5}, ValueError, r"validation \+ test must be below 1, got 1.0"),
        ({"batch_size": 0}, ValueError, "batch_size must be a positive integer"),
        ({"patience": 0}, ValueError, "patience must be a positive integer"),
        ({"epochs": 0}, ValueError, "epochs must be a positive integer"),
        ({"dropout": 2}, ValueError, "p must be at least 0 and at most 1"),
        ({"seed": -1}, ValueError, "seed must be in"),
        ({"validation": "x"}, TypeError, "validation must be a number"),
        ({"lr": 1e30}, FloatingPointError, "Likely causes: a learning rate that is too high"),
    ],
)
def test_arguments_that_cannot_be_are_an_error(arguments, error, says):
    with pytest.raises(error, match=says):
        train_table(houses(), "price", **arguments | {"progress": False})


def test_names_of_columns_are_texts_or_the_numbers_of_pandas():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)))
    assert train_table(frame, 2, ignore=0, **QUICK).schema[0]["reason"] == "you said so"
    one = houses().rename({"town": "zip"})
    assert train_table(one, "price", categorical="zip", date="built", **QUICK).schema[3]["reason"] == "you said so"
    with pytest.raises(ValueError, match="the table: there is no column `2`; there are `id`"):
        train_table(houses(), 2, **QUICK)
    for arguments in (
        {"target": None},
        {"target": True},
        {"target": ["price", "rooms"]},
        {"ignore": 1.5},
        {"date": {3.5: ""}},
        {"categorical": [b"town"]},
    ):
        with pytest.raises(TypeError, match=f"{next(iter(arguments))} must be the name of a column, got"):
            train_table(houses(), **{"target": "price"} | arguments | QUICK)


def test_a_target_that_is_the_same_in_the_training_rows_alone_is_said_to_be_that():
    values = np.full(100, 2.5)
    values[::10] = 3.5
    for seed in range(300):
        parts = divide(
            NumberTarget.fit(read_table({"y": values}), "y", "").strata(read_table({"y": values})),
            validation=0.3,
            test=0.6,
            seed=seed,
        )
        if (values[parts.training] == 2.5).all():
            break
    with pytest.raises(ValueError, match=r"the target `y` is 2\.5 in every training row: nothing is to be learned"):
        train_table(
            {"x": np.arange(100) / 7, "y": values}, "y", task="regression", validation=0.3, test=0.6, seed=seed, **QUICK
        )


def noisy(rng, effect, noise):
    """Numbers with a given effect and noise, and the R² that nobody can surpass."""
    y = effect + noise * rng.normal(size=len(effect))
    return y, 1 - noise**2 / y.var()


@pytest.mark.parametrize("form", ["pandas", "floats", "polars", "enum"])
def test_declared_categories_of_numbers_are_learned_as_such(form):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 6, 600)
    y, best = noisy(rng, np.array([3.0, -8, 5, 0, 9, -4])[codes], 0.3)
    texts = pl.Series([str(10 * code) for code in codes])
    column = {
        "pandas": pd.Categorical(codes * 10),
        "floats": pd.Categorical(codes * 10.0),
        "polars": texts.cast(pl.Categorical),
        "enum": texts.cast(pl.Enum([str(10 * code) for code in range(6)])),
    }[form]
    model = train_table({"c": column, "x": rng.normal(size=600), "y": y}, "y", progress=False)
    assert (model.schema[0]["kind"], model.schema[0]["reason"]) == ("categorical", "its type is a category")
    assert model.score.r2 > best - 0.02
    x = np.zeros(600)
    expected = model.predict({"c": column, "x": x})
    for other in (codes * 10, codes * 10.0, texts):
        np.testing.assert_array_equal(model.predict({"c": other, "x": x}), expected)
        assert model.notes.sentences() == []


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "frame", "texts"])
def test_long_numbers_as_categories_stay_apart_whatever_they_come_from(tmp_path, ending):
    rng = np.random.default_rng(0)
    which = rng.integers(0, 4, 300)
    ids = [2**60 + 1 + int(i) for i in which]
    y, best = noisy(rng, np.array([1.0, -5, 3, 9])[which], 0.1)
    frame = pl.DataFrame({"user": ids, "y": y})
    tables = {name: tmp_path / f"t.{name}" for name in ("csv", "tsv", "parquet")}
    frame.write_csv(tables["csv"])
    frame.write_csv(tables["tsv"], separator="\t")
    frame.write_parquet(tables["parquet"])
    tables |= {"frame": frame, "texts": {"user": [str(i) for i in ids], "y": y}}
    model = train_table(tables[ending], "y", categorical="user", decimal=".", progress=False)
    assert model.score.r2 > best - 0.02
    assert sorted(model.encoding.features[0].categories) == [str(2**60 + 1 + i) for i in range(4)]
    for other in tables.values():
        np.testing.assert_array_equal(model.predict(other), model.predict(frame))


def test_long_numbers_that_hardly_differ_are_learned_from_and_learned(tmp_path):
    rng = np.random.default_rng(0)
    above = rng.integers(0, 1000, 600)
    long = 2**60 + above
    y, best = noisy(rng, 2.0 * above, 100)
    for column in (long, long.astype("uint64"), [str(value) for value in long], [f"{value:,}" for value in long]):
        model = train_table({"x": column, "y": y}, "y", progress=False)
        assert model.score.r2 > best - 0.02
        model.save(tmp_path / "a")
        np.testing.assert_array_equal(
            TableModel.load(tmp_path / "a").predict({"x": column}), model.predict({"x": long})
        )
    target = 2**60 + np.rint(y).astype(np.int64)
    model = train_table({"x": above, "y": target}, "y", progress=False)
    assert model.score.r2 > best - 0.02
    said = model.predict({"x": above})
    assert said.dtype == np.int64
    assert np.abs(said - target).max() < 1000
    assert abs(int(model.target.origin) - int(target.min())) < 1000
    assert model.report["notes"][0].startswith(f"`y` is counted from {model.target.origin:.0f} in the score")
    np.testing.assert_allclose(model.evaluate({"x": above, "y": target}).residuals, said - target, atol=1)


@pytest.mark.parametrize("form", ["polars", "numpy", "texts", "pandas"])
def test_moments_of_a_microsecond_are_learned_from(form):
    rng = np.random.default_rng(0)
    above = rng.integers(0, 1000, 600)
    y, best = noisy(rng, 0.01 * above, 0.1)
    moments = pl.Series(1_700_000_000_000_000_000 + above).cast(pl.Datetime("ns"))
    column = {
        "polars": moments,
        "numpy": moments.to_numpy(),
        "texts": moments.dt.to_string("%Y-%m-%dT%H:%M:%S%.9f+00:00"),
        "pandas": pd.Series(moments.to_numpy()).dt.tz_localize("UTC"),
    }[form]
    model = train_table({"t": column, "y": y}, "y", progress=False)
    assert model.score.r2 > best - 0.02
    assert model.schema[0]["encoded"].startswith("2023-11-14T22:13:20.00000000")


def test_numbers_of_a_narrow_range_of_float64_are_learned_from():
    rng = np.random.default_rng(0)
    above = rng.integers(0, 1000, 600)
    y, best = noisy(rng, 2.0 * above, 100)
    assert train_table({"x": 1e6 + 1e-7 * above, "y": y}, "y", progress=False).score.r2 > best - 0.02
    rounding = np.where(above % 2, 0.1 + 0.2, 0.3)  # differs by what rounding leaves, which is nothing to learn from
    model = train_table({"x": rounding, "z": above, "y": y}, "y", **QUICK)
    assert (model.encoding.features[0].scale, model.encoding.features[0].origin) == (1.0, 0.0)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_times_with_a_zone_are_read_by_a_model_of_the_same_times_from_anywhere(tmp_path, form):
    rng = np.random.default_rng(0)
    hours = pd.date_range("2020-01-01", periods=600, freq="h", tz="Europe/Berlin")
    y, best = noisy(rng, 0.01 * np.arange(600), 0.1)
    frame = pd.DataFrame({"t": hours, "y": y})
    frame.to_csv(tmp_path / "t.csv", index=False)
    read_table(frame).frame.with_columns(pl.col("t").dt.replace_time_zone("UTC")).write_parquet(tmp_path / "t.parquet")
    model = train_table(tmp_path / f"t.{form}", "y", progress=False)
    assert model.schema[0]["kind"] == "date"
    assert model.score.r2 > best - 0.02
    assert model.report["notes"] == ["times of `t` with a zone were read as those of UTC"] * (form == "csv")
    for other in (tmp_path / "t.csv", tmp_path / "t.parquet", frame):
        np.testing.assert_array_equal(model.predict(other), model.predict(tmp_path / f"t.{form}"))


def test_amounts_shares_and_dates_are_recognised_and_told(tmp_path):
    rng = np.random.default_rng(0)
    amount, share = rng.uniform(1, 9000, 600).round(2), rng.integers(1, 99, 600)
    days = [dt.date(2000, 1, 1) + dt.timedelta(int(day)) for day in rng.integers(0, 5000, 600)]
    since = np.array([(day - dt.date(1970, 1, 1)).days for day in days])
    y, best = noisy(rng, 0.001 * amount + 0.1 * share + 0.002 * since, 0.3)
    rows = [f'"${a:,.2f}",{s}%,{d:%m/%d/%Y},{v}' for a, s, d, v in zip(amount, share, days, y, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["amount,share,day,y", *rows]))
    model = train_table(tmp_path / "t.csv", "y", progress=False)
    assert [row["kind"] for row in model.schema] == ["numeric", "numeric", "date"]
    assert model.score.r2 > best - 0.03
    assert model.report["notes"] == [
        "`,` between the thousands of `amount` was left out; numbers of `amount` were read without their `$`",
        "numbers of `share` were read without their `%`",
        "dates of `day` were read as month/day/year",
    ]
    new = {"amount": amount, "share": share, "day": days}
    np.testing.assert_array_equal(model.predict(new), model.predict(tmp_path / "t.csv"))


def test_the_reading_that_was_told_is_that_of_the_model(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(1000, 90_000, 200)
    rows = [
        f"{value:,}\t{value // 3}\t0{day}/02/2020" for value, day in zip(values, rng.integers(1, 9, 200), strict=True)
    ]
    (tmp_path / "t.tsv").write_text("\n".join(["x\ty\td", *rows]))
    with pytest.raises(ValueError, match="column `x` can be read in two ways"):
        train_table(tmp_path / "t.tsv", "y", **QUICK)
    with pytest.raises(ValueError, match="column `d` can be read in two ways"):
        train_table(tmp_path / "t.tsv", "y", decimal=".", **QUICK)
    model = train_table(tmp_path / "t.tsv", "y", decimal=".", date={"d": "%d/%m/%Y"}, **QUICK)
    model.save(tmp_path / "a")
    (tmp_path / "new.tsv").write_text("x\td\n70,545\t03/02/2020\n")
    expected = TableModel.load(tmp_path / "a").predict({"x": [70_545], "d": [dt.date(2020, 2, 3)]})
    np.testing.assert_array_equal(model.predict(tmp_path / "new.tsv"), expected)
    other = read_table(tmp_path / "new.tsv", decimal=",", date={"d": "%m/%d/%Y"})
    expected = model.predict({"x": [70.545], "d": [dt.date(2020, 3, 2)]})
    np.testing.assert_array_equal(model.predict(other), expected)


def test_even_steps_and_leading_zeros_are_told():
    n = 60
    frame = {
        "id": range(100_234, 100_234 + 7 * n, 7),
        "zip": [f"0{i}" for i in range(1000, 1000 + n)],
        "day": [20200101 + i % 28 for i in range(n)],
        "y": np.arange(n) / 7,
    }
    notes = train_table(frame, "y", **QUICK).report["notes"]
    assert notes[0] == "`id` goes from 100234 up in even steps of 7: if it numbers the rows, ignore it"
    assert "`zip` has numbers that begin with 0: if they are codes, say that it is categorical" in notes[1]
    assert notes[2] == "`day` could be dates such as 20200101: if so, say its form, %Y%m%d"
    told = train_table(frame, "y", numeric="id", ignore="zip", date={"day": "%Y%m%d"}, **QUICK)
    assert told.report["notes"] == ["dates of `day` were read as year month day"]
    assert told.schema[2]["encoded"] == "2020-01-01 to 2020-01-28, mean 2020-01-13"


def test_tables_with_too_few_rows_are_an_error():
    with pytest.raises(ValueError, match=r"^the table: 3 rows are too few: none is left for"):
        train_table(houses(3), "price", **QUICK)
    assert train_table(houses(8), "price", **QUICK).report["rows"]["test"] > 0


def test_classes_that_are_numbers_with_a_unit_are_told():
    table = {"x": np.arange(60.0) ** 3, "t": [f"{i % 20}.5 kg" for i in range(60)]}
    model = train_table(table, "t", epochs=1, progress=False)
    assert "`t` could be numbers with the unit `kg`: if so, say that the task is regression" in model.report["notes"]


def test_other_columns_may_be_there_of_whatever_type():
    table = {"x": np.arange(60.0) ** 3, "t": np.arange(60.0) ** 2}
    model = train_table({**table, "more": [[i] for i in range(60)]}, "t", epochs=1, progress=False)
    same = model.predict(table)
    np.testing.assert_array_equal(model.predict({**table, "more": [{"a": 1}] * 60, "t": [[1]] * 60}), same)
    with pytest.raises(ValueError, match="the column `x` must hold numbers, texts"):
        model.predict({"x": [[1]]})
    with pytest.raises(ValueError, match="the column `t` must hold numbers, texts"):
        model.evaluate({"x": [1], "t": [[1]]})
