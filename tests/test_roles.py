"""What does not play its part is refused at every door, by the same words, before anything is changed."""

import re

import numpy as np
import pytest
import torch
from networks import bits, small_network

import chainrule as cr

X = np.random.default_rng(0).normal(size=(20, 2))
DATA = (X, X)
OPTIMIZER = cr.SGD(0.1)


def fit(model, loss, optimizer):
    cr.fit(model, loss, DATA, epochs=1, optimizer=optimizer)


def evaluate(model, loss, optimizer):
    cr.evaluate(model, loss, DATA)


def predict(model, loss, optimizer):
    cr.predict(model, X)


def compiled(model, loss, optimizer):
    cr.compile(model, loss, optimizer)


def many(model, loss, optimizer):
    cr.fit_many(small_network, loss, DATA, epochs=1, optimizer=optimizer)


def many_in_a_grid(model, loss, optimizer):
    grid = {"loss": [loss], "optimizer": [optimizer]}
    cr.fit_many(small_network, cr.MSELoss(), DATA, epochs=1, grid=grid)


WHO = {
    fit: "fit",
    evaluate: "evaluate",
    predict: "predict",
    compiled: "compile",
    many: "fit_many",
    many_in_a_grid: "fit_many",
}


def refused(doors, message, **wrong):
    """Each door raises a TypeError that begins with its name."""
    for door in doors:
        model = small_network()
        before = bits(model)
        with pytest.raises(TypeError, match="^" + re.escape(f"{WHO[door]}: {message}")):
            door(**{"model": model, "loss": cr.MSELoss(), "optimizer": OPTIMIZER} | wrong)
        assert bits(model) == before


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ([cr.Linear(2, 2), cr.Tanh()], "model must be a Module, got several; make one of them: Sequential(*layers)"),
        (cr.Sequential, "model must be a Module, such as Sequential(…), got the class Sequential; call it"),
        (torch.nn.Linear(2, 2), "model must be a Module, such as Sequential(…), got PyTorch's Linear; see from_torch"),
        (cr.MSELoss(), "model must be a network, got the loss MSELoss(); the model comes first, then the loss"),
        (X, "model must be a Module, such as Sequential(…), got a ndarray"),
        ("mlp", "model must be a Module, such as Sequential(…), got 'mlp'"),
        (None, "model must be a Module, such as Sequential(…), got None"),
        (small_network, "model must be a Module, such as Sequential(…), got the function small_network"),
    ],
)
def test_what_is_no_model_is_refused(model, message):
    refused((fit, evaluate, predict, compiled), message, model=model)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mse", "loss must be a loss, such as MSELoss(), got 'mse'; did you mean MSELoss()?"),
        (
            "cross_entropy",
            "loss must be a loss, such as MSELoss(), got 'cross_entropy'; did you mean CrossEntropyLoss()?",
        ),
        ("energy", "loss must be a loss, such as MSELoss(), got 'energy'"),
        (cr.MSELoss, "loss must be a loss, such as MSELoss(), got the class MSELoss; call it: MSELoss(…)"),
        (torch.nn.L1Loss(), "loss must be a loss, such as MSELoss(), got PyTorch's L1Loss; see from_torch"),
        (torch.nn.functional.mse_loss, "loss must be a loss, such as MSELoss(), got the function mse_loss"),
        (OPTIMIZER, "loss must be a loss, such as MSELoss(), got the optimizer SGD(lr=0.1); give optimizer=…"),
        (cr.Tanh(), "loss must be a Module of (y, target), such as MSELoss(), got Tanh()"),
        (DATA, "loss must be a loss, such as MSELoss(), got a tuple"),
    ],
)
def test_what_is_no_loss_is_refused(loss, message):
    refused((fit, evaluate, compiled, many, many_in_a_grid), message, loss=loss)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("adam", "optimizer must be an optimizer, such as Adam(), got 'adam'; did you mean Adam()?"),
        ("sgd", "optimizer must be an optimizer, such as Adam(), got 'sgd'; did you mean SGD()?"),
        (cr.Adam, "optimizer must be an optimizer, such as Adam(), got the class Adam; call it: Adam(…)"),
        (0.1, "optimizer must be an optimizer, such as Adam(), got 0.1"),
        (cr.StepLR(0.1, 3), "optimizer must be an optimizer, got a schedule; give it to one: SGD(lr=StepLR(lr=0.1, "),
        (
            torch.optim.Adam([torch.zeros(1, requires_grad=True)]),
            "optimizer must be an optimizer, such as Adam(), got PyTorch's Adam; see train_torch",
        ),
    ],
)
def test_what_is_no_optimizer_is_refused(optimizer, message):
    refused((fit, compiled, many, many_in_a_grid), message, optimizer=optimizer)


def test_no_optimizer_at_all_is_told_where_to_give_one():
    with pytest.raises(ValueError, match=r"fit: no optimizer; give optimizer=…, or make one the first argument of"):
        cr.fit(small_network(), cr.MSELoss(), DATA, epochs=1)


def test_a_model_is_no_function_that_builds_one():
    with pytest.raises(TypeError, match="fit_many: build must be a function that returns a new model each time"):
        cr.fit_many(small_network(), cr.MSELoss(), DATA, epochs=1)
    failed = cr.fit_many(lambda: [cr.Linear(2, 2)], cr.MSELoss(), DATA, epochs=1, optimizer=OPTIMIZER)
    assert (
        failed[0].error
        == "TypeError: build: model must be a Module, got several; make one of them: Sequential(*layers)"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": "accuracy"}, "fit: metrics must be a list of functions, got 'accuracy'"),
        ({"metrics": cr.metrics.r2}, "fit: metrics must be a list of functions, got the function r2"),
        ({"metrics": ["r2"]}, "fit: each of metrics must be a function, got 'r2'"),
        ({"metrics": [lambda y: 0.0]}, "a metric must take (y, target) or (y, target, sample_weight), got <function"),
        ({"metrics": [lambda y, target, w: 0.0]}, "a metric must take (y, target) or (y, target, sample_weight)"),
        ({"callbacks": print}, "fit: callbacks must be a list of functions, got the function print"),
        ({"callbacks": [cr.callbacks.Log]}, "fit: each of callbacks must be a function, got the class Log; call it"),
        ({"stop": cr.EarlyStopping}, "fit: stop must be a function, got the class EarlyStopping; call it"),
        ({"stop": "early"}, "fit: stop must be a function, got 'early'"),
    ],
)
def test_functions_are_functions(options, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        cr.fit(small_network(), cr.MSELoss(), DATA, epochs=1, optimizer=OPTIMIZER, **options)


@pytest.mark.parametrize("own", [True, False])
def test_groups_of_other_parameters_than_the_models_are_refused(own):
    model, other = cr.Sequential(cr.Linear(2, 3), cr.Linear(3, 1)), cr.Linear(3, 1)
    optimizer = cr.Adam(groups=[{"parameters": model[0]}, {"parameters": other, "lr": 0.5}])
    how = {} if own else {"optimizer": optimizer}
    model = cr.Sequential(optimizer, *model) if own else model
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    says = r": each of the groups must be of Parameters of the model, and groups\[1\] is of others: .* 2 Parameters"
    with pytest.raises(ValueError, match="^fit" + says):
        cr.fit(model, cr.MSELoss(), (x, y), epochs=1, **how)
    with pytest.raises(ValueError, match="^compile" + says):
        cr.compile(model, cr.MSELoss(), **how)
    cr.compile(model)  # in which nothing is updated
    optimizer.groups = [{"parameters": [model[0], other], "lr": 0.5}]  # that has some of the model's
    cr.fit(model, cr.MSELoss(), (x, y), epochs=1, **how)
