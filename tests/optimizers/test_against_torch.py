"""Every optimizer with options that hypothesis draws, for sixty steps, against torch.optim; and going on half-way."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import optimizers, signature

STEPS = 60
SHAPES = ((4, 3), (5,), (2, 3, 2))
EXPORTED = [
    name
    for name in optimizers.__all__
    if hasattr(torch.optim, name) and name not in ("Optimizer", "Muon") and isinstance(getattr(optimizers, name), type)
]

share = st.one_of(st.sampled_from([0.0, 0.9, 0.999]), st.floats(0.0, 0.99))  # of what is remembered
little = st.one_of(st.just(0.0), st.floats(1e-4, 0.2))
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "lr": st.floats(1e-3, 0.1),
    "betas": st.tuples(share, share),
    "eps": st.floats(1e-6, 1e-2),  # with less, a gradient of rounding's size would be divided by itself
    "weight_decay": little,
    "momentum": share,
    "dampening": little,
    "alpha": share,
    "rho": share,
    "lr_decay": little,
    "initial_accumulator_value": little,
    "momentum_decay": st.floats(0.0, 2.0),
    "lambd": little,
    "t0": st.floats(0.0, 70.0),
    "etas": st.tuples(st.floats(0.1, 0.9), st.floats(1.1, 2.0)),
    "step_sizes": st.tuples(st.floats(1e-6, 1e-3), st.floats(0.01, 1.0)),
    "amsgrad": st.booleans(),
    "centered": st.just(False),  # PyTorch's may be NaN, where rounding makes a variance less than 0
    "decoupled_weight_decay": st.booleans(),
    "nesterov": st.booleans(),
}


OF_ONE: dict[str, dict[str, st.SearchStrategy[Any]]] = {  # whose options mean something else
    "Adafactor": {
        "eps": st.tuples(st.one_of(st.none(), st.floats(1e-6, 1e-2)), st.floats(1e-3, 1.0)),
        "beta2_decay": st.floats(-1.0, -0.1),
        "d": st.floats(1.0, 3.0),
    },
}
# In float32 a gradient that decay makes nearly 0 has few digits, and what would divide it by itself none.
IN_FLOAT32 = {"betas": st.tuples(share, st.floats(0.9, 0.999))}


@st.composite
def rules(draw: Any, name: str, dtype: str) -> dict[str, Any]:
    """Some of an optimizer's options."""
    known = [a.name for a in signature.parameters(getattr(cr, name)) if a.name in OPTIONS | OF_ONE.get(name, {})]
    choices = OPTIONS | (IN_FLOAT32 if dtype == "float32" else {}) | OF_ONE.get(name, {})
    options = {key: draw(choices[key]) for key in known if key == "lr" or draw(st.booleans())}
    if options.get("nesterov"):
        options |= {"momentum": options.get("momentum") or 0.5} | ({"dampening": 0.0} if "dampening" in known else {})
    return options


def gradients(seed: int, step: int, dtype: str) -> list[np.ndarray]:
    """Gradients of many sizes, some of them 0, which keep their sign for a while."""
    rng = np.random.default_rng((seed, step))
    slow = np.random.default_rng((seed, step // 7, 1))
    sizes = [rng.choice([0.0, 0.01, 1.0, 10.0], size=shape) for shape in SHAPES]
    return [(size * slow.normal(size=size.shape)).astype(dtype) for size in sizes]


def begun(dtype: str) -> list[cr.Parameter]:
    rng = np.random.default_rng(0)
    return [cr.Parameter(rng.normal(size=shape).astype(dtype)) for shape in SHAPES]


def step(rule: cr.Optimizer, held: list[cr.Parameter], grads: list[np.ndarray]) -> None:
    for parameter, grad in zip(held, grads, strict=True):
        parameter.grad[...] = grad
    rule.step(held)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.usefixtures("float64_by_default")
@given(data=st.data(), seed=st.integers(0, 99))
def test_sixty_steps_are_those_of_pytorch(name: str, dtype: str, data: Any, seed: int) -> None:
    options = data.draw(rules(name, dtype))
    held = begun(dtype)
    peers = [torch.nn.Parameter(torch.from_numpy(parameter.value.copy())) for parameter in held]
    ours, theirs = getattr(cr, name)(**options), getattr(torch.optim, name)(peers, **options)
    # In float32 a step rounds a weight, and what is added to it, to about 1e-7 of their size.
    tolerance = 1e-10 if dtype == "float64" else 60 * 1e-6
    for i in range(STEPS):
        grads = gradients(seed, i, dtype)
        step(ours, held, grads)
        for tensor, grad in zip(peers, grads, strict=True):
            tensor.grad = torch.from_numpy(grad)
        theirs.step()
    for parameter, tensor in zip(held, peers, strict=True):
        assert parameter.value.dtype == dtype
        np.testing.assert_allclose(parameter.value, tensor.detach().numpy(), rtol=tolerance, atol=tolerance)


NAN, INF = float("nan"), float("inf")
BAD = [  # gradients of seven weights, step after step; those of the second are finite always
    [1.0, -1.0, NAN, INF, -INF, 0.0, 2.0],
    [1.0, 1.0, 1.0, 1.0, 1.0, NAN, -1.0],
    [-1.0, 1.0, -1.0, -1.0, 1.0, 1.0, INF],
    [NAN, 1.0, 1.0, 1.0, 1.0, 1.0, NAN],
    [1.0, 2.0, 1.0, -INF, INF, 1.0, 1.0],
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
]


@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.usefixtures("float64_by_default")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_gradients_that_are_not_finite_spoil_what_they_spoil_in_pytorch(name: str) -> None:
    """The numbers of all others are the same; which of infinity and NaN it is depends on how an average is written."""
    ours, known = getattr(cr, name)(lr=0.01), name != "Adafactor"
    value = np.linspace(1.0, 2.0, 7)
    parameter, peer = cr.Parameter(value), torch.nn.Parameter(torch.from_numpy(value.copy()))
    theirs, layer = getattr(torch.optim, name)([peer], lr=0.01), cr.Linear(7, 1, weight=value[None], bias=False)
    compiled = cr.compile(layer, cr.MSELoss(), getattr(cr, name)(lr=0.01)) if known else None
    nan = np.zeros(7, dtype=bool)
    for grad in np.array(BAD):
        parameter.grad[...], peer.grad = grad, torch.from_numpy(grad.copy())
        ours.step([parameter])
        theirs.step()
        nan |= np.isnan(grad) if name == "Rprop" else False  # whose sign is 0 to PyTorch's
        expected = np.where(nan, NAN, peer.detach().numpy())
        finite = np.isfinite(expected)
        found = [parameter.value]
        if compiled is not None:
            layer.weight.grad[...] = grad
            compiled.update()
            found.append(layer.weight.value[0])
        for numbers in found:
            np.testing.assert_array_equal(np.isfinite(numbers), finite)
            np.testing.assert_allclose(numbers[finite], expected[finite], rtol=1e-12)


@pytest.mark.parametrize("name", EXPORTED)
@given(data=st.data(), seed=st.integers(0, 99), turn=st.integers(1, STEPS - 1))
def test_a_state_that_is_loaded_goes_on_to_the_same_bits(name: str, data: Any, seed: int, turn: int) -> None:
    options = data.draw(rules(name, "float32"))
    held, rule = begun("float32"), getattr(cr, name)(**options)
    for i in range(STEPS):
        if i == turn:
            again, loaded = [cr.Parameter(parameter.value) for parameter in held], getattr(cr, name)(**options)
            loaded.load_state_dict(again, rule.state_dict(held))
        step(rule, held, gradients(seed, i, "float32"))
        if i >= turn:
            step(loaded, again, gradients(seed, i, "float32"))
    for one, other in zip(held, again, strict=True):
        np.testing.assert_array_equal(one.value, other.value)
