import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from chainrule.tables.scores import ClassScore, NumberScore


def test_a_class_score_by_hand():
    p = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.5, 0.5]])
    score = ClassScore.of(("a", "b", "new"), np.array([0, 1, 1, 2]), p)
    assert score.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 0]]
    assert (score.rows, score.errors, score.accuracy) == (4, 2, 0.5)
    assert score.most_frequent == ("b", 0.5)
    assert score.cross_entropy == pytest.approx(-np.log([0.8, 0.7, 0.4]).mean())


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),  # as statsmodels' proportion_confint(method="wilson") and R's prop.test give them
    [(1, 1, 0.2065, 1.0), (0, 1, 0.0, 0.7935), (138, 150, 0.8654, 0.9537), (9, 10, 0.5958, 0.9821)],
)
def test_the_interval_of_an_accuracy_is_that_of_wilson(right, rows, low, high):
    score = ClassScore(("a", "b"), np.array([[right, rows - right], [0, 0]]), 0.0)
    assert score.accuracy_interval == pytest.approx((low, high), abs=1e-4)


def test_the_intervals_of_numbers_are_about_right():
    """Of 100 samples of 40 rows, most of the 95 % intervals hold what an endless sample would have."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(100):
        true = rng.normal(size=40)
        score = NumberScore(true, true + 0.5 * rng.normal(size=40), 0.0)
        (low, high), _ = score.intervals
        inside += low < 0.75 < high
    assert 85 <= inside <= 100


def test_equal_numbers_have_no_spread_and_no_interval():
    score = NumberScore(np.full(30, 0.1), np.full(30, 0.2), 0.0)
    assert score.rmse_of_their_mean == 0
    assert score.intervals is None
    assert score.rmse == pytest.approx(0.1)


def test_rows_of_unknown_classes_alone_have_no_cross_entropy():
    score = ClassScore.of(("a", "b", "new"), np.array([2]), np.array([[0.5, 0.5]]))
    assert json.loads(json.dumps(score.to_dict(), allow_nan=False))["cross_entropy"] is None
    assert score.accuracy == 0


def test_a_probability_of_zero_is_no_infinite_loss():
    score = ClassScore.of(("a", "b"), np.array([1]), np.array([[1.0, 0.0]]))
    assert np.isfinite(score.cross_entropy)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(1, 40))
def test_class_scores_are_those_of_scikit_learn(seed, n_classes, n):
    rng = np.random.default_rng(seed)
    true, p = rng.integers(0, n_classes, n), rng.dirichlet(np.ones(n_classes), n)
    score = ClassScore.of(tuple(map(str, range(n_classes))), true, p)
    labels = list(range(n_classes))
    assert score.confusion.tolist() == metrics.confusion_matrix(true, p.argmax(axis=1), labels=labels).tolist()
    assert score.cross_entropy == pytest.approx(metrics.log_loss(true, p, labels=labels))


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.sampled_from([1e-200, 1, 1e200]))
def test_number_scores_are_those_of_scikit_learn_in_any_unit(seed, n, unit):
    rng = np.random.default_rng(seed)
    true, said = rng.normal(size=(2, n))
    score = NumberScore(true * unit, said * unit, 0.5 * unit).to_dict()
    assert score["r2"] == pytest.approx(metrics.r2_score(true, said))
    assert score["mae"] == pytest.approx(unit * metrics.mean_absolute_error(true, said))
    assert score["rmse"] == pytest.approx(unit * metrics.root_mean_squared_error(true, said))
    assert score["rmse_of_the_mean"] == pytest.approx(unit * metrics.root_mean_squared_error(true, np.full(n, 0.5)))
    assert score["rmse_of_their_mean"] == pytest.approx(unit * np.std(true))
    assert score["r2"] == pytest.approx(1 - (score["rmse"] / score["rmse_of_their_mean"]) ** 2)
    if n < 10:
        assert score["r2_interval"] is score["rmse_interval"] is None
    else:
        for name in ("r2", "rmse"):
            assert score[f"{name}_interval"][0] < score[name] < score[f"{name}_interval"][1]
    assert list(score["residual_quantiles"].values()) == sorted(score["residual_quantiles"].values())
