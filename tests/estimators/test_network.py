"""Any network of chainrule's as an estimator."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from moments import enough
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import chainrule as cr
from chainrule.estimators import MLPClassifier, NetworkClassifier, NetworkRegressor


def build(n_features, n_outputs):
    return cr.Sequential(cr.Adam(lr=0.02), cr.Linear(n_features, 16), cr.Tanh(), cr.Linear(16, n_outputs))


def log_probabilities(n_features, n_outputs):
    return build(n_features, n_outputs).append(cr.LogSoftmax())


class Doubled(cr.Module):
    """A layer that the engine does not know."""

    def forward(self, x):
        return 2 * x, None

    def backward(self, dy, saved):
        return 2 * dy


def odd(n_features, n_outputs):
    return cr.Sequential(cr.Linear(n_features, 8), Doubled(), cr.Tanh(), cr.Linear(8, n_outputs))


def same(a, b):
    return all(np.array_equal(p.value, q.value) for p, q in zip(a.network_.param(), b.network_.param(), strict=True))


def test_it_is_fit_with_a_network_around_it(wine):
    X, y = wine
    estimator = NetworkClassifier(build, epochs=20, batch_size=16, random_state=0, dtype="float32").fit(X, y)
    random = np.random.RandomState(0)
    cr.seed(int(random.randint(2**31 - 1)))
    model = build(13, 3)
    history = cr.fit(
        model, cr.CrossEntropyLoss(), (X, y), epochs=20, batch_size=16, seed=int(random.randint(2**31 - 1)), threads=1
    )
    for a, b in zip(estimator.network_.param(), model.param(), strict=True):
        np.testing.assert_array_equal(a.value, b.value)
    assert estimator.history_.losses == history.losses
    assert estimator.history_.engine.startswith("native")
    np.testing.assert_array_equal(estimator.predict(X), cr.predict(model, X).argmax(axis=1))
    assert estimator.score(X, y) > 0.98


@pytest.mark.parametrize(
    ("make", "loss", "outputs"),
    [
        (build, None, 3),
        (build, cr.CrossEntropyLoss(label_smoothing=0.1), 3),
        (log_probabilities, cr.NLLLoss(), 3),
        (build, cr.BCEWithLogitsLoss(), 3),
        (build, cr.MSELoss(), 3),
        (build, cr.HuberLoss(), 3),
    ],
)
def test_every_loss_learns_classes_and_says_probabilities(wine, make, loss, outputs):
    X, y = wine
    y = np.array(["red", "rose", "white"])[y]
    estimator = NetworkClassifier(make, loss=loss, random_state=0).fit(X, y)
    assert estimator.score(X, y) > 0.98
    proba = estimator.predict_proba(X)
    assert proba.shape == (len(y), 3)
    assert estimator.n_outputs_ == outputs
    assert proba.min() >= 0
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(estimator.classes_[proba.argmax(axis=1)], estimator.predict(X))


@pytest.mark.parametrize(("loss", "outputs"), [(None, 2), (cr.BCEWithLogitsLoss(), 1), (cr.MSELoss(), 2)])
def test_two_classes_take_one_output_or_two(cancer, loss, outputs):
    X, y = cancer
    estimator = NetworkClassifier(build, loss=loss, random_state=0).fit(X, y)
    assert estimator.n_outputs_ == outputs
    assert estimator.predict_proba(X).shape == (len(y), 2)
    assert estimator.score(X, y) > 0.97
    assert estimator.input_gradient(X).shape == (len(y), 2, X.shape[1])


@pytest.mark.parametrize("loss", [None, cr.MSELoss()])
def test_samples_may_bear_several_labels(loss):
    X, y = make_multilabel_classification(200, 10, n_classes=4, random_state=0)
    estimator = NetworkClassifier(build, loss=loss, epochs=200, random_state=0).fit(X, y)
    assert estimator.predict(X).shape == y.shape
    assert (estimator.predict(X) == y).mean() > 0.9
    proba = estimator.predict_proba(X)
    assert 0 <= proba.min() < proba.max() <= 1


def test_numbers_are_predicted_one_or_several(diabetes):
    X, y = diabetes
    one = NetworkRegressor(build, epochs=200, random_state=0).fit(X, y)
    several = NetworkRegressor(build, loss=cr.HuberLoss(), epochs=200, random_state=0).fit(X, np.stack([y, -y], axis=1))
    assert one.predict(X).shape == y.shape
    assert several.predict(X).shape == (len(y), 2)
    assert one.score(X, y) > 0.8
    assert several.score(X, np.stack([y, -y], axis=1)) > 0.6


def test_counts_are_predicted_as_exponentials(diabetes):
    X, y = diabetes
    rate = np.random.default_rng(0).poisson(np.exp(y))
    estimator = NetworkRegressor(build, loss=cr.PoissonNLLLoss(), random_state=0).fit(X, rate)
    np.testing.assert_allclose(estimator.predict(X), np.exp(cr.predict(estimator.network_, X))[:, 0])
    assert estimator.predict(X).min() > 0


def test_numbers_that_are_missing_have_no_share(diabetes):
    X, y = diabetes
    gaps = np.random.default_rng(0).uniform(size=len(y)) < 0.4
    missing, there = np.where(gaps, np.nan, y), ~gaps
    how = {"optimizer": cr.SGD(lr=0.05), "epochs": 30, "shuffle": False, "batch_size": len(y), "random_state": 0}
    found = NetworkRegressor(build, loss=cr.MSELoss(missing="ignore"), **how).fit(X, missing)
    without = NetworkRegressor(build, **how).fit(X[there], y[there])
    np.testing.assert_allclose(found.predict(X), without.predict(X), rtol=1e-9, atol=1e-12)
    assert found.score(X, missing) == pytest.approx(without.score(X[there], y[there]), rel=1e-9)
    weight = np.random.default_rng(1).uniform(size=len(y))
    expected = without.score(X[there], y[there], weight[there])
    assert found.score(X, missing, weight) == pytest.approx(expected, rel=1e-9)


def test_numbers_that_are_missing_stay_an_error_unless_the_loss_ignores_them(diabetes):
    X, y = diabetes
    missing = np.where(np.arange(len(y)) % 7 == 0, np.nan, y)
    for estimator in (NetworkRegressor(build), NetworkRegressor(build, loss=cr.L1Loss())):
        with pytest.raises(ValueError, match="Input y contains NaN"):
            estimator.fit(X, missing)
    ignoring = NetworkRegressor(build, loss=cr.L1Loss(missing="ignore"), epochs=2)
    with pytest.raises(ValueError, match="Input y contains infinity"):
        ignoring.fit(X, np.where(np.isnan(missing), np.inf, y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ignoring.fit(X, missing[:-1])
    with pytest.raises(ValueError, match="no sample of train counts"):
        ignoring.fit(X, missing * np.nan)
    with pytest.raises(ValueError, match=r"^NetworkRegressor\.score: no sample of y counts for L1Loss"):
        ignoring.fit(X, missing).score(X, missing * np.nan)


def test_several_numbers_some_of_them_missing_are_validated_scored_and_searched(diabetes):
    X, y = diabetes
    several = np.stack([y, -y, y**2], axis=1)
    several[np.random.default_rng(0).uniform(size=several.shape) < 0.3] = np.nan
    losses = [cr.MSELoss(missing="ignore"), cr.HuberLoss(missing="ignore")]
    how = {"epochs": 40, "validation_fraction": 0.2, "random_state": 0}
    search = GridSearchCV(NetworkRegressor(build, **how), {"loss": losses}, cv=3, error_score="raise")
    assert search.fit(X, several).best_score_ > 0
    assert np.isfinite(search.best_estimator_.history_.validation_losses).all()
    own = NetworkRegressor(build, loss=losses[0], epochs=3).fit(X, several, X_val=X[:50], y_val=several[:50])
    assert len(own.history_.validation_losses) == 3


class Bounded(cr.MSELoss):
    """MSELoss with more where y lies below a bound, which is given by name."""

    def forward(self, y, target, sample_weight=None, *, low):
        value, saved = super().forward(y, target, sample_weight)
        below = (y - low[:, None]) * (y < low[:, None])
        return value + (below * below).mean(), (saved, below)

    def backward(self, dvalue, saved):
        kept, below = saved
        return super().backward(dvalue, kept) + dvalue * 2 * below / below.size


class Named(NetworkRegressor):
    """Whose fit says the name, which is what scikit-learn's routing of metadata goes by."""

    def fit(self, X, y, sample_weight=None, *, low=None):
        return super().fit(X, y, sample_weight, low=low)


def test_what_a_loss_asks_for_is_given_to_fit_by_name(diabetes):
    X, y = diabetes
    low = y - np.random.default_rng(0).uniform(size=len(y))
    how = {"loss": Bounded(), "optimizer": cr.SGD(lr=0.05), "epochs": 3, "random_state": 0}
    estimator = NetworkRegressor(build, **how).fit(X, y, low=low)
    generator = np.random.RandomState(0)
    cr.seed(int(generator.randint(2**31 - 1)))
    network, seed = build(X.shape[1], 1).to(dtype="float64"), int(generator.randint(2**31 - 1))
    data = cr.Dataset(X, y[:, None], extra={"low": low})
    cr.fit(network, Bounded(), data, epochs=3, batch_size=200, seed=seed, optimizer=cr.SGD(lr=0.05))
    np.testing.assert_array_equal(estimator.predict(X), cr.predict(network, X)[:, 0])
    assert estimator.partial_fit(X, y, low=low).history_.epochs == 1
    own = NetworkRegressor(build, **how).fit(X, y, low=low, X_val=X[:40], y_val=y[:40], low_val=low[:40])
    assert own.history_.validation_losses[0] > 0
    split = NetworkRegressor(build, **how, validation_fraction=0.2).fit(X, y, np.arange(len(y)) % 3, low=low)
    assert len(split.history_.validation_losses) == 3


def test_what_a_loss_asks_for_is_cut_by_cross_validation_and_routed(diabetes):
    X, y = diabetes
    low, losses = y - 1.0, [Bounded(), Bounded(reduction="mean")]
    how = {"epochs": 2, "random_state": 0}
    search = GridSearchCV(NetworkRegressor(build, **how), {"loss": losses}, cv=3, error_score="raise").fit(
        X, y, low=low
    )
    assert search.best_estimator_.predict(X).shape == y.shape
    pipeline = make_pipeline(StandardScaler(), NetworkRegressor(build, loss=Bounded(), **how))
    assert pipeline.fit(X, y, networkregressor__low=low).predict(X).shape == y.shape
    with config_context(enable_metadata_routing=True):
        routed = Named(build, loss=Bounded(), **how).set_fit_request(low=True)
        assert len(cross_validate(routed, X, y, params={"low": low}, error_score="raise")["test_score"]) == 5


@pytest.mark.parametrize(
    ("loss", "given", "error", "message"),
    [
        (None, {"low": 1}, TypeError, r"got an unexpected keyword argument 'low'; the loss takes nothing beside y"),
        (
            cr.L1Loss(),
            {"low": 1},
            TypeError,
            r"unexpected keyword argument 'low'; L1Loss takes nothing beside y and sa",
        ),
        (Bounded(), {}, TypeError, r"needs low=…, an array of n samples: Bounded asks for it"),
        (Bounded(), {"low": 1, "high": 1}, TypeError, r"unexpected keyword argument 'high'; Bounded asks for low"),
        (Bounded(), {"low": 1, "low_val": 1}, ValueError, r"X_val must be given too, got only low_val"),
        (Bounded(), {"low": 0}, ValueError, "inconsistent numbers of samples"),
    ],
)
def test_what_is_not_asked_for_or_lacks_is_named(diabetes, loss, given, error, message):
    X, y = diabetes
    arrays = {name: y if whole else y[:-1] for name, whole in given.items()}
    with pytest.raises(error, match=message):
        NetworkRegressor(build, loss=loss, epochs=1).fit(X, y, **arrays)
    if loss is not None and "low" in given and given["low"]:
        return
    if isinstance(loss, Bounded):
        with pytest.raises(TypeError, match="needs low_val=…"):
            NetworkRegressor(build, loss=loss, epochs=1).fit(X, y, low=y, X_val=X, y_val=y)


def test_a_module_is_a_start_of_which_a_copy_is_trained(wine):
    X, y = wine
    start = build(13, 3)
    before = start.state_dict()
    estimator = NetworkClassifier(start, optimizer=cr.SGD(lr=0.1), epochs=3, random_state=0).fit(X, y)
    assert all(np.array_equal(before[name], value) for name, value in start.state_dict().items())
    assert type(estimator._optimizer) is cr.SGD
    assert estimator.optimizer.steps == start.optimizer.steps == 0
    assert same(estimator, clone(estimator).fit(X, y))


def test_groups_are_of_the_parameters_of_the_copy_that_is_trained(wine):
    X, y = wine
    start = cr.Sequential(cr.Linear(13, 6, rng=0), cr.Tanh(), cr.Linear(6, 3, rng=1))
    optimizer = cr.Adam(lr=0.01, groups=[{"parameters": start[0], "lr": 0.0}])
    settings = {"epochs": 3, "random_state": 0}
    given = NetworkClassifier(start, optimizer=optimizer, **settings).fit(X, y)
    with_its_own = cr.Sequential(optimizer, *start)
    own = NetworkClassifier(with_its_own, **settings).fit(X, y)
    made = NetworkClassifier(lambda n_in, n_out: copy.deepcopy(with_its_own), **settings).fit(X, y)
    for estimator in (given, own, made, clone(own).fit(X, y)):
        moved = [(a.value != b.value).any() for a, b in zip(estimator.network_.param(), start.param(), strict=True)]
        assert moved == [False, False, True, True]
        assert same(estimator, given)
    with pytest.raises(ValueError, match="NetworkClassifier: groups of optimizer must be of parameters of the network"):
        NetworkClassifier(build, optimizer=optimizer).fit(X, y)
    with pytest.raises(
        ValueError, match="MLPClassifier: groups of solver are of Parameters that are not the network's"
    ):
        MLPClassifier(solver=optimizer).fit(X, y)


def test_a_network_that_the_engine_does_not_know_runs_in_python(wine):
    X, y = wine
    estimator = NetworkClassifier(odd, optimizer=cr.Adam(lr=0.01), epochs=60, random_state=0).fit(X, y)
    assert "Doubled" in estimator.history_.engine
    assert estimator.score(X, y) > 0.98
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(estimator)).predict(X), estimator.predict(X))


def test_going_on_keeps_network_and_optimizer(wine):
    X, y = wine
    settings = {"build": build, "shuffle": False, "keep": "last", "random_state": 0}
    at_once = NetworkClassifier(epochs=4, **settings).fit(X, y)
    warm = NetworkClassifier(epochs=2, warm_start=True, **settings).fit(X, y).fit(X, y)
    partial = NetworkClassifier(**settings)
    for _ in range(4):
        partial.partial_fit(X, y, classes=[0, 1, 2])
    assert same(at_once, warm)
    assert same(at_once, partial)
    assert (at_once.n_iter_, warm.n_iter_, partial.n_iter_) == (4, 2, 1)


def test_early_stopping_by_validation_data_set_aside_or_ones_own(cancer):
    X, y = cancer
    stop = cr.EarlyStopping(patience=3)
    own = NetworkClassifier(build, stop=stop, epochs=500, random_state=0)
    own.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    aside = NetworkClassifier(build, stop=stop, epochs=500, validation_fraction=0.25, random_state=0).fit(X, y)
    for estimator in (own, aside):
        history = estimator.history_
        assert len(history.validation_losses) == history.epochs == estimator.n_iter_ < 500
    best = cr.evaluate(own.network_, cr.CrossEntropyLoss(), (X[300:], y[300:])).loss
    assert best == pytest.approx(min(own.history_.validation_losses), rel=1e-9)


def test_the_rest_of_fit_can_be_asked_for(wine):
    X, y = wine
    seen = []

    def run(seconds):
        seen.clear()
        how = {"max_seconds": seconds, "callbacks": [seen.append], "class_weight": "balanced"}
        return NetworkClassifier(build, epochs=10**9, **how).fit(X, y)

    _, estimator = enough(run, lambda estimator: estimator.n_iter_ > 0)
    assert "max_seconds" in estimator.history_.stopped
    assert len(seen) == estimator.n_iter_ > 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"build": 3}, r"build must be a Module, or a function .*, got 3"),
        ({"build": lambda n_in, n_out: None}, "build must return a Module, got None"),
        ({"build": lambda n_in, n_out: cr.ReLU()}, "build must make a network with parameters"),
        ({"build": lambda n_in, n_out: cr.Linear(n_in, 2)}, r"must make \(1, 3\) of one row of X .* got \(1, 2\)"),
        ({"build": cr.Linear(5, 3)}, r"x must be \(batch, 5\), got \(1, 13\)"),
        ({"loss": "mse"}, "loss must be a chainrule loss or None, got 'mse'"),
        ({"optimizer": "adam"}, "optimizer must be a chainrule optimizer or None, got 'adam'"),
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"batch_size": "all"}, "batch_size must be a positive integer"),
        ({"validation_fraction": 1.5}, "validation_fraction must be .* below 1"),
        ({"dtype": "int8"}, 'dtype must be "float32" or "float64"'),
        ({"keep": "all"}, 'keep must be "best" or "last"'),
    ],
    ids=range(12),
)
def test_arguments_that_make_no_sense_are_errors_that_name_them(wine, settings, says):
    with pytest.raises((ValueError, TypeError), match=says):
        NetworkClassifier(**settings).fit(*wine)


def test_a_loss_of_classes_is_refused_where_samples_bear_several():
    X, y = make_multilabel_classification(50, 10, n_classes=4, random_state=0)
    with pytest.raises(ValueError, match=r"samples may bear several labels, .*BCEWithLogitsLoss\(\)"):
        NetworkClassifier(loss=cr.CrossEntropyLoss()).fit(X, y)


@pytest.mark.parametrize("last", [True, False])
def test_images_are_refused_with_the_advice_that_makes_them_right(last):
    def of_images(n_features, n_outputs):
        assert n_features == 72
        first = [cr.Reshape(4, 6, 3), cr.Permute(0, 3, 1, 2)] if last else [cr.Reshape(3, 4, 6)]
        return cr.Sequential(*first, cr.Conv2d(3, 4, 3), cr.ReLU(), cr.Flatten(), cr.Linear(32, n_outputs))

    rng = np.random.default_rng(0)
    images, y = rng.normal(size=(90, 3, 4, 6)), rng.integers(2, size=90)
    images[y == 1, 0, 1:3, 2:4] += 2  # something in the middle of the first channel
    images = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if last else images
    classifier = NetworkClassifier(of_images, optimizer=cr.Adam(lr=0.01), epochs=30, random_state=0)
    shape = ", ".join(map(str, images.shape[1:]))
    says = (
        rf"NetworkClassifier: X must be \(n, n_features\), .* got \(90, {shape}\); give it X.reshape\(len\(X\), -1\), "
        rf"and a network that begins with Reshape\({shape}\); where the channels come last, .* Permute\(0, 3, 1, 2\)"
    )
    with pytest.raises(ValueError, match=says):
        classifier.fit(images, y)
    rows = images.reshape(90, -1)
    classifier.fit(rows, y)
    assert classifier.score(rows, y) > 0.95
    with pytest.raises(ValueError, match=says):
        classifier.predict(images)
    with pytest.raises(ValueError, match=r"got \(90, 24, 3\); .* begins with Reshape\(24, 3\)$"):
        classifier.fit(images.reshape(90, 24, 3), y)
    with pytest.raises(ValueError, match=says.replace("Classifier", "Regressor")):
        NetworkRegressor(of_images).fit(images, y)


def test_what_diverges_is_an_error_that_says_why(diabetes):
    with pytest.raises(ValueError, match=r"NetworkRegressor: fit: .*learning rate"):
        NetworkRegressor(optimizer=cr.SGD(lr=1e6)).fit(*diabetes)


# -- several inputs


INPUTS = {"weather": ["temp", "wind"], "calendar": ["month"]}


def rides(n_features, n_outputs):
    assert n_features == {name: len(columns) for name, columns in INPUTS.items()}
    networks = {name: cr.Linear(n, 4) for name, n in n_features.items()}
    return cr.Sequential(cr.Adam(lr=0.02), cr.Parallel(networks), cr.Concat(), cr.Tanh(), cr.Linear(8, n_outputs))


def weather(n=80):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, 4)), columns=["month", "wind", "spare", "temp"])
    return frame, np.sin(frame["month"]) + frame["temp"] - frame["wind"]


def test_columns_go_to_the_inputs_that_name_them():
    frame, y = weather()
    estimator = NetworkRegressor(rides, inputs=INPUTS, epochs=20, batch_size=16, random_state=0).fit(frame, y)
    random = np.random.RandomState(0)
    cr.seed(int(random.randint(2**31 - 1)))
    model = rides({"weather": 2, "calendar": 1}, 1).double()
    x = {"weather": frame[["temp", "wind"]].to_numpy(), "calendar": frame[["month"]].to_numpy()}
    how = {"epochs": 20, "batch_size": 16, "seed": int(random.randint(2**31 - 1))}
    history = cr.fit(model, cr.MSELoss(), (x, y.to_numpy()[:, None]), **how)
    assert estimator.history_.losses == history.losses
    np.testing.assert_array_equal(estimator.predict(frame), cr.predict(model, x)[:, 0])
    others = frame.assign(spare=1e6)
    np.testing.assert_array_equal(estimator.predict(others), estimator.predict(frame))
    positions = {"weather": [3, 1], "calendar": [0]}
    plain = clone(estimator).set_params(inputs=positions).fit(frame.to_numpy(), y)
    assert same(plain, estimator)
    polar = clone(estimator).set_params(inputs=positions).fit(pl.DataFrame(frame), y)
    assert same(polar, estimator)


def test_the_gradient_by_a_column_gathers_that_of_each_input_it_is_shown_to():
    frame, y = weather()
    twice = {"weather": ["temp", "wind"], "calendar": ["temp"]}
    estimator = NetworkRegressor(rides, inputs=twice, epochs=3, random_state=0).fit(frame, y)
    found, h = estimator.input_gradient(frame), 1e-6
    for i, name in enumerate(frame.columns):
        above, below = (frame.assign(**{name: frame[name] + step}) for step in (h, -h))
        slope = (estimator.predict(above) - estimator.predict(below)) / (2 * h)
        np.testing.assert_allclose(found[:, i], slope, rtol=1e-5, atol=1e-8)
    assert not found[:, 2].any()


def test_an_estimator_with_inputs_is_one_like_any_other():
    frame, y = weather(120)
    kinds = np.where(y > 0, "up", "down")
    estimator = NetworkClassifier(rides, inputs=INPUTS, epochs=30, random_state=0)
    assert clone(estimator).get_params()["inputs"] == INPUTS
    scaled = make_pipeline(StandardScaler().set_output(transform="pandas"), estimator)
    search = GridSearchCV(scaled, {"networkclassifier__epochs": [1, 60]}, cv=2).fit(frame, kinds)
    assert search.best_params_ == {"networkclassifier__epochs": 60}
    assert search.score(frame, kinds) > 0.9
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict_proba(frame), search.best_estimator_.predict_proba(frame))
    fitted = NetworkClassifier(rides, inputs=INPUTS, epochs=2, random_state=0, validation_fraction=0.2)
    fitted.fit(frame, kinds, sample_weight=np.ones(120)).partial_fit(frame, kinds)
    assert len(fitted.history_.validation_losses) == 0


def test_going_on_with_other_inputs_is_refused():
    frame, y = weather()
    estimator = NetworkRegressor(rides, inputs=INPUTS, epochs=2, warm_start=True, random_state=0).fit(frame, y)
    before = estimator.predict(frame)
    estimator.set_params(inputs={"weather": ["temp", "spare"], "calendar": ["month"]})
    for go_on in (estimator.fit, estimator.partial_fit):
        with pytest.raises(ValueError, match="inputs must be those that network_ has"):
            go_on(frame, y)
    np.testing.assert_array_equal(estimator.predict(frame), before)
    estimator.set_params(inputs=INPUTS).fit(frame, y)


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        (["temp"], TypeError, "inputs must map names to columns"),
        ({}, TypeError, "inputs must map names to columns"),
        ({"weather": "temp"}, TypeError, r"inputs\['weather'\] must be a list of columns, got 'temp'"),
        ({"weather": []}, TypeError, r"inputs\['weather'\] must be a list of columns, got \[\]"),
        (
            {"weather": ["rain"]},
            ValueError,
            r"\['weather'\] must be columns of X, month, wind, spare, temp, got 'rain'",
        ),
        ({"weather": ["temp", "temp"]}, ValueError, r"inputs\['weather'\] must name each column once"),
        ({"weather": ["temp", 3]}, ValueError, r"inputs\['weather'\] must name each column once, got \['temp', 3\]"),
        ({"weather": [False, True]}, ValueError, r"\['weather'\] must be columns of X, .*, got False"),
        ({"weather": [["temp"]]}, ValueError, r"\['weather'\] must be columns of X, .*, got \['temp'\]"),
    ],
)
def test_inputs_that_are_no_columns_are_refused(inputs, error, says):
    frame, y = weather()
    with pytest.raises(error, match=says):
        NetworkRegressor(rides, inputs=inputs).fit(frame, y)
    with pytest.raises(ValueError, match=r"must be columns of X, 0 … 3 \(X has no names\), got 'temp'"):
        NetworkRegressor(rides, inputs=INPUTS).fit(frame.to_numpy(), y)
    with pytest.raises(ValueError, match="inputs needs build, which says how they come together"):
        NetworkRegressor(inputs=INPUTS).fit(frame, y)


@pytest.mark.parametrize("kind", [NetworkClassifier, NetworkRegressor])
def test_an_argument_that_there_is_not_is_an_error_of_the_class_itself(kind):
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\.__init__\(\) got an unexpected keyword argument 'zzz'"):
        kind(zzz=1)
