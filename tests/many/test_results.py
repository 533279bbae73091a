"""The table of many networks, and what is made of it."""

import csv
import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import History, Result, Results

WIDE = {"width": 30, "activation": cr.Tanh}
NARROW = {"width": 3, "activation": cr.ReLU}


def result(configuration, seed, losses, *, error="", metric=None, **how):
    history = History(engine="native")
    for loss in losses:
        history.record(loss, None, {} if metric is None else {"mae": metric}, learning_rate=0.1, seconds=1.0)
    history.stopped = "all epochs done"
    return Result(configuration, seed, model=cr.Linear(2, 1, rng=seed), history=history, error=error, **how)


@pytest.fixture
def results():
    return Results(
        [
            result(WIDE, 0, [3.0, 2.0, 2.5], metric=0.5),
            result(WIDE, 1, [3.0, 4.0], metric=1.5),
            result(NARROW, 0, [1.0, math.nan], error="FloatingPointError: too much", metric=9.0),
            result(NARROW, 1, [1.5], metric=2.0),
        ],
        total=4,
        total_s=1.5,
        threads=2,
    )


def test_a_row_has_what_the_network_was_and_what_came_of_it(results):
    row = results.to_dicts()[0]
    assert list(row) == [
        "width", "activation", "seed", "mae", "loss", "best_epoch", "epochs", "steps", "seconds", "stopped", "engine",
        "error",
    ]  # fmt: skip
    assert (row["width"], row["activation"], row["seed"], row["loss"], row["best_epoch"]) == (30, "Tanh", 0, 2.0, 1)
    assert math.isnan(results.to_dicts()[2]["loss"])


def test_all_rows_have_the_same_names():
    rows = Results(
        [result({"a": 1}, 0, [1.0]), result({"b": 2}, 0, [1.0], fold=3), Result({}, 1, error="no")]
    ).to_dicts()
    assert len({tuple(row) for row in rows}) == 1
    assert [(row["a"], row["b"], row["fold"]) for row in rows] == [(1, None, None), (None, 2, 3), (None, None, None)]


def test_csv_is_read_back(results, tmp_path):
    results.to_csv(tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["loss"] for row in rows] == ["2.0", "3.0", "nan", "1.5"]
    assert rows[2]["error"] == "FloatingPointError: too much"


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_of_other_libraries(results, library):
    pytest.importorskip(library)
    table = getattr(results, f"to_{library}")()
    assert table.shape == (4, 12)
    assert list(table["width"]) == [30, 30, 3, 3]
    assert next(iter(table["loss"])) == 2.0


def test_best_is_the_lowest_loss_of_those_that_did_not_fail(results):
    assert results.best() is results[3]
    assert np.isnan(results[2].loss)
    with pytest.raises(ValueError, match="no network has finished an epoch; the first says: FloatingPointError"):
        results.failed.best()


def test_summary_gives_mean_and_spread_of_each_configuration(results):
    narrow, wide = results.summary()
    assert (narrow["width"], narrow["networks"], narrow["failed"], narrow["loss"]) == (3, 1, 1, 1.5)
    assert math.isnan(narrow["loss_std"])
    assert (wide["loss"], wide["loss_std"], wide["mae"]) == (2.5, pytest.approx(math.sqrt(0.5)), 1.0)
    assert (wide["networks"], wide["failed"]) == (2, 0)


def test_where_picks(results):
    assert [r.seed for r in results.where(width=30)] == [0, 1]
    assert results.where(width=3, seed=1).results == [results[3]]
    assert not results.where(activation=cr.GELU)
    with pytest.raises(ValueError, match="no network has depth; there are"):
        results.where(depth=3)


def test_a_slice_is_results_too(results):
    assert isinstance(results[1:3], Results)
    assert results[1:3].results == results.results[1:3]


def test_repr_shows_the_best_first_and_what_failed(results):
    assert repr(results).splitlines() == [
        "Results: 4 networks in 1.5 s, 2 at a time",
        "  failed           1, the first: FloatingPointError: too much",
        "  loss 1.5   width=3, activation=ReLU",
        "  loss 2.5 ± 0.71   width=30, activation=Tanh",
    ]


def test_an_ensemble_is_mean_and_spread_of_those_that_did_not_fail(results):
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    ensemble = results.ensemble()
    assert len(ensemble) == 3
    y = np.stack([member(x) for member in ensemble.members])
    mean, spread = ensemble.predict(x)
    np.testing.assert_allclose(mean, y.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(spread, y.std(axis=0, ddof=1), rtol=1e-4)
    assert (results[:1].ensemble().predict(x)[1] == 0).all()
    with pytest.raises(ValueError, match="there are no members"):
        cr.Ensemble([])
