"""Models as files: what comes back, and what happens to files that something has happened to."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from counting import instructions

import chainrule as cr
from chainrule.files import read_file, write_file


def network():
    cr.seed(0)
    return cr.Sequential(
        cr.Adam(lr=cr.StepLR(0.01, 5)),
        cr.Linear(2, 6),
        cr.GELU(),
        cr.Dropout(0.1),
        cr.Linear(6, 6, bias=False),
        cr.Linear(6, 2),
    )


def test_a_trained_model_comes_back_with_its_history(tmp_path):
    model, data = network(), cr.data.disk(100, seed=0)
    history = cr.fit(model, cr.MSELoss(), data, epochs=3, validation=data, metrics=[cr.metrics.accuracy])
    model.save(tmp_path / "model.safetensors", history=history)
    other = cr.load(tmp_path / "model.safetensors")
    assert repr(other.layers) == repr(model.layers)
    assert repr(other.optimizer).partition(" at lr=")[0] == repr(model.optimizer).partition(" at lr=")[0]
    np.testing.assert_array_equal(cr.predict(other, data.x), cr.predict(model, data.x))
    header = read_file(tmp_path / "model.safetensors")[1]
    assert cr.History.from_dict(header["history"]) == history
    cr.fit(other, cr.MSELoss(), data, epochs=1)  # it can be trained on, with the optimizer that came with it


def optimizers():
    return {
        "sgd": cr.SGD(lr=0.1),
        "momentum": cr.SGD(lr=cr.CosineAnnealingLR(0.1, T_max=30, every="step"), momentum=0.9),
        "nesterov": cr.SGD(lr=cr.StepLR(0.1, 3), momentum=0.9, nesterov=True, weight_decay=0.01),
        "adam": cr.Adam(lr=cr.LinearLR(cr.ExponentialLR(0.01, 0.9)), amsgrad=True),
        "adamw": cr.AdamW(lr=cr.ReduceLROnPlateau(0.1, patience=0, factor=0.5), clip_norm=1.0),
        "rmsprop": cr.RMSprop(lr=cr.MultiStepLR(0.001, [2, 12]), centered=True, momentum=0.5),
        "nadam": cr.NAdam(lr=0.01, weight_decay=0.01),
        "radam": cr.RAdam(lr=0.01, betas=(0.9, 0.9)),
        "adamax": cr.Adamax(lr=0.01),
        "adadelta": cr.Adadelta(),
        "rprop": cr.Rprop(lr=0.01),
        "asgd": cr.ASGD(lr=0.1, t0=20),
        "adafactor": cr.Adafactor(),
        "muon": cr.Muon(lr=0.01),
        "adagrad": cr.Adagrad(lr=0.1, lr_decay=0.01),
    }


RUNS = [(name, engine) for name in optimizers() for engine in ("python", "native")]


def test_every_optimizer_is_among_them():
    known = {kind for kind in vars(cr).values() if isinstance(kind, type) and issubclass(kind, cr.Optimizer)}
    assert {type(rule) for rule in optimizers().values()} == known - {
        cr.Optimizer,
        cr.Lookahead,
    }  # see test_lookahead.py


def trained(model, epochs=10, **options):
    data = cr.data.disk(103, seed=0)
    options = {"batch_size": 20, "validation": cr.data.disk(50, seed=1)} | options
    return cr.fit(model, cr.MSELoss(), data, epochs=epochs, **options)


def everything(model, *histories):
    """The bits of the parameters, of what the optimizer remembers, and of the losses."""
    state = model.optimizer.state_dict(model.param())
    each = [{name: np.asarray(value).tobytes() for name, value in kept.items()} for kept in state.pop("parameters")]
    numbers = [parameter.value.tobytes() for parameter in model.param()]
    return repr(model.optimizer), repr(state), each, numbers, [x for history in histories for x in history.losses]


@pytest.mark.parametrize(("name", "engine"), RUNS)
def test_ten_epochs_and_ten_after_a_load_are_twenty(tmp_path, engine, name):
    """Where nothing begins anew with every fit: no other order, no dropout, no best epoch that is gone back to."""

    def make():
        cr.seed(0)
        return cr.Sequential(optimizers()[name], cr.Linear(2, 8), cr.Tanh(), cr.Linear(8, 2))

    options = {"engine": engine, "shuffle": False, "keep": "last"}
    whole, first = make(), make()
    expected = everything(whole, trained(whole, 20, **options))
    histories = [trained(first, **options)]
    first.save(tmp_path / "a")
    second = cr.load(tmp_path / "a")
    assert everything(second) == everything(first)
    histories.append(trained(second, **options))
    assert everything(second, *histories) == expected


@pytest.mark.parametrize(("name", "engine"), RUNS)
def test_training_goes_on_after_a_load_as_if_the_model_had_not_been_away(tmp_path, engine, name):
    model = network()
    model.optimizer = optimizers()[name]
    trained(model, engine=engine)
    model.save(tmp_path / "a")
    other = cr.load(tmp_path / "a")
    assert everything(other, trained(other, engine=engine)) == everything(model, trained(model, engine=engine))


@pytest.mark.parametrize("where", ["file", "checkpoint"])
def test_groups_constraints_and_what_is_frozen_go_on_after_a_load(tmp_path, where):
    cr.seed(0)
    layers = [cr.Linear(2, 6).freeze(), cr.Tanh(), cr.Linear(6, 6), cr.Tanh(), cr.Linear(6, 2)]
    mask = cr.constraints.Mask(np.arange(36).reshape(6, 6) % 3 > 0)
    groups = [
        {"parameters": layers[2].weight, "lr": cr.ReduceLROnPlateau(0.05, patience=0), "constraint": mask},
        {"parameters": layers[4], "amsgrad": True, "lr": cr.StepLR(0.01, 3)},
    ]
    model = cr.Sequential(cr.Adam(lr=0.02, groups=groups), *layers)
    trained(model, **({"checkpoint": tmp_path} if where == "checkpoint" else {}))
    if where == "file":
        model.save(tmp_path / "checkpoint.safetensors")
    other = cr.load(tmp_path / "checkpoint.safetensors")
    assert [p.trainable for p in other.param()] == [False, False, True, True, True, True]
    assert everything(other, trained(other)) == everything(model, trained(model))
    assert (other[2].weight.value[~mask.mask] == 0).all()


def test_the_model_of_a_checkpoint_has_its_optimizer_too(tmp_path):
    model = network()
    trained(model, checkpoint=tmp_path)
    other = cr.load(tmp_path / "checkpoint.safetensors")
    assert everything(other, trained(other)) == everything(model, trained(model))
    model = network()
    trained(model, optimizer=cr.SGD(lr=0.1, momentum=0.9), checkpoint=tmp_path / "b")
    other = cr.load(tmp_path / "b" / "checkpoint.safetensors")
    assert (other.optimizer.steps, len(other.optimizer.state)) == (0, 0)  # its own has made no step


def test_what_the_optimizer_remembers_may_be_left_out(tmp_path):
    model = network()
    model.save(tmp_path / "new")
    trained(model, 2)
    model.save(tmp_path / "all")
    model.save(tmp_path / "less", optimizer=False)
    names = set(model.state_dict())
    moments = {f"optimizer.parameters.{name}.{moment}" for name in names for moment in ("exp_avg", "exp_avg_sq")}
    assert set(read_file(tmp_path / "all")[0]) == names | moments
    assert set(read_file(tmp_path / "less")[0]) == set(read_file(tmp_path / "new")[0]) == names
    other = cr.load(tmp_path / "less")
    assert (other.optimizer.steps, other.optimizer.epochs) == (0, 0)
    assert other.optimizer.current_lr == 0.01
    np.testing.assert_array_equal(other[0].weight.value, model[0].weight.value)


def of_format_1(path):
    """Write a file anew as it was before there were checksums and optimizers in it."""
    tensors, header = read_file(path)
    text = json.dumps(header | {"version": 1})
    path.write_bytes(safetensors.numpy.save(tensors, metadata={"chainrule": text}))


def test_files_of_before_have_an_optimizer_that_begins_anew(tmp_path):
    model = network()
    trained(model, 2)
    model.save(tmp_path / "a", optimizer=False)
    of_format_1(tmp_path / "a")
    other = cr.load(tmp_path / "a")
    assert (repr(other), other.optimizer.steps) == (repr(network()), 0)


class Signs:
    """An optimizer of somebody's own."""

    def __init__(self, lr=0.01, kept=None):
        self.lr, self.kept, self.made = lr, kept, 0

    def step(self, parameters):
        self.made += 1
        for parameter in parameters:
            parameter.value -= self.lr * np.sign(parameter.grad)

    def state_dict(self, parameters):
        return {"made": self.made, **({} if self.kept is None else {"kept": {1, 2}})}

    def load_state_dict(self, parameters, state):
        self.made = state["made"]


def test_an_optimizer_of_ones_own_goes_on_too(tmp_path):
    model = cr.Sequential(Signs(), cr.Linear(2, 2))
    trained(model, 2)
    model.save(tmp_path / "a")
    other = cr.load(tmp_path / "a", modules=[Signs])
    assert other.optimizer.made == model.optimizer.made > 0
    model.optimizer.kept = 1
    with pytest.raises(TypeError, match=r"optimizer.kept cannot be described.*save\(path, optimizer=False\)"):
        model.save(tmp_path / "a")
    model.save(tmp_path / "a", optimizer=False)
    assert cr.load(tmp_path / "a", modules=[Signs]).optimizer.made == 0


class Factored(cr.Optimizer):
    """A rule of somebody's own, which keeps more than arrays like the Parameter."""

    def __init__(self, lr=0.01):
        super().__init__(lr)

    def update(self, parameter, state, lr):
        if not state:
            rows = np.zeros(parameter.value.shape[:1], "float32")
            state |= {"rows": rows, "seen": np.zeros(2, int), "scale": 1.0, "largest": -np.inf, "note": None}
        state["rows"] += np.abs(parameter.grad).reshape(len(parameter.grad), -1).sum(axis=1)
        state["seen"] += 1
        state["scale"] *= 0.9
        state["largest"] = max(state["largest"], float(parameter.grad.max()))
        parameter.value -= lr * state["scale"] * np.sign(parameter.grad)


def test_a_rule_of_ones_own_may_keep_what_it_likes(tmp_path):
    model = cr.Sequential(Factored(), cr.Linear(2, 2))
    trained(model, 2)
    model.save(tmp_path / "a")
    other = cr.load(tmp_path / "a", modules=[Factored])
    of_model, of_other = model.optimizer.state[model[0].weight], other.optimizer.state[other[0].weight]
    assert of_other["seen"].dtype == of_model["seen"].dtype == int
    assert of_other["scale"] == of_model["scale"] < 1
    assert trained(other, 2).losses == trained(model, 2).losses
    np.testing.assert_array_equal(other[0].weight.value, model[0].weight.value)
    model.double()
    trained(model, 1)
    assert model.optimizer.state[model[0].weight]["rows"].dtype == np.float64


def test_shared_parameters_and_frameworks_go_on_too(tmp_path):
    pytest.importorskip("torch")
    first = cr.Linear(2, 2)
    model = cr.Sequential(cr.Adam(), first, cr.Tanh(), cr.Linear(2, 2, bias=False, weight=first.weight)).to("torch")
    trained(model, 3)
    model.save(tmp_path / "a")
    other = cr.load(tmp_path / "a")
    assert everything(other) == everything(model.to("numpy"))


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.clear(),
        lambda state: state.update(steps=-1),
        lambda state: state.update(parameters=[]),
        lambda state: state["parameters"].update(more={}),
        lambda state: state["parameters"]["0.weight"].update(exp_avg=None),
        lambda state: state["parameters"]["0.weight"].update(exp_avg={"tensor": "0.bias"}),
        lambda state: state["parameters"]["0.weight"].pop("step"),
    ],
)
def test_a_state_that_is_no_state_is_an_error(tmp_path, change):
    model = network()
    trained(model, 2)
    model.save(tmp_path / "a")
    tensors, header = read_file(tmp_path / "a")
    change(header["optimizer"])
    header.pop("version")
    write_file(tmp_path / "a", tensors, header)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'a'}: "):
        cr.load(tmp_path / "a")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_of_another_library_comes_back_on_numpy_in_its_dtype(tmp_path, dtype):
    torch = pytest.importorskip("torch")
    model = network().to("torch", dtype=dtype)
    for parameter in model.param():
        parameter.value = parameter.value.T.contiguous().T if parameter.value.ndim == 2 else parameter.value
    model.save(tmp_path / "a")
    other = cr.load(str(tmp_path / "a"))
    x = np.random.default_rng(0).normal(size=(4, 2)).astype(dtype)
    np.testing.assert_allclose(other(x), model(torch.from_numpy(x)), rtol=1e-5)
    for mine, theirs in zip(other.param(), model.param(), strict=True):
        np.testing.assert_array_equal(mine.value, theirs.value.numpy(), strict=True)


def test_pytorch_can_read_the_tensors(tmp_path):
    from safetensors.torch import load_file

    model = network()
    model.save(tmp_path / "a.safetensors")
    state = load_file(tmp_path / "a.safetensors")
    assert {name: tuple(x.shape) for name, x in state.items()} == {n: x.shape for n, x in model.state_dict().items()}


def test_saving_what_cannot_be_saved_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a"
    network().save(path)
    before = path.read_bytes()

    class Own(cr.Module):
        def __init__(self, width):
            pass

    with pytest.raises(TypeError, match="Own cannot be described"):
        cr.Sequential(Own(3)).save(path)
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError):
        network().save(tmp_path / "nowhere" / "a")


@pytest.mark.parametrize("kind", [None, "sandwich", 3])
def test_files_of_another_kind_are_an_error(tmp_path, kind):
    write_file(tmp_path / "a", {}, {"kind": kind})
    with pytest.raises(ValueError, match="must hold a model or a checkpoint"):
        cr.load(tmp_path / "a")


def damaged(data, rng):
    """The data with one thing wrong: cut off, a bit turned, bytes overwritten, taken out, or put in."""
    place, what = rng.randrange(len(data)), rng.randrange(5)
    if what == 0:
        return data[:place]
    if what == 1:
        return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
    some = rng.randbytes(rng.randrange(1, 9))
    if what == 2:
        return data[:place] + some + data[place + len(some) :]
    if what == 3:
        return data[:place] + data[place + len(some) :]
    return data[:place] + some + data[place:]


@pytest.mark.parametrize("seed", range(10))
def test_damaged_files_are_an_error(tmp_path, seed):
    """Two hundred a seed."""
    rng, path = random.Random(seed), tmp_path / "a"
    network().save(path)
    whole = path.read_bytes()
    for _ in range(200):
        data = damaged(whole, rng)
        if data == whole:  # what was overwritten was the same by chance
            continue
        path.write_bytes(data)
        with pytest.raises(ValueError, match=f"^{path}: "):
            cr.load(path)


@pytest.mark.parametrize("seed", range(10))
def test_damaged_files_without_a_checksum_are_an_error_or_a_model(tmp_path, seed):
    """Two hundred a seed. Bits of the weights themselves may turn without anybody knowing; nothing else may happen."""
    rng, path = random.Random(seed), tmp_path / "a"
    network().save(path)
    of_format_1(path)
    whole = path.read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    refused = 0
    for n in range(200):
        data = damaged(whole, rng) if n % 2 else damaged(whole[:begin], rng) + whole[begin:]
        path.write_bytes(data)
        try:
            assert isinstance(cr.load(path), cr.Module)
        except ValueError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 - that there is a ValueError is not demanded
            refused += 1
    assert refused > 100


def test_every_truncation_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "a"
    for rewrite in (lambda path: None, of_format_1):
        network().save(path)
        rewrite(path)
        data = path.read_bytes()
        with monkeypatch.context() as patch:  # thousands of files take time
            for length in range(len(data)):
                patch.setattr(Path, "read_bytes", lambda _, found=data[:length]: found)
                with pytest.raises(ValueError, match="damaged"):
                    cr.load(path)


def test_the_work_of_saving_and_loading_grows_as_the_number_of_layers(tmp_path):
    def work(n):
        model = cr.Sequential(*(layer for _ in range(n) for layer in (cr.Linear(2, 2, rng=0), cr.ReLU())))
        return instructions(model.save, tmp_path / "a"), instructions(cr.load, tmp_path / "a")

    for few, many in zip(work(10), work(80), strict=True):
        assert many < 9 * few
