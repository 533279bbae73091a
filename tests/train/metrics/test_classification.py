import functools
import warnings

import numpy as np
import pytest
import sklearn.metrics as oracle
from drawn_outputs import classified, weighted
from hypothesis import given
from hypothesis import strategies as st

from chainrule import metrics

EPS = np.finfo(np.float64).eps


@given(classified())
def test_classification_is_counted_as_by_scikit_learn(case):
    y, target = case
    said = y.argmax(axis=1)
    assert metrics.errors(y, target) == oracle.zero_one_loss(target, said, normalize=False)
    assert metrics.accuracy(y, target) == pytest.approx(oracle.accuracy_score(target, said), rel=2 * EPS)
    assert metrics.error_rate(y, target) == metrics.errors(y, target) / len(y)
    one_hot = np.eye(y.shape[1])[target]
    assert metrics.errors(y, one_hot) == metrics.errors(y, target)


@given(weighted(classified()))
def test_weighted_classification_is_scikit_learns(case):
    y, target, weight = case
    said, rel = y.argmax(axis=1), (2 * len(y) + 4) * EPS
    wrong = oracle.zero_one_loss(target, said, normalize=False, sample_weight=weight)
    assert metrics.errors(y, target, weight) == pytest.approx(wrong, rel=rel)
    right = oracle.accuracy_score(target, said, sample_weight=weight)
    assert metrics.accuracy(y, target, weight) == pytest.approx(right, rel=rel)
    assert metrics.error_rate(y, target, weight) == pytest.approx(1 - right, abs=2 * rel)


def counted(y, target, weight):
    """What counts, as scikit-learn takes it: said, true, and weights."""
    keep = weight > 0
    return y.argmax(axis=1)[keep], target[keep], weight[keep]


@given(weighted(classified()), st.sampled_from(["macro", "micro", "weighted"]))
def test_f1_is_scikit_learns_whatever_classes_are_missing(case, average):
    y, target, weight = case
    said, true, of_row = counted(y, target, weight)
    expected = oracle.f1_score(true, said, average=average, sample_weight=of_row, zero_division=0)
    # sums of n positive terms, two of them divided, and a mean over classes
    rel = (3 * len(y) + 16) * EPS
    assert metrics.f1(y, target, weight, average=average) == pytest.approx(expected, rel=rel, abs=0)
    plain = oracle.f1_score(target, y.argmax(axis=1), average=average, zero_division=0)
    assert metrics.f1(y, target, average=average) == pytest.approx(plain, rel=rel, abs=0)


@given(weighted(classified()), st.floats(-10, 10))
def test_f1_of_two_classes_is_that_of_class_one(case, threshold):
    y, target, weight = case
    y, target = y[:, 0], np.minimum(target, 1)
    keep = weight > 0
    expected = oracle.f1_score(target[keep], y[keep] > threshold, sample_weight=weight[keep], zero_division=0)
    rel = (3 * len(y) + 16) * EPS
    assert metrics.f1(y, target, weight, threshold=threshold) == pytest.approx(expected, rel=rel, abs=0)
    two = np.stack([np.full_like(y, threshold), y], axis=1)  # the first of equal outputs wins, as at the threshold
    for average in ("auto", "binary"):
        assert metrics.f1(two, target, weight, average=average) == pytest.approx(expected, rel=rel, abs=0)
    index = (y > threshold).astype(int)
    assert metrics.f1(index, target, weight) == pytest.approx(expected, rel=rel, abs=0)


def test_the_default_average_of_f1_goes_by_the_number_of_classes():
    y, target = np.eye(3)[[0, 1, 1, 2]], np.array([0, 1, 2, 2])
    assert metrics.f1(y, target) == metrics.f1(y, target, average="macro") == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert metrics.f1(y[:, :2], np.array([0, 1, 1, 0])) == metrics.f1(y[:, 1], np.array([0, 1, 1, 0])) == 1
    assert metrics.f1(np.array([0, 2]), np.array([0, 2])) == 1  # class indices: the largest says how many there are


def test_f1_of_what_is_never_said_nor_true_is_zero_and_has_no_share_in_a_mean():
    y = np.eye(3)[[0, 0]]
    assert metrics.f1(y, np.array([0, 0])) == 1  # of class 0 alone
    assert metrics.f1(y[:, :2], np.array([0, 0])) == 0  # of class 1, which there is not
    assert metrics.f1(np.zeros(1), np.array([0.0])) == 0


def test_f1_refuses_what_it_cannot_average():
    with pytest.raises(ValueError, match='f1: average="binary" is of two classes, got 3; choose "macro"'):
        metrics.f1(np.eye(3), np.arange(3), average="binary")
    with pytest.raises(ValueError, match=r'f1: average must be "auto", "binary", .* or "weighted", got .samples.'):
        metrics.f1(np.eye(3), np.arange(3), average="samples")


@given(weighted(classified()))
def test_balanced_accuracy_is_scikit_learns_over_the_classes_that_there_are(case):
    y, target, weight = case
    said, true, of_row = counted(y, target, weight)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true|A single label was found")
        expected = oracle.balanced_accuracy_score(true, said, sample_weight=of_row)
        plain = oracle.balanced_accuracy_score(target, y.argmax(axis=1))
    rel = (2 * len(y) + 16) * EPS
    assert metrics.balanced_accuracy(y, target, weight) == pytest.approx(expected, rel=rel, abs=0)
    assert metrics.balanced_accuracy(y, target) == pytest.approx(plain, rel=rel, abs=0)


def test_balanced_accuracy_gives_a_rare_class_its_share():
    y, target = np.zeros(10), np.array([0.0] * 9 + [1.0])
    assert metrics.accuracy(y, target) == 0.9
    assert metrics.balanced_accuracy(y, target) == 0.5
    assert metrics.balanced_accuracy(y[:1], target[:1]) == 1  # one sample, one class


@given(weighted(classified()))
def test_the_confusion_matrix_is_scikit_learns_and_has_a_place_for_every_output(case):
    y, target, weight = case
    said, true, of_row = counted(y, target, weight)
    labels = np.arange(y.shape[1])
    found = metrics.confusion_matrix(y, target)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, oracle.confusion_matrix(target, y.argmax(axis=1), labels=labels))
    np.testing.assert_allclose(
        metrics.confusion_matrix(y, target, weight),
        oracle.confusion_matrix(true, said, labels=labels, sample_weight=of_row),
        rtol=len(y) * EPS,
    )
    assert found.sum() - found.trace() == metrics.errors(y, target)


def test_the_confusion_matrix_by_hand():
    y, target = np.array([0.2, 0.6, 0.9, 0.3]), np.array([0.0, 0.0, 1.0, 1.0])
    assert metrics.confusion_matrix(y, target).tolist() == [[1, 1], [1, 1]]
    assert metrics.confusion_matrix(y, target, threshold=0.25).tolist() == [[1, 1], [0, 2]]
    assert metrics.confusion_matrix(y, target, [2, 1, 0, 0.5]).tolist() == [[2.0, 1.0], [0.5, 0.0]]
    assert metrics.confusion_matrix(np.zeros(1), np.zeros(1)).tolist() == [[1, 0], [0, 0]]
    assert metrics.confusion_matrix(np.array([0, 3]), np.array([1, 0])).shape == (4, 4)  # of class indices


def test_a_row_with_nan_is_in_no_column_but_counts_in_what_is_true():
    y, target = np.array([[np.nan, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.array([1, 1, 0])
    assert metrics.confusion_matrix(y, target).tolist() == [[1, 0], [0, 1]]
    assert metrics.balanced_accuracy(y, target) == 0.75
    assert metrics.f1(y, target) == pytest.approx(2 / 3)
    assert metrics.f1(np.full((2, 2), np.nan), np.array([0, 1])) == 0


@pytest.mark.parametrize("metric", [metrics.f1, metrics.balanced_accuracy, metrics.confusion_matrix])
def test_labels_that_do_not_exclude_each_other_are_no_classes(metric):
    y, several = np.eye(3), np.array([[1.0, 0, 0], [1, 1, 0], [0, 0, 1]])
    with pytest.raises(
        ValueError, match=f"{metric.__name__}: target must name one class for each sample, got 2 in row 1"
    ):
        metric(y, several)
    with pytest.raises(ValueError, match="got 0 in row 0; of labels that do not exclude each other ask each column"):
        metric(y, 0 * several)
    assert np.asarray(metric(y, several, [1, 0, 1])).sum() > 0  # a row that weighs nothing may hold anything
    with pytest.raises(ValueError, match=f"{metric.__name__}: target must be at least 0, got -1"):
        metric(np.array([0, 1]), np.array([0, -1]))


@pytest.mark.parametrize(
    "metric",
    [
        metrics.balanced_accuracy,
        metrics.confusion_matrix,
        *(functools.partial(metrics.f1, average=average) for average in ("macro", "micro", "weighted")),
    ],
)
def test_a_weight_of_two_is_the_sample_twice_and_of_zero_none(metric):
    rng = np.random.default_rng(1)
    y, target, weight = rng.normal(size=(30, 4)), rng.integers(0, 4, 30), rng.integers(0, 4, 30).astype(float)
    again = np.repeat(np.arange(30), weight.astype(int))
    np.testing.assert_allclose(metric(y, target, weight), metric(y[again], target[again]), rtol=100 * EPS)
