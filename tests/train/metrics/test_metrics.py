"""What metrics of classes and of numbers have in common."""

import math

import numpy as np
import pytest
import torch

from chainrule import metrics

EPS = np.finfo(np.float64).eps


def test_errors_by_hand():
    y = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert metrics.errors(y, np.array([0, 1, 1])) == 1
    assert metrics.error_rate(y, np.array([0, 1, 1])) == 1 / 3
    assert metrics.rmse(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == math.sqrt(2)
    assert metrics.mae(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == 1


def test_tensors_are_measured_too():
    y, target = torch.tensor([[0.1, 0.9], [0.8, 0.2]], requires_grad=True), torch.tensor([1, 1])
    assert metrics.errors(y, target) == 1
    assert metrics.mae(y, y) == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"errors: y must be \(batch, classes\) or \(batch,\), got \(2, 2, 2\)"):
        metrics.errors(np.zeros((2, 2, 2)), np.zeros(2))
    with pytest.raises(ValueError, match="errors: target must have 3 samples like y, got 2"):
        metrics.errors(np.zeros((3, 2)), np.zeros(2, dtype=int))
    for metric in (metrics.mae, metrics.rmse, metrics.r2):
        with pytest.raises(ValueError, match=rf"{metric.__name__}: .* the shape of y, \(3, 1\), got \(3,\)"):
            metric(np.zeros((3, 1)), np.zeros(3))


ALL = [getattr(metrics, name) for name in ("mae", "rmse", "mape", "r2", "errors", "error_rate", "accuracy", "f1")]
ALL += [metrics.balanced_accuracy, metrics.confusion_matrix, metrics.roc_auc, metrics.log_loss]


@pytest.mark.parametrize("metric", ALL)
def test_what_are_no_arrays_of_numbers_is_refused_under_the_name_of_the_metric(metric):
    name = metric.__name__
    for given in ((1.0, 1.0), (np.ones(2), 1.0)):
        with pytest.raises(ValueError, match=rf"^{name}: (y|target) must have a row for each sample"):
            metric(*given)
    for given in ((["a"], ["b"]), ([1.0], ["b"]), (None, None)):
        with pytest.raises(TypeError, match=rf"^{name}: (y|target) must hold real numbers, got dtype"):
            metric(*given)
    with pytest.raises(TypeError, match=rf"^{name}: sample_weight must hold real numbers"):
        metric([0.5, 0.5], [1, 1], ["a", "b"])


@pytest.mark.parametrize("metric", [m for m in ALL[4:] if m is not metrics.log_loss])
def test_labels_that_do_not_exclude_each_other_are_no_classes(metric):
    y, several = np.full((3, 2), 0.5), np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    says = f"^{metric.__name__}: target must name one class for each sample, got 2 in row 1; of labels"
    with pytest.raises(ValueError, match=says):
        metric(y, several)
    metric(y, several, np.array([1.0, 0.0, 1.0]))  # that row weighs nothing


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
