import math
import types

import numpy as np
import pytest
from networks import bits, small_network

import chainrule as cr
from chainrule.train.loop import Diverged, PythonLoop, require_finite_loss
from chainrule.train.prepare import prepare
from chainrule.train.watch import Watch

DATA = cr.data.disk(50, seed=0)


def loop_of(model, loss, data=DATA, optimizer=None, **options):
    ready = prepare("test", "data", data, model, loss)
    options = {"batch_size": 8, "seed": 0, "shuffle": True} | options
    return PythonLoop(model, loss, optimizer or cr.SGD(lr=0.0), ready, **options)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 60])
@pytest.mark.parametrize(
    "loss",
    [
        cr.CrossEntropyLoss(),
        cr.CrossEntropyLoss(reduction="sum"),
        cr.CrossEntropyLoss([0.3, 2.0]),
        cr.CrossEntropyLoss([0.3, 2.0], reduction="sum"),
        cr.CrossEntropyLoss(ignore_index=1),
    ],
    ids=repr,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_of_an_epoch_is_that_of_all_samples_where_nothing_moves(loss, batch_size, weighted):
    target = cr.data.disk(50, seed=0, classes=True).target
    data = cr.Dataset(DATA.x, target, np.arange(1.0, 51.0) if weighted else None)
    model = small_network()
    value = loop_of(model, loss, data, batch_size=batch_size).epoch(0, Watch())
    # means of batches, weighted and added: about four roundings for each of the 50 samples
    assert value == pytest.approx(cr.evaluate(model, loss, data).loss, rel=200 * np.finfo(np.float64).eps)


def test_steps_count_updates():
    loop = loop_of(small_network(), cr.MSELoss())
    loop.epoch(0, Watch())
    assert loop.steps == 7  # six batches of 8, one of 2
    loop.epoch(1, Watch())
    assert loop.steps == 14


def test_loop_ends_between_two_steps_when_the_watch_says_so():
    says = iter(["", "", "", "enough"])
    loop = loop_of(small_network(), cr.MSELoss())
    assert loop.epoch(0, types.SimpleNamespace(reason=lambda: next(says))) is None
    assert loop.steps == 3


def test_a_loss_that_is_not_finite_changes_nothing():
    model = small_network()
    model[2].bias.value[...] = 1e200  # finite, but not its square
    before = bits(model)
    loop = loop_of(model, cr.MSELoss(), optimizer=cr.SGD(lr=0.1))
    with pytest.raises(Diverged, match="the loss became NaN or infinite"), np.errstate(over="ignore"):
        loop.epoch(0, Watch())
    assert loop.steps == 0
    assert bits(model) == before


def test_a_parameter_that_is_not_finite_ends_the_epoch():
    model = small_network()
    optimizer = types.SimpleNamespace(step=lambda parameters: parameters[0].value.fill(math.nan))
    with pytest.raises(Diverged, match="a parameter became NaN or infinite"):
        loop_of(model, cr.MSELoss(), optimizer=optimizer, batch_size=50).epoch(0, Watch())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_losses_that_are_not_finite_are_named(value):
    with pytest.raises(Diverged, match="the loss became NaN or infinite"):
        require_finite_loss(value)


def test_gradients_start_from_zero_in_every_step():
    model = small_network()
    for parameter in model.param():
        parameter.grad.fill(math.nan)
    assert math.isfinite(loop_of(model, cr.MSELoss(), optimizer=cr.SGD(lr=0.1)).epoch(0, Watch()))
    assert all(np.isfinite(parameter.value).all() for parameter in model.param())
