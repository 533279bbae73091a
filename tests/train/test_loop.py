import math
import types

import numpy as np
import pytest
import torch
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


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_batch_whose_classes_weigh_nothing_still_adds_what_label_smoothing_spreads(engine, batch_size):
    loss = cr.CrossEntropyLoss([0.0, 1.0, 1.0], label_smoothing=0.1)
    x, target = np.eye(3, dtype="float64"), np.array([0, 1, 2])
    model = cr.Sequential(cr.Linear(3, 3, dtype="float64", rng=0))
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(model(x)),
        torch.from_numpy(target),
        torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64),
        label_smoothing=0.1,
    )
    history = cr.fit(model, loss, (x, target), epochs=1, batch_size=batch_size, optimizer=cr.SGD(lr=0.0), engine=engine)
    assert history.losses[0] == pytest.approx(float(expected), rel=1e-12)
    assert cr.evaluate(model, loss, (x, target)).loss == pytest.approx(float(expected), rel=1e-12)


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
    [epoch] = loop_of(model, loss, data, batch_size=batch_size).run(0, 1, Watch())
    # means of batches, weighted and added: about four roundings for each of the 50 samples
    assert epoch.loss == pytest.approx(cr.evaluate(model, loss, data).loss, rel=200 * np.finfo(np.float64).eps)


def test_steps_count_updates():
    loop = loop_of(small_network(), cr.MSELoss())
    loop.run(0, 2, Watch())
    assert loop.steps == 7  # six batches of 8, one of 2
    loop.run(1, 2, Watch())
    assert loop.steps == 14


def test_loop_ends_between_two_steps_when_the_watch_says_so():
    says = iter(["", "", "", "enough"])
    loop = loop_of(small_network(), cr.MSELoss())
    assert loop.run(0, 1, types.SimpleNamespace(reason=lambda: next(says), pauses=lambda: False)) == []
    assert loop.steps == 3


def test_a_pause_comes_after_a_step_and_what_follows_goes_on_from_there():
    whole, paused = (loop_of(small_network(), cr.MSELoss(), optimizer=cr.SGD(lr=0.1)) for _ in range(2))
    [expected] = whole.run(0, 1, Watch())
    watch, finished = types.SimpleNamespace(reason=lambda: "", pauses=lambda: True, elapsed_s=1.0), []
    for step in range(7):
        assert (paused.steps, finished) == (step, [])
        finished = paused.run(0, 1, watch)
    assert [(epoch.loss, epoch.learning_rate) for epoch in finished] == [(expected.loss, expected.learning_rate)]
    assert bits(paused.model) == bits(whole.model)


def test_a_loss_that_is_not_finite_changes_nothing():
    model = small_network()
    model[2].bias.value[...] = 1e200  # finite, but not its square
    before = bits(model)
    loop = loop_of(model, cr.MSELoss(), optimizer=cr.SGD(lr=0.1))
    with np.errstate(over="ignore"):
        assert loop.run(0, 1, Watch()) == []
    assert loop.diverged == "the loss became NaN or infinite"
    assert loop.steps == 0
    assert bits(model) == before


def test_a_parameter_that_is_not_finite_ends_the_epoch():
    model = small_network()
    optimizer = types.SimpleNamespace(step=lambda parameters: parameters[0].value.fill(math.nan))
    loop = loop_of(model, cr.MSELoss(), optimizer=optimizer, batch_size=50)
    assert loop.run(0, 1, Watch()) == []
    assert loop.diverged == "a parameter became NaN or infinite"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_losses_that_are_not_finite_are_named(value):
    with pytest.raises(Diverged, match="the loss became NaN or infinite"):
        require_finite_loss(value)


def test_gradients_start_from_zero_in_every_step():
    model = small_network()
    for parameter in model.param():
        parameter.grad.fill(math.nan)
    [epoch] = loop_of(model, cr.MSELoss(), optimizer=cr.SGD(lr=0.1)).run(0, 1, Watch())
    assert math.isfinite(epoch.loss)
    assert all(np.isfinite(parameter.value).all() for parameter in model.param())
