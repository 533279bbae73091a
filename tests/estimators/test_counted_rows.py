"""Estimators count a row of weight 2 as two rows, and one of weight 0 as none: in scores, and in what they stop by."""

import warnings

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning

import chainrule as cr
from chainrule.estimators import MLPClassifier, MLPRegressor, NetworkClassifier, NetworkRegressor

SETTINGS = {"hidden_layer_sizes": (8,), "learning_rate_init": 0.05, "random_state": 0, "max_iter": 60}
STOPS = SETTINGS | {"early_stopping": True, "n_iter_no_change": 3}
NETWORK = {"optimizer": cr.Adam(lr=0.05), "epochs": 60, "stop": cr.EarlyStopping(3), "random_state": 0}
ESTIMATORS = [
    MLPClassifier(**STOPS),
    MLPClassifier(**STOPS, monitor="loss"),
    MLPClassifier(**STOPS, alpha=1.0),  # whose steps are made one by one
    MLPRegressor(**STOPS),
    MLPRegressor("huber", **STOPS, monitor="loss"),
    NetworkClassifier(**NETWORK),
    NetworkRegressor(**NETWORK),
]
RNG = np.random.default_rng(0)
X, WEIGHT = RNG.normal(size=(160, 3)), RNG.integers(0, 4, 160).astype(float)
NOISE = RNG.normal(size=160)
TRAIN, HELD = slice(0, 60), np.arange(60, 160)
AGAIN = np.repeat(HELD, WEIGHT[HELD].astype(int))


def targets(estimator):
    kinds = (X[:, 0] + 0.7 * NOISE > 0).astype(int) + (X[:, 1] > 0.8)
    return kinds if is_classifier(estimator) else X[:, 0] + 0.5 * NOISE


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=range(len(ESTIMATORS)))
def test_validation_data_of_ones_own_decide_by_their_weights(estimator):
    y, found = targets(estimator), []
    for rows, weight in ((HELD, WEIGHT[HELD]), (AGAIN, None)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(X[TRAIN], y[TRAIN], WEIGHT[TRAIN], X_val=X[rows], y_val=y[rows], sample_weight_val=weight)
        found.append((estimator.n_iter_, records(estimator), estimator.predict(X)))
    (n_iter, seen, said), (expected, same, other) = found
    assert 4 < n_iter == expected < 60
    assert seen == pytest.approx(same, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(said, other, rtol=1e-9)
    assert estimator.score(X[HELD], y[HELD], WEIGHT[HELD]) == pytest.approx(estimator.score(X[AGAIN], y[AGAIN]))


def records(estimator):
    """What an estimator has written down of its validation data."""
    if hasattr(estimator, "history_"):
        return estimator.history_.validation_losses
    return [*estimator.validation_loss_curve_, *(estimator.validation_scores_ or [])]
