"""Many networks at once end as they end alone, and no failure spreads."""

import _thread
import copy
import re
import threading
from functools import partial

import numpy as np
import pytest
from moments import enough
from networks import bits, branched_data, branched_loss, branched_network

import chainrule as cr
from chainrule import random
from chainrule.many.configurations import folds_of
from chainrule.many.crew import Crew
from chainrule.train.native_loop import NativeLoop
from chainrule.train.progress import Progress

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 3)).astype("float32")
Y = np.tanh(X @ rng.normal(size=(3, 2))).astype("float32")
CLASSES = (X[:, 0] > 0).astype("int64")


def build(width=8, activation=cr.Tanh, lr=0.1):
    return cr.Sequential(cr.SGD(lr=lr), cr.Linear(3, width), activation(), cr.Linear(width, 2))


def alone(make, loss, train, *, seed, **how):
    """The same network by `fit`."""
    cr.seed(seed)
    model = make()
    return model, cr.fit(model, loss, train, seed=seed, threads=1, **how)


def same_bits(a, b):
    return all(np.array_equal(p.value, q.value) for p, q in zip(a.param(), b.param(), strict=True))


class Odd(cr.Module):
    """A layer that the engine does not know."""

    def forward(self, x):
        return 2 * x, None

    def backward(self, dy, saved):
        return 2 * dy


# -- the same networks as alone


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"validation": (X[:40], Y[:40])},
        {"stop": cr.EarlyStopping(3, min_delta=0.01)},
        {"validation": (X[:40], Y[:40]), "stop": cr.EarlyStopping(2), "keep": "last"},
        {"stop": lambda history: history.losses[-1] < 0.2},
        {"metrics": [cr.metrics.mae], "shuffle": False},
        {"optimizer": cr.Adam(lr=cr.ReduceLROnPlateau(0.05, patience=1))},
        {"optimizer": cr.SGD(lr=cr.CosineAnnealingLR(0.1, T_max=30, every="step"), momentum=0.9)},
        {"engine": "python"},
    ],
    ids=lambda how: "-".join(how) or "plain",
)
def test_a_network_among_many_ends_as_it_does_alone(how, threads):
    grid = {"width": [4, 25], "activation": [cr.Tanh, cr.ReLU], "batch_size": [7, 32]}
    results = cr.fit_many(build, cr.MSELoss(), (X, Y), grid=grid, seeds=2, epochs=12, threads=threads, **how)
    assert len(results) == 16
    assert not results.failed
    for result in results:
        config = dict(result.configuration)
        options = copy.deepcopy(how) | {"batch_size": config.pop("batch_size"), "epochs": 12}
        model, history = alone(lambda c=config: build(**c), cr.MSELoss(), (X, Y), seed=result.seed, **options)
        assert same_bits(model, result.model)
        assert result.history.losses == history.losses
        assert result.history.validation_losses == history.validation_losses
        assert result.history.metrics == history.metrics
        assert result.history.learning_rates == history.learning_rates
        assert (result.history.stopped, result.history.best_epoch) == (history.stopped, history.best_epoch)
        assert (result.history.steps, result.history.engine) == (history.steps, history.engine)


def test_an_optimizer_that_build_gives_to_all_networks_is_a_copy_in_each():
    optimizer = cr.Adam(cr.ReduceLROnPlateau(0.05, patience=0, threshold=0.5))  # which the engine asks every epoch

    def shared(width=8):
        return cr.Sequential(optimizer, cr.Linear(3, width), cr.Tanh(), cr.Linear(width, 2))

    results = cr.fit_many(shared, cr.MSELoss(), (X, Y), grid={"width": [4, 8, 25]}, seeds=2, epochs=12, threads=3)
    assert not results.failed
    assert optimizer.steps == 0
    for result in results:
        make = partial(shared, **result.configuration)
        model, history = alone(make, cr.MSELoss(), (X, Y), seed=result.seed, epochs=12)
        assert same_bits(model, result.model)
        assert result.history.learning_rates == history.learning_rates


def test_the_groups_of_each_network_are_of_its_own_parameters():
    def make():
        hidden, out = cr.Linear(3, 6).freeze(), cr.Linear(6, 2)
        hidden.bias.trainable = True
        groups = [{"parameters": out, "lr": cr.StepLR(0.2, 2), "constraint": cr.constraints.MaxNorm(0.5)}]
        return cr.Sequential(cr.SGD(lr=0.05, groups=groups), hidden, cr.Tanh(), out)

    results = cr.fit_many(make, cr.MSELoss(), (X, Y), seeds=[5, 3], epochs=4)
    assert not results.failed
    for result in results:
        model, _ = alone(make, cr.MSELoss(), (X, Y), seed=result.seed, epochs=4)
        assert same_bits(model, result.model)
        assert result.model.optimizer.groups[0].parameters == frozenset(result.model[2].param())


def test_groups_of_parameters_that_no_network_will_have_are_refused():
    optimizer = cr.SGD(groups=[{"parameters": cr.Linear(3, 6), "lr": 0.5}])
    for how in ({"optimizer": optimizer}, {"grid": {"optimizer": [cr.SGD(), optimizer]}}):
        with pytest.raises(ValueError, match="fit_many: groups of an optimizer are of the Parameters of one network"):
            cr.fit_many(build, cr.MSELoss(), (X, Y), epochs=1, **how)


def test_what_the_optimizer_of_a_network_remembers_of_it_goes_on():
    cr.seed(0)
    first = build()
    cr.fit(first, cr.MSELoss(), (X, Y), epochs=2)
    first.optimizer.momentum = 0.9
    cr.fit(first, cr.MSELoss(), (X, Y), epochs=2)
    expected = copy.deepcopy(first)
    cr.fit(expected, cr.MSELoss(), (X, Y), epochs=3)
    [result] = cr.fit_many(lambda: copy.deepcopy(first), cr.MSELoss(), (X, Y), epochs=3)
    assert same_bits(result.model, expected)


def test_dropout_draws_what_it_draws_alone():
    def make():
        return cr.Sequential(cr.Linear(3, 20), cr.ReLU(), cr.Dropout(0.5), cr.Linear(20, 2))

    results = cr.fit_many(make, cr.MSELoss(), (X, Y), optimizer=cr.Adam(), seeds=[5, 3], epochs=4)
    for result in results:
        model, _ = alone(make, cr.MSELoss(), (X, Y), seed=result.seed, optimizer=cr.Adam(), epochs=4)
        assert same_bits(model, result.model)
    assert [result.seed for result in results] == [5, 3]
    assert not same_bits(results[0].model, results[1].model)


def test_a_model_can_be_trained_on_afterwards():
    optimizer = cr.Adam(lr=0.01)
    result = cr.fit_many(build, cr.MSELoss(), (X, Y), epochs=3, optimizer=optimizer, keep="last")[0]
    assert optimizer.steps == 0  # it was copied
    assert not result.model.training or cr.Sequential().training
    before = result.history.losses[-1]
    assert cr.fit(result.model, cr.MSELoss(), (X, Y), epochs=5, optimizer=cr.Adam(lr=0.01)).losses[-1] < before


def test_the_default_generator_goes_on_as_if_nothing_had_happened():
    cr.seed(1)
    expected = [cr.Linear(2, 2).weight.value, cr.Linear(2, 2).weight.value]
    cr.seed(1)
    first = cr.Linear(2, 2).weight.value
    cr.fit_many(build, cr.MSELoss(), (X, Y), epochs=1, seeds=3)
    assert np.array_equal([first, cr.Linear(2, 2).weight.value], expected)


def test_build_is_given_the_seed_if_it_wants_it():
    seen = []

    def make(seed):
        seen.append(seed)
        return build()

    cr.fit_many(make, cr.MSELoss(), (X, Y), epochs=1, seeds=[4, 9])
    assert seen == [4, 9]


def test_losses_targets_and_dtypes_may_differ_from_network_to_network():
    def make(dtype):
        return cr.Sequential(cr.SGD(lr=0.1), cr.Linear(3, 2, dtype=dtype))

    losses = [cr.CrossEntropyLoss(), cr.CrossEntropyLoss(label_smoothing=0.1)]
    results = cr.fit_many(
        make, losses[0], (X, CLASSES), grid={"dtype": ["float32", "float64"], "loss": losses}, epochs=2
    )
    assert not results.failed
    assert len({result.loss for result in results}) == 4
    assert results[2].model[0].weight.value.dtype == "float64"


# -- folds and parts of the data


def test_folds_hold_out_every_sample_once():
    folds = 4
    results = cr.fit_many(build, cr.MSELoss(), (X[:30], Y[:30]), folds=folds, seeds=2, epochs=2)
    assert [(r.fold, r.seed) for r in results] == [(f, s) for f in range(folds) for s in range(2)]
    from chainrule.many.configurations import folds_of

    made = folds_of(folds, cr.Dataset(X[:30], Y[:30]))
    assert sorted(np.concatenate([fold.held_out for fold in made])) == list(range(30))
    for fold in made:
        assert sorted([*fold.train, *fold.held_out]) == list(range(30))
        assert 7 <= len(fold.held_out) <= 8
    model, history = alone(
        build, cr.MSELoss(), (X[made[1].train], Y[made[1].train]), seed=0, epochs=2,
        validation=(X[made[1].held_out], Y[made[1].held_out]),
    )  # fmt: skip
    assert same_bits(model, results[2].model)
    assert history.validation_losses == results[2].history.validation_losses


def test_folds_may_come_from_scikit_learn():
    splits = pytest.importorskip("sklearn.model_selection").StratifiedKFold(3).split(X, CLASSES)
    results = cr.fit_many(build, cr.CrossEntropyLoss(), (X, CLASSES), folds=splits, epochs=1)
    assert [result.fold for result in results] == [0, 1, 2]
    assert not results.failed


def test_train_size_takes_the_first_samples():
    results = cr.fit_many(build, cr.MSELoss(), (X, Y), grid={"train_size": [10, 50]}, epochs=3)
    for result, n in zip(results, (10, 50), strict=True):
        assert same_bits(alone(build, cr.MSELoss(), (X[:n], Y[:n]), seed=0, epochs=3)[0], result.model)


# -- failures stay where they are


def test_a_schedule_begins_in_every_network_wherever_its_optimizer_was():
    optimizer = cr.SGD(lr=cr.StepLR(0.1, 2))
    cr.fit(build(), cr.MSELoss(), (X, Y), epochs=5, optimizer=optimizer)
    results = cr.fit_many(build, cr.MSELoss(), (X, Y), seeds=2, epochs=3, optimizer=optimizer)
    assert [result.history.learning_rates for result in results] == [[0.1, 0.1, pytest.approx(0.01)]] * 2
    assert optimizer.epochs == 5


def test_a_failure_is_reported_in_its_row_and_touches_no_other():
    def make(what):
        if what == "raises":
            raise RuntimeError("no such network")
        if what == "nothing":
            return None
        if what == "too wide":
            return cr.Sequential(cr.SGD(), cr.Linear(4, 2))
        return build(lr=1e30 if what == "diverges" else 0.1)

    kinds = ["good", "raises", "diverges", "nothing", "too wide", "good"]
    results = cr.fit_many(make, cr.MSELoss(), (X, Y), grid={"what": kinds}, epochs=5)
    errors = [result.error for result in results]
    assert errors[1] == "RuntimeError: no such network"
    assert errors[2].startswith("FloatingPointError: fit: ")
    assert errors[3] == "TypeError: build: model must be a Module, such as Sequential(…), got None"
    assert "4" in errors[4]
    assert errors[4].startswith("ValueError")
    assert np.isnan(results[2].loss)
    assert results[2].history.stopped.endswith("NaN or infinite in epoch 0")
    expected, _ = alone(build, cr.MSELoss(), (X, Y), seed=0, epochs=5)
    for i in (0, 5):
        assert errors[i] == ""
        assert same_bits(results[i].model, expected)
    assert len(results.failed) == 4


def test_a_metric_that_raises_fails_its_network_only():
    def moody(y, target):
        if len(target) == 10:
            raise ZeroDivisionError("ten")
        return 1.0

    results = cr.fit_many(build, cr.MSELoss(), (X, Y), grid={"train_size": [10, 20]}, epochs=2, metrics=[moody])
    assert [result.error for result in results] == ["ZeroDivisionError: ten", ""]


def test_what_the_engine_does_not_know_runs_in_python_and_says_so():
    def make(odd):
        return cr.Sequential(cr.SGD(), *[Odd()] * odd, cr.Linear(3, 2))

    results = cr.fit_many(make, cr.MSELoss(), (X, Y), grid={"odd": [0, 1]}, epochs=2)
    assert results[0].history.engine.startswith("native")
    assert results[1].history.engine == "python, as the engine does not know Odd"
    results = cr.fit_many(make, cr.MSELoss(), (X, Y), grid={"odd": [0, 1]}, epochs=2, engine="native")
    assert results[1].error == 'ValueError: fit: engine="native" cannot run this: Odd'


# -- time


@pytest.mark.parametrize("engine", ["native", "python"])
def test_each_network_has_a_time_of_its_own(engine):
    def run(seconds):
        how = {"max_seconds": seconds, "threads": 2, "engine": engine, "keep": "last"}
        return cr.fit_many(build, cr.MSELoss(), (X, Y), seeds=3, epochs=10**9, **how)

    seconds, results = enough(run, lambda results: all(result.history.epochs > 0 for result in results), first=0.1)
    for result in results:
        assert result.history.stopped == f"max_seconds={seconds:g} were over in epoch {result.history.epochs}"
        assert seconds <= result.history.total_s
        assert result.history.steps >= result.history.epochs * 4
        assert result.error == ""


@pytest.mark.parametrize("engine", ["native", "python"])
def test_ctrl_c_keeps_what_was_finished(engine):
    def run(seconds):
        def make(long):
            if long:
                threading.Timer(seconds, _thread.interrupt_main).start()
            return build()

        configs = [{"long": False, "epochs": 2}, {"long": True, "epochs": 10**9}, {"long": False, "epochs": 10**9}]
        return cr.fit_many(make, cr.MSELoss(), (X, Y), configs=configs, epochs=1, threads=1, engine=engine)

    _, results = enough(run, lambda results: len(results) > 1 and results[1].history.epochs > 0, first=0.3)
    assert results.interrupted
    assert results[0].history.stopped == "all epochs done"
    assert results[1].history.stopped == f"interrupted by Ctrl-C in epoch {results[1].history.epochs}"
    assert results[1].history.epochs > 0
    assert np.isfinite(results[1].model(X)).all()
    assert "interrupted: 3 were asked for" in repr(results)


def test_a_long_run_comes_back_part_by_part(monkeypatch):
    monkeypatch.setattr("chainrule.train.native_loop.MOST_EPOCHS", 5)
    for how in ({}, {"stop": cr.EarlyStopping(6, min_delta=0.001)}):
        result = cr.fit_many(build, cr.MSELoss(), (X, Y), epochs=23, **how)[0]
        model, history = alone(build, cr.MSELoss(), (X, Y), seed=0, epochs=23, **how)
        assert same_bits(model, result.model)
        assert (history.losses, history.stopped) == (result.history.losses, result.history.stopped)


def test_only_a_few_networks_wait_at_a_time(monkeypatch):
    most = 0
    lend = Crew.lend

    def counting(self, *arguments):
        nonlocal most
        lend(self, *arguments)
        most = max(most, len(self.begun))

    monkeypatch.setattr(Crew, "lend", counting)
    cr.fit_many(build, cr.MSELoss(), (X, Y), seeds=50, epochs=1, threads=2)
    assert 2 <= most <= 8


def test_an_exception_in_the_midst_leaves_no_network_in_use(monkeypatch):
    loops = []
    finish = NativeLoop.finish

    def noting(self):
        loops.append(self)
        finish(self)

    monkeypatch.setattr(NativeLoop, "finish", noting)

    def make(i):
        if i == 3:
            raise KeyboardInterrupt
        return build()

    with pytest.raises(KeyboardInterrupt):
        cr.fit_many(make, cr.MSELoss(), (X, Y), grid={"i": range(4)}, epochs=10**6, threads=2)
    assert len(loops) == 3
    for loop in loops:
        assert loop.native.predict(X).shape == (120, 2)  # raises while a thread is at work on it


# -- bad input


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"grid": {"width": []}}, ValueError, "grid['width'] is empty"),
        ({"grid": {"width": 8}}, TypeError, "grid['width'] must be a list of values, got 8"),
        ({"grid": {"activation": "relu"}}, TypeError, "grid['activation'] must be a list of values, got 'relu'"),
        ({"grid": {"depth": [1, 2]}}, TypeError, "nobody knows 'depth'; a configuration may set width, activation, lr"),
        ({"configs": []}, ValueError, "configs is empty"),
        ({"configs": [{"width": 3}], "grid": {"width": [3]}}, ValueError, "give grid or configs, not both"),
        ({"configs": [3]}, TypeError, "configs must map names to values, got 3"),
        ({"configs": [{"seed": 3}]}, TypeError, "a configuration may not set the seed; give seeds=…"),
        ({"seeds": 0}, ValueError, "seeds must be a positive integer, got 0"),
        ({"seeds": []}, ValueError, "seeds is empty"),
        ({"seeds": [1, 1]}, ValueError, "seeds must differ from one another, got [1, 1]"),
        ({"seeds": [-1]}, ValueError, "each of seeds must be in 0"),
        ({"folds": 121}, ValueError, "folds must be between 2 and the number of samples, 120, got 121"),
        ({"folds": 1}, ValueError, "folds must be between 2 and the number of samples, 120, got 1"),
        ({"folds": []}, ValueError, "folds must be a number, or pairs"),
        ({"folds": [([0, 120], [1])]}, ValueError, "a fold must hold positions between 0 and 119"),
        ({"folds": [([0], [])]}, ValueError, "a fold must hold positions between 0 and 119"),
        ({"folds": 2, "validation": (X, Y)}, ValueError, "give folds or validation, not both"),
        ({"grid": {"train_size": [121]}}, ValueError, "train_size must be at most 120, got 121"),
        ({"grid": {"train_size": [61]}, "folds": 2}, ValueError, "train_size must be at most 60, got 61"),
        ({"epochs": 0}, ValueError, "epochs must be a positive integer, got 0"),
        ({"threads": 0}, ValueError, "threads must be a positive integer, got 0"),
        ({"batch_size": -1}, ValueError, "batch_size must be a positive integer, got -1"),
        ({"build": 3}, TypeError, "build must be a function that returns a model, got 3"),
        (
            {"build": lambda width: None},
            TypeError,
            "build cannot be called with {}: missing a required argument: 'width'",
        ),
        ({"train": X}, TypeError, "train must be a Dataset or a pair"),
    ],
)
def test_bad_input_is_refused_before_anything_trains(how, error, message):
    built = []

    def counting(width=8, activation=cr.Tanh, lr=0.1):
        built.append(width)
        return build(width, activation, lr)

    arguments = {"build": counting, "train": (X, Y), "epochs": 1} | how
    with pytest.raises(error) as caught:
        cr.fit_many(arguments.pop("build"), cr.MSELoss(), arguments.pop("train"), **arguments)
    assert message in str(caught.value)
    assert str(caught.value).startswith("fit_many: ")
    assert built == []


def test_a_progress_bar_counts_networks_and_shows_the_best(monkeypatch, capfd):
    shown = []
    advance = Progress.advance

    def noting(self, n, words):
        shown.append((n, words))
        advance(self, n, words)

    monkeypatch.setattr(Progress, "advance", noting)
    results = cr.fit_many(build, cr.MSELoss(), (X, Y), grid={"lr": [0.1, 1e30]}, epochs=3, threads=1, progress=True)
    assert "network" in capfd.readouterr().err
    assert [n for n, _ in shown] == [1, 1]
    assert shown[-1][1] == {"best": f"{results.best().loss:.4g}", "failed": 1}


def same_network():
    made = cr.Sequential(cr.Linear(2, 2, rng=0))
    return lambda: made


def same_layer():
    layer = cr.Linear(2, 4, rng=0)
    return lambda: cr.Sequential(layer, cr.Linear(4, 2))


def same_parameter():
    weight = cr.Parameter(np.zeros((2, 2)))
    return lambda: cr.Linear(2, 2, weight=weight)


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize("shared", [same_network, same_layer, same_parameter])
def test_networks_that_share_a_parameter_are_an_error_of_all_but_the_first(shared, engine):
    x = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    results = cr.fit_many(shared(), cr.MSELoss(), (x, x), epochs=2, optimizer=cr.SGD(0.1), seeds=3, engine=engine)
    first, *others = list(results)
    assert not first.error
    assert first.history.epochs == 2
    for other in others:
        assert re.search("is a Parameter of another one too.*copy.deepcopy|no other may share them", other.error)


def test_copies_of_a_layer_may_start_from_the_same_numbers():
    x = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    layer = cr.Linear(2, 4, rng=0)
    before = layer.weight.value.copy()
    results = cr.fit_many(
        lambda: cr.Sequential(copy.deepcopy(layer), cr.Linear(4, 2)),
        cr.MSELoss(), (x, x), epochs=2, optimizer=cr.SGD(0.1), seeds=3,
    )  # fmt: skip
    assert not any(result.error for result in results)
    np.testing.assert_array_equal(layer.weight.value, before)


def test_networks_with_several_inputs_and_heads_end_as_they_do_alone():
    data, loss = branched_data(40), branched_loss()
    asked = {"kind": [cr.metrics.accuracy]}

    def build(lr, seed):
        return branched_network(cr.Adam(lr=lr), seed=seed, dropout=0.1)

    results = cr.fit_many(build, loss, data, epochs=4, grid={"lr": [0.01, 0.03]}, seeds=2, folds=2, metrics=asked)
    assert [result.error for result in results] == [""] * 8
    folds = folds_of(2, data)
    for result in results:
        fold = folds[result.fold]
        with random.seeded(result.seed):
            model = build(**result.configuration, seed=result.seed)
        history = cr.fit(
            model,
            loss,
            data.take(fold.train),
            validation=data.take(fold.held_out),
            epochs=4,
            seed=result.seed,
            metrics=asked,
        )
        assert bits(model) == bits(result.model)
        assert result.losses == {
            name: values[history.best_epoch] for name, values in history.validation_head_losses.items()
        }
        assert result.row()["loss[kind]"] == result.losses["kind"]
        assert result.row()["accuracy[kind]"] == history.metrics["accuracy[kind]"][history.best_epoch]
    row = results.summary()[0]
    assert row["loss"] == pytest.approx(row["loss[kind]"] + 0.3 * row["loss[size]"])
    assert row["loss[size]_std"] > 0


def test_an_ensemble_has_a_mean_and_a_spread_for_each_head():
    data = branched_data(40)
    results = cr.fit_many(lambda seed: branched_network(cr.Adam(), seed=seed), branched_loss(), data, epochs=2, seeds=3)
    mean, spread = results.ensemble().predict(data.x)
    said = [cr.predict(result.model, data.x) for result in results]
    for name in ("kind", "size"):
        stacked = np.stack([y[name] for y in said])
        np.testing.assert_allclose(mean[name], stacked.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(spread[name], stacked.std(axis=0, ddof=1), rtol=1e-14)


def test_losses_of_heads_may_be_of_other_kinds_from_network_to_network():
    """Class indices for the one are numbers for the other: data prepared for the first are not the second's."""
    data = branched_data(40)
    data = cr.Dataset(data.x, {"kind": data.target["kind"], "size": np.eye(3, dtype=int)[data.target["kind"]]})

    def build(*, heads=("kind", "size")):
        layers = branched_network(cr.Adam())[:3]
        return cr.Sequential(cr.Adam(), *layers, cr.Parallel({name: cr.Linear(8, 3) for name in heads}).double())

    def loss(kind):
        return cr.MultiLoss({"kind": cr.CrossEntropyLoss(), "size": kind})

    configs = [{"loss": loss(cr.MSELoss())}, {"loss": loss(cr.BCEWithLogitsLoss())}, {"loss": loss(cr.L1Loss())}]
    results = cr.fit_many(build, loss(cr.MSELoss()), data, epochs=2, configs=configs)
    assert [result.error for result in results] == [""] * 3
    swapped = cr.Dataset(data.x, {"kind": data.target["kind"], "size": data.target["kind"]})
    configs = [{"loss": loss(cr.CrossEntropyLoss())}, {"loss": loss(cr.MSELoss())}]
    results = cr.fit_many(build, loss(cr.MSELoss()), swapped, epochs=2, configs=configs)
    assert results[0].error == ""
    assert "head 'size': MSELoss().forward: target must have the shape of y" in results[1].error
