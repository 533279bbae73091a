"""Groups, frozen parameters, maximize: step by step against torch.optim, on networks that hypothesis draws."""

import copy
import pickle
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import constraints

STEPS = 20

# What to draw options from; eps is not small, as near a gradient of 0 rounding would decide where a step goes.
OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "SGD": {"lr": (0.1, 0.02), "momentum": (0.9, 0.5, 0.0), "weight_decay": (0.0, 0.1), "dampening": (0.0, 0.3)},
    "Adam": {"lr": (0.02, 0.1), "betas": ((0.9, 0.999), (0.5, 0.7)), "eps": (1e-2,), "amsgrad": (False, True)},
    "AdamW": {"lr": (0.02, 0.1), "eps": (1e-2, 1e-3), "weight_decay": (0.01, 0.2), "amsgrad": (False, True)},
    "RMSprop": {"lr": (0.01, 0.02), "eps": (1e-2,), "momentum": (0.0, 0.8), "centered": (False, True)},
    "Adagrad": {"lr": (0.1, 0.02), "eps": (1e-2,), "lr_decay": (0.0, 0.1), "initial_accumulator_value": (0.0, 0.5)},
}
for known in OPTIONS.values():
    known["maximize"] = (False, True)


class Drawn(NamedTuple):
    """A network, of which some parameters are frozen, an optimizer with groups, and its twin in PyTorch."""

    model: cr.Sequential
    optimizer: cr.Optimizer
    peer: torch.nn.Module
    theirs: torch.optim.Optimizer
    x: np.ndarray
    target: np.ndarray


@st.composite
def drawn(draw: Any, name: str) -> Drawn:
    """Up to four layers, one perhaps twice; each parameter frozen or not, in one of two groups or in none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = draw(st.lists(st.integers(1, 5), min_size=2, max_size=4))
    layers: list[cr.Module] = []
    for n_in, n_out in pairwise(widths):
        layers.append(cr.Linear(n_in, n_out, bias=draw(st.booleans()), dtype="float64", rng=rng))
        layers.append(draw(st.sampled_from([cr.Tanh(), cr.Sigmoid(), cr.Softplus()])))
        if n_in == n_out and draw(st.booleans()):
            layers.append(layers[-2])
    model = cr.Sequential(*layers)
    parameters = model.param()
    groups = draw(st.lists(st.integers(0, 2), min_size=len(parameters), max_size=len(parameters)))
    for parameter in parameters:
        parameter.trainable = draw(st.integers(0, 3)) > 0

    def options(*without: str) -> dict[str, Any]:
        known = [key for key in OPTIONS[name] if key not in without]
        chosen = draw(st.lists(st.sampled_from(known), unique=True))
        return {key: draw(st.sampled_from(OPTIONS[name][key])) for key in {"lr", *chosen}}

    # PyTorch takes the start of Adagrad's sums from the optimizer, whatever a group says.
    outer, its_own = options(), {i: options("initial_accumulator_value") for i in (1, 2) if i in groups}
    ours = [
        {"parameters": [p for p, at in zip(parameters, groups, strict=True) if at == i], **its_own[i]} for i in its_own
    ]
    optimizer = getattr(cr, name)(**outer, groups=ours)
    peer = cr.to_torch(model)
    tensors = list(peer.parameters())
    theirs = getattr(torch.optim, name)(
        [
            {"params": [t for t, at in zip(tensors, groups, strict=True) if at == i], **its_own.get(i, {})}
            for i in sorted({0, *its_own})
        ],
        **outer,
    )
    x, target = rng.normal(size=(6, widths[0])), rng.normal(size=(6, widths[-1]))
    return Drawn(model, optimizer, peer, theirs, x, target)


def step(case: Drawn) -> None:
    """One step on both sides."""
    loss = cr.MSELoss()
    case.model.zero_grad()
    y, saved = case.model.forward(case.x)
    _, kept = loss.forward(y, case.target)
    case.model.backward_parameters(loss.backward(1.0, kept), saved)
    case.optimizer.step(case.model.param())
    case.theirs.zero_grad()
    error = torch.nn.functional.mse_loss(case.peer(torch.from_numpy(case.x)), torch.from_numpy(case.target))
    if error.requires_grad:  # or all parameters are frozen
        error.backward()
    case.theirs.step()


def assert_same_numbers(case: Drawn) -> None:
    for ours, theirs in zip(case.model.param(), case.peer.parameters(), strict=True):
        np.testing.assert_allclose(ours.value, theirs.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=25)
@given(data=st.data())
def test_groups_and_frozen_parameters_step_as_in_pytorch(name: str, data: st.DataObject) -> None:
    case = data.draw(drawn(name))
    before = [parameter.value.copy() for parameter in case.model.param()]
    for _ in range(STEPS):
        step(case)
        assert_same_numbers(case)
    for parameter, value in zip(case.model.param(), before, strict=True):
        if not parameter.trainable:
            np.testing.assert_array_equal(parameter.value, value)
            assert parameter not in case.optimizer.state


@settings(max_examples=20)
@given(data=st.data())
def test_what_is_frozen_and_melts_again_is_as_in_pytorch(data: st.DataObject) -> None:
    case = data.draw(drawn("Adam"))
    for _ in range(3):
        for _ in range(3):
            step(case)
        for ours, theirs in zip(case.model.param(), case.peer.parameters(), strict=True):
            ours.trainable = data.draw(st.booleans())
            theirs.requires_grad_(ours.trainable)
            theirs.grad = None
    step(case)
    assert_same_numbers(case)


@settings(max_examples=20)
@given(data=st.data(), most=st.sampled_from([0.1, 1.0]))
def test_clipping_is_by_the_norm_of_what_is_trained_in_all_groups(data: st.DataObject, most: float) -> None:
    case = data.draw(drawn("SGD"))
    case.optimizer.clip_norm = most

    def clip(*_: Any) -> None:
        torch.nn.utils.clip_grad_norm_(case.peer.parameters(), most)

    case.theirs.register_step_pre_hook(clip)
    for _ in range(5):
        step(case)
        assert_same_numbers(case)


def network() -> cr.Sequential:
    return cr.Sequential(cr.Linear(2, 4, rng=0, dtype="float64"), cr.Tanh(), cr.Linear(4, 2, rng=1, dtype="float64"))


def data(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 2)), rng.normal(size=(n, 2))


# -- what a group is


def test_a_group_is_an_optimizer_of_the_same_class_with_the_outer_ones_options() -> None:
    model = network()
    optimizer = cr.AdamW(
        lr=0.1,
        betas=(0.8, 0.9),
        clip_norm=2.0,
        groups=[{"parameters": model[0], "lr": 0.01}, {"parameters": [model[2].bias]}],
    )
    first, second = optimizer.groups
    assert [type(group) for group in optimizer.groups] == [cr.AdamW, cr.AdamW]
    assert (first.lr, first.betas, first.weight_decay, first.clip_norm) == (0.01, (0.8, 0.9), 0.01, None)
    assert (second.lr, second.betas) == (0.1, (0.8, 0.9))
    assert [optimizer.rule_of(p) for p in model.param()] == [first, first, optimizer, second]
    optimizer.lr = 1.0
    first.lr = 0.5
    assert [optimizer.rule_of(p).current_lr for p in model.param()] == [0.5, 0.5, 1.0, 0.1]
    assert repr(optimizer) == (
        "AdamW(lr=1.0, betas=(0.8, 0.9), clip_norm=2.0, groups=(AdamW(lr=0.5, betas=(0.8, 0.9)) for 2 Parameters, "
        "AdamW(lr=0.1, betas=(0.8, 0.9)) for 1 Parameter))"
    )


def test_state_is_what_the_group_says_that_it_keeps() -> None:
    model = network()
    optimizer = cr.Adam(groups=[{"parameters": model[2], "amsgrad": True}])
    optimizer.step(model.param())
    assert [len(optimizer.state[p]) for p in model.param()] == [3, 3, 4, 4]
    assert all(set(optimizer.state[p]) == {"step", *optimizer.rule_of(p).state_names()} for p in model.param())
    assert len(optimizer.groups[0].state) == 0


@pytest.mark.parametrize("name", OPTIONS)
def test_fit_by_a_group_of_everything_has_the_bits_of_an_optimizer_with_its_options(name: str) -> None:
    options = {key: choices[-1] for key, choices in OPTIONS[name].items() if key != "maximize"}
    found = []
    for grouped in (True, False):
        model = network()
        optimizer = (
            getattr(cr, name)(groups=[{"parameters": model, **options}]) if grouped else getattr(cr, name)(**options)
        )
        history = cr.fit(model, cr.MSELoss(), data(), epochs=3, batch_size=8, optimizer=optimizer, engine="python")
        found.append((history.losses, [parameter.value.tobytes() for parameter in model.param()]))
    assert found[0] == found[1]


def test_each_group_clips_its_own_gradients_by_value() -> None:
    one, other = cr.Parameter(np.zeros(2)), cr.Parameter(np.zeros(2))
    optimizer = cr.SGD(lr=1.0, clip_value=0.5, groups=[{"parameters": other, "clip_value": 2.0}])
    for parameter in (one, other):
        parameter.grad[...] = [-3.0, 1.0]
    optimizer.step([one, other])
    assert (one.value.tolist(), other.value.tolist()) == ([0.5, -0.5], [2.0, -1.0])


def test_maximize_goes_uphill() -> None:
    parameter = cr.Parameter(np.zeros(2))
    parameter.grad[...] = [1.0, -2.0]
    cr.SGD(lr=0.5, maximize=True).step([parameter])
    assert parameter.value.tolist() == [0.5, -1.0]
    assert parameter.grad.tolist() == [1.0, -2.0]


# -- schedules


def test_each_group_has_a_schedule_of_its_own() -> None:
    """Against PyTorch, where LambdaLR has a function for each group."""
    model = network()
    peer = cr.to_torch(model)
    rates = [lambda t: 0.5 ** (t // 2), lambda t: 1.0, lambda t: 0.9**t]
    theirs = torch.optim.SGD(
        [{"params": peer[0].parameters()}, {"params": [peer[2].weight]}, {"params": [peer[2].bias]}], lr=0.1
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(theirs, rates)
    optimizer = cr.SGD(
        lr=cr.StepLR(0.1, step_size=2, gamma=0.5),
        groups=[
            {"parameters": [model[2].weight], "lr": 0.1},
            {"parameters": [model[2].bias], "lr": cr.ExponentialLR(0.1, 0.9)},
        ],
    )
    x, target = data()
    case = Drawn(model, optimizer, peer, theirs, x, target)
    for _ in range(7):
        for _ in range(2):
            step(case)
        optimizer.end_epoch()
        scheduler.step()
        expected = [group["lr"] for group in theirs.param_groups]
        np.testing.assert_allclose([rule.current_lr for rule in optimizer.rules], expected, rtol=1e-12)
    assert_same_numbers(case)


def test_a_schedule_that_a_group_inherits_is_its_own_copy() -> None:
    model = network()
    optimizer = cr.SGD(lr=cr.ReduceLROnPlateau(0.1, patience=0), groups=[{"parameters": model[0]}])
    assert optimizer.groups[0].lr is not optimizer.lr
    for _ in range(2):
        optimizer.end_epoch(1.0)
    assert [rule.current_lr for rule in optimizer.rules] == pytest.approx([0.01, 0.01])


def test_a_schedule_that_is_given_to_several_hears_each_loss_once() -> None:
    model, rate = network(), cr.ReduceLROnPlateau(0.1, patience=1)
    groups = [{"parameters": model[0], "lr": rate}, {"parameters": model[2], "lr": rate}]
    for lr in (rate, 0.1):
        optimizer = cr.SGD(lr=lr, groups=groups)
        assert optimizer.groups[0].lr is not optimizer.groups[1].lr
        for _ in range(2):
            optimizer.end_epoch(1.0)
        assert [rule.current_lr for rule in optimizer.rules] == pytest.approx([0.1, 0.1, 0.1])
        optimizer.end_epoch(1.0)
        assert [rule.current_lr for rule in optimizer.groups] == pytest.approx([0.01, 0.01])


def test_a_schedule_that_a_group_is_given_later_begins_then() -> None:
    model = network()
    optimizer = cr.SGD(lr=cr.StepLR(0.1, 2), groups=[{"parameters": model[0], "lr": 1.0}])
    for _ in range(3):
        optimizer.end_epoch()
    optimizer.groups[0].lr = cr.StepLR(1.0, 2)
    optimizer.end_epoch()
    assert [rule.current_lr for rule in optimizer.rules] == pytest.approx([0.001, 1.0])
    optimizer.end_epoch()
    assert [rule.current_lr for rule in optimizer.rules] == pytest.approx([0.001, 0.1])


def test_the_schedules_of_groups_count_for_each_network_by_itself() -> None:
    one, other = network(), network()
    groups = [{"parameters": [one[0], other[0]], "lr": cr.StepLR(1.0, 1)}]
    optimizer = cr.SGD(lr=cr.StepLR(0.1, 1), groups=groups)
    how: dict[str, Any] = {"optimizer": optimizer, "epochs": 2, "engine": "python"}
    cr.fit(one, cr.MSELoss(), data(), **how)
    assert [rule.current_lr for rule in optimizer.rules] == pytest.approx([0.001, 0.01])
    cr.fit(other, cr.MSELoss(), data(), **(how | {"epochs": 1}))
    assert [rule.current_lr for rule in optimizer.rules] == pytest.approx([0.01, 0.1])
    optimizer.turn_to(one.param())
    assert [rule.current_lr for rule in optimizer.rules] == pytest.approx([0.001, 0.01])
    optimizer.forget(one.param())
    assert [rule.current_lr for rule in optimizer.rules] == pytest.approx([0.1, 1.0])
    optimizer.forget()
    assert (optimizer.steps, optimizer.epochs, optimizer.groups[0].steps, optimizer.groups[0].epochs) == (0, 0, 0, 0)


# -- copies and states


def trained() -> cr.Sequential:
    """A network with its optimizer, after two epochs."""
    model = network()
    rate = cr.ReduceLROnPlateau(0.05, patience=0)
    optimizer = cr.Adam(lr=0.01, groups=[{"parameters": model[0], "lr": rate, "amsgrad": True}])
    model = cr.Sequential(optimizer, *model.layers)
    cr.fit(model, cr.MSELoss(), data(), epochs=2, batch_size=8, engine="python")
    return model


def outcome(model: cr.Sequential) -> tuple[Any, ...]:
    history = cr.fit(model, cr.MSELoss(), data(), epochs=3, batch_size=8, engine="python")
    return repr(model.optimizer), history.losses, [parameter.value.tobytes() for parameter in model.param()]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_groups_follow_their_parameters_into_copies(copied: Any) -> None:
    model = trained()
    other = copied(model)
    assert other.optimizer.groups[0].parameters == frozenset(other[0].param())
    assert other.optimizer.groups[0].counter is other.optimizer.counter
    assert outcome(other) == outcome(model)


def test_a_state_goes_on_in_another_optimizer_with_the_same_groups() -> None:
    model, other = trained(), trained()
    other.load_state_dict(model.state_dict())
    other.optimizer.forget()
    other.optimizer.load_state_dict(other.param(), model.optimizer.state_dict(model.param()))
    assert outcome(other) == outcome(model)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"groups": []}, "1 groups expected, got the state of 0"),
        ({"groups": 3}, "1 groups expected, got int"),
        ({"groups": [3]}, "the state of a group must be a mapping, got int"),
        ({"groups": [{"counted": {"steps": -1, "epochs": 0}, "schedule": {}}]}, "steps must be an integer"),
        ({"groups": [{"counted": {"steps": 1, "epochs": 0}, "schedule": {}}]}, "its schedule cannot go on"),
    ],
)
def test_a_state_of_other_groups_is_refused_and_changes_nothing(change: dict[str, Any], says: str) -> None:
    model = trained()
    state = model.optimizer.state_dict(model.param())
    before = repr(state), repr(model.optimizer)
    with pytest.raises(ValueError, match=says):
        model.optimizer.load_state_dict(model.param(), state | change)
    assert (repr(model.optimizer.state_dict(model.param())), repr(model.optimizer)) == before


# -- the border

MODEL = network()


@pytest.mark.parametrize(
    ("groups", "error", "says"),
    [
        ({}, TypeError, "Adam: groups must be a list of dicts, got {}"),
        ([MODEL], TypeError, r'Adam: groups\[0\] must be a dict with "parameters" and options, got Sequential'),
        ([{"params": MODEL}], TypeError, r'groups\[0\] must be a dict with "parameters"'),
        ([{"parameters": 3}], TypeError, r"groups\[0\]: parameters must be a Module, a Parameter or several"),
        ([{"parameters": dict(MODEL.named_parameters())}], TypeError, "must be a Module, a Parameter or several"),
        ([{"parameters": [3]}], TypeError, r"groups\[0\]: parameters must be Modules or Parameters, got a int"),
        ([{"parameters": cr.Tanh()}], ValueError, r"groups\[0\] must have at least one Parameter"),
        (
            [{"parameters": MODEL[0]}, {"parameters": MODEL}],
            ValueError,
            r"groups\[1\] has Parameter\(4, 2\) .* earlier",
        ),
        ([{"parameters": MODEL, "momentum": 0.9}], TypeError, r"groups\[0\] has no 'momentum'; there are .*betas, eps"),
        ([{"parameters": MODEL, "clip_norm": 1.0}], TypeError, "no 'clip_norm' of its own: that is for all gradients"),
        ([{"parameters": MODEL, "groups": ()}], TypeError, r"groups\[0\] has no 'groups'"),
        ([{"parameters": MODEL, "lr": -1}], ValueError, r"^Adam: groups\[0\]: lr must be at least 0"),
        ([{"parameters": MODEL, "constraint": 3}], TypeError, r"^Adam: groups\[0\]: constraint must be one or more"),
        (
            [{"parameters": MODEL, "constraint": constraints.Mask([[1, 0]])}],
            ValueError,
            r"^Adam: groups\[0\]: Mask: a parameter must be \(1, 2\) like the mask, got \(4, 2\)",
        ),
    ],
)
def test_what_is_no_group_is_an_error_that_says_so(groups: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        cr.Adam(groups=groups)


@pytest.mark.parametrize(
    ("name", "value"), [("clip_norm", 1.0), ("clip_norm", 0.0), ("groups", [{"parameters": MODEL}])]
)
def test_what_is_about_all_parameters_cannot_be_set_of_a_group(name: str, value: Any) -> None:
    group = cr.Adam(groups=[{"parameters": MODEL[0]}]).groups[0]
    before = getattr(group, name)
    with pytest.raises(ValueError, match=rf"Adam: a group has no {name} of its own; set that of the optimizer, got"):
        setattr(group, name, value)
    assert getattr(group, name) == before


def test_a_parameter_that_is_named_twice_in_a_group_is_in_it_once() -> None:
    assert cr.Adam(groups=[{"parameters": [MODEL, MODEL[0].weight]}]).groups[0].parameters == frozenset(MODEL.param())


def test_groups_may_be_set_anew_and_what_is_remembered_stays() -> None:
    model = network()
    optimizer = cr.Adam(lr=0.1, groups=[{"parameters": model[0]}])
    optimizer.step(model.param())
    optimizer.groups = [{"parameters": model[2], "lr": 0.5}]  # type: ignore[assignment, list-item]
    assert [optimizer.rule_of(p).current_lr for p in model.param()] == [0.1, 0.1, 0.5, 0.5]
    assert optimizer.groups[0].steps == 1
    assert all(optimizer.state[p]["step"] == 1 for p in model.param())
    with pytest.raises(TypeError, match="Adam: groups must be a list of dicts"):
        optimizer.groups = None  # type: ignore[assignment]
    assert len(optimizer.groups) == 1


def test_groups_that_are_set_later_go_on_by_the_rate_of_the_optimizer() -> None:
    schedules: list[tuple[cr.Schedule, float]] = [
        (cr.StepLR(0.1, step_size=1), 1e-3),
        (cr.ReduceLROnPlateau(0.1, patience=0), 1e-2),
    ]
    for schedule, expected in schedules:
        layer, optimizer = cr.Linear(2, 2), cr.SGD(lr=0.5)
        for _ in range(3):
            optimizer.step(layer.param())
            optimizer.end_epoch(1.0)
        optimizer.lr = schedule
        for _ in range(2):
            optimizer.step(layer.param())
            optimizer.end_epoch(1.0)
        own = {"parameters": layer.bias, "lr": cr.StepLR(1.0, step_size=1)}  # which begins now
        optimizer.groups = [{"parameters": layer.weight}, own]  # type: ignore[assignment, list-item]
        for _ in range(2):
            assert [rule.current_lr for rule in optimizer.rules] == pytest.approx([expected, expected, 1.0])
            optimizer.load_state_dict(layer.param(), optimizer.state_dict(layer.param()))


@pytest.mark.parametrize("option", [{"maximize": 2}, {"maximize": "yes"}])
def test_maximize_is_true_or_false(option: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="SGD: maximize must be True or False"):
        cr.SGD(**option)
