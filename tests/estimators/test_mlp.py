"""MLPClassifier and MLPRegressor next to scikit-learn's own, and what those refuse."""

import inspect
import pickle
import warnings
from copy import deepcopy

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.tree import DecisionTreeClassifier

import chainrule as cr
from chainrule.estimators import MLPClassifier, MLPRegressor, NetworkClassifier, NetworkRegressor
from chainrule.estimators import outputs as estimator_outputs
from chainrule.estimators.penalty import SLIGHT

PAIRS = [(MLPClassifier, theirs.MLPClassifier), (MLPRegressor, theirs.MLPRegressor)]


def furthest(a, b):
    """The largest difference of any parameter of two estimators."""
    pairs = zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True)
    return max(np.abs(p - q).max() for p, q in pairs)


def multilabel():
    return make_multilabel_classification(200, 10, n_classes=4, random_state=0)


# -- the same as scikit-learn


@pytest.mark.parametrize(("ours", "peer"), PAIRS)
def test_every_argument_of_scikit_learn_is_there_with_its_place_and_default(ours, peer):
    mine = list(inspect.signature(ours).parameters.values())
    for i, argument in enumerate(inspect.signature(peer).parameters.values()):
        assert (mine[i].name, mine[i].default, mine[i].kind) == (argument.name, argument.default, argument.kind)


@pytest.mark.parametrize(("ours", "peer"), PAIRS)
def test_every_public_attribute_and_method_of_scikit_learn_is_there(ours, peer, wine):
    X, y = wine
    settings = {"max_iter": 2, "early_stopping": True, "validation_fraction": 0.3}
    mine, other = ours(**settings).fit(X, y), peer(**settings).fit(X, y)
    public = {name for name in dir(other) if not name.startswith("_")}
    assert public <= set(dir(mine))
    for name in public:
        value = getattr(other, name)
        assert isinstance(value, type(getattr(mine, name))) or callable(value), name


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 1.0])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_sgd_ends_at_the_weights_of_scikit_learn(digits, activation, alpha):
    settings = {"solver": "sgd", "alpha": alpha, "activation": activation, "shuffle": False, "max_iter": 10}
    mine = MLPClassifier((20, 15), **settings, random_state=3).fit(*digits)
    other = theirs.MLPClassifier((20, 15), **settings, random_state=3).fit(*digits)
    assert furthest(mine, other) < 1e-12  # 80 steps, each off by some roundings of 1e-16
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-4)
    np.testing.assert_array_equal(mine.predict(digits[0]), other.predict(digits[0]))
    np.testing.assert_allclose(mine.predict_proba(digits[0]), other.predict_proba(digits[0]), atol=1e-10)
    np.testing.assert_allclose(mine.predict_log_proba(digits[0]), other.predict_log_proba(digits[0]), atol=1e-8)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(mine, name) == getattr(other, name), name
    np.testing.assert_array_equal(mine.classes_, other.classes_)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_means_what_it_means_there(cancer, momentum, nesterov):
    settings = {"momentum": momentum, "nesterovs_momentum": nesterov, "learning_rate_init": 0.05}
    settings |= {"solver": "sgd", "shuffle": False, "max_iter": 20, "random_state": 0}
    assert furthest(MLPClassifier(**settings).fit(*cancer), theirs.MLPClassifier(**settings).fit(*cancer)) < 1e-12


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_regression_ends_at_the_weights_of_scikit_learn_however_many_outputs(diabetes, loss, outputs):
    X, y = diabetes
    y = np.abs(np.stack([y, y**2, 2 - y], axis=1)[:, :outputs]).squeeze()
    settings = {"loss": loss, "solver": "sgd", "shuffle": False, "max_iter": 10, "random_state": 1}
    mine, other = MLPRegressor(**settings).fit(X, y), theirs.MLPRegressor(**settings).fit(X, y)
    assert furthest(mine, other) < 1e-12
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-4)
    np.testing.assert_allclose(mine.predict(X), other.predict(X), rtol=1e-10)
    assert mine.out_activation_ == other.out_activation_
    assert mine.predict(X).shape == y.shape


def test_several_labels_end_at_the_weights_of_scikit_learn():
    X, y = multilabel()
    settings = {"solver": "sgd", "shuffle": False, "max_iter": 20, "random_state": 1}
    mine, other = MLPClassifier(**settings).fit(X, y), theirs.MLPClassifier(**settings).fit(X, y)
    assert furthest(mine, other) < 1e-12
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-4)
    np.testing.assert_array_equal(mine.predict(X), other.predict(X))
    assert mine.score(X, y) == other.score(X, y)


def test_weights_of_samples_end_at_the_weights_of_scikit_learn(wine):
    X, y = wine
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    settings = {"solver": "sgd", "shuffle": False, "max_iter": 20, "random_state": 1}
    mine = MLPClassifier(**settings).fit(X, y, weight)
    assert furthest(mine, theirs.MLPClassifier(**settings).fit(X, y, sample_weight=weight)) < 1e-12


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 1.0])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("ours", "peer"), PAIRS)
def test_weights_of_samples_in_several_batches_too(ours, peer, several, alpha, wine):
    """Every batch has another sum of weights, by which scikit-learn divides alpha; its epoch is the mean of batches."""
    X, y = wine[0], (np.eye(3, dtype=int)[wine[1]] if several else wine[1])
    weight = np.random.default_rng(0).uniform(0.1, 5, len(y))
    settings = {"solver": "sgd", "shuffle": False, "max_iter": 20, "random_state": 1, "batch_size": 50, "alpha": alpha}
    mine, other = ours(**settings).fit(X, y, weight), peer(**settings).fit(X, y, sample_weight=weight)
    assert furthest(mine, other) < 1e-12  # 80 steps, the last of each epoch with 28 samples
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-10)


def test_weights_of_samples_with_poissons_loss_and_with_early_stopping(wine):
    X, y = wine
    weight = np.random.default_rng(0).uniform(0.1, 5, len(y))
    settings = {"solver": "sgd", "shuffle": False, "max_iter": 20, "random_state": 1, "batch_size": 50}
    mine = MLPRegressor("poisson", **settings).fit(X, y, weight)
    other = theirs.MLPRegressor("poisson", **settings).fit(X, y, sample_weight=weight)
    assert furthest(mine, other) < 1e-12
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-10)
    settings |= {"early_stopping": True, "alpha": 0.5, "max_iter": 60}
    for ours, peer in PAIRS:
        mine, other = ours(**settings).fit(X, y, weight), peer(**settings).fit(X, y, sample_weight=weight)
        assert mine.validation_scores_ == pytest.approx(other.validation_scores_, abs=1e-10)
        assert mine.n_iter_ == other.n_iter_
        assert furthest(mine, other) < 1e-10


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_alpha_is_divided_by_what_is_in_the_last_batch(wine, solver):
    settings = {"solver": solver, "shuffle": False, "max_iter": 20, "random_state": 1, "batch_size": 50, "alpha": 1.0}
    settings |= {"epsilon": 1e-20}  # which stands in another place here
    mine, other = MLPClassifier(**settings).fit(*wine), theirs.MLPClassifier(**settings).fit(*wine)
    assert furthest(mine, other) < (1e-12 if solver == "sgd" else 1e-9)
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-10 if solver == "sgd" else 1e-8)


@pytest.mark.parametrize("random_state", range(3))
@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("batch_size", [89, 178])
def test_adaptive_rates_end_at_the_epoch_of_scikit_learn_however_large_alpha_is(wine, batch_size, alpha, random_state):
    settings = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "shuffle": False}
    settings |= {"batch_size": batch_size, "max_iter": 400, "alpha": alpha, "random_state": random_state}
    mine, other = MLPClassifier(**settings).fit(*wine), theirs.MLPClassifier(**settings).fit(*wine)
    assert mine.n_iter_ == other.n_iter_
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-9)
    assert furthest(mine, other) < 1e-9


@pytest.mark.parametrize(("alpha", "batch_size", "weights"), [(1e-4, 50, 1e-5), (4e-3, 50, 2e-3), (8e-3, 89, 1e-9)])
def test_a_small_alpha_is_nearly_that_of_scikit_learn(wine, alpha, batch_size, weights):
    """The engine makes whole epochs, with one decay for all their batches: docs/sklearn.md has these figures."""
    settings = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "shuffle": False}
    settings |= {"batch_size": batch_size, "max_iter": 300, "alpha": alpha, "random_state": 0}
    mine, other = MLPClassifier(**settings).fit(*wine), theirs.MLPClassifier(**settings).fit(*wine)
    assert mine._optimizer.weight_decay < SLIGHT
    assert mine.n_iter_ == other.n_iter_
    assert furthest(mine, other) < weights
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=0.02)


@pytest.mark.parametrize(
    "settings",
    [{"dropout": 0.3}, {"clip_norm": 0.1}, {"solver": "rmsprop"}, {"solver": "adagrad", "activation": "gelu"},
     {"solver": "sgd", "learning_rate": "invscaling"}, {"early_stopping": True, "monitor": "loss"},
     {"solver": "sgd", "learning_rate": cr.StepLR(0.1, 3)}, {"dtype": "float32"}],
    ids=str,
)  # fmt: skip
def test_steps_one_by_one_are_those_of_the_engine(wine, settings, monkeypatch):
    """Of equal batches, all that differs is how the penalty gets into the loss."""
    X, y = wine
    settings |= {"alpha": 1.0, "batch_size": 89, "max_iter": 10, "random_state": 0}
    if "early_stopping" in settings:
        settings |= {"batch_size": 80}
    one_by_one = MLPClassifier(**settings).fit(X, y)
    monkeypatch.setattr("chainrule.estimators.multilayer.SLIGHT", np.inf)
    whole = MLPClassifier(**settings).fit(X, y)
    assert furthest(one_by_one, whole) < (1e-4 if "dtype" in settings else 1e-9)
    np.testing.assert_allclose(one_by_one.loss_curve_, whole.loss_curve_, rtol=0.1)
    assert one_by_one.loss_curve_ != whole.loss_curve_


def test_steps_of_all_samples_are_made_by_the_engine_whatever_alpha_is(wine, monkeypatch):
    monkeypatch.setattr("chainrule.estimators.multilayer.passes", None)  # which steps one by one would call
    X, y = wine
    settings = {"solver": "sgd", "alpha": 1.0, "max_iter": 30, "random_state": 1}
    for weight in (None, np.random.default_rng(0).uniform(0.1, 5, len(y))):
        mine = MLPClassifier(**settings).fit(X, y, weight).partial_fit(X, y, weight)
        other = theirs.MLPClassifier(**settings).fit(X, y, weight).partial_fit(X, y, weight)
        assert furthest(mine, other) < 1e-12
        np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-12)


def test_layers_that_the_engine_does_not_know_make_steps_one_by_one_too(wine):
    class Square(cr.Module):
        def forward(self, x):
            return x * x, x

        def backward(self, dy, x):
            return 2 * x * dy

    found = MLPClassifier((8,), Square(), alpha=1.0, max_iter=5, random_state=0).fit(*wine)
    assert np.isfinite(found.loss_)


def test_what_makes_steps_one_by_one_goes_on_where_the_engine_was_and_back(wine):
    X, y = wine
    weight = np.random.default_rng(0).uniform(0.1, 5, len(y))
    settings = {"shuffle": False, "batch_size": 89, "max_iter": 3, "random_state": 0, "warm_start": True}
    plain = MLPClassifier(**settings).fit(X, y)
    decay = plain._optimizer.weight_decay
    turns = MLPClassifier(**settings).fit(X, y)
    steps = plain._optimizer.steps
    turns.set_params(alpha=1.0).fit(X, y, weight)
    assert turns._optimizer.steps == 2 * steps
    turns.set_params(alpha=1e-4).fit(X, y)
    assert turns._optimizer.steps == 3 * steps
    assert turns._optimizer.weight_decay == decay
    assert pickle.loads(pickle.dumps(turns)).predict(X).shape == y.shape


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_other_solvers_come_to_the_same_loss(digits, solver):
    settings = {"solver": solver, "shuffle": False, "max_iter": 30, "random_state": 0}
    mine, other = MLPClassifier(**settings).fit(*digits), theirs.MLPClassifier(**settings).fit(*digits)
    # Adam's eps stands in another place here, as in PyTorch: it counts for weights whose gradients are tiny, such as
    # those of pixels that are always black, which no prediction depends on.
    np.testing.assert_allclose(mine.predict_proba(digits[0]), other.predict_proba(digits[0]), atol=1e-3)
    assert mine.loss_ == pytest.approx(other.loss_, rel=1e-4)
    assert solver == "adam" or furthest(mine, other) < 1e-6
    assert mine.n_iter_ == other.n_iter_


def test_early_stopping_splits_scores_and_stops_like_scikit_learn(digits):
    settings = {"solver": "sgd", "learning_rate_init": 0.05, "shuffle": False, "early_stopping": True}
    settings |= {"max_iter": 100, "random_state": 5, "batch_size": 180}  # 1,440 samples: eight batches
    mine, other = MLPClassifier(**settings).fit(*digits), theirs.MLPClassifier(**settings).fit(*digits)
    assert mine.validation_scores_ == pytest.approx(other.validation_scores_, abs=1e-12)
    assert mine.best_validation_score_ == other.best_validation_score_
    assert mine.n_iter_ == other.n_iter_ < 100
    assert mine.best_loss_ is other.best_loss_ is None
    assert furthest(mine, other) < 1e-10  # those of the best score
    assert len(mine.validation_loss_curve_) == mine.n_iter_


def test_regressors_stop_early_like_scikit_learn(diabetes):
    settings = {"solver": "sgd", "shuffle": False, "early_stopping": True, "random_state": 5, "batch_size": 90}
    mine, other = MLPRegressor(**settings).fit(*diabetes), theirs.MLPRegressor(**settings).fit(*diabetes)
    assert mine.validation_scores_ == pytest.approx(other.validation_scores_, abs=1e-10)
    assert mine.n_iter_ == other.n_iter_ < 200


def test_training_ends_when_the_loss_no_longer_falls(wine):
    settings = {"solver": "sgd", "learning_rate_init": 0.1, "tol": 1e-3, "shuffle": False, "random_state": 0}
    mine, other = MLPClassifier(**settings).fit(*wine), theirs.MLPClassifier(**settings).fit(*wine)
    assert mine.n_iter_ == other.n_iter_ < 200
    assert mine.best_loss_ == pytest.approx(other.best_loss_, rel=1e-4)


def test_adaptive_rates_are_divided_when_the_loss_no_longer_falls_and_end_the_run(wine, capsys):
    settings = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.5, "tol": 1e-3, "verbose": True}
    settings |= {"shuffle": False, "random_state": 0, "max_iter": 400}
    mine = MLPClassifier(**settings).fit(*wine)
    said = capsys.readouterr().out
    other = theirs.MLPClassifier(**settings).fit(*wine)
    assert furthest(mine, other) < 1e-9
    cuts = [[line for line in text.splitlines() if "Setting" in line] for text in (said, capsys.readouterr().out)]
    assert cuts[0] == cuts[1] != []
    assert "Learning rate too small. Stopping." in said
    assert mine.n_iter_ == other.n_iter_


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_inverse_scaling_follows_the_count_of_samples(wine, momentum):
    settings = {"solver": "sgd", "learning_rate": "invscaling", "momentum": momentum, "shuffle": False}
    settings |= {"power_t": 0.3, "learning_rate_init": 0.5, "max_iter": 15, "random_state": 0}
    assert furthest(MLPClassifier(**settings).fit(*wine), theirs.MLPClassifier(**settings).fit(*wine)) < 1e-12


def test_verbose_says_what_scikit_learn_says(wine, capsys):
    settings = {"solver": "sgd", "alpha": 0.0, "verbose": True, "max_iter": 3, "random_state": 0, "shuffle": False}
    MLPClassifier(**settings).fit(*wine)
    said = capsys.readouterr().out
    theirs.MLPClassifier(**settings).fit(*wine)
    assert said == capsys.readouterr().out


def test_the_warnings_of_scikit_learn_are_given(wine):
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached and the optimization hasn't"):
        MLPClassifier(max_iter=2).fit(*wine)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 2 iteration"):
        MLPClassifier(solver="lbfgs", max_iter=2).fit(*wine)
    with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger than sample size"):
        MLPClassifier(batch_size=1000, max_iter=2).fit(*wine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(solver="sgd", learning_rate_init=0.1, tol=0.1).fit(*wine)  # it has converged
        MLPClassifier(max_iter=2).partial_fit(*wine, classes=[0, 1, 2])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_network_computes_in_the_dtype_of_X_or_in_the_one_asked_for(wine, dtype):
    X, y = wine
    asked = MLPClassifier(max_iter=2, dtype=dtype).fit(X, y)
    followed = MLPClassifier(max_iter=2).fit(X.astype(dtype), y)
    assert {c.dtype.name for c in asked.coefs_ + followed.coefs_ + asked.intercepts_} == {dtype}
    assert asked.predict_proba(X).dtype == followed.predict_proba(X).dtype == dtype


# -- and what it refused


@pytest.mark.parametrize("name", ["leaky_relu", "elu", "gelu", "silu", "softplus"])
def test_more_activations_learn(digits, name):
    classifier = MLPClassifier((30,), name, max_iter=30, learning_rate_init=0.01, random_state=0).fit(*digits)
    assert classifier.score(*digits) > 0.98


def test_each_layer_may_have_its_own_activation_and_dropout(digits):
    classifier = MLPClassifier((20, 10), ["gelu", cr.LeakyReLU(0.2)], dropout=[0.0, 0.25], max_iter=2).fit(*digits)
    kinds = [type(layer).__name__ for layer in classifier.network_]
    assert kinds == ["Linear", "GELU", "Linear", "LeakyReLU", "Dropout", "Linear"]
    assert classifier.network_[3].negative_slope == 0.2
    assert classifier.network_[4].p == 0.25


def test_dropout_is_for_training_alone_and_differs_between_runs(digits):
    X, y = digits
    classifier = MLPClassifier(dropout=0.5, max_iter=20, random_state=0).fit(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), classifier.predict_proba(X))
    assert classifier.score(X, y) > 0.95
    without = MLPClassifier(max_iter=20, random_state=0).fit(X, y)
    assert classifier.loss_ > 1.5 * without.loss_  # as it is seen through the masks


@pytest.mark.parametrize("solver", ["adamw", "rmsprop", "adagrad", cr.AdamW(lr=0.01), cr.SGD(0.1, 0.9, nesterov=True)])
def test_more_solvers_learn(digits, solver):
    settings = {"max_iter": 40, "learning_rate_init": 0.02, "random_state": 0}
    classifier = MLPClassifier((30,), solver=solver, **settings).fit(*digits)
    assert classifier.score(*digits) > 0.97
    if not isinstance(solver, str):
        assert solver.steps == 0  # a copy was used


def test_adamw_decays_weights_alone_and_by_alpha(wine):
    settings = {"solver": "adamw", "learning_rate_init": 0.1, "max_iter": 1, "random_state": 0}
    free, decayed = (MLPClassifier(alpha=alpha, **settings).fit(*wine) for alpha in (0.0, 0.5))
    start = MLPClassifier(solver="sgd", learning_rate_init=1e-300, max_iter=1, random_state=0).fit(*wine)
    for a, b, first in zip(free.coefs_, decayed.coefs_, start.coefs_, strict=True):
        np.testing.assert_allclose(b, a - 0.05 * first, atol=1e-12)
    for a, b in zip(free.intercepts_, decayed.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_schedules_set_the_rate_of_every_epoch(diabetes, solver):
    X, y = diabetes
    rate = cr.StepLR(0.01, step_size=5, gamma=0.0)
    stopped = MLPRegressor(solver=solver, learning_rate=rate, max_iter=10, random_state=0, momentum=0).fit(X, y)
    short = MLPRegressor(solver=solver, learning_rate_init=0.01, max_iter=5, random_state=0, momentum=0).fit(X, y)
    assert furthest(stopped, short) == 0
    assert rate is stopped.learning_rate


@pytest.mark.parametrize("solver", ["sgd", "adam", "rmsprop"])
def test_a_schedule_may_cycle_the_momentum_and_count_steps(diabetes, solver):
    X, y = diabetes
    rate = cr.OneCycleLR(0.01, total_steps=20)  # 10 epochs of 2
    cycled = MLPRegressor(solver=solver, learning_rate=rate, max_iter=10, random_state=0).fit(X, y)
    assert cycled._optimizer.current_momentum == pytest.approx(0.95)
    assert cycled._optimizer.current_lr * (2 if solver == "sgd" else 1) == pytest.approx(0.01 / 25 / 1e4)
    cut = MLPRegressor(solver=solver, learning_rate=cr.StepLR(rate, 9, gamma=0.0), max_iter=10, random_state=0)
    assert furthest(cut.fit(X, y), cycled) > 0


def test_a_solver_that_has_no_momentum_refuses_a_schedule_that_cycles_it(diabetes):
    wrong = MLPRegressor(solver="adagrad", learning_rate=cr.OneCycleLR(0.01, total_steps=30))
    with pytest.raises(ValueError, match="Adagrad: lr must leave the momentum alone"):
        wrong.fit(*diabetes)
    assert not hasattr(wrong, "network_")


@pytest.mark.parametrize("other", [cr.LambdaLR(0.01, lambda epoch: 0.0), cr.StepLR(0.0, 3)])
def test_another_schedule_is_followed_after_a_warm_start(diabetes, other):
    rate = cr.LambdaLR(0.01, lambda epoch: 1.0)
    model = MLPRegressor(learning_rate=rate, max_iter=2, random_state=0, warm_start=True).fit(*diabetes)
    before = [weights.copy() for weights in model.coefs_]
    model.set_params(learning_rate=other).fit(*diabetes)
    assert model._optimizer.current_lr == 0
    for now, weights in zip(model.coefs_, before, strict=True):
        np.testing.assert_array_equal(now, weights)


def test_clipping_bounds_what_a_step_changes(diabetes):
    X, y = diabetes
    settings = {"solver": "sgd", "momentum": 0, "alpha": 0, "learning_rate_init": 1.0, "max_iter": 1}
    settings |= {"batch_size": len(y), "random_state": 0}
    start = MLPRegressor(**(settings | {"learning_rate_init": 1e-300})).fit(X, y)
    clipped = MLPRegressor(**settings, clip_norm=0.01).fit(X, y)
    moved = [p - q for p, q in zip(clipped.coefs_ + clipped.intercepts_, start.coefs_ + start.intercepts_, strict=True)]
    assert np.sqrt(sum(np.sum(m**2) for m in moved)) == pytest.approx(0.01, rel=1e-6)
    assert furthest(MLPRegressor(**settings, clip_value=0.001).fit(X, y), start) == pytest.approx(0.001, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "measure"),
    [("absolute_error", cr.L1Loss()), ("huber", cr.HuberLoss(delta=0.5)), ("quantile", cr.QuantileLoss(0.2))],
)
def test_more_losses_are_lowered_below_those_of_squared_error(diabetes, loss, measure):
    X, y = diabetes[0], diabetes[1].copy()
    y[::10] += 10  # which pull a square much more than the others
    settings = {"max_iter": 300, "learning_rate_init": 0.01, "random_state": 0, "delta": 0.5, "quantile": 0.2}
    named = MLPRegressor(loss, (20,), **settings).fit(X, y)
    given = MLPRegressor(measure, (20,), **settings).fit(X, y)
    other = MLPRegressor(hidden_layer_sizes=(20,), **settings).fit(X, y)
    values = [float(measure(e.predict(X)[:, None], y[:, None])) for e in (named, given, other)]
    assert values[0] == values[1] < values[2]


def test_the_last_layer_may_have_an_activation(diabetes):
    X, y = diabetes
    share = 1 / (1 + np.exp(-y))
    regressor = MLPRegressor(out_activation="logistic", max_iter=100, learning_rate_init=0.01).fit(X, share)
    assert 0 < regressor.predict(X).min() < regressor.predict(X).max() < 1
    assert regressor.score(X, share) > 0.5
    assert regressor.out_activation_ == "logistic"


def test_weights_of_classes_count_like_weights_of_samples(cancer):
    X, y = cancer
    by_class = MLPClassifier(class_weight={0: 3.0, 1: 0.5}, max_iter=5, random_state=0).fit(X, y)
    by_sample = MLPClassifier(max_iter=5, random_state=0).fit(X, y, np.where(y == 0, 3.0, 0.5))
    assert furthest(by_class, by_sample) == 0


def test_balanced_classes_weigh_the_same():
    index, weight = np.array([0, 0, 0, 1, 2, 2]), np.array([1.0, 2, 1, 4, 0.5, 0.5])
    found = estimator_outputs.balanced(index, weight)
    np.testing.assert_allclose(np.bincount(index, weights=found), [3, 3, 3])
    columns = np.array([[1, 0], [1, 1], [0, 1], [1, 1]])
    np.testing.assert_allclose(estimator_outputs.balanced(columns, None), [4 / 6 * 2, 4 / 6 * 4 / 6, 2 * 4 / 6, 4 / 9])


def test_validation_data_of_ones_own_are_watched(digits):
    X, y = digits
    classifier = MLPClassifier(max_iter=15, random_state=0)
    classifier.fit(X[:1000], y[:1000], X_val=X[1000:], y_val=y[1000:])
    assert len(classifier.validation_loss_curve_) == 15
    expected = log_loss(y[1000:], classifier.predict_proba(X[1000:]))
    assert classifier.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-10)
    assert classifier.validation_scores_ is None
    alone = MLPClassifier(max_iter=15, random_state=0).fit(X[:1000], y[:1000])
    assert furthest(classifier, alone) == 0  # being watched changes nothing


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_the_validation_loss_is_in_the_numbers_of_the_training_loss(diabetes, loss):
    X, y = diabetes
    y = np.abs(y)
    regressor = MLPRegressor(loss, max_iter=5, random_state=0, alpha=0)
    regressor.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    said, true = regressor.predict(X[200:]), y[200:]
    value = (true - said) ** 2 / 2 if loss == "squared_error" else true * np.log(true / said) - true + said
    assert regressor.validation_loss_curve_[-1] == pytest.approx(value.mean(), rel=1e-10)


@pytest.mark.parametrize("monitor", ["score", "loss"])
def test_early_stopping_leaves_the_best_epoch_of_the_validation_data(cancer, monitor):
    X, y = cancer
    classifier = MLPClassifier((50,), early_stopping=True, monitor=monitor, learning_rate_init=0.02, random_state=0)
    classifier.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert classifier.n_iter_ < 200
    if monitor == "score":
        assert classifier.score(X[200:], y[200:]) == max(classifier.validation_scores_)
        assert classifier.best_validation_score_ == max(classifier.validation_scores_)
    else:
        found = log_loss(y[200:], classifier.predict_proba(X[200:]))
        assert found == pytest.approx(min(classifier.validation_loss_curve_), rel=1e-9)
        assert classifier.best_loss_ == min(classifier.validation_loss_curve_)
        assert classifier.validation_scores_ is None


def test_weights_of_validation_samples_count_in_scores_and_losses(wine):
    X, y = wine
    weight = np.where(y == 0, 5.0, 1.0)
    classifier = MLPClassifier(early_stopping=True, max_iter=3, random_state=0)
    classifier.fit(X, y, X_val=X, y_val=y, sample_weight_val=weight)
    best = accuracy_score(y, classifier.predict(X), sample_weight=weight)
    assert classifier.best_validation_score_ == pytest.approx(best)
    regressor = MLPRegressor(early_stopping=True, max_iter=3, random_state=0)
    regressor.fit(X, X[:, :2], X_val=X, y_val=X[:, :2], sample_weight_val=weight)
    best = r2_score(X[:, :2], regressor.predict(X), sample_weight=weight)
    assert regressor.best_validation_score_ == pytest.approx(best)


# -- going on


@pytest.mark.parametrize("solver", ["sgd", "adam", "rmsprop", cr.Adam(lr=0.002)])
def test_going_on_keeps_the_moments_of_the_optimizer(wine, solver):
    X, y = wine
    settings = {"solver": solver, "shuffle": False, "random_state": 0}
    at_once = MLPClassifier(max_iter=6, **settings).fit(X, y)
    warm = MLPClassifier(max_iter=3, warm_start=True, **settings).fit(X, y).fit(X, y)
    partial = MLPClassifier(**settings)
    for _ in range(6):
        partial.partial_fit(X, y, classes=[0, 1, 2])
    assert furthest(at_once, warm) == furthest(at_once, partial) == 0
    assert len(warm.loss_curve_) == len(partial.loss_curve_) == 6
    assert (warm.n_iter_, partial.n_iter_, warm.t_) == (3, 1, 6 * len(y))
    assert partial._optimizer.steps == 6


def test_going_on_with_another_rate_keeps_the_moments_too(wine):
    X, y = wine
    classifier = MLPClassifier(max_iter=3, warm_start=True, shuffle=False, random_state=0).fit(X, y)
    before = deepcopy(classifier)
    classifier.set_params(learning_rate_init=1e-300).fit(X, y)
    assert furthest(classifier, before) < 1e-250
    assert classifier._optimizer.steps == 6
    classifier.set_params(learning_rate_init=0.001, solver="sgd").fit(X, y)  # whose state is of another kind
    assert classifier._optimizer.steps == 3


@pytest.mark.parametrize(
    "then", [{"solver": "adam"}, {"early_stopping": True}, {"early_stopping": True, "monitor": "loss"}]
)
@pytest.mark.parametrize("first", [{"solver": "lbfgs"}, {"solver": "sgd"}, {"early_stopping": True}])
def test_going_on_by_another_solver_or_another_measure_begins_its_records(cancer, first, then):
    classifier = MLPClassifier(max_iter=3, warm_start=True, random_state=0).set_params(**first).fit(*cancer)
    classifier.set_params(**({"solver": "adam", "early_stopping": False} | then)).fit(*cancer)
    assert len(classifier.loss_curve_) == (3 if first == {"solver": "lbfgs"} else 6)
    by_score = classifier.early_stopping and classifier.monitor == "score"
    assert (classifier.validation_scores_ is not None) == by_score
    assert (classifier.best_loss_ is None) == by_score


def test_going_on_draws_another_order_each_time(wine):
    X, y = wine
    settings = {"solver": "sgd", "batch_size": 20, "random_state": 0, "learning_rate_init": 0.1}
    twice = MLPClassifier(**settings, max_iter=1, warm_start=True).fit(X, y).fit(X, y)
    again = MLPClassifier(**settings, max_iter=1, warm_start=True).fit(X, y).fit(X, y)
    fresh = clone(twice).set_params(warm_start=False).fit(X, y).fit(X, y)
    assert furthest(twice, again) == 0
    assert furthest(twice, fresh) > 0


def test_a_pickled_estimator_goes_on_as_if_it_had_not_been(digits):
    X, y = digits
    classifier = MLPClassifier(random_state=0).partial_fit(X, y, classes=np.arange(10))
    classifier.predict(X)
    copy = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(copy.predict_proba(X), classifier.predict_proba(X))
    assert furthest(copy.partial_fit(X, y), classifier.partial_fit(X, y)) == 0
    np.testing.assert_array_equal(copy.predict_proba(X), classifier.predict_proba(X))


def test_warm_starts_and_partial_fits_refuse_other_classes(wine):
    X, y = wine
    warm = MLPClassifier(max_iter=1, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        warm.fit(X, y % 2)
    partial = MLPClassifier()
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        partial.partial_fit(X, y)
    partial.partial_fit(X, y, classes=[2, 1, 0])
    with pytest.raises(ValueError, match="is not the same as on last call to partial_fit"):
        partial.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="`y` has classes not in"):
        partial.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="y must have 1 outputs as before, got 2"):
        MLPRegressor(max_iter=1).partial_fit(X, y).partial_fit(X, X[:, :2])
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as refused:
        MLPClassifier(solver="lbfgs").partial_fit(X, y)
    assert "partial_fit is only available for stochastic" in str(refused.value.__cause__)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
        MLPClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])


# -- the gradient by the inputs


def differences(function, X, eps=1e-6):
    """Central differences of a function of X by each feature, (n, …, n_features)."""
    columns = []
    for j in range(X.shape[1]):
        up, down = X.copy(), X.copy()
        up[:, j] += eps
        down[:, j] -= eps
        columns.append((function(up) - function(down)) / (2 * eps))
    return np.stack(columns, axis=-1)


def test_the_gradient_by_the_inputs_agrees_with_differences(wine, diabetes):
    X, y = wine
    for labels in (y, y == 1, np.stack([y == 0, y < 2], axis=1).astype(int)):
        classifier = MLPClassifier((8,), "tanh", max_iter=20, random_state=0, dropout=0.2).fit(X, labels)
        expected = differences(classifier.predict_proba, X)
        np.testing.assert_allclose(classifier.input_gradient(X), expected, atol=1e-8)
        np.testing.assert_allclose(classifier.input_gradient(X, 1), expected[:, 1], atol=1e-8)
        classifier.network_.eval()
        gradient = classifier.network_.param()[0].grad
        gradient[...] = 7
        classifier.input_gradient(X)
        assert not classifier.network_.training  # its mode is the user's, and so are its gradients
        assert (gradient == 7).all()
    X, y = diabetes
    for loss, target in (("squared_error", y), ("squared_error", np.stack([y, -y], axis=1)), ("poisson", np.abs(y))):
        regressor = MLPRegressor(loss, (8,), "gelu", max_iter=20, random_state=0).fit(X, target)
        np.testing.assert_allclose(regressor.input_gradient(X), differences(regressor.predict, X), atol=1e-7)
    with pytest.raises(ValueError, match=r"input_gradient: output must be in 0 … 0, got 1"):
        regressor.input_gradient(X, 1)


# -- data of all kinds


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.coo_matrix])
def test_sparse_data_are_the_same_data(digits, form):
    X, y = np.maximum(digits[0], 0), digits[1]
    dense = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    thin = MLPClassifier(max_iter=3, random_state=0).fit(form(X), y)
    assert furthest(dense, thin) == 0
    np.testing.assert_array_equal(dense.predict_proba(X), thin.predict_proba(form(X)))


@pytest.mark.parametrize("labels", [["a", "b", "c"], [-1.0, 3.0, 7.0], [True, False, True]])
def test_labels_may_be_of_any_type(wine, labels):
    X, y = wine
    y = np.array(labels)[y]
    classifier = MLPClassifier(max_iter=100, learning_rate_init=0.01, random_state=0).fit(X, y)
    assert classifier.predict(X).dtype == y.dtype
    assert classifier.score(X, y) == 1
    np.testing.assert_array_equal(classifier.classes_, np.unique(y))


def test_several_labels_may_come_sparse():
    X, y = multilabel()
    a = MLPClassifier(max_iter=5, random_state=0).fit(X, y)
    b = MLPClassifier(max_iter=5, random_state=0).fit(X, sparse.csr_matrix(y))
    assert furthest(a, b) == 0
    assert a.predict(X).shape == a.predict_proba(X).shape == y.shape


def test_a_sample_that_weighs_nothing_changes_nothing_at_all(digits):
    X, y = digits
    weight = np.random.default_rng(0).integers(0, 2, len(y)).astype(float)
    kept = weight > 0
    weighted = MLPClassifier(max_iter=3, random_state=0, early_stopping=True).fit(X, y, weight)
    left = MLPClassifier(max_iter=3, random_state=0, early_stopping=True).fit(X[kept], y[kept], weight[kept])
    assert furthest(weighted, left) == 0


def test_coefs_may_be_set_and_written_into(wine):
    X, y = wine
    classifier = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    classifier.predict(X)  # which compiles the network
    classifier.coefs_[-1][...] = 0
    classifier.intercepts_[-1][...] = [0, 0, 9]
    np.testing.assert_array_equal(classifier.predict(X), 2)
    classifier.coefs_, classifier.intercepts_ = deepcopy(classifier.coefs_), [np.zeros(100), np.array([9.0, 0, 0])]
    np.testing.assert_array_equal(classifier.predict(X), 0)


def test_the_network_is_one_of_chainrule(wine, tmp_path):
    X, y = wine
    classifier = MLPClassifier(max_iter=10, random_state=0).fit(X, y)
    classifier.network_.save(tmp_path / "wine.safetensors")
    logits = cr.predict(cr.load(tmp_path / "wine.safetensors"), X)
    np.testing.assert_allclose(cr.Softmax()(logits), classifier.predict_proba(X), rtol=1e-12)


# -- errors


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0"),
        ({"hidden_layer_sizes": 2.5}, "hidden_layer_sizes must be > 0"),
        ({"activation": "sine"}, 'MLPClassifier: activation must be "identity", .* or "softplus", got \'sine\''),
        ({"activation": ["relu", "tanh"]}, "activation must be one, or 1 for 1 hidden layers, got 2"),
        ({"dropout": 1.0}, "MLPClassifier: dropout must be .* below 1, got 1.0"),
        ({"dropout": 0.5, "solver": "lbfgs"}, "dropout needs a stochastic solver"),
        ({"solver": "newton"}, 'MLPClassifier: solver must be "lbfgs", "sgd"'),
        ({"alpha": -1}, "MLPClassifier: alpha must be at least 0 and finite, got -1"),
        ({"learning_rate": "cosine"}, 'learning_rate must be "constant", "invscaling" or "adaptive"'),
        ({"learning_rate_init": 0}, "learning_rate_init must be above 0"),
        ({"momentum": 1.5}, "momentum must be .* below 1"),
        ({"max_iter": 0}, "max_iter must be a positive integer"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"batch_size": "all"}, "batch_size must be a positive integer"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be a positive integer"),
        ({"monitor": "accuracy"}, 'monitor must be "score" or "loss"'),
        ({"clip_norm": 0}, "clip_norm must be above 0"),
        ({"dtype": "float16"}, 'dtype must be "float32" or "float64", got \'float16\''),
        ({"shuffle": "yes"}, "shuffle must be True or False"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "validation set is too small"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_errors_that_name_them(wine, settings, says):
    classifier = MLPClassifier(**settings)  # as scikit-learn asks for, nothing is looked at before fit
    with pytest.raises((ValueError, TypeError), match=says):
        classifier.fit(*wine)


def test_data_that_do_not_fit_are_errors(wine):
    X, y = wine
    with pytest.raises(ValueError, match="X_val must be given too, got only y_val"):
        MLPClassifier().fit(X, y, y_val=y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MLPClassifier().fit(X, y, X_val=X, y_val=y[:-1])
    with pytest.raises(ValueError, match="has 12 features, but"):
        MLPClassifier(max_iter=1).fit(X, y, X_val=X[:, 1:], y_val=y)
    with pytest.raises(ValueError, match="`y` has classes not in"):
        MLPClassifier(max_iter=1).fit(X, y, X_val=X, y_val=y + 1)
    with pytest.raises(ValueError, match="Unknown label type"):
        MLPClassifier().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="several columns of more classes"):
        MLPClassifier().fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="y must not be negative for loss='poisson'"):
        MLPRegressor("poisson").fit(X, y - 1)
    with pytest.raises(ValueError, match='loss must be "squared_error", "poisson"'):
        MLPRegressor("mse").fit(X, y)
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        MLPClassifier().fit(X, y, -np.ones(len(y)))
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)
    with pytest.raises(AttributeError, match="not fitted"):
        _ = MLPClassifier().coefs_


def test_a_loss_that_is_no_number_is_an_error_that_says_why(diabetes):
    X, y = diabetes
    says = r"^Solver produced non-finite parameter weights. The input data may contain large values and need to be "
    with pytest.raises(ValueError, match=rf"{says}preprocessed\. fit: .*learning rate"):
        MLPRegressor(solver="sgd", learning_rate_init=1e6).fit(1e3 * X, y)
    with pytest.raises(ValueError, match=rf"{says}preprocessed\. fit: .*learning rate"):
        MLPRegressor(solver="sgd", learning_rate_init=1e6).partial_fit(1e3 * X, y).partial_fit(1e3 * X, y)


@pytest.mark.parametrize("rate", ["constant", "adaptive"])
@pytest.mark.parametrize("several", [False, True])
def test_with_early_stopping_a_regression_that_diverges_ends_as_in_scikit_learn(rate, several, wine):
    X, y = 1e3 * wine[0], np.eye(3)[wine[1]] if several else wine[1]
    settings = {"activation": "identity", "solver": "sgd", "learning_rate_init": 10.0, "learning_rate": rate}
    settings |= {"max_iter": 60, "early_stopping": True, "n_iter_no_change": 3, "random_state": 0, "shuffle": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mine, other = MLPRegressor(**settings).fit(X, y), theirs.MLPRegressor(**settings).fit(X, y)
    require_same_end(mine, other)
    assert np.isnan(mine.validation_scores_[-1])
    assert isinstance(mine.validation_scores_[-1], float)
    np.testing.assert_array_equal(np.isnan(mine.validation_scores_[5:]), np.isnan(other.validation_scores_[5:]))
    with pytest.raises(ValueError, match="Solver produced non-finite"):  # no epoch has a loss that could be the best
        MLPRegressor(**settings, monitor="loss").fit(1e200 * X, y)


@pytest.mark.parametrize("rate", ["constant", "adaptive"])
@pytest.mark.parametrize("weighted", [False, True])
def test_with_early_stopping_a_classification_that_diverges_ends_as_in_scikit_learn(rate, weighted, wine):
    X, y = wine
    weight = np.random.default_rng(0).uniform(0.5, 1.5, len(y)) if weighted else None
    settings = {"solver": "sgd", "alpha": 2e4, "learning_rate_init": 0.1, "learning_rate": rate, "shuffle": False}
    settings |= {"max_iter": 300, "early_stopping": True, "n_iter_no_change": 250, "random_state": 3}
    settings |= {"activation": "identity", "momentum": 0.0, "hidden_layer_sizes": (20,)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mine, other = (
            kind(**settings).fit(X, y, sample_weight=weight) for kind in (MLPClassifier, theirs.MLPClassifier)
        )
    require_same_end(mine, other)
    assert mine.validation_scores_[-1] == pytest.approx(other.validation_scores_[-1])  # of always saying class 0


def require_same_end(mine, other):
    """Of two runs that diverged: as many epochs, and the best parameters given back."""
    assert np.isnan(mine.loss_)
    assert mine.n_iter_ == other.n_iter_ == len(mine.loss_curve_) == len(mine.validation_scores_)
    assert mine.t_ == other.t_
    assert mine.best_validation_score_ == pytest.approx(other.best_validation_score_)
    assert all(np.isfinite(coef).all() for coef in mine.coefs_ + mine.intercepts_)
    assert furthest(mine, other) < 1e-9 * max(np.abs(coef).max() for coef in other.coefs_)


def test_a_classification_that_is_broken_from_the_first_epoch_is_an_error_as_in_scikit_learn(wine):
    settings = {"solver": "sgd", "learning_rate_init": 1e307, "early_stopping": True, "random_state": 0}
    for kind in (MLPClassifier, theirs.MLPClassifier):
        with np.errstate(all="ignore"), pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
            kind(**settings).fit(1e3 * wine[0], wine[1])


# -- samples and classes that weigh nothing


def estimators_of_classes():
    build = cr.Sequential(cr.Linear(13, 8, rng=0), cr.Tanh(), cr.Linear(8, 3, rng=0))
    return [
        MLPClassifier((8,), max_iter=5, random_state=0),
        MLPClassifier((8,), max_iter=5, random_state=0, early_stopping=True),
        MLPClassifier((8,), max_iter=5, random_state=0, solver="lbfgs", class_weight="balanced"),
        NetworkClassifier(build, epochs=5, random_state=0),
        NetworkClassifier(epochs=5, random_state=0, validation_fraction=0.2, class_weight="balanced"),
    ]


@pytest.mark.parametrize("gone", [0, 1, 2])
@pytest.mark.parametrize("estimator", estimators_of_classes(), ids=range(5))
def test_a_class_that_weighs_nothing_is_still_a_class(wine, estimator, gone):
    X, y = wine
    weight = np.where(y == gone, 0.0, 1.0)
    found = clone(estimator).fit(X, y, weight)
    other = theirs.MLPClassifier((8,), max_iter=5, random_state=0).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(found.classes_, other.classes_)
    assert found.predict_proba(X).shape == (len(y), 3)
    names = np.array(["a", "b", "c"])[y]
    assert list(clone(estimator).fit(X, names, weight).classes_) == ["a", "b", "c"]
    by_class = clone(estimator).set_params(class_weight={c: float(c != gone) for c in range(3)}).fit(X, y)
    np.testing.assert_array_equal(by_class.classes_, [0, 1, 2])
    assert furthest_of(by_class, clone(estimator).set_params(class_weight=None).fit(X, y, weight)) == 0


def furthest_of(a, b):
    pairs = zip(a.network_.param(), b.network_.param(), strict=True)
    return max(np.abs(p.value - q.value).max() for p, q in pairs)


def test_two_classes_of_which_one_weighs_nothing(cancer):
    X, y = cancer
    weight = (y == 1).astype(float)
    mine, other = (one(learning_rate_init=0.1, random_state=0) for one in (MLPClassifier, theirs.MLPClassifier))
    mine.fit(X, y, weight)
    other.fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(mine.classes_, other.classes_)
    np.testing.assert_array_equal(mine.predict_proba(X).shape, other.predict_proba(X).shape)
    assert (mine.predict(X) == 1).all()


def test_labels_that_weigh_nothing_must_be_known_too(wine):
    X, y = wine
    weight = np.where(y == 2, 0.0, 1.0)
    for one in (MLPClassifier, theirs.MLPClassifier):
        found = one(max_iter=2, random_state=0).partial_fit(X, y, sample_weight=weight, classes=[0, 1, 2])
        np.testing.assert_array_equal(found.classes_, [0, 1, 2])
        with pytest.raises(ValueError, match=r"has classes not in"):
            one(random_state=0).partial_fit(X, y, sample_weight=weight, classes=[0, 1])
    warm = MLPClassifier(max_iter=2, warm_start=True, random_state=0).fit(X, y)
    assert list(warm.fit(X, y, weight).classes_) == [0, 1, 2]


def test_rows_that_weigh_nothing_change_no_regression(diabetes):
    X, y = diabetes
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    kept, far = weight > 0, np.where(weight > 0, y, 1e6)
    for estimator in (MLPRegressor(max_iter=3, random_state=0), NetworkRegressor(epochs=3, random_state=0)):
        weighted = clone(estimator).fit(X, far, weight)
        assert furthest_of(weighted, clone(estimator).fit(X[kept], y[kept])) < 1e-12


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor, NetworkClassifier, NetworkRegressor])
def test_weights_that_are_all_zero_or_negative_are_refused(wine, kind):
    X, y = wine
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero number"):
        kind().fit(X, y, np.zeros(len(y)))
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        kind().fit(X, y, np.linspace(-1, 1, len(y)))
    if hasattr(kind(), "class_weight"):
        with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero number"):
            kind(class_weight={0: 0, 1: 0, 2: 0}).fit(X, y)


@pytest.mark.parametrize(
    "around",
    [
        lambda one: VotingClassifier([("one", one)]),
        lambda one: CalibratedClassifierCV(one, cv=2),
        lambda one: StackingClassifier([("tree", DecisionTreeClassifier(random_state=0))], final_estimator=one, cv=2),
        lambda one: BaggingClassifier(one, n_estimators=2, random_state=0),
    ],
    ids=["voting", "calibrated", "stacking", "bagging"],
)
def test_what_is_built_around_a_classifier_keeps_the_class_too(wine, around):
    X, y = wine
    weight = np.where(y == 1, 0.0, 1.0)
    found = around(MLPClassifier((8,), max_iter=40, random_state=0, solver="lbfgs")).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(found.classes_, [0, 1, 2])
    said = found.predict(X)
    assert (said[y != 1] == y[y != 1]).mean() > 0.9  # and class 2 is not taken for class 1


def test_ctrl_c_leaves_a_usable_estimator(digits, monkeypatch):
    import _thread

    from chainrule.estimators.epochs import Epochs

    told, pressed = Epochs.__call__, []

    def interrupting(self, run):
        told(self, run)
        if self.estimator.n_iter_ >= 3 and not pressed:
            pressed.append(_thread.interrupt_main())

    monkeypatch.setattr(Epochs, "__call__", interrupting)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        classifier = MLPClassifier(max_iter=1000).fit(*digits)
    assert 3 <= classifier.n_iter_ == len(classifier.loss_curve_) < 1000
    assert classifier.predict(digits[0]).shape == digits[1].shape


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 3.0])
def test_the_course_is_the_same_however_often_the_engine_comes_back(wine, alpha, monkeypatch):
    from chainrule.estimators.epochs import Epochs

    settings = {"alpha": alpha, "max_iter": 300, "learning_rate_init": 0.01, "tol": 1e-3, "random_state": 0}
    waiting = MLPClassifier(**settings).fit(*wine)
    again = MLPClassifier(**settings).fit(*wine)
    monkeypatch.setattr(Epochs, "ahead", lambda self, history: 1)
    asked = MLPClassifier(**settings).fit(*wine)
    assert waiting.loss_curve_ == again.loss_curve_
    assert furthest(waiting, asked) == 0
    assert waiting.n_iter_ == asked.n_iter_ < 300
    np.testing.assert_allclose(waiting.loss_curve_, asked.loss_curve_, rtol=1e-5)
