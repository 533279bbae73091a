"""The quick scores say what scikit-learn's metrics say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score

from chainrule.estimators import scores

seeds = st.integers(0, 10**6)


def drawn(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 30))
    return rng, n, (None if seed % 2 else rng.uniform(0.1, 2, n))


@given(seeds)
def test_accuracy_of_classes(seed):
    rng, n, weight = drawn(seed)
    y, target = rng.normal(size=(n, 4)), rng.integers(0, 4, n)
    expected = accuracy_score(target, y.argmax(axis=1), sample_weight=weight)
    assert scores.accuracy(False, 0.5)(y, target, weight) == pytest.approx(expected)


@given(seeds)
def test_accuracy_of_two_classes_by_one_logit(seed):
    rng, n, weight = drawn(seed)
    y, target = rng.normal(size=(n, 1)), rng.integers(0, 2, (n, 1)).astype(float)
    expected = accuracy_score(target[:, 0], y[:, 0] > 0, sample_weight=weight)
    assert scores.accuracy(False, 0.0)(y, target, weight) == pytest.approx(expected)


@given(seeds)
def test_accuracy_of_several_labels_asks_for_all_of_them(seed):
    rng, n, weight = drawn(seed)
    y, target = rng.normal(size=(n, 2)), rng.integers(0, 2, (n, 2)).astype(float)
    expected = accuracy_score(target, (y > 0).astype(float), sample_weight=weight)
    assert scores.accuracy(True, 0.0)(y, target, weight) == pytest.approx(expected)


@given(seeds)
def test_r2_however_many_outputs(seed):
    rng, n, weight = drawn(seed)
    target = rng.normal(size=(n, int(rng.integers(1, 4))))
    y = target + rng.normal(size=target.shape)
    expected = r2_score(target, y, sample_weight=weight)
    assert scores.r2(exponential=False)(y, target, weight) == pytest.approx(expected)
    assert scores.r2(exponential=True)(np.log(np.exp(y)), np.exp(target), weight) == pytest.approx(
        r2_score(np.exp(target), np.exp(y), sample_weight=weight)
    )


def test_constant_targets_and_what_is_no_number():
    ones = np.ones((3, 1))
    assert scores.r2(exponential=False)(ones, ones) == r2_score(ones, ones) == 1
    assert scores.r2(exponential=False)(0 * ones, ones) == r2_score(ones, 0 * ones) == 0
    assert np.isnan(scores.r2(exponential=False)(np.nan * ones, ones))
    # scikit-learn's classifiers say their first class then, and are scored by that.
    assert scores.accuracy(False, 0.0)(np.nan * ones, np.array([[0.0], [1.0], [0.0]])) == pytest.approx(2 / 3)
    assert scores.accuracy(False, 0.5)(np.full((3, 4), np.nan), np.array([0, 3, 1])) == pytest.approx(1 / 3)
    assert scores.accuracy(True, 0.0)(np.full((2, 2), np.nan), np.array([[0.0, 0], [0, 1]])) == 0.5
