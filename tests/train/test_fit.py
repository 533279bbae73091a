import functools
import json
import math
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from moments import PATIENCE_S, enough
from networks import bits, report_network, small_network, values

import chainrule as cr

DATA = cr.data.disk(200, seed=0, radius="balanced")
TEST = cr.data.disk(100, seed=1, radius="balanced")
CLASSES = cr.data.disk(200, seed=0, radius="balanced", classes=True)


class Spy(cr.Module):
    """A user's own layer with nothing but forward and backward: it hands on what comes, and writes it down."""

    def __init__(self):
        self.seen, self.modes = [], []

    def forward(self, x):
        self.modes.append(self.training)
        if self.training:
            self.seen.append(np.array(x))
        return x, None

    def backward(self, dy, saved):
        return dy


class Cubic(cr.Module):
    """A user's own loss that derives only from Module: the mean of |y - target|³."""

    def forward(self, y, target):
        error = y - target
        return abs(error**3).mean(), error

    def backward(self, dvalue, error):
        return dvalue * 3 * error * abs(error) / error.size


@pytest.fixture(params=["auto", "python"], autouse=True)
def engine(request, monkeypatch):
    """Everything that `fit` promises holds natively and in Python: each test runs with both."""
    monkeypatch.setattr(cr, "fit", functools.partial(cr.fit, engine=request.param))
    return request.param


def close(value):
    """The engine's losses and those of one pass in Python differ by the rounding of their sums."""
    return pytest.approx(value, rel=1e-6)


# -- any data, any task


def test_report_network_learns_the_disk():
    train, test = cr.data.disk(1000, seed=0, radius="balanced"), cr.data.disk(1000, seed=1, radius="balanced")
    model = report_network(cr.Tanh, cr.Adam(lr=0.01), dtype="float32")
    history = cr.fit(model, cr.MSELoss(), train, epochs=30, batch_size=100, validation=test)
    assert history.validation_losses[-1] < history.validation_losses[0] / 3
    assert cr.evaluate(model, cr.MSELoss(), test).error_rate < 0.1


def test_one_number_is_learned_from_one_number():
    x = np.linspace(-1, 1, 64)[:, None]
    model = small_network(cr.Adam(lr=0.02), n_in=1, n_out=1, hidden=16)
    cr.fit(model, cr.MSELoss(), (x, np.sin(2 * x)), epochs=200, batch_size=16)
    assert cr.evaluate(model, cr.MSELoss(), (x, np.sin(2 * x))).r2 > 0.98


def test_outputs_without_an_axis_of_their_own_are_learned_too():
    class Column(cr.Module):
        def forward(self, x):
            return x[:, 0], x.shape

        def backward(self, dy, shape):
            return dy.reshape(shape)

    x = np.linspace(-1, 1, 64)[:, None]
    model = cr.Sequential(cr.SGD(lr=0.3), cr.Linear(1, 1, dtype="float64", rng=0), Column())
    history = cr.fit(model, cr.MSELoss(), (x, 3 * x[:, 0] + 1), epochs=100, batch_size=64)
    assert history.losses[-1] < 1e-6
    assert cr.predict(model, x).shape == (64,)


def test_images_are_flattened_and_classified():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, 120)
    x = rng.normal(size=(120, 4, 5))
    x[np.arange(120), target, target] += 6  # a bright pixel says which class it is
    model = cr.Sequential(cr.Adam(lr=0.05), cr.Flatten(), cr.Linear(20, 3, rng=0))
    cr.fit(model, cr.CrossEntropyLoss(), (x, target), epochs=30)
    assert cr.evaluate(model, cr.CrossEntropyLoss(), (x, target)).accuracy > 0.95


def test_several_outputs_and_a_sequence_of_rows_are_learned():
    rng = np.random.default_rng(0)
    x, matrix = rng.normal(size=(50, 7, 3)), rng.normal(size=(3, 2))
    model = cr.Sequential(cr.SGD(lr=0.3), cr.Linear(3, 2, dtype="float64", rng=0))
    history = cr.fit(model, cr.MSELoss(), (x, x @ matrix), epochs=60, batch_size=50)
    assert history.losses[-1] < 1e-6
    assert cr.predict(model, x).shape == (50, 7, 2)


def test_yes_or_no_is_learned_from_one_logit():
    target = CLASSES.target[:, None]
    model = small_network(cr.Adam(lr=0.05), n_out=1, hidden=16)
    cr.fit(model, cr.BCEWithLogitsLoss(), (CLASSES.x, target), epochs=150)
    assert cr.evaluate(model, cr.BCEWithLogitsLoss(), (CLASSES.x, target)).accuracy > 0.9


def test_nested_networks_are_trained_like_flat_ones():
    def layers():
        return [cr.Linear(2, 8, rng=1), cr.Tanh(), cr.Linear(8, 8, rng=2), cr.Tanh(), cr.Linear(8, 2, rng=3)]

    flat, inner = cr.Sequential(*layers()), layers()
    nested = cr.Sequential(inner[0], cr.Sequential(inner[1], cr.Sequential(*inner[2:4])), inner[4])
    for model in (flat, nested):
        cr.fit(model, cr.MSELoss(), DATA, epochs=3, optimizer=cr.Adam(lr=0.01))
    assert list(bits(flat).values()) == list(bits(nested).values())


def test_shared_weights_stay_shared():
    first = cr.Linear(4, 4, rng=0)
    model = cr.Sequential(
        cr.Linear(2, 4, rng=1), first, cr.Tanh(), cr.Linear(4, 4, weight=first.weight), cr.Linear(4, 2, rng=2)
    )
    start = first.weight.value.copy()
    cr.fit(model, cr.MSELoss(), DATA, epochs=2, optimizer=cr.SGD(lr=0.1))
    assert model[3].weight is model[1].weight
    assert (first.weight.value != start).any()


def test_a_loss_that_is_only_a_module_will_do():
    model = small_network(cr.Adam(lr=0.01))
    history = cr.fit(model, Cubic(), DATA, epochs=20, validation=TEST)
    assert history.losses[-1] < history.losses[0]
    y = cr.predict(model, TEST.x)
    assert history.best_loss == pytest.approx(np.mean(abs(y - TEST.target) ** 3), rel=1e-12)


def test_an_optimizer_with_nothing_but_step_will_do():
    class Plain:
        def step(self, parameters):
            for parameter in parameters:
                parameter.value -= 0.1 * parameter.grad

    own, sgd = small_network(), small_network()
    history = cr.fit(own, cr.MSELoss(), DATA, epochs=3, optimizer=Plain())
    cr.fit(sgd, cr.MSELoss(), DATA, epochs=3, optimizer=cr.SGD(lr=0.1))
    for name, value in values(own).items():
        np.testing.assert_allclose(value, values(sgd)[name], rtol=1e-12)
    assert all(math.isnan(lr) for lr in history.learning_rates)


def test_optimizer_given_to_fit_overrides_the_models_own():
    model, other = small_network(cr.SGD(lr=0.1)), cr.Adam(lr=0.01)
    cr.fit(model, cr.MSELoss(), DATA, epochs=1, batch_size=50, optimizer=other)
    assert (model.optimizer.steps, other.steps) == (0, 4)


# -- weights of samples


@pytest.mark.parametrize("task", ["MSE", "CrossEntropy", "CrossEntropy with class weights", "BCE", "SmoothL1 sum"])
def test_a_whole_number_as_weight_is_as_many_samples(task):
    loss = {
        "MSE": cr.MSELoss(),
        "CrossEntropy": cr.CrossEntropyLoss(),
        "CrossEntropy with class weights": cr.CrossEntropyLoss([1.0, 4.0], label_smoothing=0.1),
        "BCE": cr.BCEWithLogitsLoss(),
        "SmoothL1 sum": cr.SmoothL1Loss(reduction="sum"),
    }[task]
    x, target = DATA.x[:20], (CLASSES if loss.classes else DATA).target[:20]
    weight = np.arange(20) % 4  # 0 is a sample that is not there
    weighted, repeated = small_network(), small_network()
    options = {"epochs": 10, "batch_size": 1000, "shuffle": False, "keep": "last"}
    one = cr.fit(weighted, loss, (x, target, weight), optimizer=cr.SGD(lr=0.01, momentum=0.9), **options)
    two = cr.fit(
        repeated,
        loss,
        (np.repeat(x, weight, axis=0), np.repeat(target, weight, axis=0)),
        optimizer=cr.SGD(lr=0.01, momentum=0.9),
        **options,
    )
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-12)
    for name, value in values(weighted).items():
        np.testing.assert_allclose(values(repeated)[name], value, rtol=1e-10, atol=1e-14)


# -- the order of samples, and the same numbers


def _seen(seed=0, shuffle=True, epochs=3):
    spy = Spy()
    model = cr.Sequential(spy, cr.Linear(1, 1, rng=0))
    x = np.arange(20.0)[:, None]
    cr.fit(model, cr.MSELoss(), (x, x), epochs=epochs, batch_size=6, seed=seed, shuffle=shuffle, optimizer=cr.SGD(0.0))
    return np.concatenate(spy.seen)[:, 0].reshape(epochs, 20).tolist()


def test_order_is_that_of_the_dataset_for_seed_and_epoch():
    data = cr.Dataset(np.arange(20.0)[:, None], np.zeros(20))
    for epoch, order in enumerate(_seen(seed=3)):
        assert order == [value for x, _ in data.batches(6, seed=3, epoch=epoch) for value in x[:, 0].tolist()]
        assert sorted(order) == list(range(20))


def test_every_epoch_has_an_order_of_its_own_and_so_has_every_seed():
    orders = [*_seen(seed=0), *_seen(seed=1)]
    assert len({tuple(order) for order in orders}) == 6


def test_without_shuffle_samples_come_as_they_are():
    assert _seen(shuffle=False) == [list(range(20))] * 3


def _trained(seed=0, **options):
    model = cr.Sequential(
        cr.Linear(2, 8, rng=1),
        cr.Tanh(),
        cr.Dropout(0.4),
        cr.Linear(8, 8, rng=2),
        cr.Dropout(0.2),
        cr.Linear(8, 2, rng=3),
    )
    history = cr.fit(model, cr.MSELoss(), DATA, epochs=3, seed=seed, optimizer=cr.Adam(lr=0.01), **options)
    return bits(model), history.losses


def test_same_seed_gives_the_same_bits_dropout_included():
    first = _trained()
    cr.seed(5)
    np.random.seed(5)  # noqa: NPY002 - no global generator must have a say
    assert _trained() == first
    assert _trained(progress=False, callbacks=[lambda run: cr.predict(run.model, DATA.x)]) == first


def test_another_seed_gives_other_numbers():
    assert _trained(seed=1) != _trained(seed=0)


def test_looking_at_validation_data_changes_no_step():
    assert _trained(keep="last") == _trained(keep="last", validation=TEST, metrics=[cr.metrics.errors])


def test_two_dropout_layers_have_masks_of_their_own():
    spies = [Spy(), Spy()]
    ones = np.ones((64, 8))
    model = cr.Sequential(cr.Dropout(0.5), spies[0], cr.Dropout(0.5), spies[1], cr.Linear(8, 1, rng=0))
    cr.fit(model, cr.MSELoss(), (ones, ones[:, :1]), epochs=1, batch_size=64, optimizer=cr.SGD(0.0))
    first, both = spies[0].seen[0] > 0, spies[1].seen[0] > 0
    second = both[first]
    assert abs(second.mean() - 0.5) < 5 * math.sqrt(0.25 / second.size)  # five standard deviations


# -- modes


def test_validation_runs_in_evaluation_mode_and_training_in_training_mode():
    spy = Spy()
    model = cr.Sequential(cr.Linear(2, 2, rng=0), spy)
    cr.fit(model, cr.MSELoss(), DATA, epochs=2, batch_size=100, validation=TEST, optimizer=cr.SGD(0.1))
    assert spy.modes == [False, False] + [True, True, False] * 2  # one row of each is tried beforehand


def test_validation_loss_of_a_dropout_network_is_what_evaluate_says():
    model = cr.Sequential(cr.Linear(2, 8, rng=0), cr.Dropout(0.5), cr.Linear(8, 2, rng=1))
    history = cr.fit(model, cr.MSELoss(), DATA, epochs=4, validation=TEST, optimizer=cr.Adam(0.01))
    assert cr.evaluate(model, cr.MSELoss(), TEST).loss == close(history.best_loss)


def test_modes_are_given_back_after_success_and_after_an_error():
    def fail(run):
        raise ZeroDivisionError

    model = cr.Sequential(cr.Dropout(0.5), cr.Linear(2, 2), cr.Dropout(0.5)).eval()
    model[2].training = True
    modes = [module.training for module in model.modules()]
    cr.fit(model, cr.MSELoss(), DATA, epochs=1, optimizer=cr.SGD(0.1))
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(ZeroDivisionError):
        cr.fit(model, cr.MSELoss(), DATA, epochs=1, optimizer=cr.SGD(0.1), callbacks=[fail])
    assert [module.training for module in model.modules()] == modes


# -- which parameters are kept


def _zigzag(keep, validation=None):
    """A run whose loss falls and rises: a callback moves the parameters to where they were told."""
    model = cr.Sequential(cr.Linear(1, 1, weight=[[0.0]], bias=False))
    places = iter([3.0, 1.0, 2.0])

    class Rule:
        def step(self, parameters):
            parameters[0].value[...] = next(places)

    x = np.ones((1, 1))
    history = cr.fit(model, cr.MSELoss(), (x, x * 0), epochs=3, keep=keep, optimizer=Rule(), validation=validation)
    return history, float(model[0].weight.value[0, 0])


def test_best_parameters_are_those_of_the_lowest_validation_loss():
    x = np.ones((1, 1))
    history, weight = _zigzag("best", (x, x * 0))
    assert history.validation_losses == [9.0, 1.0, 4.0]
    assert (history.best_epoch, weight) == (1, 1.0)


def test_last_parameters_are_kept_on_request():
    x = np.ones((1, 1))
    history, weight = _zigzag("last", (x, x * 0))
    assert (history.best_epoch, weight) == (1, 2.0)


def test_without_validation_data_the_training_loss_decides():
    history, weight = _zigzag("best")
    assert history.losses == [0.0, 9.0, 1.0]  # of the parameters as each epoch found them
    assert (history.best_epoch, weight) == (0, 3.0)


def test_history_has_every_epoch(engine):
    history = cr.fit(
        small_network(cr.SGD(lr=0.1)),
        cr.MSELoss(),
        DATA,
        epochs=5,
        batch_size=30,
        validation=TEST,
        metrics=[cr.metrics.errors, functools.partial(cr.metrics.accuracy, threshold=0.2), cr.metrics.r2],
    )
    assert history.epochs == len(history.losses) == len(history.validation_losses) == 5
    assert history.steps == 5 * 7
    assert sorted(history.metrics) == ["accuracy", "errors", "r2"]
    assert all(len(course) == 5 for course in history.metrics.values())
    assert history.epoch_s == sorted(history.epoch_s)
    assert 0 < history.epoch_s[-1] <= history.total_s
    assert history.stopped == "all epochs done"
    assert history.engine.split(",")[0] == ("python" if engine == "python" else "native")
    assert history.learning_rates == [0.1] * 5


def test_metrics_are_those_of_the_validation_data_or_else_of_the_training_data():
    for validation, seen in ((TEST, TEST), (None, DATA)):
        model = small_network(cr.SGD(lr=0.1))
        history = cr.fit(
            model, cr.MSELoss(), DATA, epochs=2, validation=validation, keep="last", metrics=[cr.metrics.mae]
        )
        assert history.metrics["mae"][-1] == close(cr.evaluate(model, cr.MSELoss(), seen).mae)


@pytest.mark.parametrize("loss", [cr.BCEWithLogitsLoss(), cr.MSELoss()])
def test_metrics_of_classes_go_by_the_threshold_of_the_loss_as_in_evaluate(loss):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2))
    data = x, (x[:, :1] + 0.5 * rng.normal(size=(64, 1)) > 0).astype(float)
    model = small_network(cr.SGD(lr=0.01), n_out=1)
    by = cr.metrics.errors, cr.metrics.error_rate, cr.metrics.accuracy
    history = cr.fit(model, loss, data, epochs=2, keep="last", metrics=by)
    found = cr.evaluate(model, loss, data)
    assert [history.metrics[metric.__name__][-1] for metric in by] == [found.errors, found.error_rate, found.accuracy]
    other = functools.partial(cr.metrics.errors, threshold=-1e9)  # what a user says counts
    history = cr.fit(model, loss, data, epochs=1, metrics=[other])
    assert history.metrics["errors"] == [np.count_nonzero(data[1] == 0)]


WEIGHT = np.random.default_rng(0).integers(0, 3, 200).astype(float)
IGNORED = np.where(np.arange(200) % 3 == 0, -100, CLASSES.target)


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize(("target", "weight"), [(IGNORED, None), (CLASSES.target, WEIGHT), (IGNORED, WEIGHT)])
def test_metrics_speak_of_the_rows_that_the_loss_counts_with_their_weights(validated, target, weight):
    seen = []

    def plain(y, target):
        seen.append(target)
        return float(len(y))

    def weighing(y, target, sample_weight):
        assert (sample_weight is None) == (weight is None)
        return float(len(y) if sample_weight is None else sample_weight.sum())

    data, model = cr.Dataset(CLASSES.x, target, weight), small_network(cr.SGD(0.1))
    named = [cr.metrics.errors, cr.metrics.error_rate, cr.metrics.accuracy, plain, weighing]
    how = {"epochs": 3, "metrics": named, "keep": "last"}
    train, validation = (CLASSES, data) if validated else (data, None)
    found = cr.fit(model, cr.CrossEntropyLoss(), train, validation=validation, **how).metrics
    result = cr.evaluate(model, cr.CrossEntropyLoss(), data)
    for name in ("errors", "error_rate", "accuracy"):
        assert found[name][-1] == close(getattr(result, name))
    counts = (target >= 0) * (np.ones(200) if weight is None else weight)
    assert found["plain"] == [np.count_nonzero(counts)] * 3  # each row that counts, once
    assert found["weighing"] == [counts.sum()] * 3
    np.testing.assert_array_equal(seen[-1], target[counts > 0])
    many = cr.fit_many(
        lambda: small_network(cr.SGD(0.1)), cr.CrossEntropyLoss(), train, validation=validation, seeds=[0], **how
    )
    assert many[0].history.metrics == {name: close(values) for name, values in found.items()}


def test_a_batch_of_which_nothing_counts_contributes_nothing():
    target = CLASSES.target.copy()
    target[50:100] = -100
    model, alone = small_network(cr.SGD(0.1)), small_network(cr.SGD(0.1))
    how = {"epochs": 4, "batch_size": 50, "shuffle": False}
    found = cr.fit(model, cr.CrossEntropyLoss(), (CLASSES.x, target), **how)
    counted = CLASSES.take(np.flatnonzero(target >= 0))
    expected = cr.fit(alone, cr.CrossEntropyLoss(), counted, **how)
    assert found.losses == close(expected.losses)
    for name, value in values(model).items():
        np.testing.assert_allclose(value, values(alone)[name], rtol=1e-9)


def test_a_network_of_nan_is_never_right():
    class Nothing(cr.Module):
        def forward(self, x):
            return x * np.nan, None

        def backward(self, dy, saved):
            return dy

    model = cr.Sequential(cr.SGD(0.1), cr.Linear(2, 2, rng=0), Nothing())
    result = cr.evaluate(model, cr.CrossEntropyLoss(), CLASSES)
    assert math.isnan(result.loss)
    assert (result.accuracy, result.errors) == (0, 200)


@pytest.mark.parametrize("name", ["epoch", "loss", "validation_loss", "learning_rate", "seconds"])
def test_a_metric_that_bears_the_name_of_a_column_is_refused(name):
    def metric(y, target):
        return 0.0

    metric.__name__ = name
    with pytest.raises(ValueError, match=f"fit: a metric must not be named '{name}', like a column of the History"):
        cr.fit(small_network(cr.SGD()), cr.MSELoss(), DATA, epochs=1, metrics=[metric])


def test_two_metrics_of_one_name_are_refused():
    with pytest.raises(ValueError, match="fit: there are two metrics named 'errors'"):
        cr.fit(small_network(cr.SGD()), cr.MSELoss(), DATA, epochs=1, metrics=[cr.metrics.errors] * 2)


# -- schedules


def test_schedules_advance_by_epochs():
    model = small_network(cr.SGD(lr=cr.StepLR(0.5, step_size=2, gamma=0.5)))
    history = cr.fit(model, cr.MSELoss(), DATA, epochs=5, batch_size=50)
    assert history.learning_rates == [0.5, 0.5, 0.25, 0.25, 0.125]
    assert (model.optimizer.steps, model.optimizer.epochs) == (20, 5)


def test_schedules_advance_by_steps_on_request():
    model = small_network(cr.SGD(lr=cr.StepLR(0.5, step_size=4, gamma=0.5, every="step")))
    history = cr.fit(model, cr.MSELoss(), DATA, epochs=3, batch_size=100)  # two steps an epoch
    assert history.learning_rates == [0.5, 0.5, 0.25]


def test_plateau_hears_the_validation_loss():
    model = small_network(cr.SGD(lr=cr.ReduceLROnPlateau(2**-40, patience=0, factor=0.5, eps=0)))
    history = cr.fit(model, cr.MSELoss(), DATA, epochs=4, validation=TEST)  # nothing moves enough to be better
    assert history.learning_rates == [2**-40, 2**-40, 2**-41, 2**-42]
    assert model.optimizer.lr.best == history.validation_losses[0]


def test_another_run_goes_on_with_the_optimizer():
    together, apart = small_network(cr.Adam(lr=0.01)), small_network(cr.Adam(lr=0.01))
    options = {"batch_size": 200, "shuffle": False, "keep": "last"}
    cr.fit(together, cr.MSELoss(), DATA, epochs=4, **options)
    for _ in range(2):
        cr.fit(apart, cr.MSELoss(), DATA, epochs=2, **options)
    assert bits(together) == bits(apart)


# -- callbacks and what ends a run


def test_callbacks_see_the_run_after_every_epoch():
    seen = []

    def look(run):
        assert isinstance(run, cr.Run)
        seen.append((run.model, run.loss, run.optimizer, run.history.epochs, run.history.losses[-1]))

    model, loss = small_network(cr.SGD(0.1)), cr.MSELoss()
    history = cr.fit(model, loss, DATA, epochs=3, callbacks=[look])
    assert seen == [(model, loss, model.optimizer, epoch + 1, history.losses[epoch]) for epoch in range(3)]


def test_callbacks_may_set_parameters():
    def reset(run):
        for parameter in run.model.param():
            parameter.value[...] = 0

    model = small_network(cr.SGD(lr=0.1))
    history = cr.fit(model, cr.MSELoss(), DATA, epochs=3, batch_size=200, callbacks=[reset], keep="last")
    assert not any(value.any() for value in values(model).values())
    assert history.losses[1] == history.losses[2] == pytest.approx(0.5)  # one-hot targets against zeros


def _clip(run):
    """Max-norm by hand: no weight may be larger than 1."""
    weight = run.model[0].weight.value
    np.clip(weight, -1, 1, out=weight)


def _double(n_epochs, **options):
    """y = 2 x of one number, which a weight of at most 1 cannot say."""
    x = np.random.default_rng(0).normal(size=(64, 3))
    model = cr.Sequential(cr.Linear(3, 1, rng=0, dtype="float64"))
    history = cr.fit(model, cr.MSELoss(), (x, 2 * x[:, :1]), epochs=n_epochs, optimizer=cr.SGD(0.05), **options)
    return model, history


@pytest.mark.parametrize("validated", [False, True])
def test_what_a_callback_sets_after_the_best_epoch_stays(validated):
    x = np.random.default_rng(1).normal(size=(64, 3))
    validation = (x, 2 * x[:, :1]) if validated else None
    model, history = _double(20, callbacks=[_clip], validation=validation)
    assert abs(model[0].weight.value).max() == 1
    last, _ = _double(history.best_epoch + 1, callbacks=[_clip], keep="last")
    assert bits(model) == bits(last)  # the best epoch as its callbacks left it, and nothing of later ones


def test_what_is_best_is_judged_by_the_loss_as_it_was_recorded():
    def spoil(run):
        if run.history.epochs > 10:
            run.model[0].weight.value[...] = 100

    model, history = _double(20, callbacks=[spoil])
    assert history.best_epoch == 10  # its loss was recorded before the weights were spoilt
    assert (model[0].weight.value == 100).all()
    model, history = _double(20, callbacks=[lambda run: spoil(run) if run.history.epochs == 20 else None], keep="last")
    assert (model[0].weight.value == 100).all()
    assert history.best_epoch == 19


def test_what_callbacks_set_when_a_run_begins_is_what_it_begins_with():
    class Ones:
        def begin(self, run):
            for parameter in run.model.param():
                parameter.value[...] = 1

        def __call__(self, run):
            pass

    model = small_network(cr.SGD(lr=1e200))
    with pytest.raises(FloatingPointError, match="left at its initial parameters"):
        cr.fit(model, cr.MSELoss(), DATA, epochs=3, callbacks=[Ones()])
    assert all((value == 1).all() for value in values(model).values())


@pytest.mark.parametrize("n", [1, 3, 10**9])
def test_a_callback_that_waits_changes_the_best_epoch_if_it_is_called_after_it(n):
    class Clip(Patient):
        def __call__(self, run):
            self.told.append(run.history.epochs)
            _clip(run)

    clip = Clip(n)
    model, history = _double(9, callbacks=[clip])
    assert history.best_epoch + 1 in clip.told  # the loss falls until the first call, and is higher after a clip
    assert abs(model[0].weight.value).max() <= 1


def test_callbacks_may_stop_the_run():
    history = cr.fit(
        small_network(cr.SGD(0.1)),
        cr.MSELoss(),
        DATA,
        epochs=50,
        callbacks=[lambda run: run.stop("good enough") if run.history.epochs == 3 else None],
    )
    assert (history.epochs, history.stopped) == (3, "good enough")


def test_any_function_of_the_history_may_stop_the_run():
    def three_epochs(history):
        return history.epochs == 3

    history = cr.fit(small_network(cr.SGD(0.1)), cr.MSELoss(), DATA, epochs=50, stop=three_epochs)
    assert (history.epochs, history.stopped) == (3, "three_epochs")


def test_early_stopping_leaves_the_best_parameters():
    model = small_network(cr.SGD(lr=0.0))
    start = bits(model)
    history = cr.fit(
        model,
        cr.MSELoss(),
        DATA,
        epochs=50,
        validation=TEST,
        stop=cr.EarlyStopping(4),
        callbacks=[lambda run: run.model[0].weight.value.__imul__(2)],
    )
    assert history.epochs == history.best_epoch + 5
    assert history.stopped == "EarlyStopping(patience=4, min_delta=0.0)"
    model[0].weight.value[...] /= 2  # what the callback set after the best epoch stayed; its loss is that of before
    assert cr.evaluate(model, cr.MSELoss(), TEST).loss == close(history.best_loss)
    assert history.best_epoch > 0 or bits(model) == start


def test_an_error_in_a_callback_leaves_the_best_parameters_and_says_so():
    kept = []

    def fail(run):
        kept.append(run.history)
        if run.history.epochs == 3:
            raise ZeroDivisionError

    model = small_network(cr.SGD(0.1))
    with pytest.raises(ZeroDivisionError):
        cr.fit(model, cr.MSELoss(), DATA, epochs=9, validation=TEST, callbacks=[fail])
    assert kept[-1].stopped == "an exception in epoch 3"
    assert cr.evaluate(model, cr.MSELoss(), TEST).loss == close(kept[-1].best_loss)


def test_time_ends_a_run():
    def run(seconds):
        return cr.fit(small_network(cr.SGD(0.1)), cr.MSELoss(), DATA, epochs=10**9, max_seconds=seconds)

    seconds, history = enough(run, lambda history: history.steps > 0)
    assert history.stopped == f"max_seconds={seconds:g} were over in epoch {history.epochs}"
    assert history.total_s > seconds


def test_time_may_end_a_run_within_its_first_epoch():
    model = small_network(cr.SGD(0.1))
    history = cr.fit(model, cr.MSELoss(), DATA, epochs=1, max_seconds=1e-9)
    assert (history.epochs, history.steps, history.best_epoch) == (0, 0, None)
    assert "0 epochs" in repr(history)


# -- divergence


def _diverging(**options):
    model = report_network(cr.ReLU, cr.SGD(lr=100.0, momentum=0.9))
    with pytest.raises(FloatingPointError) as caught:
        cr.fit(model, cr.MSELoss(), DATA, epochs=100, batch_size=10, **options)
    return model, caught.value


@pytest.mark.parametrize("keep", ["best", "last"])
def test_divergence_is_an_error_that_names_the_epoch_and_the_causes(keep):
    model, error = _diverging(keep=keep)
    history = error.history
    assert f"in epoch {history.epochs} (counted from 0)" in str(error)
    assert "learning rate that is too high for SGD(lr=100.0, momentum=0.9)" in str(error)
    assert "not scaled" in str(error)
    assert history.stopped.startswith("the loss became ")
    assert len(history.epoch_s) == history.epochs
    assert all(np.isfinite(value).all() for value in values(model).values())


@pytest.mark.parametrize("lr", [1e30, 4.0, 2.0])
def test_after_a_divergence_the_steps_of_the_finished_epochs_are_counted(lr):
    x = np.random.default_rng(0).normal(size=(100, 3))
    model = cr.Sequential(cr.SGD(lr), cr.Linear(3, 1, rng=0, dtype="float64"))
    with pytest.raises(FloatingPointError) as error:  # the loss grows from step to step, until it overflows
        cr.fit(model, cr.MSELoss(), (x, x[:, :1]), epochs=1000, batch_size=10)
    history = error.value.history
    assert history.steps == 10 * history.epochs
    assert (history.epochs > 1) == (lr < 10)


def test_a_batch_whose_class_weights_add_up_to_nothing_still_costs_what_label_smoothing_asks():
    loss = cr.CrossEntropyLoss([0.0, 1.0, 1.0], label_smoothing=0.1)
    x, model = np.random.default_rng(0).normal(size=(3, 2)), small_network(cr.SGD(0.0), n_out=3)
    history = cr.fit(model, loss, (x, np.array([0, 1, 2])), epochs=1, batch_size=1)
    y = torch.from_numpy(model(x))
    peer = torch.nn.CrossEntropyLoss(torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64), label_smoothing=0.1)
    expected = float(peer(y, torch.tensor([0, 1, 2])))
    assert history.losses == [close(expected)]
    assert cr.evaluate(model, loss, (x, np.array([0, 1, 2]))).loss == close(expected)


def test_divergence_leaves_an_optimizer_that_can_go_on():
    model, _ = _diverging()
    for parameter in model.param():
        for kept in model.optimizer.state.get(parameter, {}).values():
            assert np.isfinite(kept).all()
    model.optimizer.lr = 1e-3
    fresh = report_network(cr.ReLU, cr.SGD(lr=1e-3, momentum=0.9))
    fresh.load_state_dict(model.state_dict())
    for network in (model, fresh):
        cr.fit(network, cr.MSELoss(), DATA, epochs=2)
    assert bits(model) == bits(fresh)


def test_divergence_after_good_epochs_leaves_the_best_of_them():
    model = small_network(cr.SGD(lr=0.1))
    best = {}

    def blow(run):
        if run.history.best_epoch == run.history.epochs - 1:
            best.update(bits(run.model))
        if run.history.epochs == 3:
            run.optimizer.lr = 1e200

    with pytest.raises(FloatingPointError, match=r"The model is left at the parameters of epoch \d") as caught:
        cr.fit(model, cr.MSELoss(), DATA, epochs=9, validation=TEST, callbacks=[blow])
    assert bits(model) == best
    assert caught.value.history.epochs == 3
    assert cr.evaluate(model, cr.MSELoss(), TEST).loss == close(caught.value.history.best_loss)


def test_a_validation_loss_that_is_not_finite_is_an_error_too():
    model = small_network(cr.SGD(lr=0.1))
    start = bits(model)
    far = (TEST.x, np.full((100, 2), 1e200))  # finite, but not its square
    with pytest.raises(
        FloatingPointError, match=r"the loss became NaN or infinite in epoch 0 .* left at its initial parameters"
    ):
        cr.fit(model, cr.MSELoss(), DATA, epochs=3, validation=far)
    assert bits(model) == start


def test_a_last_update_that_is_not_finite_is_an_error():
    class Broken(cr.MSELoss):
        def backward(self, dvalue, saved):
            return super().backward(dvalue, saved) * math.inf

    model = small_network(cr.SGD(lr=0.1))
    start = bits(model)
    with pytest.raises(FloatingPointError, match="a parameter became NaN or infinite in epoch 0"):
        cr.fit(model, Broken(), DATA, epochs=1, batch_size=200)
    assert bits(model) == start


# -- threads and Ctrl-C


def test_fit_works_in_another_thread():
    model, other, results = small_network(cr.SGD(0.1)), small_network(cr.SGD(0.1)), []
    thread = threading.Thread(target=lambda: results.append(cr.fit(model, cr.MSELoss(), DATA, epochs=3)))
    thread.start()
    thread.join()
    assert results[0].losses == cr.fit(other, cr.MSELoss(), DATA, epochs=3).losses
    assert bits(model) == bits(other)


INTERRUPTED = """
import json, os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
import chainrule as cr

data, test = cr.data.disk(200, seed=0), cr.data.disk(100, seed=1)
model = cr.Sequential(cr.SGD(lr=0.1), cr.Linear(2, 8, rng=0), cr.Tanh(), cr.Linear(8, 2, rng=1))

def callback(run):
    if run.history.epochs == 3:
        print("three epochs", flush=True)
        for _ in range({presses}):
            os.kill(os.getpid(), signal.SIGINT)

raised, history = False, None
try:
    history = cr.fit(model, cr.MSELoss(), data, epochs=10**9, validation=test, callbacks=[callback])
except KeyboardInterrupt:
    raised = True
print(json.dumps({{
    "raised": raised,
    "stopped": history and history.stopped,
    "epochs": history and history.epochs,
    "best": history and history.best_loss,
    "loss": cr.evaluate(model, cr.MSELoss(), test).loss,
    "finite": all(bool(np.isfinite(p.value).all()) for p in model.param()),
    "handler": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "training": model.training,
}}))
"""


def _start(presses):
    command = [sys.executable, "-W", "error", "-c", INTERRUPTED.format(presses=presses)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _end(process):
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    return json.loads(out.splitlines()[-1])


needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")


@needs_signals
def test_ctrl_c_from_a_callback_returns_a_usable_model_and_history():
    result = _end(_start(presses=1))
    assert result["stopped"] == "interrupted by Ctrl-C in epoch 3"
    assert result["epochs"] == 3
    assert result["loss"] == close(result["best"])
    assert result["finite"]
    assert result["handler"]
    assert result["training"]
    assert not result["raised"]


@needs_signals
def test_ctrl_c_from_outside_returns_a_usable_model_and_history():
    process = _start(presses=0)
    assert process.stdout.readline() == "three epochs\n"
    process.send_signal(signal.SIGINT)
    result = _end(process)
    assert result["stopped"] == f"interrupted by Ctrl-C in epoch {result['epochs']}"
    assert result["epochs"] >= 3
    assert result["loss"] == close(result["best"])
    assert result["finite"]
    assert result["handler"]
    assert not result["raised"]


@needs_signals
def test_second_ctrl_c_raises_at_once():
    result = _end(_start(presses=2))
    assert result["raised"]
    assert result["finite"]
    assert result["handler"]
    assert result["training"]


class Patient:
    """A callback that waits for `n` epochs."""

    def __init__(self, n):
        self.n, self.told, self.ended = n, [], False

    def ahead(self, history):
        return self.n

    def __call__(self, run):
        self.told.append(run.history.epochs)
        self.seen = bits(run.model)

    def end(self, run):
        assert self.told[-1] == run.history.epochs  # it knows of all epochs before it hears of the end
        self.ended = True


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize(
    ("n", "told"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7]), (7, [7]), (100, [7]), (0, [1, 2, 3, 4, 5, 6, 7])]
)
def test_a_callback_that_can_wait_is_called_when_it_has_waited_long_enough(engine, n, told):
    callback = Patient(n)
    cr.fit(
        small_network(),
        cr.MSELoss(),
        cr.data.disk(20, seed=0),
        epochs=7,
        optimizer=cr.SGD(),
        callbacks=[callback],
        engine=engine,
    )
    assert callback.told == told
    assert callback.ended


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize("rule", [cr.SGD, cr.Adam])
def test_a_run_that_ends_before_a_callback_is_due_tells_it_and_keeps_what_it_sets(engine, rule):
    """One step is an epoch here, so that the time is over at the end of one, which is the best."""

    class Late(Patient):
        def __call__(self, run):
            super().__call__(run)
            run.model[2].bias.value[...] = 0.5

    def run(seconds):
        model, callback = small_network(), Late(10**6)
        data = cr.data.disk(20, seed=0)
        options = {"epochs": 10**6, "batch_size": 20, "optimizer": rule(1e-6), "max_seconds": seconds}
        return model, callback, cr.fit(model, cr.MSELoss(), data, callbacks=[callback], engine=engine, **options)

    _, (model, callback, history) = enough(run, lambda result: result[2].epochs > 0)
    assert history.stopped.startswith("max_seconds")
    assert callback.told == [history.epochs]
    assert callback.ended
    if history.best_epoch == history.epochs - 1:
        np.testing.assert_array_equal(model[2].bias.value, 0.5)
    assert model[0].weight.home is None


@pytest.mark.parametrize("engine", ["native", "python"])
def test_what_a_callback_raises_at_the_end_leaves_the_best_parameters(engine):
    """The first epoch is the best: the validation data say the opposite of what is learned."""

    class Raises(Patient):
        def __call__(self, run):
            raise RuntimeError("late")

        def end(self, run):
            self.ended = True

    x, y = np.random.default_rng(0).normal(size=(2, 20, 2))
    y += 5

    def run(seconds):
        model, callback = small_network(), Raises(10**6)
        options = {"epochs": 10**6, "optimizer": cr.SGD(0.01), "max_seconds": seconds, "callbacks": [callback]}
        try:
            history = cr.fit(model, cr.MSELoss(), (x, y), validation=(x, -y), engine=engine, **options)
        except RuntimeError as late:
            history = late.history
        return model, callback, history

    _, (model, callback, history) = enough(run, lambda result: result[2].epochs > 1)
    assert history.best_epoch == 0
    assert cr.evaluate(model, cr.MSELoss(), (x, -y)).loss == close(history.validation_losses[0])
    assert callback.ended


def test_the_least_patient_decides_how_often_all_are_called():
    patient, other, every = Patient(5), Patient(2), []
    cr.fit(
        small_network(),
        cr.MSELoss(),
        cr.data.disk(20, seed=0),
        epochs=6,
        optimizer=cr.SGD(),
        callbacks=[patient, other],
    )
    assert patient.told == other.told == [2, 4, 6]
    patient = Patient(5)
    cr.fit(
        small_network(),
        cr.MSELoss(),
        cr.data.disk(20, seed=0),
        epochs=6,
        optimizer=cr.SGD(),
        callbacks=[patient, every.append],
    )
    assert patient.told == [1, 2, 3, 4, 5, 6]
    assert len(every) == 6


@pytest.mark.parametrize("engine", ["native", "python"])
def test_a_callback_that_waits_hears_of_the_last_epochs_however_the_run_ends(engine):
    def run(seconds):
        nonlocal callback
        callback = Patient(10**9)
        how = {"optimizer": cr.SGD(), "callbacks": [callback], "max_seconds": seconds, "engine": engine}
        return cr.fit(small_network(), cr.MSELoss(), cr.data.disk(20, seed=0), epochs=10**9, **how)

    callback = None
    _, history = enough(run, lambda history: history.epochs > 0)
    assert callback.told == [history.epochs]
    assert callback.ended


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_callback_that_waits_sees_the_parameters_of_the_last_epoch_though_others_are_kept(keep):
    train = cr.data.disk(100, seed=0)
    contrary = cr.Dataset(train.x, 1 - train.target)  # so that learning makes the validation loss worse

    def run(seconds):
        nonlocal model, callback
        model, callback = small_network(), Patient(10**9)
        how = {"callbacks": [callback], "max_seconds": seconds, "keep": keep, "optimizer": cr.SGD(lr=0.1)}
        return cr.fit(model, cr.MSELoss(), train, validation=contrary, epochs=10**9, **how)

    model = callback = None
    enough(run, lambda history: history.epochs > 1 and history.best_epoch < history.epochs - 1)
    assert (callback.seen == bits(model)) == (keep == "last")
