"""Every optimizer with every combination of its options, step by step against torch.optim."""

import copy
import itertools
import math
import pickle
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy

import chainrule as cr
from chainrule import arrays

STEPS = 25


def combinations(name: str, **choices: tuple[Any, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """An optimizer's name with every combination of the choices for its arguments."""
    for values in itertools.product(*choices.values()):
        yield name, dict(zip(choices, values, strict=True))


EVERY = [
    *combinations(
        "SGD",
        lr=(0.1,),
        momentum=(0.0, 0.9),
        dampening=(0.0, 0.3),
        weight_decay=(0.0, 0.05),
        nesterov=(False, True),
    ),
    *combinations(
        "Adam", lr=(0.1,), betas=((0.9, 0.999), (0.5, 0.7)), eps=(1e-8, 1e-2), weight_decay=(0, 0.05), amsgrad=(0, 1)
    ),
    *combinations("Adam", lr=(0.1,), weight_decay=(0.0, 0.05), amsgrad=(0, 1), decoupled_weight_decay=(True,)),
    *combinations(
        "AdamW", lr=(0.1,), betas=((0.9, 0.999), (0.5, 0.7)), eps=(1e-8, 1e-2), weight_decay=(0, 0.05), amsgrad=(0, 1)
    ),
    *combinations(
        "RMSprop",
        lr=(0.05,),
        alpha=(0.99, 0.5),
        eps=(1e-8, 1e-2),
        weight_decay=(0.0, 0.05),
        momentum=(0.0, 0.9),
        centered=(False, True),
    ),
    *combinations(
        "Adagrad",
        lr=(0.1,),
        lr_decay=(0.0, 0.1),
        weight_decay=(0.0, 0.05),
        initial_accumulator_value=(0.0, 0.5),
        eps=(1e-10, 1e-2),
    ),
    *combinations(
        "NAdam",
        lr=(0.1,),
        betas=((0.9, 0.999), (0.5, 0.7)),
        weight_decay=(0.0, 0.05),
        momentum_decay=(0.5,),
        decoupled_weight_decay=(False, True),
    ),
    *combinations("Adamax", lr=(0.1,), betas=((0.9, 0.999), (0.5, 0.7)), eps=(1e-8, 1e-2), weight_decay=(0.0, 0.05)),
    *combinations("Adadelta", lr=(1.0, 0.3), rho=(0.9, 0.5), eps=(1e-6, 1e-2), weight_decay=(0.0, 0.05)),
    *combinations("Rprop", lr=(0.1, 0.01), etas=((0.5, 1.2), (0.1, 3.0)), step_sizes=((1e-6, 50), (0.02, 0.2))),
    *combinations("ASGD", lr=(0.1,), lambd=(1e-4, 0.3), alpha=(0.5,), t0=(1e6, 0, 7.5), weight_decay=(0.0, 0.05)),
    *combinations(
        "Adafactor",
        lr=(0.1,),
        beta2_decay=(-0.8, -0.3),
        eps=((None, 1e-3), (1e-2, 2.0)),
        d=(1.0, 1.5),
        weight_decay=(0.0, 0.05),
    ),
    *combinations(
        "RAdam",
        lr=(0.1,),
        betas=((0.9, 0.999), (0.5, 0.7), (0.5, 0.5)),
        weight_decay=(0.0, 0.05),
        decoupled_weight_decay=(False, True),
    ),
]
EVERY = [(n, o) for n, o in EVERY if not o.get("nesterov") or (o["momentum"] and not o["dampening"])]
DEFAULTS = [(name, {}) for name in dict.fromkeys(name for name, _ in EVERY)]
every_optimizer = pytest.mark.parametrize(("name", "options"), EVERY + DEFAULTS, ids=lambda value: str(value))
one_of_each = pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        ("Adam", {"lr": 0.1, "amsgrad": True}),
        ("AdamW", {"lr": 0.1}),
        ("RMSprop", {"lr": 0.05, "momentum": 0.9, "centered": True}),
        ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}),
        ("NAdam", {"lr": 0.1, "momentum_decay": 0.1}),
        ("Adafactor", {"lr": 0.1}),
        ("ASGD", {"lr": 0.1, "lambd": 0.0, "t0": 5}),
        ("Rprop", {"lr": 0.1}),
        ("Adadelta", {"rho": 0.8}),
        ("Adamax", {"lr": 0.1, "betas": (0.9, 0.9)}),
        ("RAdam", {"lr": 0.1, "betas": (0.9, 0.99)}),
    ],
)
every_library = pytest.mark.parametrize("library", LIBRARIES)


def parameters(library: str = "numpy") -> list[cr.Parameter]:
    """A weight and a bias."""
    rng = np.random.default_rng(0)
    return [cr.Parameter(array(rng.normal(size=shape), library)) for shape in ((3, 4), (3,))]


def gradients(step: int) -> list[np.ndarray]:
    """Gradients that change from step to step, some zero, over a range of sizes."""
    rng = np.random.default_rng(1000 + step)
    return [rng.normal(size=shape) * rng.choice([0.0, 0.01, 1.0, 10.0], size=shape) for shape in ((3, 4), (3,))]


def take_steps(optimizer: cr.Optimizer, held: list[cr.Parameter], steps: range) -> None:
    for step in steps:
        for parameter, grad in zip(held, gradients(step), strict=True):
            parameter.grad[...] = array(grad, "torch" if isinstance(parameter.grad, torch.Tensor) else "numpy")
        optimizer.step(held)


def values(held: list[cr.Parameter]) -> list[np.ndarray]:
    return [numpy(parameter.value).copy() for parameter in held]


def assert_same(found: list[np.ndarray], expected: list[np.ndarray], rtol: float = 1e-10) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


@every_optimizer
@every_library
@pytest.mark.usefixtures("float64_by_default")
def test_every_step_is_that_of_pytorch(name: str, options: dict[str, Any], library: str) -> None:
    held, peers = parameters(library), [torch.nn.Parameter(torch.from_numpy(v)) for v in values(parameters())]
    optimizer, peer = getattr(cr, name)(**options), getattr(torch.optim, name)(peers, **options)
    for step in range(STEPS):
        take_steps(optimizer, held, range(step, step + 1))
        for tensor, grad in zip(peers, gradients(step), strict=True):
            tensor.grad = torch.from_numpy(grad)
        peer.step()
        assert_same(values(held), [numpy(tensor) for tensor in peers])


@one_of_each
@every_library
def test_a_step_changes_values_in_place_and_leaves_gradients_alone(
    name: str, options: dict[str, Any], library: str
) -> None:
    held, optimizer = parameters(library), getattr(cr, name)(**options)
    places = [(parameter.value, parameter.grad) for parameter in held]
    take_steps(optimizer, held, range(3))
    for parameter, (value, grad), expected in zip(held, places, gradients(2), strict=True):
        assert parameter.value is value
        assert parameter.grad is grad
        np.testing.assert_array_equal(numpy(grad), expected)
    assert optimizer.steps == 3


@one_of_each
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@every_library
def test_the_dtype_is_kept(name: str, options: dict[str, Any], dtype: str, library: str) -> None:
    parameter = cr.Parameter(array(np.ones((2, 2)), library, dtype))
    parameter.grad[...] = 1
    optimizer = getattr(cr, name)(**options)
    optimizer.step([parameter])
    optimizer.step([parameter])
    assert numpy(parameter.value).dtype == dtype
    kept = [numpy(value).dtype for value in optimizer.state[parameter].values() if not isinstance(value, int)]
    assert set(kept) <= {np.dtype("float32" if dtype == "float16" else dtype)}


@every_optimizer
@pytest.mark.parametrize(("library", "dtype"), [("numpy", "float16"), ("torch", "float16"), ("torch", "bfloat16")])
def test_in_16_bits_every_step_is_pytorchs_in_float32_rounded_once(
    name: str, options: dict[str, Any], library: str, dtype: str
) -> None:
    half = getattr(torch, dtype)
    xp = arrays.library(library)
    held = [cr.Parameter(arrays.convert(value, xp=xp, dtype=dtype)) for value in values(parameters())]
    peers = [torch.nn.Parameter(torch.from_numpy(v).to(half).float()) for v in values(parameters())]
    optimizer, peer = getattr(cr, name)(**options), getattr(torch.optim, name)(peers, **options)
    for step in range(5):
        for parameter, tensor, grad in zip(held, peers, gradients(step), strict=True):
            tensor.grad = torch.from_numpy(grad).to(half).float()
            parameter.grad[...] = arrays.convert(grad, xp=xp, dtype=dtype)
        optimizer.step(held)
        peer.step()
        for parameter, tensor in zip(held, peers, strict=True):
            tensor.data = tensor.data.to(half).float()
            found = torch.as_tensor(parameter.value)
            assert found.dtype == half
            # Two sums in float32 that differ in their last digit may be rounded to neighbours.
            torch.testing.assert_close(found.float(), tensor.data, rtol=torch.finfo(half).eps, atol=1e-6)


@one_of_each
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_gradient_of_zero_changes_nothing(name: str, options: dict[str, Any], dtype: str) -> None:
    parameter, optimizer = cr.Parameter(np.ones(3, dtype)), getattr(cr, name)(**options)
    assert optimizer.weight_decay == 0 or name == "AdamW"
    if name != "Rprop":  # which has no such option
        optimizer.weight_decay = 0.0
    for _ in range(3):
        optimizer.step([parameter])
    assert parameter.value.tolist() == [1, 1, 1]


@one_of_each
def test_state_in_16_bits_is_loaded_with_all_its_digits(name: str, options: dict[str, Any]) -> None:
    parameter, again = (cr.Parameter(np.ones(3, "float16")) for _ in range(2))
    optimizer, loaded = (getattr(cr, name)(**options) for _ in range(2))
    parameter.grad[...] = 0.1
    optimizer.step([parameter])
    loaded.load_state_dict([again], optimizer.state_dict([parameter]))
    for key, kept in optimizer.state[parameter].items():
        np.testing.assert_array_equal(loaded.state[again][key], kept, strict=True)


@every_optimizer
def test_a_parameter_that_is_listed_twice_is_updated_once(name: str, options: dict[str, Any]) -> None:
    held, others = parameters(), parameters()
    optimizer, once = (getattr(cr, name)(**options, clip_norm=0.5) for _ in range(2))
    for step in range(3):
        for both in (held, others):
            for parameter, grad in zip(both, gradients(step), strict=True):
                parameter.grad[...] = grad
        optimizer.step([*held, held[1], held[0]])
        once.step(others)
    for one, other in zip(values(held), values(others), strict=True):
        np.testing.assert_array_equal(one, other)


@one_of_each
def test_state_goes_on_after_saving_and_loading(name: str, options: dict[str, Any]) -> None:
    held, optimizer = parameters(), getattr(cr, name)(**options)
    take_steps(optimizer, held, range(10))
    state, half_way = optimizer.state_dict(held), values(held)
    take_steps(optimizer, held, range(10, STEPS))
    fresh, again = [cr.Parameter(value) for value in half_way], getattr(cr, name)(**options)
    again.load_state_dict(fresh, state)
    take_steps(again, fresh, range(10, STEPS))
    for one, other in zip(values(fresh), values(held), strict=True):
        np.testing.assert_array_equal(one, other)  # the same bits
    assert again.steps == STEPS


@one_of_each
def test_a_saved_state_is_a_copy(name: str, options: dict[str, Any]) -> None:
    held, optimizer = parameters(), getattr(cr, name)(**options)
    take_steps(optimizer, held, range(3))
    state = optimizer.state_dict(held)
    kept = copy.deepcopy(state)
    take_steps(optimizer, held, range(3, 6))
    again = getattr(cr, name)(**options)
    again.load_state_dict(held, state)
    take_steps(again, held, range(6, 9))
    np.testing.assert_equal(state, kept)


@one_of_each
@pytest.mark.parametrize("there", ["torch", "numpy"])
def test_a_module_may_be_moved_in_the_middle(name: str, options: dict[str, Any], there: str) -> None:
    x, target = np.random.default_rng(0).normal(size=(2, 8, 2))
    models = [cr.Sequential(cr.Linear(2, 5, rng=0), cr.Tanh(), cr.Linear(5, 2, rng=1)).double() for _ in range(2)]
    here = "numpy" if there == "torch" else "torch"
    loss = cr.MSELoss()
    for model, moved in zip(models, (False, True), strict=True):
        optimizer, library = getattr(cr, name)(**options), here
        model.to(here)
        for step in range(STEPS):
            if moved and step == 10:
                model.to(there)
                library = there
            y, saved = model.forward(array(x, library))
            _, saved_loss = loss.forward(y, array(target, library))
            model.zero_grad()
            model.backward(loss.backward(1.0, saved_loss), saved)
            optimizer.step(model.param())
        assert isinstance(model.param()[0].value, torch.Tensor if library == "torch" else np.ndarray)
    # Matrix products of NumPy and PyTorch add in different orders; 25 steps carry that rounding on.
    assert_same(values(models[1].param()), values(models[0].param()))


@one_of_each
def test_a_model_may_change_its_dtype_in_the_middle(name: str, options: dict[str, Any]) -> None:
    parameter, optimizer = cr.Parameter(np.ones(3, "float32")), getattr(cr, name)(**options)
    parameter.grad[...] = 0.5
    optimizer.step([parameter])
    parameter.value, parameter.grad = parameter.value.astype("float64"), parameter.grad.astype("float64")
    optimizer.step([parameter])
    assert parameter.value.dtype == np.float64
    assert all(value.dtype == np.float64 for value in optimizer.state[parameter].values() if np.ndim(value))


@one_of_each
def test_one_optimizer_trains_two_models_each_on_its_own(name: str, options: dict[str, Any]) -> None:
    first, second, alone = parameters(), parameters(), parameters()
    optimizer, other = getattr(cr, name)(**options), getattr(cr, name)(**options)
    for step in range(STEPS):
        take_steps(optimizer, first, range(step, step + 1))
        take_steps(optimizer, second, range(100 + step, 101 + step))
        take_steps(other, alone, range(step, step + 1))
    assert_same(values(first), values(alone), rtol=0)
    assert optimizer.steps == 2 * STEPS


@one_of_each
@pytest.mark.usefixtures("float64_by_default")
def test_several_optimizers_train_one_model_one_after_another(name: str, options: dict[str, Any]) -> None:
    held, peers = parameters(), [torch.nn.Parameter(torch.from_numpy(v)) for v in values(parameters())]
    for kind, settings in ((name, options), ("SGD", {"lr": 0.01, "momentum": 0.5})):
        optimizer, peer = getattr(cr, kind)(**settings), getattr(torch.optim, kind)(peers, **settings)
        for step in range(10):
            take_steps(optimizer, held, range(step, step + 1))
            for tensor, grad in zip(peers, gradients(step), strict=True):
                tensor.grad = torch.from_numpy(grad)
            peer.step()
    assert_same(values(held), [numpy(tensor) for tensor in peers])


@one_of_each
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copied_model_goes_on_with_a_copy_of_its_optimizer(name: str, options: dict[str, Any], copied: Any) -> None:
    model = cr.Sequential(getattr(cr, name)(**options), cr.Linear(4, 3, rng=0, dtype="float64"))
    take_steps(model.optimizer, model.param(), range(5))
    twin = copied(model)
    take_steps(model.optimizer, model.param(), range(5, 10))
    take_steps(twin.optimizer, twin.param(), range(5, 10))
    assert_same(values(twin.param()), values(model.param()), rtol=0)
    assert twin.optimizer.steps == 10


@one_of_each
def test_forget_starts_again(name: str, options: dict[str, Any]) -> None:
    held, optimizer = parameters(), getattr(cr, name)(**options)
    take_steps(optimizer, held, range(5))
    optimizer.end_epoch(1.0)
    optimizer.forget()
    assert (optimizer.steps, optimizer.epochs, len(optimizer.state)) == (0, 0, 0)
    fresh, again = [cr.Parameter(value) for value in values(held)], getattr(cr, name)(**options)
    take_steps(optimizer, held, range(5, 8))
    take_steps(again, fresh, range(5, 8))
    assert_same(values(held), values(fresh), rtol=0)


def test_what_is_remembered_goes_with_the_parameter() -> None:
    optimizer, held = cr.Adam(), parameters()
    take_steps(optimizer, held, range(1))
    assert len(optimizer.state) == 2
    held.clear()
    assert len(optimizer.state) == 0


@one_of_each
def test_repr_is_the_call_that_makes_the_optimizer(name: str, options: dict[str, Any]) -> None:
    optimizer = getattr(cr, name)(**options)
    again = eval(repr(optimizer), vars(cr))
    assert vars(again) | {"state": 0} == vars(optimizer) | {"state": 0}
    assert repr(cr.SGD(lr=0.1, momentum=0.9)) == "SGD(lr=0.1, momentum=0.9)"
    assert repr(cr.Adam(cr.StepLR(0.1, 30), clip_norm=1)) == "Adam(lr=StepLR(lr=0.1, step_size=30), clip_norm=1.0)"


# -- by hand


def one_number(value: float, grad: float) -> cr.Parameter:
    parameter = cr.Parameter(np.array([value]))
    parameter.grad[...] = grad
    return parameter


def test_sgd_by_hand() -> None:
    w, sgd = one_number(1.0, 2.0), cr.SGD(lr=0.5, momentum=0.5)
    sgd.step([w])  # v = 2, w = 1 - 0.5 · 2
    assert w.value.tolist() == [0.0]
    sgd.step([w])  # v = 0.5 · 2 + 2 = 3, w = 0 - 0.5 · 3
    assert w.value.tolist() == [-1.5]


def test_adam_by_hand() -> None:
    w, adam = one_number(1.0, -3.0), cr.Adam(lr=0.25, eps=0.0)
    adam.step([w])  # m̂ = g and v̂ = g², whatever the betas: a step of lr against the sign
    assert w.value.tolist() == pytest.approx([1.25], rel=1e-14)


def test_adamw_by_hand() -> None:
    w = one_number(2.0, -3.0)
    cr.AdamW(lr=0.25, eps=0.0, weight_decay=0.5).step([w])  # 2 (1 - 0.25 · 0.5) + 0.25
    assert w.value.tolist() == pytest.approx([2.0], rel=1e-14)


def test_nadam_by_hand() -> None:
    w, nadam = one_number(1.0, -3.0), cr.NAdam(lr=0.25, betas=(0.5, 0.5), eps=0.0, momentum_decay=0.0)
    assert (nadam.mu(1), nadam.mu_product(3)) == (0.25, 1 / 64)  # half of β1, always
    nadam.step([w])  # m = g / 2, v̂ = g²: (0.25 / 2) / (1 - 1 / 16) + (3 / 4) / (1 - 1 / 4) of lr, against the sign
    assert w.value.tolist() == pytest.approx([1 + 0.25 * (2 / 15 + 1)], rel=1e-14)


def test_the_momenta_of_nadam_that_are_left_out_make_no_difference() -> None:
    for betas, decay in (((0.9, 0.9), 4e-3), ((0.99, 0.9), 0.5), ((0.0, 0.9), 4e-3)):
        nadam = cr.NAdam(betas=betas, momentum_decay=decay)
        for t in (1, 2, 40, 60, 4000):
            whole = math.prod(nadam.mu(i) for i in range(1, t + 1))
            assert 1 - nadam.mu_product(t) == 1 - whole


def test_radam_by_hand() -> None:
    w, radam = one_number(1.0, -3.0), cr.RAdam(lr=0.25, eps=0.0)
    radam.step([w])  # m̂ = g, and nothing is known of v: a step of lr · g
    assert w.value.tolist() == pytest.approx([1.75], rel=1e-14)
    assert [t for t in range(1, 9) if radam.rectification(t) is None] == [1, 2, 3, 4, 5]
    assert cr.RAdam(betas=(0.9, 2 / 3)).rectification(10**6) is None


def test_adamax_by_hand() -> None:
    w, adamax = one_number(1.0, -3.0), cr.Adamax(lr=0.25, betas=(0.5, 0.5), eps=1.0)
    adamax.step([w])  # m̂ = -3, u = 3 + 1
    assert w.value.tolist() == [1 + 0.25 * 3 / 4]
    w.grad[...] = 0
    adamax.step([w])  # m = -0.75, m̂ = -1, u = 2 by its own decay
    assert w.value.tolist() == [1.1875 + 0.25 * 1 / 2]


def test_adadelta_by_hand() -> None:
    w, adadelta = one_number(1.0, 2.0), cr.Adadelta(lr=0.5, rho=0.5, eps=2.0)
    adadelta.step([w])  # v = 0.5 · 4, d = √2 / √(2 + 2) · 2 = √2
    assert w.value.tolist() == pytest.approx([1 - 0.5 * math.sqrt(2)], rel=1e-14)
    assert adadelta.state[w]["acc_delta"].tolist() == pytest.approx([1.0], rel=1e-14)  # 0.5 d²


def test_rprop_by_hand() -> None:
    w, rprop = one_number(1.0, 2.0), cr.Rprop(lr=0.5, etas=(0.5, 1.5), step_sizes=(0.1, 0.7))
    for grad, expected in ((2.0, 0.5), (9.0, -0.2), (-1.0, -0.2), (-1e-300, 0.15), (-1.0, 0.675)):
        w.grad[...] = grad  # 0.5; 0.75, at most 0.7; back: half of it, and no step; 0.35 against the sign; 0.525
        rprop.step([w])
        assert w.value.tolist() == pytest.approx([expected], rel=1e-14)
    rprop.lr = 100.0  # which is for the first step alone
    rprop.step([w])
    assert w.value.tolist() == pytest.approx([0.675 + 0.7], rel=1e-14)


def test_asgd_by_hand() -> None:
    w, asgd = one_number(1.0, 2.0), cr.ASGD(lr=0.5, lambd=0.5, alpha=1.0, t0=1.0)
    expected = [
        (2.0, -0.25, -0.25),  # η = 0.5: 1 (1 - 0.25) - 1
        (-2.0, 0.6, 0.6),  # η = 0.5 / 1.25: -0.25 · 0.8 + 0.8
        (-2.0, 7 / 6, 7 / 6),  # η = 0.5 / 1.5: 0.6 · 5 / 6 + 2 / 3
        (0.0, 1.0, 13 / 12),  # η = 0.5 / 1.75: 7 / 6 · 6 / 7; the mean begins: μ = 1 / 2
    ]
    for grad, value, mean in expected:
        w.grad[...] = grad
        asgd.step([w])
        assert w.value.tolist() == pytest.approx([value], rel=1e-14)
        assert asgd.state[w]["ax"].tolist() == pytest.approx([mean], rel=1e-14)


def test_adafactor_by_hand() -> None:
    w, adafactor = cr.Parameter(np.full((2, 2), 2.0)), cr.Adafactor(lr=0.5)
    w.grad[...] = [[3.0, 3.0], [-4.0, 4.0]]
    adafactor.step([w])  # r = 9, 16, c = 12.5 twice: v = g², u = ± 1, and a step of 0.5 · rms(w) = 1
    assert w.value.tolist() == pytest.approx(np.array([[1.0, 1.0], [3.0, 1.0]]), rel=1e-14)
    assert {name: kept.shape for name, kept in adafactor.state[w].items() if name != "step"} == {
        "row_var": (2, 1),
        "col_var": (1, 2),
    }


def test_rmsprop_by_hand() -> None:
    w = one_number(1.0, 2.0)
    cr.RMSprop(lr=0.5, alpha=0.75, eps=0.0).step([w])  # v = 0.25 · 4 = 1, w = 1 - 0.5 · 2 / 1
    assert w.value.tolist() == [0.0]


def test_adagrad_by_hand() -> None:
    w, adagrad = one_number(1.0, 3.0), cr.Adagrad(lr=0.5, initial_accumulator_value=7.0, eps=0.0)
    adagrad.step([w])  # s = 7 + 9 = 16, w = 1 - 0.5 · 3 / 4
    assert w.value.tolist() == [0.625]


@every_library
def test_centered_rmsprop_stays_finite_where_the_variance_rounds_to_less_than_zero(library: str) -> None:
    parameter = cr.Parameter(array(np.zeros(4), library))
    parameter.grad[...] = array(np.array([0.1, 0.3, 0.7, 1.1]), library)
    optimizer = cr.RMSprop(alpha=0.5, centered=True)
    for _ in range(200):
        optimizer.step([parameter])
    assert np.isfinite(numpy(parameter.value)).all()


# -- bad input


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("SGD", {"lr": -0.1}, ValueError, "SGD: lr must be at least 0 and finite, got -0.1"),
        ("SGD", {"lr": math.nan}, ValueError, "SGD: lr must be at least 0 and finite, got nan"),
        ("SGD", {"lr": math.inf}, ValueError, "SGD: lr must be at least 0 and finite, got inf"),
        ("SGD", {"lr": "0.1"}, TypeError, "SGD: lr must be a number, got '0.1'"),
        ("SGD", {"lr": True}, TypeError, "SGD: lr must be a number, got True"),
        ("SGD", {"lr": None}, TypeError, "SGD: lr must be a number, got None"),
        ("SGD", {"momentum": 1.0}, ValueError, "SGD: momentum must be at least 0 and below 1, got 1.0"),
        ("SGD", {"nesterov": True}, ValueError, "SGD: nesterov needs momentum above 0 and dampening of 0, got"),
        ("SGD", {"weight_decay": -1}, ValueError, "SGD: weight_decay must be at least 0 and finite, got -1"),
        ("SGD", {"clip_norm": -1}, ValueError, "SGD: clip_norm must be at least 0 and finite, got -1"),
        ("SGD", {"clip_value": -1}, ValueError, "SGD: clip_value must be at least 0 and finite, got -1"),
        ("Adam", {"betas": (0.9, 1.0)}, ValueError, "Adam: betas[1] must be at least 0 and below 1, got 1.0"),
        ("Adam", {"betas": (-0.9, 0.9)}, ValueError, "Adam: betas[0] must be at least 0 and below 1, got -0.9"),
        ("Adam", {"eps": -1e-8}, ValueError, "Adam: eps must be at least 0 and finite, got -1e-08"),
        ("AdamW", {"weight_decay": "a"}, TypeError, "AdamW: weight_decay must be a number, got 'a'"),
        ("NAdam", {"momentum_decay": -1}, ValueError, "NAdam: momentum_decay must be at least 0 and finite, got -1"),
        ("NAdam", {"betas": 0.9}, TypeError, "NAdam: betas must be two numbers, got 0.9"),
        ("Adadelta", {"rho": 1.5}, ValueError, "Adadelta: rho must be at least 0 and at most 1, got 1.5"),
        ("Rprop", {"etas": (0.5, 1.0)}, ValueError, "Rprop: etas[1] must be above 1 and finite, got 1.0"),
        ("Rprop", {"step_sizes": (1, 0)}, ValueError, "Rprop: step_sizes[1] must be at least 1 and finite, got 0.0"),
        ("ASGD", {"t0": -1}, ValueError, "ASGD: t0 must be at least 0 and finite, got -1"),
        ("Adafactor", {"d": 0.5}, ValueError, "Adafactor: d must be at least 1 and finite, got 0.5"),
        ("Adafactor", {"eps": (None, -1)}, ValueError, "Adafactor: eps[1] must be at least 0 and finite, got -1"),
        ("RMSprop", {"alpha": 1.5}, ValueError, "RMSprop: alpha must be at least 0 and below 1, got 1.5"),
        ("Adagrad", {"lr_decay": -1}, ValueError, "Adagrad: lr_decay must be at least 0 and finite, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(
    name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        getattr(cr, name)(**options)


@pytest.mark.parametrize(
    ("given", "came"),
    [(cr.Linear(2, 2), "Linear"), ([np.ones(2)], "ndarray"), ([torch.ones(2)], "Tensor"), ([cr.ReLU()], "ReLU")],
)
def test_what_are_no_parameters_is_refused(given: Any, came: str) -> None:
    message = f"Adam.step: expected Parameters, as module.param() lists them, got a {came}"
    with pytest.raises(TypeError, match=re.escape(message)):
        cr.Adam().step(given)


def test_a_state_of_other_parameters_is_refused_and_changes_nothing() -> None:
    held, optimizer = parameters(), cr.Adam()
    take_steps(optimizer, held, range(3))
    state = optimizer.state_dict(held)
    fresh = cr.Adam()
    with pytest.raises(ValueError, match=re.escape("Adam.load_state_dict: 1 parameters expected, got the state of 2")):
        fresh.load_state_dict(held[:1], state)
    with pytest.raises(ValueError, match=re.escape("Adam.load_state_dict: exp_avg must be (3,), got (3, 4)")):
        fresh.load_state_dict(held[::-1], state)
    assert (fresh.steps, len(fresh.state)) == (0, 0)


def test_a_state_whose_arrays_have_other_shapes_than_the_rule_says_is_refused() -> None:
    (weight, bias), adafactor = parameters(), cr.Adafactor()
    take_steps(adafactor, [weight, bias], range(2))
    state = adafactor.state_dict([weight, bias])
    row = state["parameters"][0]["row_var"]
    for given, message in (
        ({"row_var": row.T}, "row_var must be (3, 1), got (1, 3)"),
        ({"row_var": None}, "row_var must be an array, got NoneType"),
        ({"step": -1}, "step must be an integer in 0 … 2⁵³, got -1"),
        ({"step": np.ones(1)}, "step must be (3, 4), got (1,)"),
        ({"step": np.ones((3, 4))}, "step must be an integer in 0 … 2⁵³, got [["),
    ):
        wrong = state | {"parameters": [state["parameters"][0] | given, state["parameters"][1]]}
        with pytest.raises(ValueError, match=re.escape(f"Adafactor.load_state_dict: {message}")):
            cr.Adafactor().load_state_dict([weight, bias], wrong)
    wrong = state | {"parameters": [state["parameters"][1], state["parameters"][1]]}
    with pytest.raises(ValueError, match=re.escape("variance must be (3, 4), got (3,)")):
        cr.Adafactor().load_state_dict([weight, bias], wrong)


def test_the_base_has_no_rule() -> None:
    with pytest.raises(NotImplementedError, match="Optimizer has no update"):
        cr.Optimizer(0.1).step(parameters())


@one_of_each
@every_library
@pytest.mark.usefixtures("float64_by_default")
def test_without_decay_of_biases_pytorch_agrees_where_its_groups_say_so(
    name: str, options: dict[str, Any], library: str
) -> None:
    if name == "Rprop":
        pytest.skip("it has no weight decay")
    held, (weight, bias) = parameters(library), [torch.nn.Parameter(torch.from_numpy(v)) for v in values(parameters())]
    groups = [{"params": [weight], "weight_decay": 0.05}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = getattr(cr, name)(**options, weight_decay=0.05, decay_biases=False)
    peer = getattr(torch.optim, name)(groups, **options)
    for step in range(STEPS):
        take_steps(optimizer, held, range(step, step + 1))
        for parameter, grad in zip((weight, bias), gradients(step), strict=True):
            parameter.grad = torch.from_numpy(grad)
        peer.step()
        assert_same(values(held), [numpy(parameter.detach()) for parameter in (weight, bias)])
