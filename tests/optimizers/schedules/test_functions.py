"""Schedules by functions: what comes of them, and which doors a function passes."""

import copy
import pickle
import re
from functools import partial

import numpy as np
import pytest

import chainrule as cr


def halved(epoch):
    """A factor that a program can import by its name."""
    return 0.5**epoch


def power(base, epoch, *, by):
    return float(base) ** (-by * epoch)


class Called:
    """A function that is an object, whose repr is its address."""

    def __call__(self, epoch):
        return 0.5**epoch


class Halved(cr.Schedule):
    """The same as a class, which files know."""

    def after(self, lr, t):
        return lr * 0.5**t


X = np.random.default_rng(0).normal(size=(16, 2))
DATA = (X, X[:, :1])


def network(rate):
    return cr.Sequential(cr.SGD(rate, momentum=0.5), cr.Linear(2, 1, rng=0, dtype="float64"))


def fit(model, epochs, **options):
    return cr.fit(model, cr.MSELoss(), DATA, epochs=epochs, batch_size=4, keep="last", **options)


def rates(schedule, n=5):
    return [schedule.at(steps=t, epochs=t) for t in range(n)]


def test_rates_by_hand():
    assert rates(cr.LambdaLR(0.8, halved)) == [0.8, 0.4, 0.2, 0.1, 0.05]
    assert rates(cr.LambdaLR(cr.StepLR(0.8, 2, gamma=0.5), halved)) == [0.8, 0.4, 0.1, 0.05, 0.0125]
    assert rates(cr.MultiplicativeLR(0.8, lambda epoch: epoch / 2)) == pytest.approx([0.8, 0.4, 0.4, 0.6, 1.2])


def test_each_factor_is_asked_for_once_in_whatever_order_the_epochs_are():
    asked = []

    def factor(epoch):
        asked.append(epoch)
        return 0.5

    schedule = cr.MultiplicativeLR(1.0, factor)
    assert [schedule.at(steps=0, epochs=t) for t in (3, 0, 2, 5, 5)] == [1 / 8, 1, 1 / 4, 1 / 32, 1 / 32]
    assert asked == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize("every", ["epoch", "step"])
def test_both_loops_go_by_it_and_the_history_shows_each_first_step(engine, every):
    history = fit(network(cr.LambdaLR(0.1, halved, every=every)), 3, engine=engine)
    steps = 1 if every == "epoch" else 4
    assert history.learning_rates == [0.1 * 0.5 ** (steps * epoch) for epoch in range(3)]


@pytest.mark.parametrize("kind", [cr.LambdaLR, cr.MultiplicativeLR])
@pytest.mark.parametrize(
    ("result", "error"), [(-0.1, ValueError), (float("nan"), ValueError), (None, TypeError), (np.ones(2), TypeError)]
)
def test_what_is_no_factor_is_refused_by_the_epoch(kind, result, error):
    schedule = kind(0.1, lambda epoch: 1.0 if epoch < 2 else result)
    assert rates(schedule, 2) == [0.1, 0.1]
    with pytest.raises(error, match=rf"{kind.__name__}: lr_lambda\(2\) must be .*, got"):
        schedule.at(steps=0, epochs=2)


def test_a_cycle_is_scaled_to_less_than_one():
    schedule = cr.CyclicLR(0.1, 0.2, step_size_up=1, scale_fn=lambda cycle: cycle / 2)
    assert rates(schedule, 4) == pytest.approx([0.1, 0.15, 0.1, 0.2])
    with pytest.raises(ValueError, match=re.escape("CyclicLR: scale_fn(3) must be at least 0 and at most 1, got 1.5")):
        schedule.at(steps=4, epochs=0)


def test_a_function_shows_by_its_name():
    assert repr(cr.LambdaLR(0.1, halved)) == "LambdaLR(lr=0.1, lr_lambda=halved)"
    assert repr(cr.MultiplicativeLR(0.1, lambda epoch: 1)) == "MultiplicativeLR(lr=0.1, lr_lambda=<lambda>)"
    assert repr(cr.CyclicLR(0.1, 0.2, scale_fn=halved)) == "CyclicLR(0.1, 0.2, scale_fn=halved)"
    assert repr(cr.LambdaLR(0.1, partial(power, 2, by=0.5))) == "LambdaLR(lr=0.1, lr_lambda=partial(power, 2, by=0.5))"
    assert repr(cr.LambdaLR(0.1, Called())) == "LambdaLR(lr=0.1, lr_lambda=<Called>)"


@pytest.mark.parametrize("make", [lambda: halved, lambda: partial(power, 2, by=0.5), Called])
def test_a_checkpoint_takes_what_has_the_same_name_for_the_same(make, tmp_path):
    def go_on(epochs):
        how = {"checkpoint": tmp_path, "resume": True}
        return fit(network(cr.LambdaLR(0.1, make())), epochs, **how).epochs

    assert (go_on(2), go_on(4)) == (2, 4)
    with pytest.raises(ValueError, match=r"is of another run: optimizer was .*lr_lambda="):
        fit(network(cr.LambdaLR(0.1, lambda epoch: 1.0)), 6, checkpoint=tmp_path, resume=True)


def test_copies_go_on():
    model = network(cr.MultiplicativeLR(cr.LambdaLR(0.1, halved), halved))
    fit(model, 2)
    copies = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    expected = fit(model, 2)
    for other in copies:
        history = fit(other, 2)
        assert (history.losses, history.learning_rates) == (expected.losses, expected.learning_rates)


def test_fit_many_takes_it():
    rule = cr.SGD(cr.LambdaLR(0.1, lambda epoch: 0.5**epoch))
    results = cr.fit_many(lambda: cr.Sequential(cr.Linear(2, 1)), cr.MSELoss(), DATA, seeds=2, epochs=3, optimizer=rule)
    for result in results:
        assert result.history.learning_rates == [0.1, 0.05, 0.025]


@pytest.mark.parametrize("rate", [cr.LambdaLR(0.1, halved), cr.StepLR(cr.CyclicLR(0.1, 0.2, scale_fn=halved), 3)])
def test_a_file_refuses_a_function_and_says_where_it_is(rate, tmp_path):
    with pytest.raises(TypeError, match=r"optimizer\.lr\.(lr\.)?\w+ cannot be described in JSON: it is a function; a"):
        network(rate).save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_class_of_ones_own_goes_through_files(tmp_path):
    model = network(Halved(0.1))
    fit(model, 2)
    model.save(tmp_path / "model.safetensors")
    other = cr.load(tmp_path / "model.safetensors", modules=[Halved])
    assert other.optimizer.current_lr == 0.025
    with pytest.raises(ValueError, match="'Halved', which chainrule does not have"):
        cr.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize("kind", [cr.LambdaLR, cr.MultiplicativeLR])
@pytest.mark.parametrize("every", ["epoch", "step"])
def test_a_checkpoint_knows_a_function_by_its_name(kind, every, tmp_path):
    whole = fit(model := network(kind(0.1, halved, every=every)), 6)
    options = {"checkpoint": tmp_path / "run", "resume": True}
    fit(network(kind(0.1, halved, every=every)), 3, **options)
    with pytest.raises(ValueError, match=r"optimizer was .*=halved.* there and is .*=<lambda>.* here"):
        fit(network(kind(0.1, lambda epoch: 1.0, every=every)), 6, **options)
    resumed = fit(other := network(kind(0.1, halved, every=every)), 6, **options)
    assert (resumed.losses, resumed.learning_rates) == (whole.losses, whole.learning_rates)
    np.testing.assert_array_equal(other[0].weight.value, model[0].weight.value)
