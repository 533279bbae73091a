import math

import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
from drawn_outputs import weights_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import chainrule as cr
from chainrule import metrics

EPS = np.finfo(np.float64).eps


@st.composite
def likely(draw):
    """Probabilities, some of them 0, classes, and weights."""
    n, n_classes = draw(st.integers(1, 30)), draw(st.integers(2, 5))
    parts = draw(npst.arrays(np.float64, (n, n_classes), elements=st.one_of(st.just(0.0), st.floats(1e-3, 1))))
    parts[:, -1] += parts.sum(axis=1) == 0
    target = draw(npst.arrays(np.int64, n, elements=st.integers(0, n_classes - 1)))
    return parts / parts.sum(axis=1, keepdims=True), target, weights_of(draw, n)


@given(likely())
def test_it_is_scikit_learns_whatever_classes_are_missing(case):
    p, target, weight = case
    labels, rel = np.arange(p.shape[1]), (2 * len(p) + 16) * EPS
    plain, weighted = (
        oracle.log_loss(target, p, labels=labels),
        oracle.log_loss(target, p, labels=labels, sample_weight=weight),
    )
    # log p of a p that is nearly 1 has an error of eps, however small it is
    assert metrics.log_loss(p, target) == pytest.approx(plain, rel=rel, abs=4 * EPS)
    assert metrics.log_loss(p, target, weight) == pytest.approx(weighted, rel=rel, abs=4 * EPS)
    assert metrics.log_loss(p, np.eye(p.shape[1])[target], weight) == pytest.approx(weighted, rel=rel, abs=4 * EPS)
    if p.shape[1] == 2:
        assert metrics.log_loss(p[:, 1], target, weight) == pytest.approx(weighted, rel=rel, abs=4 * EPS)
        assert metrics.log_loss(p[:, 1:], target[:, None], weight) == pytest.approx(weighted, rel=rel, abs=4 * EPS)


def test_of_probabilities_as_targets_it_is_the_cross_entropy():
    rng = np.random.default_rng(0)
    logits, t = rng.normal(size=(9, 4)), rng.dirichlet(np.ones(4), 9)
    expected = float(cr.CrossEntropyLoss()(logits, t, np.arange(9.0)))
    p = metrics.probabilities(logits, cr.CrossEntropyLoss())
    assert metrics.log_loss(p, t, np.arange(9.0)) == pytest.approx(expected, rel=1e-13)
    binary = float(cr.BCEWithLogitsLoss()(logits[:, :1], t[:, :1]))
    p = metrics.probabilities(logits[:, :1], cr.BCEWithLogitsLoss())
    assert metrics.log_loss(p, t[:, :1]) == metrics.log_loss(p, t[:, 0]) == pytest.approx(binary, rel=1e-13)


def test_a_certain_error_costs_thirty_six_and_not_infinity():
    assert metrics.log_loss(np.array([1.0, 0.0]), np.array([0, 1])) == pytest.approx(-math.log(EPS))
    assert metrics.log_loss(np.array([1.0, 0.0]), np.array([1, 0])) == pytest.approx(EPS, rel=1e-3)
    assert metrics.log_loss(torch.tensor([0.5], dtype=torch.float32), torch.tensor([1])) == math.log(2)


def test_nan_in_the_outputs_is_nan_unless_it_weighs_nothing():
    p, target = np.array([[np.nan, 0.5], [0.25, 0.75]]), np.array([0, 1])
    assert math.isnan(metrics.log_loss(p, target))
    assert metrics.log_loss(p, target, [0, 1]) == pytest.approx(-math.log(0.75))
    assert metrics.log_loss(p, np.array([np.nan, 1.0]), [0, 1]) == pytest.approx(-math.log(0.75))


@pytest.mark.parametrize(
    ("y", "target", "message"),
    [
        (
            np.array([[2.0, -1.0]]),
            np.array([0]),
            r"each row of y must hold .* got \[ 2. -1.\]; of logits",
        ),
        (np.array([[0.5, 0.4]]), np.array([0]), "each row of y must hold probabilities that add up to 1"),
        (np.array([1.5]), np.array([0]), "each row of y must hold probabilities that add up to 1"),
        (np.eye(3), np.array([0, 1, 3]), "target must be in 0 … 2, got 3"),
        (np.eye(3), np.array([0.0, 1.0, 1.5]), r"target must hold classes \(whole numbers\), got 1.5"),
        (np.eye(3), np.array([0.0, 1.0, np.nan]), "target must not hold NaN"),
        (np.eye(3), np.full((3, 3), np.nan), "target must not hold NaN"),
        (np.eye(3), np.ones((3, 3)), r"each row of target must hold probabilities that add up to 1, got \[1. 1. 1.\]"),
        (np.eye(3), np.ones((3, 2)), r"target must be class indices or rows of 3, got rows \(2,\)"),
        (np.array([0.5, 0.5]), np.array([0, 2]), "target must be in 0 … 1, got 2"),
        (np.array([0.5, 0.5]), np.ones((2, 2)), "target must be class indices or probabilities"),
        (np.eye(3), np.array([0, 1]), "target must have 3 samples like y, got 2"),
        (np.zeros((2, 2, 2)), np.array([0, 1]), r"y must be \(batch, classes\) or \(batch,\), got \(2, 2, 2\)"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "there are no samples"),
    ],
)
def test_what_are_no_probabilities_or_no_classes_is_refused(y, target, message):
    with pytest.raises(ValueError, match=f"log_loss: {message}"):
        metrics.log_loss(y, target)
