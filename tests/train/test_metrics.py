import functools
import math

import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from chainrule import metrics

EPS = np.finfo(np.float64).eps


@st.composite
def classified(draw):
    """Outputs of a network with several classes, and class indices."""
    batch, n_classes = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    y = draw(npst.arrays(np.float64, (batch, n_classes), elements=st.floats(-10, 10), unique=True))
    return y, draw(npst.arrays(np.int64, batch, elements=st.integers(0, n_classes - 1)))


@given(classified())
def test_classification_is_counted_as_by_scikit_learn(case):
    y, target = case
    said = y.argmax(axis=1)
    assert metrics.errors(y, target) == oracle.zero_one_loss(target, said, normalize=False)
    assert metrics.accuracy(y, target) == pytest.approx(oracle.accuracy_score(target, said), rel=2 * EPS)
    assert metrics.error_rate(y, target) == metrics.errors(y, target) / len(y)
    one_hot = np.eye(y.shape[1])[target]
    assert metrics.errors(y, one_hot) == metrics.errors(y, target)


@st.composite
def predicted(draw):
    """Numbers and targets, (batch,) or (batch, outputs)."""
    shape = draw(st.one_of(st.tuples(st.integers(2, 30)), st.tuples(st.integers(2, 30), st.integers(1, 4))))
    numbers = npst.arrays(np.float64, shape, elements=st.floats(-100, 100, width=32))
    return draw(numbers), draw(numbers)


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


def test_errors_by_hand():
    y = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert metrics.errors(y, np.array([0, 1, 1])) == 1
    assert metrics.error_rate(y, np.array([0, 1, 1])) == 1 / 3
    assert metrics.rmse(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == math.sqrt(2)
    assert metrics.mae(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == 1


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_a_single_output_says_class_one_above_the_threshold(shape):
    y = np.array([-1.0, 0.3, 0.5, 0.7]).reshape(shape)
    assert metrics.classes(y).tolist() == [0, 0, 0, 1]  # at the threshold it is still class 0
    assert metrics.classes(y, 0.0).tolist() == [0, 1, 1, 1]
    assert metrics.errors(y, np.array([0, 1, 1, 1])) == 2
    assert functools.partial(metrics.errors, threshold=0.0)(y, np.array([0, 1, 1, 1])) == 0


def test_class_indices_and_booleans_are_classes():
    assert metrics.classes(np.array([2, 0, 1])).tolist() == [2, 0, 1]
    assert metrics.classes(np.array([True, False])).tolist() == [1, 0]


def test_first_of_equal_outputs_wins_as_in_numpy():
    assert metrics.classes(np.array([[1.0, 1.0]])).tolist() == [0]


def test_tensors_are_measured_too():
    y, target = torch.tensor([[0.1, 0.9], [0.8, 0.2]], requires_grad=True), torch.tensor([1, 1])
    assert metrics.errors(y, target) == 1
    assert metrics.mae(y, y) == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"classes: y must be \(batch, classes\) or \(batch,\), got \(2, 2, 2\)"):
        metrics.errors(np.zeros((2, 2, 2)), np.zeros(2))
    with pytest.raises(ValueError, match="errors: target must have 3 samples like y, got 2"):
        metrics.errors(np.zeros((3, 2)), np.zeros(2, dtype=int))
    for metric in (metrics.mae, metrics.rmse, metrics.r2):
        with pytest.raises(ValueError, match=rf"{metric.__name__}: .* the shape of y, \(3, 1\), got \(3,\)"):
            metric(np.zeros((3, 1)), np.zeros(3))
