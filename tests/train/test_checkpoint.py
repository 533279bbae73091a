"""A run that is interrupted, however, and goes on must end with the bits of one that was not."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from moments import PATIENCE_S

import chainrule as cr
from chainrule.files import read_file, write_file
from chainrule.files.description import describe_rule
from chainrule.train import checkpoint as checkpoints
from chainrule.train.options import Options
from chainrule.train.session import Session

EVERY_EPOCH = {"python": 0.002, "native": 0.0005}  # seconds: many checkpoints, within epochs too


def network(optimizer, dtype="float32"):
    cr.seed(0)
    layers = (cr.Linear(2, 12), cr.ReLU(), cr.Dropout(0.1), cr.Linear(12, 12, bias=False), cr.Tanh(), cr.Linear(12, 2))
    return cr.Sequential(optimizer, *layers).to(dtype=dtype)


def optimizers():
    return {
        "sgd": cr.SGD(lr=0.1),
        "momentum": cr.SGD(lr=cr.CosineAnnealingLR(0.1, T_max=300, every="step"), momentum=0.9),
        "adam": cr.Adam(lr=0.01, amsgrad=True),
        "plateau": cr.AdamW(lr=cr.ReduceLROnPlateau(0.01, patience=1, factor=0.5)),
        "rmsprop": cr.RMSprop(lr=0.001, centered=True, momentum=0.5),
        "nadam": cr.NAdam(lr=0.01, weight_decay=0.01),
        "radam": cr.RAdam(lr=0.01, betas=(0.9, 0.9)),
        "adamax": cr.Adamax(lr=0.01, weight_decay=0.01),
        "adadelta": cr.Adadelta(weight_decay=0.01),
        "rprop": cr.Rprop(lr=0.001, step_sizes=(1e-6, 0.1)),
        "asgd": cr.ASGD(lr=0.1, lambd=0.01, t0=20),
        "adafactor": cr.Adafactor(lr=0.1, weight_decay=0.01),
        "muon": cr.Muon(lr=cr.StepLR(0.01, 3), adamw_lr_ratio=0.5),
        "lookahead": cr.Lookahead(cr.Adam(lr=cr.StepLR(0.01, 3)), k=7),
        "adagrad": cr.Adagrad(lr=cr.LinearLR(0.1), lr_decay=0.01),
    }


def data(n=203, seed=0):
    return cr.data.disk(n, seed=seed)


def arguments(engine, **changes):
    found = {"epochs": 8, "batch_size": 20, "validation": data(seed=1), "seed": 5, "engine": engine}
    return found | {"metrics": [cr.metrics.accuracy]} | changes


def outcome(model, history):
    """All that must be the same."""
    record = history.to_dict()
    for name in ("epoch_s", "total_s"):
        record.pop(name)
    state = [model.optimizer.state_dict(model.param())]
    return repr(record), repr(state), [parameter.value.tobytes() for parameter in model.param()]


def in_pieces(make, folder, *, engine, **changes):
    """The run in as many pieces as it takes, each cut off after a moment, or finished."""
    pieces = 0
    while True:
        model = make()
        history = cr.fit(
            model,
            cr.MSELoss(),
            data(),
            **arguments(engine, **changes),
            checkpoint=cr.Checkpoint(folder, every_s=EVERY_EPOCH[engine]),
            resume=True,
            # On a busy machine a moment may be over before the first step: the later, the longer they are.
            max_seconds=(0.001 if engine == "native" else 0.01) * 1.02**pieces,
        )
        pieces += 1
        if not history.stopped.startswith("max_seconds"):
            return model, history, pieces


@pytest.mark.parametrize("engine", ["native", "python"])
def test_what_callbacks_set_is_in_the_best_parameters_of_a_checkpoint(tmp_path, engine):
    def clip(run):
        weight = run.model[0].weight.value
        weight.clip(-0.3, 0.3, out=weight)

    def make():
        return network(cr.SGD(lr=0.1))

    whole, changes = make(), {"epochs": {"native": 100, "python": 8}[engine], "callbacks": [clip]}
    history = cr.fit(whole, cr.MSELoss(), data(), **arguments(engine, **changes))
    assert abs(whole[0].weight.value).max() == np.float32(0.3)
    model, resumed, _ = in_pieces(make, tmp_path / "run", engine=engine, **changes)
    assert outcome(model, resumed) == outcome(whole, history)


@pytest.mark.parametrize("rate", [0.02, cr.CosineAnnealingLR(0.2, T_max=60, every="step")])
@pytest.mark.parametrize("engine", ["native", "python"])
def test_a_learning_rate_that_a_callback_has_set_is_the_one_that_a_run_goes_on_with(tmp_path, engine, rate):
    def slow_down(run):
        if run.history.epochs == 3:
            run.optimizer.lr = rate

    def make():
        return network(cr.SGD(lr=cr.StepLR(0.1, 2)))

    whole, changes = make(), {"epochs": {"native": 60, "python": 8}[engine], "callbacks": [slow_down]}
    history = cr.fit(whole, cr.MSELoss(), data(), **arguments(engine, **changes))
    assert history.learning_rates[2:4] == pytest.approx([0.01, 0.02 if isinstance(rate, float) else 0.2])
    model, resumed, _ = in_pieces(make, tmp_path / "run", engine=engine, **changes)
    assert outcome(model, resumed) == outcome(whole, history)


def frozen_network():
    """Of which a part is frozen, with groups that have schedules of their own."""
    model = network(cr.SGD(), dtype="float64")
    model[0].freeze()
    groups = [
        {
            "parameters": model[3],
            "lr": cr.ReduceLROnPlateau(0.1, patience=0),
            "constraint": cr.constraints.NonNegative(),
        },
        {"parameters": model[5].bias, "lr": cr.StepLR(0.1, 2), "amsgrad": True},
    ]
    return cr.Sequential(cr.Adam(lr=cr.ExponentialLR(0.05, 0.9), groups=groups), *model)


@pytest.mark.parametrize("engine", ["python", "native"])
def test_groups_and_what_callbacks_freeze_and_melt_go_on_where_they_were(tmp_path, engine):
    def melt(run):
        if run.history.epochs == 3:
            run.model[0].unfreeze()
            run.model[5].weight.trainable = False
            run.optimizer.groups[1].lr = 0.002

    whole, changes = frozen_network(), {"callbacks": [melt], "keep": "last"}
    before = [parameter.value.copy() for parameter in whole.param()]
    history = cr.fit(whole, cr.MSELoss(), data(), **arguments(engine, **changes))
    assert all((parameter.value != value).any() for parameter, value in zip(whole.param(), before, strict=True))
    model, resumed, pieces = in_pieces(frozen_network, tmp_path / "run", engine=engine, **changes)
    assert pieces > 1
    assert outcome(model, resumed) == outcome(whole, history)
    for found in (model, cr.load(tmp_path / "run" / "checkpoint.safetensors")):
        assert [p.trainable for p in found.param()] == [True, True, True, False, True]
        assert found.optimizer.groups[1].lr == 0.002


def set_some(optimizer):
    optimizer.betas, optimizer.eps, optimizer.amsgrad = (0.8, 0.9), 1e-4, True
    optimizer.groups[0].constraint = [cr.constraints.MaxNorm(0.5), cr.constraints.L1(0.001)]
    optimizer.groups[1].constraint = cr.constraints.Mask([1, 0])
    optimizer.groups[1].decay_biases = False


def set_others(optimizer):
    optimizer.groups[0].constraint = None
    optimizer.clip_norm, optimizer.clip_value, optimizer.weight_decay, optimizer.maximize = 0.5, 0.1, 0.01, True


def set_groups(optimizer):
    by_size = sorted((p for group in optimizer.groups for p in group.parameters), key=lambda parameter: parameter.size)
    optimizer.groups = [
        {"parameters": parameter, "lr": lr, "eps": 1e-3, "clip_value": 0.2}
        for parameter, lr in zip(by_size, (cr.StepLR(0.1, 3), 0.001), strict=True)
    ]
    optimizer.groups[1].betas = (0.5, 0.5)


def set_none(optimizer):
    optimizer.groups = ()


@pytest.mark.parametrize("change", [set_some, set_others, set_groups, set_none])
@pytest.mark.parametrize("engine", ["python", "native"])
def test_options_that_a_callback_has_set_are_those_that_a_run_goes_on_with(tmp_path, engine, change):
    def at_once(run):
        if run.history.epochs == 3:
            change(run.optimizer)

    whole, changes = frozen_network(), {"callbacks": [at_once], "keep": "last"}
    history = cr.fit(whole, cr.MSELoss(), data(), **arguments(engine, **changes))
    plain = frozen_network()
    cr.fit(plain, cr.MSELoss(), data(), **arguments(engine, keep="last"))
    assert any((p.value != q.value).any() for p, q in zip(whole.param(), plain.param(), strict=True))
    model, resumed, pieces = in_pieces(frozen_network, tmp_path / "run", engine=engine, **changes)
    assert pieces > 1
    assert outcome(model, resumed) == outcome(whole, history)
    found = (whole, model, cr.load(tmp_path / "run" / "checkpoint.safetensors"))
    first, *others = (describe_rule(one.optimizer, one) for one in found)
    assert others == [first, first]


@pytest.mark.parametrize("engine", ["python", "native"])
def test_what_a_callback_sets_of_layers_and_the_loss_goes_on_too(tmp_path, engine):
    def change(run):
        if run.history.epochs == 3:
            run.model[2].p, run.loss.delta = 0.4, 0.1

    whole, changes = network(cr.Adam(0.01)), {"callbacks": [change], "keep": "last"}
    history = cr.fit(whole, cr.HuberLoss(), data(), **arguments(engine, **changes))
    for epochs in (2, 3, 5, 8):
        model, loss = network(cr.Adam(0.01)), cr.HuberLoss()
        resumed = cr.fit(
            model, loss, data(), **arguments(engine, **changes, checkpoint=tmp_path, resume=True) | {"epochs": epochs}
        )
        assert (model[2].p, loss.delta) == ((0.1, 1.0) if epochs < 3 else (0.4, 0.1))
    assert outcome(model, resumed) == outcome(whole, history)


def test_options_that_need_each_other_and_those_of_lookahead_go_on_too(tmp_path):
    def calm(run):
        if run.history.epochs == 2:
            run.optimizer.nesterov = False
            run.optimizer.momentum = 0  # which nesterov would refuse
            run.optimizer.k, run.optimizer.alpha = 3, 0.9

    def make():
        return network(cr.Lookahead(cr.SGD(lr=0.1, momentum=0.9, nesterov=True)))

    whole, changes = make(), {"callbacks": [calm], "epochs": 6}
    history = cr.fit(whole, cr.MSELoss(), data(), **arguments("python", **changes))
    model, resumed, _ = in_pieces(make, tmp_path / "run", engine="python", **changes)
    assert outcome(model, resumed) == outcome(whole, history)
    assert repr(model.optimizer) == repr(whole.optimizer) == "Lookahead(SGD(lr=0.1), k=3, alpha=0.9)"


class Halved(cr.constraints.Constraint):
    """Of somebody's own, which no file can hold."""

    def apply(self, value, lr):
        value *= 0.5


def test_what_no_file_can_hold_a_callback_sets_again_when_the_run_goes_on(tmp_path):
    class Halving:
        def begin(self, run):
            self.now(run)

        def __call__(self, run):
            self.now(run)

        def now(self, run):
            if run.history.epochs >= 2:
                run.optimizer.constraint = Halved()

    whole, changes = network(cr.SGD(lr=0.1)), {"callbacks": [Halving()], "epochs": 6}
    history = cr.fit(whole, cr.MSELoss(), data(), **arguments("python", **changes))
    model, resumed, _ = in_pieces(lambda: network(cr.SGD(lr=0.1)), tmp_path / "run", engine="python", **changes)
    assert outcome(model, resumed) == outcome(whole, history)


@pytest.mark.parametrize(
    "options",
    [
        {"each": [{"betas": [0.5, 2.0]}, {}, {}]},
        {"each": [{}]},
        {"groups": [["9.weight"]]},
        {"each": [{"beta": 1}, {}, {}]},
    ],
)
def test_options_that_cannot_be_are_damage_and_change_nothing(tmp_path, options):
    cr.fit(frozen_network(), cr.MSELoss(), data(), **arguments("python", epochs=2), checkpoint=tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    tensors, header = read_file(path)
    write_file(path, tensors, header | {"options": options})
    model = frozen_network()
    before = (repr(model.optimizer.rules), [parameter.value.tobytes() for parameter in model.param()])
    with pytest.raises(ValueError, match="is damaged"):
        cr.fit(model, cr.MSELoss(), data(), **arguments("python", epochs=4), checkpoint=tmp_path, resume=True)
    assert (repr(model.optimizer.rules), [parameter.value.tobytes() for parameter in model.param()]) == before


def test_the_same_model_after_a_callback_froze_some_of_it_is_refused_by_what_differs(tmp_path):
    def freeze(run):
        run.model[0].freeze()
        run.optimizer.eps = 0.5

    model = network(cr.Adam())
    options = arguments("python", callbacks=[freeze], checkpoint=tmp_path, resume=True)
    cr.fit(model, cr.MSELoss(), data(), **options | {"epochs": 2})
    says = r"model\.optimizer\.eps was 1e-08 there and is 0\.5 here; a run goes on with a model, .* when it began"
    with pytest.raises(ValueError, match=says):
        cr.fit(model, cr.MSELoss(), data(), **options | {"epochs": 3})
    model.optimizer.eps = 1e-8
    says = r"model\.layers\[0\]\.frozen parameters was nothing there and is \['weight', 'bias'\] here"
    with pytest.raises(ValueError, match=says):
        cr.fit(model, cr.MSELoss(), data(), **options | {"epochs": 3})
    model[0].unfreeze()
    assert cr.fit(model, cr.MSELoss(), data(), **options | {"epochs": 3}).epochs == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda model: model[3].freeze(), r"model\.layers\[3\]\.frozen parameters was nothing"),
        (lambda model: setattr(model.optimizer.groups[1], "amsgrad", False), r"model\.optimizer\.groups\[1\]\.amsgrad"),
        (
            lambda model: setattr(model, "optimizer", cr.Adam(lr=model.optimizer.lr)),
            r"model\.optimizer\.groups was a list of 2 there and is nothing here",
        ),
    ],
)
def test_a_run_with_other_groups_or_frozen_parameters_is_another_run(tmp_path, change, says):
    cr.fit(frozen_network(), cr.MSELoss(), data(), **arguments("python", epochs=1), checkpoint=tmp_path)
    model = frozen_network()
    change(model)
    with pytest.raises(ValueError, match=f"is of another run: {says}"):
        cr.fit(model, cr.MSELoss(), data(), **arguments("python", epochs=2), checkpoint=tmp_path, resume=True)


@pytest.mark.parametrize("name", list(optimizers()))
@pytest.mark.parametrize("engine", ["native", "python"])
def test_a_run_in_pieces_ends_with_the_bits_of_a_whole_one(tmp_path, name, engine):
    if engine == "native" and name in ("adafactor", "muon"):
        pytest.skip("it runs in Python")

    def make():
        return network(optimizers()[name])

    whole, epochs = make(), {"native": 100, "python": 8}[engine]
    expected = outcome(whole, cr.fit(whole, cr.MSELoss(), data(), **arguments(engine, epochs=epochs)))
    model, history, pieces = in_pieces(make, tmp_path / "run", engine=engine, epochs=epochs)
    assert pieces > 1
    assert outcome(model, history) == expected
    assert history.epoch_s == sorted(history.epoch_s)
    best = cr.load(tmp_path / "run" / "checkpoint.safetensors")
    np.testing.assert_array_equal(cr.predict(best, data().x), cr.predict(model, data().x))


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize(
    "changes",
    [
        {"keep": "last", "validation": None, "metrics": []},
        {"shuffle": False, "batch_size": 203},
        {"stop": cr.EarlyStopping(patience=2), "epochs": 60},
        {"batch_size": 1000},
    ],
    ids=str,
)
def test_so_it_does_with_other_options(tmp_path, engine, changes):
    def make():
        return network(cr.SGD(lr=0.5, momentum=0.9), dtype="float64")

    whole = make()
    expected = outcome(whole, cr.fit(whole, cr.MSELoss(), data(), **arguments(engine, **changes)))
    model, history, _ = in_pieces(make, tmp_path, engine=engine, **changes)
    assert outcome(model, history) == expected


def test_weights_and_arrays_of_pytorch_go_on_too(tmp_path):
    def make():
        return network(cr.Adam(lr=0.01)).to("torch")

    samples = cr.Dataset(data().x, data().target, np.linspace(0, 1, 203))
    whole = make()
    history = cr.fit(whole, cr.MSELoss(), samples, epochs=3)
    for epochs in (1, 2, 3):
        model = make()
        resumed = cr.fit(model, cr.MSELoss(), samples, epochs=epochs, checkpoint=tmp_path, resume=True)
    assert resumed.losses == history.losses
    for mine, theirs in zip(model.param(), whole.param(), strict=True):
        np.testing.assert_array_equal(mine.value.numpy(), theirs.value.numpy())


class Count(cr.Module):
    """A layer with state of its own, which `load` does not know."""

    def __init__(self, unkept):
        self.mean, self.passes = cr.Buffer(np.zeros(2, "float32")), cr.Buffer(0)

    def forward(self, x):
        if self.training:
            self.mean.value = self.mean.value * np.float32(0.9) + x.mean(axis=0) * np.float32(0.1)
            self.passes.value += 1
        return x - self.mean.value, None

    def backward(self, dy, saved):
        return dy


def test_buffers_of_layers_of_ones_own_go_on_too(tmp_path):
    def make():
        cr.seed(0)
        return cr.Sequential(cr.SGD(lr=0.1), Count(1), cr.Linear(2, 2))

    whole = make()
    cr.fit(whole, cr.MSELoss(), data(), epochs=3)
    for epochs in (2, 3):
        model = make()
        cr.fit(model, cr.MSELoss(), data(), epochs=epochs, checkpoint=tmp_path, resume=True)
    assert model[0].passes.value == whole[0].passes.value > 0
    np.testing.assert_array_equal(model[0].mean.value, whole[0].mean.value)
    np.testing.assert_array_equal(model[1].weight.value, whole[1].weight.value)


def test_a_run_that_has_ended_says_so_at_once_and_may_be_made_longer(tmp_path):
    def run(epochs):
        model = network(cr.Adam())
        return model, cr.fit(model, cr.MSELoss(), data(), epochs=epochs, checkpoint=tmp_path, resume=True)

    first, history = run(3)
    again, same = run(3)
    assert same.losses == history.losses
    assert same.stopped == "all epochs done"
    np.testing.assert_array_equal(again[0].weight.value, first[0].weight.value)
    assert run(5)[1].losses[:3] == history.losses
    assert run(2)[1].epochs == 5  # what has been done is not undone


def test_a_run_is_not_written_over_by_another(tmp_path):
    model = network(cr.Adam())
    cr.fit(model, cr.MSELoss(), data(), epochs=2, checkpoint=tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(ValueError, match="holds a run already; resume=True goes on with it"):
        cr.fit(network(cr.Adam()), cr.MSELoss(), data(), epochs=2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="resume=True needs to know from where"):
        cr.fit(network(cr.Adam()), cr.MSELoss(), data(), epochs=2, resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seed": 6}, "seed was 5 there and is 6 here"),
        ({"batch_size": 21}, "batch_size was 20 there and is 21 here"),
        ({"shuffle": False}, "shuffle was True there and is False here"),
        ({"keep": "last"}, "keep was best there and is last here"),
        ({"optimizer": cr.SGD()}, "optimizer"),
        ({"optimizer": cr.Adam(lr=0.02)}, "optimizer"),
        ({"validation": data(seed=2)}, "validation"),
        ({"train": data(seed=2)}, "train"),
        ({"train": data(202)}, "train"),
        ({"loss": cr.L1Loss()}, "loss"),
        ({"loss": cr.MSELoss(missing="ignore")}, "loss.missing was error there and is ignore here"),
        ({"model": cr.Sequential(cr.Adam(lr=0.01), cr.Linear(2, 2))}, "model"),
    ],
    ids=str,
)
@pytest.mark.parametrize("engine", ["native", "python"])
def test_a_checkpoint_of_another_run_is_an_error_and_changes_nothing(tmp_path, changes, says, engine):
    def parts(**changes):
        found = {"model": network(cr.Adam(lr=0.01)), "loss": cr.MSELoss(), "train": data()} | arguments(
            engine, epochs=2
        )
        return found | changes

    cr.fit(**parts(), checkpoint=tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    other = parts(**changes)
    state = other["model"].state_dict()
    with pytest.raises(ValueError, match=f"is of another run: {says}"):
        cr.fit(**other, checkpoint=tmp_path, resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    for name, value in other["model"].state_dict().items():
        np.testing.assert_array_equal(value, state[name])


def test_a_damaged_checkpoint_is_an_error_and_changes_nothing(tmp_path):
    cr.fit(network(cr.Adam()), cr.MSELoss(), data(), epochs=2, checkpoint=tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(50):
        place = rng.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
        model = network(cr.Adam())
        state = model.state_dict()
        with pytest.raises(ValueError, match=r"damaged|no JSON|checksum"):
            cr.fit(model, cr.MSELoss(), data(), epochs=2, checkpoint=tmp_path, resume=True)
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(value, state[name])
        assert model.optimizer.steps == 0


def test_a_run_that_diverges_leaves_the_last_checkpoint_that_was_good(tmp_path):
    model = network(cr.SGD(lr=0.1))

    def ruin(run):
        if run.history.epochs == 3:
            run.optimizer.lr = 1e30

    with pytest.raises(FloatingPointError):
        cr.fit(
            model,
            cr.MSELoss(),
            data(),
            epochs=9,
            callbacks=[ruin],
            checkpoint=cr.Checkpoint(tmp_path, every_s=1e-6),
        )
    tensors, header = read_file(tmp_path / "checkpoint.safetensors")
    assert header["place"]["epoch"] == 3
    assert all(np.isfinite(x).all() for name, x in tensors.items() if name.startswith(("last", "best")))


def test_an_optimizer_without_state_is_refused(tmp_path):
    class Rule:
        def step(self, parameters):
            pass

    with pytest.raises(TypeError, match="checkpoint needs an optimizer with state_dict"):
        cr.fit(network(Rule()), cr.MSELoss(), data(), epochs=1, checkpoint=tmp_path)
    with pytest.raises(TypeError, match="folder must be a path"):
        cr.fit(network(cr.SGD()), cr.MSELoss(), data(), epochs=1, checkpoint=3)
    with pytest.raises(ValueError, match="every_s must be above 0"):
        cr.Checkpoint(tmp_path, every_s=0)


ODD = [None, True, -1, 0, 1, 10**18, 10**400, 0.5, 1e300, "x", "", [], {}, [1], {"a": 1}, {"float": "nan"}, [[]]]
ODD += [{"float": "inf"}, {"tensor": "nowhere"}, {"tensor": 3}, {"tensor": []}]


def places(value, path=()):
    """The path to each thing in nested JSON."""
    if path:
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from places(item, (*path, key))


def broken(tensors, header, rng):
    """Tensors and header with one thing taken out, renamed, or made another."""
    tensors, header = dict(tensors), copy.deepcopy(header)
    if rng.random() < 0.3:
        name, what = rng.choice(sorted(tensors)), rng.randrange(6)
        x = tensors.pop(name)
        if what == 1:
            tensors[name] = x.astype(rng.choice(["int64", "float16", "bool"]))
        elif what == 2:
            tensors[name] = x.reshape(-1)[:-1]
        elif what == 3:
            tensors[name] = x[None]
        elif what == 4:
            tensors[name + "x"] = x
        elif what == 5:
            tensors |= {name: x, "more": x}
        return tensors, header
    path = rng.choice([path for path in places(header) if path[0] not in ("model", "version")])
    place, key, what = header, path[-1], rng.randrange(3)
    for step in path[:-1]:
        place = place[step]
    if what == 0:
        del place[key]
    elif what == 1 and isinstance(place, dict):
        place[f"{key}x"] = place.pop(key)
    else:
        place[key] = rng.choice(ODD)
    return tensors, header


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_broken_in_a_checkpoint_is_an_error_and_changes_nothing(tmp_path, monkeypatch, engine, seed):
    """Two hundred and fifty a seed, 2,500 in all; the file's checksum would find them too, so it is left out."""

    def make():
        return network(cr.Adam(lr=cr.ReduceLROnPlateau(0.01, patience=1)))

    def begun():
        """A run of its own, which is told to go on from what is broken."""
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return Session(make(), cr.MSELoss(), data(), Options(**options, checkpoint=folder))

    options = arguments(engine, epochs=2)
    cr.fit(make(), cr.MSELoss(), data(), **options, checkpoint=tmp_path / "whole")
    whole, rng, refused = read_file(tmp_path / "whole" / "checkpoint.safetensors"), random.Random(seed), 0
    session, history = begun(), cr.History()
    before = outcome(session.run.model, history)
    for _ in range(250):
        found = broken(*whole, rng)
        monkeypatch.setattr(checkpoints, "read_file", lambda _, found=found: found)
        try:
            session.keeping.resume(session.loop, history)
        except ValueError as error:
            assert str(error).startswith("fit: resume=True, but ")  # noqa: PT017 - that there is one is not demanded
            assert outcome(session.run.model, history) == before
            refused += 1
        else:  # some other numbers are as good as those that were there
            session, history = begun(), cr.History()
    assert refused > 200


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_resume_that_is_cut_off_changes_nothing(tmp_path, error):
    class Late(cr.Adam):
        def load_state_dict(self, parameters, state):
            super().load_state_dict(parameters, state)
            if state["steps"] > 0:
                raise error("too late")

    def make():
        cr.seed(0)
        return cr.Sequential(Late(), Count(1), cr.Dropout(0.1), cr.Linear(2, 2))

    cr.fit(make(), cr.MSELoss(), data(), epochs=2, checkpoint=tmp_path)
    model = make()
    before = outcome(model, cr.History()), model[0].passes.value, model[0].mean.value.tolist(), model[1].extra_state()
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else ValueError, match="too late"):
        cr.fit(model, cr.MSELoss(), data(), epochs=2, seed=0, checkpoint=tmp_path, resume=True)
    model[1].reseed(before[-1]["seed"], before[-1]["layer"])  # which fit sets before
    after = outcome(model, cr.History()), model[0].passes.value, model[0].mean.value.tolist(), model[1].extra_state()
    assert after == before


class Emptied(cr.Module):
    """A layer whose Buffers are filled and emptied while it is trained."""

    def __init__(self, kept):
        self.first, self.seen, self.passes = cr.Buffer(np.zeros(2)), cr.Buffer(None), cr.Buffer(0)

    def forward(self, x):
        if self.training:
            self.first.value, self.seen.value = None, x[:1] * 1.5
            self.passes.value += 1
        return x, None

    def backward(self, dy, saved):
        return dy


def test_buffers_that_are_filled_and_emptied_on_the_way_go_on(tmp_path):
    def make():
        cr.seed(0)
        return cr.Sequential(cr.SGD(lr=0.1), Emptied(1), cr.Linear(2, 2))

    first, second = make(), make()
    cr.fit(first, cr.MSELoss(), data(), epochs=2, checkpoint=tmp_path)
    cr.fit(second, cr.MSELoss(), data(), epochs=2, checkpoint=tmp_path, resume=True)
    assert second[0].first.value is None
    assert second[0].passes.value == first[0].passes.value
    np.testing.assert_array_equal(second[0].seen.value, first[0].seen.value, strict=True)


class Sums(cr.Module):
    """A layer that adds up, in a number of NumPy's, which is no array."""

    def __init__(self):
        self.total, self.largest = cr.Buffer(0.0), cr.Buffer(-np.inf)

    def forward(self, x):
        if self.training:
            self.total.value += np.abs(x).sum()
            self.largest.value = max(self.largest.value, x.max())
        return x / (1 + self.total.value), None

    def backward(self, dy, saved):
        return dy / (1 + self.total.value)


def test_buffers_of_single_numbers_go_on_too(tmp_path):
    def make():
        return cr.Sequential(cr.SGD(), cr.Linear(2, 1, rng=0), Sums())

    data = (np.random.default_rng(0).normal(size=(9, 2)), np.ones((9, 1)))
    whole, model = make(), make()
    cr.fit(whole, cr.MSELoss(), data, epochs=4, batch_size=4, keep="last")
    make().save(tmp_path / "model")  # a Buffer of -inf too
    cr.fit(model, cr.MSELoss(), data, epochs=2, batch_size=4, keep="last", checkpoint=tmp_path)
    loaded = cr.load(tmp_path / "checkpoint.safetensors", modules=[Sums])
    model = make()
    cr.fit(model, cr.MSELoss(), data, epochs=4, batch_size=4, keep="last", checkpoint=tmp_path, resume=True)
    cr.fit(loaded, cr.MSELoss(), data, epochs=2, batch_size=4, keep="last")
    assert model[1].total.value == whole[1].total.value
    assert model[1].largest.value == whole[1].largest.value
    np.testing.assert_array_equal(model[0].weight.value, whole[0].weight.value)


class Passes(cr.Module):
    """One that can be described."""

    def __init__(self):
        self.passes = cr.Buffer(0)

    def forward(self, x):
        self.passes.value += self.training
        return x, None

    def backward(self, dy, saved):
        return dy


def test_the_model_of_a_checkpoint_has_the_state_of_its_layers(tmp_path):
    model = cr.Sequential(cr.Adam(), cr.Sequential(Passes(), cr.Dropout(0.1)), cr.Linear(2, 2))
    cr.fit(model, cr.MSELoss(), data(), epochs=2, checkpoint=tmp_path)
    other = cr.load(tmp_path / "checkpoint.safetensors", modules=[Passes])
    assert other[0][0].passes.value == model[0][0].passes.value > 0
    assert other[0][1].extra_state() == model[0][1].extra_state()


def test_a_model_that_cannot_be_described_is_resumed_and_not_loaded(tmp_path):
    model = cr.Sequential(cr.SGD(lr=0.1), Count(1), cr.Linear(2, 2))
    cr.fit(model, cr.MSELoss(), data(), epochs=1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"cannot be described; build it, and go on by fit\(resume=True\)"):
        cr.load(tmp_path / "checkpoint.safetensors", modules=[Count])


@pytest.mark.parametrize("metrics", [[], [cr.metrics.errors], [cr.metrics.accuracy, cr.metrics.errors]])
def test_other_metrics_are_an_error_that_says_so(tmp_path, metrics):
    cr.fit(network(cr.Adam()), cr.MSELoss(), data(), **arguments("auto", epochs=2), checkpoint=tmp_path)
    model = network(cr.Adam())
    options = arguments("auto", epochs=3, metrics=metrics)
    with pytest.raises(ValueError, match=r"its metrics were accuracy and are .* give the same metrics, or begin anew"):
        cr.fit(model, cr.MSELoss(), data(), **options, checkpoint=tmp_path, resume=True)
    assert model.optimizer.steps == 0


def test_checkpoints_of_before_are_gone_on_with(tmp_path):
    """Format 1: without a checksum, with the state of layers in what the run was made of, nothing of heads, and fewer
    options."""
    path = tmp_path / "checkpoint.safetensors"
    whole = network(cr.Adam())
    cr.fit(whole, cr.MSELoss(), data(), **arguments("python", epochs=4))
    cr.fit(network(cr.Adam()), cr.MSELoss(), data(), **arguments("python", epochs=2), checkpoint=tmp_path)
    tensors, header = read_file(path)
    header["made_of"]["model"]["layers"][2]["state"] = {"seed": 1, "layer": 0, "passes": 0}
    header["place"] |= {"loss_sum": 0.0, "loss_denominator": 0.0}
    del header["made_of"]["loss"]["missing"]
    for name in ("head_losses", "validation_head_losses"):
        del header["history"][name]
    of_format_1(path, tensors, header)
    model = network(cr.Adam())
    cr.fit(model, cr.MSELoss(), data(), **arguments("python", epochs=4), checkpoint=tmp_path, resume=True)
    assert outcome(model, cr.History()) == outcome(whole, cr.History())


def test_an_option_that_is_not_the_default_is_another_run_though_the_checkpoint_does_not_know_it(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    cr.fit(network(cr.Adam()), cr.MSELoss(), data(), **arguments("python", epochs=2), checkpoint=tmp_path)
    tensors, header = read_file(path)
    del header["made_of"]["loss"]["missing"]
    of_format_1(path, tensors, header)
    options = arguments("python", epochs=4, checkpoint=tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"is of another run: loss\.missing was nothing there and is ignore here"):
        cr.fit(network(cr.Adam()), cr.MSELoss(missing="ignore"), data(), **options)


def of_format_1(path, tensors, header):
    from safetensors.numpy import save

    path.write_bytes(save(tensors, metadata={"chainrule": json.dumps(header | {"version": 1})}))


def failing(error, after):
    """A write that fails when so many have been made."""
    made = []

    def write(*arguments):
        made.append(0)
        if len(made) > after:
            raise error
        write_file(*arguments)

    return write


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize("after", [0, 3])
def test_a_disk_that_is_full_does_not_lose_the_record(tmp_path, monkeypatch, engine, after):
    full = OSError(28, "No space left on device", "checkpoint.safetensors")
    monkeypatch.setattr(checkpoints, "write_file", failing(full, after))
    model = network(cr.Adam(lr=0.01))
    options = arguments(engine, epochs=50, stop=cr.EarlyStopping(patience=40))
    with pytest.raises(OSError, match=r"No space left on device: 'checkpoint\.safetensors'") as error:
        cr.fit(model, cr.MSELoss(), data(), **options, checkpoint=cr.Checkpoint(tmp_path, every_s=1e-6))
    history = error.value.history
    assert history.epochs <= after  # written after every step, or every epoch
    assert history.steps >= after
    assert len(history.metrics.get("accuracy", [])) == history.epochs
    assert history.stopped
    assert all(module.training for module in model.modules())
    if history.best_epoch is not None:
        assert cr.evaluate(model, cr.MSELoss(), data(seed=1)).loss == pytest.approx(history.best_loss, rel=1e-5)
    assert not (tmp_path / "checkpoint.lock").exists()
    cr.fit(model, cr.MSELoss(), data(), epochs=1)  # it can be trained on


def test_whatever_a_callback_raises_carries_the_record():
    def fail(run):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as error:
        cr.fit(network(cr.Adam()), cr.MSELoss(), data(), epochs=3, callbacks=[fail])
    assert error.value.history.epochs == 1


HOLD = """
    import sys, time
    from pathlib import Path
    import chainrule as cr
    from test_checkpoint import data, network
    folder = Path(sys.argv[1])
    def wait(run):
        if len(sys.argv) == 2 or os.fork() == 0:
            (folder / "begun").touch()
        time.sleep(100)
    cr.fit(network(cr.Adam()), cr.MSELoss(), data(), epochs=2, callbacks=[wait], checkpoint=folder)
"""


def started(code, *arguments):
    here = Path(__file__).parent
    code = f"import os, sys; sys.path[:0] = [{str(here)!r}, {str(here.parent)!r}]\n" + textwrap.dedent(code)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("how", [(), ("with a child",)])
def test_a_folder_is_for_one_run_at_a_time_and_a_killed_one_keeps_nobody_out(tmp_path, how):
    def fit():
        return cr.fit(network(cr.Adam()), cr.MSELoss(), data(), epochs=2, checkpoint=tmp_path, resume=True)

    process = started(HOLD, tmp_path, *how)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (tmp_path / "begun").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(BlockingIOError, match=rf"another run writes its checkpoints there \(.*{process.pid} on "):
            fit()
    finally:
        process.kill()
        process.wait()
    left = tmp_path / ".checkpoint.safetensors.0123abcd.part"  # as a write that was killed leaves it
    left.touch()
    assert (tmp_path / "checkpoint.lock").exists()
    assert fit().epochs == 2
    assert {path.name for path in tmp_path.iterdir()} == {"begun", "checkpoint.safetensors"}
    if how:
        os.killpg(process.pid, signal.SIGKILL)  # the child has been there all the time
    process.stderr.close()


def test_a_run_within_a_run_of_the_same_folder_is_refused_and_another_is_not(tmp_path):
    def nested(run):
        with pytest.raises(BlockingIOError, match="another run writes its checkpoints there"):
            cr.fit(network(cr.Adam()), cr.MSELoss(), data(), epochs=1, checkpoint=tmp_path / "." / "a", resume=True)
        cr.fit(network(cr.Adam()), cr.MSELoss(), data(), epochs=1, checkpoint=tmp_path / "b", resume=True)

    cr.fit(network(cr.Adam()), cr.MSELoss(), data(), epochs=2, callbacks=[nested], checkpoint=tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["checkpoint.safetensors"]


RUN = """
    import sys
    import time
    from pathlib import Path
    import chainrule as cr
    from test_checkpoint import arguments, data, network
    engine, folder, end = sys.argv[1:]
    model = network(cr.AdamW(lr=cr.ReduceLROnPlateau(0.01, patience=3)))
    history = cr.fit(
        model, cr.MSELoss(), data(), **arguments(engine, epochs=4000 if engine == "native" else 100),
        checkpoint=cr.Checkpoint(folder, every_s=0.002), resume=True,
    )
    while end == "killed":  # whoever waits for a moment to kill it finds it alive, however long that took
        Path(folder, "waits").touch()
        time.sleep(0.001)
    model.save(folder + "/done.safetensors", history=history)
"""


def start(engine, folder, end):
    """A process that trains; its `end` is to be "done", or "killed"."""
    return started(RUN, engine, folder, end)


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_is_killed_at_random_moments_goes_on_to_the_same_bits(tmp_path, engine, seed):
    """Twenty kills each, 200 in all; whatever is there after each of them can be loaded."""
    rng, lengths = random.Random(f"{engine}{seed}"), []
    whole = start(engine, tmp_path / "whole", "done")
    assert whole.wait(timeout=PATIENCE_S) == 0, whole.stderr.read()
    whole.stderr.close()
    folder = tmp_path / "killed"
    checkpoint, waits = folder / "checkpoint.safetensors", folder / "waits"
    for _ in range(20):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        waits.unlink(missing_ok=True)
        process = start(engine, folder, "killed")
        # The moment counts from the first write of this process on: before it, there is little to be killed.
        while not waits.exists() and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=PATIENCE_S) == -signal.SIGKILL
        process.stderr.close()
        assert isinstance(cr.load(checkpoint), cr.Module)
        lengths.append(read_file(checkpoint)[1]["place"]["epoch"])
    last = start(engine, folder, "done")
    assert last.wait(timeout=PATIENCE_S) == 0, last.stderr.read()
    last.stderr.close()
    assert lengths == sorted(lengths)
    (mine, header), (theirs, expected) = (read_file(f / "done.safetensors") for f in (folder, tmp_path / "whole"))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name])
    for name in ("losses", "validation_losses", "metrics", "learning_rates", "steps", "best_epoch"):
        assert header["history"][name] == expected["history"][name]
