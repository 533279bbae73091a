import numpy as np
import polars as pl
import pytest
from frames import houses
from sklearn import datasets
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chainrule.tables import train_table
from chainrule.tables.target import ClassTarget

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


def test_tables_with_too_few_rows_are_an_error():
    with pytest.raises(ValueError, match=r"^the table: 3 rows are too few: none is left for"):
        train_table(houses(3), "price", **QUICK)
    assert train_table(houses(8), "price", **QUICK).report["rows"]["test"] > 0
