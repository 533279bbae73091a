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


# -- which samples count, and how much

WEIGHTS = st.one_of(st.just(0.0), st.floats(1 / 1024, 1024), st.integers(1, 5).map(float))


def weights_of(draw, n):
    weight = draw(npst.arrays(np.float64, n, elements=WEIGHTS))
    weight[draw(st.integers(0, n - 1))] = 1  # one at least counts
    return weight


@st.composite
def weighted(draw, case):
    y, target = draw(case)
    return y, target, weights_of(draw, len(y))


@given(weighted(classified()))
def test_weighted_classification_is_scikit_learns(case):
    y, target, weight = case
    said, rel = y.argmax(axis=1), (2 * len(y) + 4) * EPS
    wrong = oracle.zero_one_loss(target, said, normalize=False, sample_weight=weight)
    assert metrics.errors(y, target, weight) == pytest.approx(wrong, rel=rel)
    right = oracle.accuracy_score(target, said, sample_weight=weight)
    assert metrics.accuracy(y, target, weight) == pytest.approx(right, rel=rel)
    assert metrics.error_rate(y, target, weight) == pytest.approx(1 - right, abs=2 * rel)


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


@pytest.mark.parametrize("metric", [metrics.errors, metrics.error_rate, metrics.accuracy, metrics.mae, metrics.rmse])
def test_a_weight_of_two_is_the_sample_twice_and_of_zero_none_whatever_it_holds(metric):
    rng = np.random.default_rng(0)
    target = np.eye(3)[rng.integers(0, 3, 12)]
    y, weight = target + rng.normal(size=(12, 3)), np.repeat([0.0, 1.0, 2.0, 3.0], 3)
    again = np.repeat(np.arange(12), weight.astype(int))
    expected = metric(y[again], target[again])
    y[0], target[1, 0] = np.nan, np.inf
    assert metric(y, target, weight) == pytest.approx(expected, rel=32 * EPS)


def test_nan_is_in_no_class_and_never_right():
    y = np.array([[np.nan, 0.0], [1.0, 0.0], [0.0, np.nan], [np.inf, 0.0]])
    assert metrics.classes(y).tolist() == [-1, 0, -1, 0]
    assert metrics.errors(y, np.array([0, 0, 1, 0])) == 2
    assert metrics.accuracy(np.full((4, 2), np.nan), np.array([0, 0, 0, 0])) == 0
    assert metrics.accuracy(np.full((4, 1), np.nan), np.array([0, 0, 0, 0])) == 0
    for metric in (metrics.mae, metrics.rmse, metrics.r2):
        assert math.isnan(metric(np.array([np.nan, 1.0]), np.array([1.0, 2.0])))
        assert math.isnan(metric(np.array([np.nan, 1.0]), np.array([1.0, 1.0])))  # of a constant target too


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int64"])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_labels_are_classes_in_any_dtype(dtype, shape):
    target = np.array([0, 2, 1]).astype(dtype).reshape(shape)
    assert metrics.accuracy(np.eye(3), target) == 1 / 3
    assert metrics.accuracy(np.eye(3)[[0, 2, 1]], target) == 1
    assert metrics.accuracy(torch.eye(3)[[0, 2, 1]], torch.from_numpy(target)) == 1
    assert metrics.accuracy(np.array([0, 2, 1]), target) == 1  # class indices on both sides


def test_a_target_may_be_a_probability_of_the_one_output():
    y = np.array([0.2, 0.6, 0.9])
    assert metrics.errors(y, np.array([0.1, 0.4, 0.7])) == 1
    assert metrics.errors(y, np.array([True, False, True])) == 2


@pytest.mark.parametrize(
    ("y", "target", "message"),
    [
        (np.eye(3), np.array([0.0, 1.0, 3.0]), r"accuracy: target must be in 0 … 2, got 3 in row 2"),
        (np.eye(3), np.array([0, -100, 1]), r"accuracy: target must be in 0 … 2, got -100 in row 1"),
        (np.eye(3), np.array([0.0, 1.5, 2.0]), r"accuracy: target must hold classes \(whole .* got 1.5"),
        (np.eye(3), np.array([0.1, 0.2, 0.9]), r"accuracy: target must hold classes \(whole numbers\), got 0.1"),
        (np.eye(3), np.array([0.0, 1.0, 1e30]), r"accuracy: target must hold classes \(whole .* got 1e\+30"),
        (np.eye(3), np.array([0.0, np.nan, 2.0]), r"accuracy: target must not hold NaN"),
        (np.zeros(3), np.array([0.0, 1.0, 2.0]), r"accuracy: target must be in 0 … 1, got 2 in row 2"),
        (np.zeros(3), np.array([-1.0, 1.0, 1.0]), r"accuracy: target must be in 0 … 1, got -1 in row 0"),
        (np.zeros((3, 1)), np.eye(3), r"accuracy: target must be class indices or rows like y \(3, 1\)"),
        (np.zeros((3, 2)), np.eye(3), r"accuracy: target must be class indices or rows like y \(3, 2\)"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "accuracy: there are no samples"),
        (np.zeros(()), np.zeros(()), r"classes: y must be \(batch, classes\)"),
    ],
)
def test_targets_that_name_no_class_are_refused(y, target, message):
    with pytest.raises(ValueError, match=message):
        metrics.accuracy(y, target)


def test_names_of_classes_are_refused_by_what_to_do_about_them():
    with pytest.raises(TypeError, match=r"accuracy: target must hold real numbers, .*; number the classes: .*unique"):
        metrics.accuracy(np.eye(2), np.array(["no", "yes"]))


@pytest.mark.parametrize("metric", [metrics.errors, metrics.error_rate, metrics.accuracy])
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(2), r"sample_weight must be \(3,\), got \(2,\)"),
        (np.ones((3, 1)), r"sample_weight must be \(3,\), got \(3, 1\)"),
        (np.zeros(3), "sample_weight must not be all zero"),
        (np.array([1, -1, 1]), "sample_weight must be finite and not negative"),
        (np.array([1, np.nan, 1]), "sample_weight must be finite and not negative"),
        (np.array([1, np.inf, 1]), "sample_weight must be finite and not negative"),
    ],
)
def test_weights_that_make_no_sense_are_refused(metric, weight, message):
    for one, y, target in ((metric, np.eye(3), np.arange(3)), (metrics.r2, np.ones(3), np.ones(3))):
        with pytest.raises(ValueError, match=f"{one.__name__}: {message}"):
            one(y, target, weight)


@pytest.mark.parametrize("metric", [metrics.mae, metrics.rmse, metrics.r2, metrics.errors, metrics.error_rate])
def test_no_samples_are_an_error(metric):
    with pytest.raises(ValueError, match=f"{metric.__name__}: there are no samples"):
        metric(np.zeros((0, 1)), np.zeros((0, 1)))


def test_whether_a_metric_takes_weights_is_seen_from_its_arguments():
    def plain(y, target):
        return 0.0

    def third(y, target, sample_weight=None):
        return 0.0

    class Object:
        def __call__(self, y, target, *, sample_weight):
            return 0.0

    assert metrics.takes_weights(third)
    assert metrics.takes_weights(functools.partial(third, 0))
    assert metrics.takes_weights(Object())
    assert metrics.takes_weights(oracle.median_absolute_error)
    assert metrics.takes_weights(metrics.r2)
    assert not metrics.takes_weights(plain)
    assert not metrics.takes_weights(lambda y, target, **options: 0.0)
    assert not metrics.takes_weights(max)
