import functools
import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
from drawn_outputs import weights_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.exceptions import UndefinedMetricWarning

from chainrule import metrics

EPS = np.finfo(np.float64).eps


@st.composite
def ranked(draw):
    """Scores of which some are equal, two classes, and weights."""
    n = draw(st.integers(1, 30))
    y = draw(npst.arrays(np.float64, n, elements=st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6))))
    return y, draw(npst.arrays(np.int64, n, elements=st.integers(0, 1))), weights_of(draw, n)


@st.composite
def likely(draw, least=3):
    """Probabilities of several classes, of which some are equal, classes, and weights."""
    n, n_classes = draw(st.integers(1, 30)), draw(st.integers(least, 5))
    parts = draw(npst.arrays(np.float64, (n, n_classes), elements=st.integers(1, 4).map(float)))
    target = draw(npst.arrays(np.int64, n, elements=st.integers(0, n_classes - 1)))
    return parts / parts.sum(axis=1, keepdims=True), target, weights_of(draw, n)


def same(found, expected, n):
    """Both are NaN, or the sums of n shares, of which each is below 1, are the same."""
    assert found == pytest.approx(expected, abs=(8 * n + 32) * EPS, rel=0, nan_ok=True)


def scikit_learns(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        return oracle.roc_auc_score(*arguments, **options)


@given(ranked())
def test_of_two_classes_it_is_scikit_learns_ties_and_all(case):
    y, target, weight = case
    same(metrics.roc_auc(y, target), scikit_learns(target, y), len(y))
    same(metrics.roc_auc(y[:, None], target), scikit_learns(target, y), len(y))
    keep = weight > 0
    same(metrics.roc_auc(y, target, weight), scikit_learns(target[keep], y[keep], sample_weight=weight[keep]), len(y))


@given(likely(least=2), st.sampled_from(["macro", "weighted", "micro"]))
def test_one_class_against_the_rest_is_scikit_learns(case, average):
    p, target, weight = case
    keep, labels = weight > 0, np.arange(p.shape[1])
    given_to = {"labels": labels, "multi_class": "ovr", "average": average}
    column = p[:, 1] if len(labels) == 2 else p
    expected = scikit_learns(target[keep], column[keep], sample_weight=weight[keep], **given_to)
    same(metrics.roc_auc(p, target, weight, average=average), expected, 5 * len(p))
    same(metrics.roc_auc(p, target, average=average), scikit_learns(target, column, **given_to), 5 * len(p))


@given(likely(), st.sampled_from(["macro", "weighted"]))
def test_one_class_against_one_is_scikit_learns_and_takes_weights(case, average):
    p, target, weight = case
    found = functools.partial(metrics.roc_auc, multi_class="ovo", average=average)
    if len(np.unique(target)) > 1:
        expected = scikit_learns(target, p, labels=np.arange(p.shape[1]), multi_class="ovo", average=average)
        same(found(p, target), expected, 20 * len(p))
    else:
        assert math.isnan(found(p, target))
    whole = np.minimum(np.ceil(weight), 3)  # scikit-learn takes no weights here; 3 is the row three times
    again = np.repeat(np.arange(len(p)), whole.astype(int))
    same(found(p, target, whole), found(p[again], target[again]), 60 * len(p))


def test_it_is_how_often_a_sample_of_class_one_is_ranked_above_one_of_class_zero():
    assert metrics.roc_auc(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1, 0, 1])) == 0.75
    assert metrics.roc_auc(np.array([1.0, 1.0]), np.array([0, 1])) == 0.5
    assert metrics.roc_auc(np.array([-np.inf, np.inf]), np.array([0, 1])) == 1
    assert metrics.roc_auc(torch.tensor([[2.0], [-1.0]], requires_grad=True), torch.tensor([[0], [1]])) == 0
    assert metrics.roc_auc(np.array([0.3, 0.4, 0.1]), np.array([0, 1, 1]), [1, 3, 1]) == 0.75


@pytest.mark.parametrize("y", [np.array([0.2, 0.3]), np.array([[0.2, 0.8], [0.3, 0.7]]), np.full((2, 4), 0.25)])
def test_with_one_class_or_one_sample_there_is_nothing_to_rank(y):
    for multi_class in ("ovr", "ovo"):
        assert math.isnan(metrics.roc_auc(y, np.array([1, 1]), multi_class=multi_class))
        assert math.isnan(metrics.roc_auc(y[:1], np.array([0]), multi_class=multi_class))


def test_nan_in_the_outputs_is_nan():
    assert math.isnan(metrics.roc_auc(np.array([np.nan, 0.3, 0.2]), np.array([0, 1, 0])))
    p = np.array([[np.nan, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    assert math.isnan(metrics.roc_auc(p, np.arange(3)))
    assert metrics.roc_auc(np.array([np.nan, 0.3, 0.2]), np.array([0, 1, 0]), [0, 1, 1]) == 1  # which counts nothing


@pytest.mark.parametrize(
    ("y", "target", "options", "message"),
    [
        (
            np.eye(3) * 5,
            np.arange(3),
            {},
            r"each row of y must hold .* up to 1, got \[5. 0. 0.\]; of l",
        ),
        (np.array([[2.0, -1.0]]), np.array([0]), {}, "each row of y must hold probabilities that add up to 1"),
        (np.eye(3), np.arange(3), {"average": "binary"}, 'average must be "macro", "weighted" or "micro"'),
        (np.eye(3), np.arange(3), {"multi_class": "ovo", "average": "micro"}, 'average must be "macro" or "weighted"'),
        (np.eye(3), np.arange(3), {"multi_class": "raise"}, 'multi_class must be "ovr" or "ovo"'),
        (np.eye(3), np.array([0, 1, 3]), {}, "target must be in 0 … 2, got 3 in row 2"),
        (np.eye(3), np.ones((3, 3)), {}, "target must name one class for each sample, got 3 in row 0"),
        (np.zeros((0, 3)), np.zeros(0, dtype=int), {}, "there are no samples"),
    ],
)
def test_what_cannot_be_ranked_is_refused(y, target, options, message):
    with pytest.raises(ValueError, match=f"roc_auc: {message}"):
        metrics.roc_auc(y, target, **options)
