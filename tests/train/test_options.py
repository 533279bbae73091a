"""The options of training stand in one place, and every door shows them."""

import inspect
from dataclasses import MISSING, FrozenInstanceError, fields, replace

import numpy as np
import pytest

import chainrule as cr
from chainrule.estimators import NetworkClassifier, NetworkRegressor
from chainrule.many.configurations import OPTIONS
from chainrule.train.options import CONFIGURABLE, NAMES, OF_ONE_RUN, Chosen, ChosenOfMany, Options, chosen

FIELDS = {field.name: field for field in fields(Options)}


def test_type_checkers_are_told_the_same_options():
    types = {name: field.type for name, field in FIELDS.items()} | {"epochs": "Required[int]"}
    for told, without in ((Chosen, ()), (ChosenOfMany, OF_ONE_RUN)):
        hints = {**inspect.get_annotations(ChosenOfMany), **inspect.get_annotations(told)}
        hints = {name: getattr(hint, "__forward_arg__", hint) for name, hint in hints.items()}
        assert hints == {name: kind for name, kind in types.items() if name not in without}


@pytest.mark.parametrize(
    ("function", "own", "without"),
    [
        (cr.fit, ["model", "loss", "train"], ()),
        (cr.fit_many, ["build", "loss", "train", "grid", "configs", "seeds", "folds"], OF_ONE_RUN),
    ],
)
def test_a_signature_has_every_option_with_its_default_and_type(function, own, without):
    shown = inspect.signature(function).parameters
    assert list(shown) == own + [name for name in NAMES if name not in without]
    for name, field in FIELDS.items():
        if name not in without:
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            assert (shown[name].default, shown[name].annotation) == (default, field.type)
            assert shown[name].kind is inspect.Parameter.KEYWORD_ONLY
            assert function.__annotations__[name] == field.type
    assert function.__annotations__["return"] is (cr.History if function is cr.fit else cr.Results)


def test_the_words_of_each_option_are_in_the_help():
    words = inspect.getdoc(cr.fit)
    for name in NAMES:
        assert f"\n{name} : " in words
        assert f"\n{name} : " in inspect.getdoc(Options)
    assert "\noptions\n" not in words
    assert words.startswith("Train a model on data, by any loss.\n")
    assert "\nRaises ValueError" in words


def test_what_a_configuration_may_set_are_options_of_many_runs():
    assert set(CONFIGURABLE) <= set(NAMES) - set(OF_ONE_RUN)
    assert set(OPTIONS) == {*CONFIGURABLE, "loss", "train_size"}


@pytest.mark.parametrize("estimator", [NetworkClassifier, NetworkRegressor])
def test_what_an_estimator_offers_reaches_fit(estimator, monkeypatch):
    seen = {}

    def fit(model, loss, data, **options):
        seen.update(options)
        return cr.History()

    monkeypatch.setattr("chainrule.train.fit", fit)
    given = {"shuffle": False, "keep": "last", "stop": cr.EarlyStopping(2), "max_seconds": 5.0, "callbacks": [print]}
    estimator(epochs=7, **given).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    assert given.items() <= seen.items()
    assert (seen["epochs"], seen["batch_size"]) == (7, 4)
    assert seen.keys() <= set(NAMES)


def test_options_are_checked_when_they_are_made_and_stay():
    options = Options(epochs=3, metrics=iter([cr.metrics.mae]))
    assert options.metrics == [cr.metrics.mae]
    with pytest.raises(FrozenInstanceError):
        options.epochs = 4
    with pytest.raises(ValueError, match="fit: batch_size must be a positive integer, got 0"):
        replace(options, batch_size=0)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"epochs": 0}, ValueError, "who: epochs must be a positive integer, got 0"),
        ({"epochs": 1, "keep": "all"}, ValueError, 'who: keep must be "best" or "last", got \'all\''),
        ({"epochs": 1, "engine": "gpu"}, ValueError, 'who: engine must be "auto", "native" or "python", got \'gpu\''),
        ({"epochs": 1, "max_seconds": 0}, ValueError, "who: max_seconds must be a positive number, got 0"),
        ({"epochs": 1, "shuffle": "no"}, TypeError, "who: shuffle must be True or False, got 'no'"),
        ({"epochs": 1, "resume": "run"}, TypeError, "who: resume must be True or False, got 'run'"),
        ({"epochs": 1, "resume": True}, ValueError, "who: resume=True needs to know from where"),
        ({"epochs": 1, "stop": 3}, TypeError, "who: stop must be a function, got 3"),
        ({"epochs": 1, "metrics": "mae"}, TypeError, "who: metrics must be a list of functions, got 'mae'"),
        ({"epochs": 1, "callbacks": print}, TypeError, "who: callbacks must be a list of functions, got the function"),
        ({"epochs": 1, "threads": 0}, ValueError, "who: threads must be a positive integer, got 0"),
        ({"epoch": 1}, TypeError, r"who\(\) got an unexpected keyword argument 'epoch'"),
        ({"epochs": 1, "who": "me"}, TypeError, r"who\(\) got an unexpected keyword argument 'who'"),
        ({}, TypeError, r"who\(\) missing 1 required keyword-only argument: 'epochs'"),
    ],
)
def test_what_no_option_can_be_is_refused(given, error, says):
    with pytest.raises(error, match=says):
        chosen("who", given)


@pytest.mark.parametrize("engine", ["python", "native"])
def test_a_switch_may_be_numpys(engine):
    x = np.arange(12.0).reshape(6, 2)
    losses = []
    for shuffle in (False, np.False_, 0):
        model = cr.Linear(2, 1, dtype="float64", rng=0)
        how = {"epochs": 2, "batch_size": 2, "optimizer": cr.SGD(lr=0.001), "engine": engine}
        losses.append(cr.fit(model, cr.MSELoss(), (x, x[:, :1]), shuffle=shuffle, **how).losses)
    assert losses[0] == losses[1] == losses[2]


def test_many_networks_share_no_seed_and_no_checkpoint():
    for name in OF_ONE_RUN:
        with pytest.raises(TypeError, match=rf"fit_many\(\) got an unexpected keyword argument '{name}'"):
            cr.fit_many(lambda: None, cr.MSELoss(), ([[0.0]], [[0.0]]), epochs=1, **{name: None})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sample_weight", r"'sample_weight'; weights go with the data: \(x, target, sample_weight\)"),
        ("learning_rate", r"'learning_rate'; an optimizer has the rate"),
        ("validation_data", "'validation_data'; it is called validation"),
        ("other", "'other'$"),
    ],
)
def test_what_others_call_an_option_is_told_where_it_is(name, says):
    for function in (cr.fit, cr.fit_many):
        with pytest.raises(TypeError, match=rf"{function.__name__}\(\) got an unexpected keyword argument {says}"):
            function(cr.Linear(1, 1), cr.MSELoss(), ([[1.0]], [[1.0]]), epochs=1, **{name: 1})
