import numpy as np
import pytest
from scipy import optimize

import chainrule as cr
from chainrule.estimators import MLPClassifier, MLPRegressor


@pytest.fixture
def seen(monkeypatch):
    """What is handed to SciPy: the function with its gradient, and where it starts."""
    calls = []

    def spying(function, start, **options):
        calls.append((function, start))
        return found(function, start, **options)

    found = optimize.minimize
    monkeypatch.setattr(optimize, "minimize", spying)
    return calls


@pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier((5,), "tanh", solver="lbfgs", max_iter=1, alpha=2.0, class_weight="balanced"),
        MLPRegressor("squared_error", (5,), "gelu", solver="lbfgs", max_iter=1, alpha=2.0),
        MLPRegressor("poisson", (5,), "silu", solver="lbfgs", max_iter=1, alpha=2.0),
        MLPRegressor(cr.HuberLoss(), (5,), cr.Softplus(), solver="lbfgs", max_iter=1, alpha=2.0),
        MLPRegressor("squared_error", (5,), "tanh", out_activation="softplus", solver="lbfgs", max_iter=1),
    ],
    ids=repr,
)
def test_the_gradient_is_that_of_the_value(wine, seen, estimator):
    X, y = wine
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    estimator.set_params(random_state=0).fit(X, y, sample_weight=weight)
    [(function, start)] = seen
    rng = np.random.default_rng(1)
    for _ in range(5):
        direction, eps = rng.normal(size=start.shape), 1e-6
        slope = (function(start + eps * direction)[0] - function(start - eps * direction)[0]) / (2 * eps)
        assert function(start)[1] @ direction == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_a_layer_that_the_engine_does_not_know_is_passed_in_python(wine):
    class Doubled(cr.Module):
        def forward(self, x):
            return 2 * x, None

        def backward(self, dy, saved):
            return 2 * dy

    X, y = wine
    odd = MLPClassifier((5,), cr.Sequential(cr.Tanh(), Doubled()), solver="lbfgs", random_state=0).fit(X, y)
    assert odd.score(X, y) == 1


def test_the_loss_left_is_that_of_the_weights_left(wine):
    X, y = wine
    estimator = MLPClassifier((5,), solver="lbfgs", alpha=0.5, max_iter=7, random_state=0).fit(X, y)
    value = float(cr.CrossEntropyLoss()(cr.predict(estimator.network_, X), y))
    penalty = 0.25 * sum(np.sum(c**2) for c in estimator.coefs_) / len(y)
    assert estimator.loss_ == pytest.approx(value + penalty, rel=1e-12)
    assert not hasattr(estimator, "loss_curve_")  # as in scikit-learn


def test_it_is_the_same_in_float32_to_its_digits(wine):
    X, y = wine
    wide = MLPClassifier((5,), solver="lbfgs", max_iter=10, random_state=0).fit(X, y)
    narrow = MLPClassifier((5,), solver="lbfgs", max_iter=10, random_state=0, dtype="float32").fit(X, y)
    np.testing.assert_allclose(narrow.predict_proba(X), wide.predict_proba(X), atol=1e-2)


def test_going_on_starts_where_it_ended(wine):
    X, y = wine
    estimator = MLPClassifier((5,), solver="lbfgs", max_iter=5, warm_start=True, random_state=0).fit(X, y)
    before = estimator.loss_
    assert estimator.fit(X, y).loss_ < before
