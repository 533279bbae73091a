import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule import metrics

Y = np.random.default_rng(0).normal(size=(7, 3))
ONE = Y[:, :1]


@pytest.mark.parametrize(
    ("loss", "y", "expected"),
    [
        (cr.CrossEntropyLoss(), Y, torch.softmax(torch.from_numpy(Y), 1)),
        (cr.NLLLoss(), cr.LogSoftmax()(Y), torch.softmax(torch.from_numpy(Y), 1)),
        (cr.BCEWithLogitsLoss(), ONE, torch.sigmoid(torch.from_numpy(ONE))),
        (cr.BCEWithLogitsLoss(), Y, torch.sigmoid(torch.from_numpy(Y))),
        (cr.SoftMarginLoss(), ONE[:, 0], torch.sigmoid(torch.from_numpy(ONE[:, 0]))),
        (cr.MSELoss(), Y, Y),
        (None, Y, Y),
        (cr.Tanh(), Y, Y),  # a Module of the user's that does not say
    ],
)
def test_probabilities_are_what_the_loss_makes_of_outputs(loss, y, expected):
    found = metrics.probabilities(y, loss)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    np.testing.assert_array_equal(found, metrics.probabilities(torch.from_numpy(y), loss))
    assert metrics.probabilities(y.astype(np.float32), loss).dtype == np.float64


def test_a_loss_of_ones_own_says_what_its_outputs_mean():
    class Halves(cr.MSELoss):
        def probabilities(self, y):
            return (1 + y) / 2

    np.testing.assert_array_equal(metrics.probabilities(np.array([-1.0, 0.0, 1.0]), Halves()), [0, 0.5, 1])


def test_probabilities_of_infinite_logits_warn_of_nothing():
    p = metrics.probabilities(np.array([[np.inf, 0.0], [-np.inf, 0.0], [1e308, -1e308]]), cr.CrossEntropyLoss())
    assert np.isnan(p[0]).all()
    assert p[1:].tolist() == [[0, 1], [1, 0]]


def test_scores_of_two_logits_are_not_equal_where_their_probabilities_are():
    y = np.array([[0.0, 50.0], [0.0, 60.0], [0.0, -800.0], [0.0, -900.0]])
    p = metrics.probabilities(y, cr.CrossEntropyLoss())[:, 1]
    assert p[0] == p[1] == 1
    assert metrics.scores(y, cr.CrossEntropyLoss()).tolist() == [50, 60, -800, -900]
    assert metrics.scores(y[:, 1:]).tolist() == metrics.scores(y[:, 1]).tolist() == [50, 60, -800, -900]
    np.testing.assert_array_equal(
        metrics.scores(Y, cr.CrossEntropyLoss()), metrics.probabilities(Y, cr.CrossEntropyLoss())
    )


def test_targets_of_the_soft_margin_loss_are_minus_one_and_one():
    y, target = np.array([[-2.0], [0.2], [0.3], [4.0]]), np.array([[-1.0], [-1.0], [1.0], [1.0]])
    result = cr.evaluate(cr.Identity(), cr.SoftMarginLoss(), (y, target))
    assert (result.errors, result.roc_auc, result.confusion_matrix.tolist()) == (1, 1, [[1, 1], [0, 2]])
    assert result.log_loss == pytest.approx(result.loss, rel=1e-12)
