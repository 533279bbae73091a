"""Every optimizer that is exported, at every door: the engine, PyTorch, C, files. What it keeps it says itself."""

import json

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule import optimizers, signature
from chainrule.engine import CannotLower, lower
from chainrule.engine.native import compile_plan
from chainrule.engine.rules.optimizers import NOT_TOLD, settings
from chainrule.exchange.pytorch.optimizers import optimizer_from_torch, rules, state_for_torch, state_from_torch
from chainrule.files.description import build_rule, describe_rule

EXPORTED = sorted(
    (
        kind
        for name in optimizers.__all__
        if isinstance(kind := getattr(optimizers, name), type)
        and issubclass(kind, optimizers.Optimizer)
        and kind not in (optimizers.Optimizer, optimizers.Lookahead)  # which is around another: test_lookahead.py
    ),
    key=lambda kind: kind.__name__,
)
# What an optimizer does not do at a door, and what is said there: {(its name, the door): a pattern}.
REFUSALS: dict[tuple[str, str], str] = {
    ("Adafactor", "c"): "there is no C for Adafactor",  # what it remembers has other shapes
    ("Muon", "c"): "there is no C for Muon",  # it multiplies matrices, and remembers other things of vectors
}


def variants(kind):
    """With its defaults, and with the options that are off by default turned on: each alone, all, all but one."""
    off = {}
    for argument in signature.parameters(kind):
        if argument.default is False and argument.name != "maximize":
            off[argument.name] = True
        elif argument.default == 0 and argument.default is not False:
            off[argument.name] = 0.3
    alone = [{name: value} for name, value in off.items()]
    all_but_one = [{name: value for name, value in off.items() if name != without} for without in off]
    made = {}
    for options in [{}, *alone, off, *all_but_one]:
        try:
            optimizer = kind(lr=0.01, **options)
        except ValueError:  # options that exclude each other, such as nesterov and dampening
            continue
        made[repr(optimizer)] = optimizer
    return list(made.values())


EVERY = [optimizer for kind in EXPORTED for optimizer in variants(kind)]
every = pytest.mark.parametrize("optimizer", EVERY, ids=repr)


def network():
    return cr.Sequential(cr.Linear(3, 4, rng=0, dtype="float64"), cr.Tanh(), cr.Linear(4, 2, rng=1, dtype="float64"))


def refused(optimizer, door, error, call):
    """Whether this door refuses the optimizer, as it should then say."""
    if (pattern := REFUSALS.get((type(optimizer).__name__, door))) is None:
        return False
    with pytest.raises(error, match=pattern):
        call()
    return True


def test_all_are_here():
    assert len(EXPORTED) >= 5
    assert {kind for kind in EXPORTED if kind not in map(type, EVERY)} == set()


@every
def test_what_is_kept_after_a_step_is_what_the_optimizer_says(optimizer):
    for shape in ((2, 3), (4,)):
        again, parameter = build_rule(describe_rule(optimizer)), cr.Parameter(np.ones(shape))
        again.step([parameter])
        state, kept = again.state[parameter], again.kept(shape)
        assert {name: array.shape for name, array in state.items() if name != "step"} == kept.arrays
        assert [name for name in state if name != "step"] == list(kept.arrays)
        assert state.get("step") == (1 if kept.counts else None)
        begun = again.begin(np.ones(shape, "float32"))
        assert list(begun) == list(state)
        for name, expected in kept.arrays.items():
            assert (begun[name].dtype, begun[name].shape) == ("float32", expected)
            assert (begun[name] == again.initial_value(name)).all()
        if again.state_names():  # the same of all
            assert kept == (dict.fromkeys(again.state_names(), shape), again.counts_steps)


@every
def test_the_engine_knows_its_options_and_keeps_as_many_arrays(optimizer):
    told = {name: value for name, value in settings(optimizer).items() if name != "keeps_momentum"}
    assert told.pop("kind") == type(optimizer).__name__
    arguments = {argument.name for argument in signature.parameters(type(optimizer))} - set(NOT_TOLD)
    assert {name.rstrip("123") + "s" * (name[-1] in "123" and "eps" not in name) for name in told} == arguments
    assert all(isinstance(value, float | int | bool) for value in told.values())
    plan = lower(network(), cr.MSELoss(), optimizer, sample_shape=(3,), batch=8)
    assert compile_plan(plan).states == max(len(optimizer.kept(shape).arrays) for shape in ((4, 3), (4,)))


@every
def test_state_is_the_same_in_the_engine_and_in_python_under_every_name(optimizer):
    x, target = np.random.default_rng(0).normal(size=(2, 24, 3))
    found = []
    for engine in ("native", "python"):
        model, rule = network(), build_rule(describe_rule(optimizer))
        data = (x, target[:, :2])
        cr.fit(model, cr.MSELoss(), data, epochs=2, batch_size=8, optimizer=rule, engine=engine, keep="last")
        found.append([rule.state.get(parameter, {}) for parameter in model.param()])
    for native, python in zip(*found, strict=True):
        assert native.keys() == python.keys()
        for name, value in python.items():
            np.testing.assert_allclose(native[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


@every
def test_state_goes_to_pytorch_and_back_under_the_same_names(optimizer):
    kind = type(optimizer).__name__
    pair = next((pair for pair in rules(torch) if pair.ours is type(optimizer)), None)
    options = {name: getattr(optimizer, name) for name in pair.arguments} if pair else {}

    def theirs():
        parameter = torch.nn.Parameter(torch.ones(2, 3))
        parameter.grad = torch.full((2, 3), 0.5)
        return parameter, getattr(torch.optim, kind)([parameter], **options)

    if not hasattr(torch.optim, kind):
        assert (kind, "pytorch") in REFUSALS
        return
    if refused(optimizer, "pytorch", TypeError, lambda: optimizer_from_torch(theirs()[1])):
        return
    (tensor, peer), (other, fresh), parameter = theirs(), theirs(), cr.Parameter(np.ones((2, 3), "float32"))
    peer.step()
    ours = optimizer_from_torch(peer)
    assert repr(ours) == repr(type(optimizer)(**options))
    state_from_torch(peer, ours, [(tensor, parameter)])
    assert ours.state[parameter].keys() == ours.begin(parameter.value).keys()
    ours.steps = 1
    for target, state in state_for_torch(ours, fresh, [(other, parameter)]):
        target.update(state)
    kept = {name: value for name, value in peer.state[tensor].items() if value is not None}
    assert fresh.state[other].keys() == kept.keys()
    for name, value in kept.items():
        torch.testing.assert_close(fresh.state[other][name], value, rtol=0, atol=0)


@every
def test_c_keeps_the_arrays_of_the_same_names_from_the_same_start(optimizer, tmp_path):
    def written():
        cr.to_c(network(), tmp_path, loss=cr.MSELoss(), optimizer=optimizer, name="net")

    if refused(optimizer, "c", ValueError, written):
        return
    written()
    header, source = ((tmp_path / name).read_text() for name in ("net.h", "net.c"))
    state = header[header.index("typedef struct") : header.index("} net_state;")]
    for name in optimizer.state_names():
        assert f"float {name}[NET_PARAMETERS];" in state
        assert f"state->{name}[i] = {np.float32(optimizer.initial_value(name))!s}f;" in source
    assert state.count("[NET_PARAMETERS]") == 2 + len(optimizer.state_names())  # and parameters, gradients


@every
def test_a_file_holds_its_options(optimizer):
    described = json.loads(json.dumps(describe_rule(optimizer)))
    assert repr(build_rule(described)) == repr(optimizer)


@pytest.mark.parametrize("kind", EXPORTED, ids=lambda kind: kind.__name__)
def test_a_subclass_is_never_taken_for_its_base(kind, tmp_path):
    optimizer = type("Mine", (kind,), {})(lr=0.01)
    with pytest.raises(CannotLower, match=r"^Mine$"):
        settings(optimizer)
    with pytest.raises(ValueError, match="to_c: there is no C for Mine"):
        cr.to_c(network(), tmp_path, loss=cr.MSELoss(), optimizer=optimizer)


@pytest.mark.parametrize("kind", EXPORTED, ids=lambda kind: kind.__name__)
def test_the_engine_takes_groups_maximize_and_constraints_of_each(kind):
    x = np.random.default_rng(0).normal(size=(12, 3))
    for name, value in {"maximize": True, "constraint": cr.constraints.MaxNorm(0.3), "groups": ()}.items():
        found = []
        for engine in ("python", "native"):
            model = network()
            optimizer = kind(**{name: value or [{"parameters": model[0], "lr": 0.1}]})
            cr.fit(model, cr.MSELoss(), (x, x[:, :2]), epochs=3, batch_size=5, optimizer=optimizer, engine=engine)
            found.append(model.state_dict())
        for parameter, number in found[0].items():
            np.testing.assert_allclose(found[1][parameter], number, rtol=1e-9, atol=1e-12, err_msg=parameter)


@pytest.mark.parametrize("options", [{"clip_value": 0}, {"clip_norm": 0}])
def test_the_engine_refuses_clipping_to_nothing(options):
    with pytest.raises(CannotLower, match="clipping to 0"):
        settings(cr.Adam(**options))
