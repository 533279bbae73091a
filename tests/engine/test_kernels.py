"""Single ops of the engine at the ends of the numbers: far from 0, NaN, infinity, denormal options.

The reference is PyTorch; for options that are denormal, the Python loop.
"""

import math
import warnings

import numpy as np
import pytest
import torch
from cases import ELEMENTWISE
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import chainrule as cr

DTYPES = ("float32", "float64")
ACTIVATIONS = {
    **{case.label: case.peer(()) for case in ELEMENTWISE},
    "Softmax()": torch.nn.Softmax(dim=1),
    "LogSoftmax()": torch.nn.LogSoftmax(dim=1),
}
ALONG_ROWS = ("Softmax()", "LogSoftmax()")
# Sums such as 1 + erf(x) or 1 - y² cancel, here or in PyTorch, each in its own way; what is left is x times a rounding
# of 1. An activation with such a sum stands here.
CANCEL = (cr.Tanh, cr.Sigmoid, cr.SiLU, cr.GELU, cr.Mish, cr.Softsign)


def made(text):
    return eval(f"cr.{text}")


def saying(row):
    """A Linear that says `row` to every 1, whatever stands in it: a product would make the whole row NaN."""
    return cr.Linear(1, len(row), weight=np.zeros((len(row), 1), row.dtype), bias=row)


def outside(name, x):
    """What the module and PyTorch make of x: y, and dx for a dy of ones."""
    dy = np.ones_like(x)
    with np.errstate(all="ignore"):
        layer = made(name)
        y, saved = layer.forward(x)
        python = y, layer.backward(dy, saved)
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    z = ACTIVATIONS[name](tensor)
    z.backward(torch.from_numpy(dy))
    return python, (z.detach().numpy(), tensor.grad.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in ALONG_ROWS])
def test_activations_keep_their_digits_from_minus_100_to_100(name, dtype):
    x = np.linspace(-100, 100, 4001, dtype=dtype).reshape(-1, 1)
    limits = np.finfo(dtype)
    compiled = cr.compile(
        cr.Sequential(cr.Linear(1, 1, weight=np.ones((1, 1), dtype), bias=False), made(name)), batch_size=len(x)
    )
    native = compiled.forward(x), compiled.backward(np.ones_like(x))
    python, reference = outside(name, x)
    for found in (native, python):
        for value, expected in zip(found, reference, strict=True):
            rounding = np.abs(x) * limits.eps if isinstance(made(name), CANCEL) else 0.0
            bound = 16 * (limits.eps * np.abs(expected) + rounding + limits.tiny)  # the engine has no denormal numbers
            assert (np.abs(value - expected) <= bound).all()


def test_an_elu_far_on_the_negative_side_still_learns_natively():
    for engine in ("native", "python"):
        model = cr.Sequential(cr.Linear(1, 1, weight=np.full((1, 1), -20, "float32"), bias=False), cr.ELU())
        x, target = np.ones((1, 1), "float32"), np.ones((1, 1), "float32")
        cr.fit(model, cr.MSELoss(), (x, target), epochs=1, optimizer=cr.SGD(lr=1e9), keep="last", engine=engine)
        gradient = -4 * math.exp(-20)  # 2 (y - target) e^x, with y = -1
        assert model[0].weight.value.item() == pytest.approx(-20 - 1e9 * gradient, rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 8, 9, 16, 40])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_and_infinity_come_out_of_activations_as_in_pytorch(name, n, dtype):
    one = np.ones((1, 1), dtype)
    for column, strange in ((c, s) for c in (0, n - 1) for s in (np.nan, np.inf, -np.inf)):
        row = np.linspace(-2, 2, n, dtype=dtype)
        row[column] = strange
        model = cr.Sequential(saying(row), made(name))
        compiled = cr.compile(model)
        y = compiled.forward(one)
        compiled.backward(np.ones_like(y))
        native = y, model[0].bias.grad.reshape(1, -1)
        python, _ = outside(name, row.reshape(1, -1))
        _, reference = outside(name, row.reshape(1, -1).astype("float64"))  # in float32 its GELU(inf) is NaN
        for found in (native, python):
            np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(reference[0]))
            np.testing.assert_array_equal(np.isinf(found[0]), np.isinf(reference[0]))
            # at a NaN itself PyTorch gives some the slope of a side; elsewhere the slopes agree
            sound = ~np.isnan(row.reshape(1, -1))
            if name == "Softsign()":  # whose slope is 0 at infinity, and NaN in PyTorch
                sound &= np.isfinite(row.reshape(1, -1))
            np.testing.assert_array_equal(np.isnan(found[1])[sound], np.isnan(reference[1])[sound])


LOSSES = {
    "MSELoss()": torch.nn.MSELoss(),
    "L1Loss()": torch.nn.L1Loss(),
    "SmoothL1Loss(beta=0.5)": torch.nn.SmoothL1Loss(beta=0.5),
    "HuberLoss(delta=0.5)": torch.nn.HuberLoss(delta=0.5),
    "PoissonNLLLoss()": torch.nn.PoissonNLLLoss(),
    "SoftMarginLoss()": torch.nn.SoftMarginLoss(),
    "BCEWithLogitsLoss()": torch.nn.BCEWithLogitsLoss(),
    "CrossEntropyLoss()": torch.nn.CrossEntropyLoss(),
    "CrossEntropyLoss(label_smoothing=0.1)": torch.nn.CrossEntropyLoss(label_smoothing=0.1),
    "NLLLoss()": torch.nn.NLLLoss(),
}


@pytest.mark.parametrize("strange", [np.nan, np.inf])
@pytest.mark.parametrize("n", [2, 8, 9, 16, 40])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_nan_or_infinity_is_that_of_pytorch(name, n, strange):
    classes = name.startswith(("CrossEntropy", "NLL"))
    for column in (0, n - 1):
        row = np.linspace(-1, 1, n, dtype="float32")
        row[column] = strange
        y = np.tile(row, (5, 1))
        target = np.full(5, n - 1) if classes else np.ones_like(y)
        expected = float(LOSSES[name](torch.from_numpy(y), torch.from_numpy(target)))
        with np.errstate(all="ignore"):
            python = float(made(name)(y, target))
        model = cr.Sequential(saying(row))
        native = cr.compile(model, made(name), cr.SGD(lr=0.0), class_targets=classes).step(
            np.ones_like(y[:, :1]), target
        )
        for value in (python, native):
            assert (math.isnan(value), math.isinf(value)) == (math.isnan(expected), math.isinf(expected))


TINY = st.sampled_from([0.0, 5e-324, 1e-310, 2e-308, 1e-45, 1e-40, 1e-38, 1.2e-38, 1e-30])
OPTIONS = {
    "SGD": ("momentum", "dampening", "weight_decay", "clip_value", "clip_norm"),
    "Adam": ("eps", "weight_decay", "clip_value", "clip_norm"),
    "AdamW": ("eps", "weight_decay", "clip_value", "clip_norm"),
    "RMSprop": ("eps", "alpha", "momentum", "weight_decay", "clip_value", "clip_norm"),
    "NAdam": ("eps", "weight_decay", "momentum_decay", "clip_value", "clip_norm"),
    "RAdam": ("eps", "weight_decay", "clip_value", "clip_norm"),
    "Adamax": ("eps", "weight_decay", "clip_value", "clip_norm"),
    "Adadelta": ("eps", "rho", "weight_decay", "clip_value", "clip_norm"),
    "Rprop": ("clip_value", "clip_norm"),
    "ASGD": ("lambd", "alpha", "t0", "weight_decay", "clip_value", "clip_norm"),
    "Adagrad": ("eps", "lr_decay", "weight_decay", "initial_accumulator_value", "clip_value", "clip_norm"),
}
RULES = st.sampled_from([(name, option) for name, options in OPTIONS.items() for option in options])


@settings(max_examples=100, deadline=None)
@given(rule=RULES, tiny=TINY, dtype=st.sampled_from(DTYPES), amsgrad=st.booleans(), seed=st.integers(0, 99))
def test_tiny_options_train_as_in_python(rule, tiny, dtype, amsgrad, seed):
    """Options that are denormal, or vanish in the network's dtype: memory is counted by some of them."""
    name, option = rule
    assume(np.dtype(dtype).type(tiny) > 0 or not option.startswith(("eps", "clip")))  # 0 / 0, and clipping to 0
    options = {option: tiny} | ({"amsgrad": amsgrad} if name in ("Adam", "AdamW") else {})
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(12, 3)).astype(dtype), rng.normal(size=(12, 2)).astype(dtype)
    found = []
    for engine in ("native", "python"):
        model = cr.Sequential(cr.Linear(3, 17, dtype=dtype, rng=1), cr.Tanh(), cr.Linear(17, 2, dtype=dtype, rng=2))
        optimizer = getattr(cr, name)(1e-3, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            cr.fit(
                model,
                cr.MSELoss(),
                (x, target),
                epochs=3,
                batch_size=5,
                optimizer=optimizer,
                keep="last",
                engine=engine,
            )
        found.append(np.concatenate([parameter.value.ravel() for parameter in model.param()]))
    if not any(
        options.get(clip) is not None for clip in ("clip_value", "clip_norm")
    ):  # what is cut to nothing is rounding
        np.testing.assert_allclose(*found, rtol=0, atol=1e-5)
    assert np.isfinite(found[0]).all()
