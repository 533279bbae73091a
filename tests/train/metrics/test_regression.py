import math

import numpy as np
import pytest
import sklearn.metrics as oracle
from drawn_outputs import predicted, weighted
from hypothesis import given
from hypothesis import strategies as st

from chainrule import metrics

EPS = np.finfo(np.float64).eps


@given(predicted())
def test_regression_is_measured_as_by_scikit_learn(case):
    y, target = case
    # A mean of n terms of one sign is right to n eps; a root halves the relative error, and rounds once more.
    rel = (y.size + 4) * EPS
    assert metrics.mae(y, target) == pytest.approx(oracle.mean_absolute_error(target, y), rel=rel, abs=0)
    # scikit-learn averages the roots of the outputs, chainrule takes the root of the mean over all numbers
    assert metrics.rmse(y, target) == pytest.approx(
        oracle.root_mean_squared_error(target.reshape(-1), y.reshape(-1)), rel=rel, abs=0
    )


@given(seed=st.integers(0, 10**6), batch=st.integers(2, 40), n_out=st.integers(1, 4))
def test_r2_is_scikit_learns(seed, batch, n_out):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(batch, n_out))
    y = target + rng.normal(size=(batch, n_out))
    expected = oracle.r2_score(target, y)
    # 1 - a/b: the quotient's error is about (2 batch + 4) eps relative, and the 1 adds an eps; it is averaged over
    # outputs, so it is measured against the largest quotient.
    largest = max(1 - oracle.r2_score(target, y, multioutput="raw_values"))
    assert metrics.r2(y, target) == pytest.approx(expected, abs=(2 * batch + 8) * EPS * (1 + largest), rel=0)


def test_r2_of_a_constant_target_is_one_if_met_and_else_zero():
    target = np.full((3, 2), 5.0)
    assert metrics.r2(target, target) == oracle.r2_score(target, target) == 1.0
    assert metrics.r2(target + 1, target) == oracle.r2_score(target, target + 1) == 0.0


@given(weighted(predicted()))
def test_weighted_regression_is_scikit_learns(case):
    y, target, weight = case
    rel = (2 * y.size + 8) * EPS
    mae = oracle.mean_absolute_error(target, y, sample_weight=weight)
    assert metrics.mae(y, target, weight) == pytest.approx(mae, rel=rel, abs=0)
    mse = oracle.mean_squared_error(target, y, sample_weight=weight)
    assert metrics.rmse(y, target, weight) == pytest.approx(math.sqrt(mse), rel=rel, abs=0)


@given(seed=st.integers(0, 10**6), batch=st.integers(3, 40), n_out=st.integers(1, 4))
def test_weighted_r2_is_scikit_learns(seed, batch, n_out):
    rng = np.random.default_rng(seed)
    target, weight = rng.normal(size=(batch, n_out)), rng.exponential(size=batch)
    weight[2:][rng.random(batch - 2) < 0.2] = 0
    y = target + rng.normal(size=(batch, n_out))
    # that of the rows that count, by weights of at least 0.01, is no difference of large numbers
    each = oracle.r2_score(target, y, sample_weight=weight, multioutput="raw_values")
    expected = oracle.r2_score(target, y, sample_weight=weight)
    assert metrics.r2(y, target, weight) == pytest.approx(expected, abs=(4 * batch + 8) * EPS * (1 + max(1 - each)))


@given(weighted(predicted()))
def test_mape_is_scikit_learns(case):
    y, target, weight = case
    rel = (2 * y.size + 16) * EPS
    plain = oracle.mean_absolute_percentage_error(target, y)
    assert metrics.mape(y, target) == pytest.approx(plain, rel=rel, abs=0)
    expected = oracle.mean_absolute_percentage_error(target, y, sample_weight=weight)
    assert metrics.mape(y, target, weight) == pytest.approx(expected, rel=rel, abs=0)


def test_mape_by_hand():
    assert metrics.mape(np.array([9.0, 22.0]), np.array([10.0, -20.0])) == pytest.approx((0.1 + 2.1) / 2)
    assert metrics.mape(np.array([5.0]), np.array([4.0])) == 0.25  # one sample
    assert metrics.mape(np.array([0.0]), np.array([0.0])) == 0
    assert metrics.mape(np.array([1.0]), np.array([0.0])) == 1 / EPS
    assert math.isnan(metrics.mape(np.array([np.nan, 1.0]), np.array([1.0, 2.0])))


ELEMENTWISE = [metrics.mae, metrics.rmse, metrics.mape, metrics.r2]


@pytest.mark.parametrize("metric", ELEMENTWISE)
def test_weights_of_elements_that_are_those_of_their_rows_change_nothing(metric):
    rng = np.random.default_rng(0)
    target, weight = rng.normal(size=(20, 3)), rng.integers(0, 3, 20).astype(float)
    y = target + rng.normal(size=(20, 3))
    by_element = np.repeat(weight[:, None], 3, axis=1)
    assert metric(y, target, by_element) == pytest.approx(metric(y, target, weight), rel=100 * EPS)


@pytest.mark.parametrize("metric", [metrics.mae, metrics.rmse, metrics.mape])
def test_an_element_of_weight_zero_has_no_share_whatever_its_target_holds(metric):
    rng = np.random.default_rng(0)
    y, target = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    weight = rng.integers(0, 3, (20, 3)).astype(float)
    again = np.repeat(np.arange(60), weight.reshape(-1).astype(int))
    expected = metric(y.reshape(-1)[again], target.reshape(-1)[again])
    target[weight == 0] = np.nan
    assert metric(y, target, weight) == pytest.approx(expected, rel=200 * EPS)


def test_r2_of_elements_goes_by_the_outputs_of_which_something_is_known():
    rng = np.random.default_rng(0)
    y, target, weight = rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), np.ones((20, 3))
    weight[:5, 0] = weight[:, 1] = 0
    target[weight == 0] = np.nan
    expected = (oracle.r2_score(target[5:, 0], y[5:, 0]) + oracle.r2_score(target[:, 2], y[:, 2])) / 2
    assert metrics.r2(y, target, weight) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", ELEMENTWISE)
def test_weights_of_elements_are_checked_as_those_of_samples_are(metric):
    for weight, message in ((np.zeros((3, 2)), "not be all zero"), (np.full((3, 2), -1), "be finite and not negative")):
        with pytest.raises(ValueError, match=f"{metric.__name__}: sample_weight must {message}"):
            metric(np.ones((3, 2)), np.ones((3, 2)), weight)
