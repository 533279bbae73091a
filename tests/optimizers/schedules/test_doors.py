"""Every schedule, with odd arguments, at every door: repr, files, copies, both loops, fit_many, PyTorch."""

import copy
import dataclasses
import json
import pickle
import tempfile

import drawn_schedules
import numpy as np
import pytest
import torch
from drawn_schedules import CYCLES, DECAYS, FACTORS, RESTARTS, sequences
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.files.description import build_rule, describe_rule

FUNCTIONS = {name: vars(drawn_schedules)[name] for name in ("zigzag", "slowly", "falling")}
every_kind = st.one_of(*FACTORS, *DECAYS, *RESTARTS, *CYCLES, sequences())
units = st.sampled_from(["epoch", "step"])

X = np.random.default_rng(0).normal(size=(32, 3))
DATA = (X, X[:, :1])


def still(one):
    """The same without a momentum, which the engine does not cycle."""
    cycles = one.name in ("OneCycleLR", "CyclicLR")
    return dataclasses.replace(one, options=one.options | {"cycle_momentum": False}) if cycles else one


def small(one, every):
    """A hundredth of its rates, which no network grows by."""
    return cr.LinearLR(one.ours(every=every), 0.01, 0.01)


def course(schedule):
    return [(schedule.at(steps=t, epochs=t), schedule.momentum_at(steps=t, epochs=t)) for t in range(70)]


def with_functions(schedule):
    held = any(callable(value) for value in vars(schedule).values())
    return held or any(map(with_functions, schedule.inner()))


def network():
    return cr.Sequential(cr.Linear(3, 4, rng=0, dtype="float64"), cr.Tanh(), cr.Linear(4, 1, rng=1, dtype="float64"))


def fit(rate, engine="auto", **options):
    options = {"epochs": 6, "batch_size": 8, "keep": "last"} | options
    model = network()
    return cr.fit(model, cr.MSELoss(), DATA, optimizer=cr.SGD(rate), engine=engine, **options), model.state_dict()


@settings(max_examples=200, deadline=None)
@given(one=every_kind, every=units)
def test_the_call_it_shows_makes_it_again_and_so_do_files_and_copies(one, every):
    schedule = one.ours(every=every)
    again = [eval(repr(schedule), vars(cr) | FUNCTIONS), copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))]
    if not with_functions(schedule):
        again.append(build_rule(json.loads(json.dumps(describe_rule(schedule), allow_nan=False))))
    for other in again:
        assert repr(other) == repr(schedule)
        assert course(other) == course(schedule)


@settings(max_examples=60, deadline=None)
@given(one=every_kind, every=units)
def test_both_loops_take_the_same_rates_and_the_history_shows_those_of_each_first_step(one, every):
    rate = small(still(one), every)
    (native, theirs), (python, ours) = fit(rate, "native"), fit(rate, "python")
    assert native.learning_rates == python.learning_rates
    assert native.learning_rates == [rate.at(steps=4 * epoch, epochs=epoch) for epoch in range(6)]
    for name, value in ours.items():
        np.testing.assert_allclose(theirs[name], value, rtol=1e-10, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(one=every_kind, every=units)
def test_a_run_that_goes_on_has_the_rates_of_a_whole_one(one, every):
    rate = small(one, every)
    optimizer, model, found = cr.SGD(rate), network(), []
    for epochs in (2, 3, 1):
        model, optimizer = copy.deepcopy((model, optimizer))
        options = {"epochs": epochs, "batch_size": 8, "keep": "last", "optimizer": optimizer}
        found += cr.fit(model, cr.MSELoss(), DATA, **options).learning_rates
    assert found == fit(rate)[0].learning_rates


@pytest.mark.parametrize("engine", ["native", "python"])
@settings(max_examples=15, deadline=None)
@given(one=every_kind, every=units)
def test_a_run_from_a_checkpoint_has_the_bits_of_a_whole_one(engine, one, every):
    rate = small(still(one) if engine == "native" else one, every)
    whole, weights = fit(rate, engine)
    with tempfile.TemporaryDirectory() as folder:
        fit(rate, engine, epochs=2, checkpoint=folder, resume=True)
        resumed, again = fit(rate, engine, checkpoint=folder, resume=True)
    assert (resumed.losses, resumed.learning_rates) == (whole.losses, whole.learning_rates)
    for name, value in weights.items():
        np.testing.assert_array_equal(again[name], value)


@settings(max_examples=10, deadline=None)
@given(one=every_kind, every=units)
def test_fit_many_gives_each_network_the_rates_that_fit_alone_gives_it(one, every):
    rate = small(still(one), every)
    options = {"epochs": 6, "batch_size": 8, "keep": "last", "optimizer": cr.SGD(rate)}
    for result in cr.fit_many(network, cr.MSELoss(), DATA, seeds=3, **options):
        assert result.history.learning_rates == fit(rate, seed=result.seed)[0].learning_rates
        assert result.history.losses == fit(rate, seed=result.seed)[0].losses


def test_a_network_of_pytorch_is_trained_by_them():
    module = cr.to_torch(network())
    rate = cr.SequentialLR([cr.ConstantLR(0.1), cr.OneCycleLR(0.1, 6, every="epoch")], [3])
    data = torch.utils.data.TensorDataset(*map(torch.tensor, DATA))
    history = cr.train_torch(module, cr.MSELoss(), data, optimizer=cr.SGD(rate), epochs=6, batch_size=8)
    alone, _ = fit(rate)
    assert (history.learning_rates, history.losses) == (alone.learning_rates, alone.losses)
    assert history.learning_rates == [rate.at(steps=0, epochs=epoch) for epoch in range(6)]
