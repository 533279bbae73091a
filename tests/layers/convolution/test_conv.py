"""Convolution and its transpose: by hand, next to PyTorch on arguments of all kinds, and what they refuse."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import initializers

KINDS = [f"{name}{axes}d" for name in ("Conv", "ConvTranspose") for axes in (1, 2, 3)]


def test_a_filter_by_hand() -> None:
    layer = cr.Conv1d(1, 1, 2, weight=[[[1.0, 10.0]]], bias=[0.5])
    x = np.array([[[1.0, 2.0, 3.0]]], "float32")
    y, saved = layer.forward(x)
    assert y.tolist() == [[[21.5, 32.5]]]  # 1·1 + 10·2 + 0.5, 1·2 + 10·3 + 0.5
    dx = layer.backward(np.array([[[1.0, 100.0]]], "float32"), saved)
    assert dx.tolist() == [[[1.0, 10.0 + 100.0, 1000.0]]]  # the middle is seen twice
    assert layer.weight.grad.tolist() == [[[1.0 + 200.0, 2.0 + 300.0]]]
    assert layer.bias.grad.tolist() == [101.0]


def test_a_transpose_by_hand() -> None:
    layer = cr.ConvTranspose1d(1, 1, 2, stride=2, output_padding=1, weight=[[[1.0, 10.0]]], bias=[0.5])
    x = np.array([[[1.0, 2.0]]], "float32")
    y, saved = layer.forward(x)
    assert y.tolist() == [[[1.5, 10.5, 2.5, 20.5, 0.5]]]
    dx = layer.backward(np.array([[[1.0, 2.0, 3.0, 4.0, 5.0]]], "float32"), saved)
    assert dx.tolist() == [[[1.0 + 20.0, 3.0 + 40.0]]]
    assert layer.weight.grad.tolist() == [[[1.0 + 6.0, 2.0 + 8.0]]]
    assert layer.bias.grad.tolist() == [15.0]


def test_an_edge_is_where_neighbours_differ() -> None:
    edges = cr.Conv2d(1, 1, (1, 2), weight=[[[[-1.0, 1.0]]]], bias=False)
    assert edges(np.array([[[[0.0, 0.0, 5.0, 5.0]]]], "float32")).tolist() == [[[[0.0, 5.0, 0.0]]]]


def test_a_transpose_is_what_goes_back_through_a_convolution() -> None:
    rng = np.random.default_rng(0)
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2, "bias": False, "dtype": "float64"}
    conv = cr.Conv2d(4, 6, (3, 2), **options)
    transpose = cr.ConvTranspose2d(6, 4, (3, 2), **options, weight=conv.weight)
    x = rng.normal(size=(2, 4, 7, 6))
    y, saved = conv.forward(x)
    dy = rng.normal(size=y.shape)
    np.testing.assert_array_equal(transpose(dy), conv.backward(dy, saved))


@st.composite
def layers(draw: st.DrawFn, name: str) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Arguments of a layer as PyTorch takes them, and the shape of an x that may or may not fit."""
    axes, groups = int(name[-2]), draw(st.integers(1, 3))

    def each(least: int, most: int) -> Any:
        return draw(st.integers(least, most) | st.tuples(*[st.integers(least, most)] * axes))

    channels = [groups * draw(st.integers(1, 2)) for _ in range(2)]
    kernel, stride, padding, dilation = each(1, 3), each(1, 3), each(0, 2), each(1, 2)
    lengths = draw(st.lists(st.integers(1, 6 - axes), min_size=axes, max_size=axes))
    shape = (draw(st.integers(1, 3)), channels[0], *lengths)
    bias = draw(st.booleans())
    if "Transpose" in name:
        return (*channels, kernel, stride, padding, each(0, 2), groups, bias, dilation), shape
    mode = draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]))
    if draw(st.booleans()):
        stride, padding = 1, draw(st.sampled_from(["same", "valid"]))
    return (*channels, kernel, stride, padding, dilation, groups, bias, mode), shape


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=60)
@given(data=st.data(), seed=seeds(), dtype=st.sampled_from(["float64", "float64", "float32"]))
def test_pytorch_agrees_with_every_argument(
    name: str, library: str, data: st.DataObject, seed: int, dtype: str
) -> None:
    arguments, shape = data.draw(layers(name))
    rng = np.random.default_rng(seed)
    try:
        theirs = getattr(torch.nn, name)(*arguments).to(getattr(torch, dtype))
        x = torch.from_numpy(rng.normal(size=shape).astype(dtype)).requires_grad_()
        expected = theirs(x)
        if not expected.numel():  # of which it says nothing in three axes
            raise ValueError("y is empty")
    except (ValueError, RuntimeError):  # our error has to come as well
        with pytest.raises(ValueError, match=rf"^{name}"):
            getattr(cr, name)(*arguments).forward(np.zeros(shape, "float32"))
        return
    ours = getattr(cr, name)(*arguments, dtype=dtype)
    ours.load_state_dict({key: value.detach().numpy() for key, value in theirs.state_dict().items()})
    ours.to(library)
    y, saved = ours.forward(array(x.detach().numpy(), library, dtype))
    dy = rng.normal(size=tuple(expected.shape)).astype(dtype)
    expected.backward(torch.from_numpy(dy))
    dx = ours.backward(array(dy, library, dtype), saved)
    tolerance = {"float64": 1e-9, "float32": 1e-4}[dtype]
    for found, right in [
        (y, expected),
        (dx, x.grad),
        *((p.grad, q.grad) for p, q in zip(ours.param(), theirs.parameters(), strict=True)),
    ]:
        np.testing.assert_allclose(numpy(found), numpy(right), rtol=tolerance, atol=tolerance)
    assert repr(ours).replace("'", "") == repr(theirs)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_frozen_gets_no_gradient_and_costs_no_product(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = int(name[-2])
    layer = getattr(cr, name)(2, 3, 2, rng=0)
    x = np.random.default_rng(0).normal(size=(2, 2, *(4,) * axes)).astype("float32")
    y, saved = layer.forward(x)
    products = []
    real = np.matmul
    monkeypatch.setattr(np, "matmul", lambda a, b: products.append(a.shape) or real(a, b))
    dx = layer.backward(y, saved)
    weight, bias = layer.weight.grad.copy(), layer.bias.grad.copy()
    assert len(products) == 2
    layer.zero_grad()
    layer.backward_parameters(y, saved)
    assert len(products) == 3  # without the one for dx
    np.testing.assert_array_equal(layer.weight.grad, weight)
    layer.zero_grad()
    layer.weight.trainable = False
    np.testing.assert_array_equal(layer.backward(y, saved), dx)
    assert len(products) == 4  # without the one for the weight
    assert not layer.weight.grad.any()
    np.testing.assert_array_equal(layer.bias.grad, bias)


@pytest.mark.parametrize("name", KINDS)
def test_initial_values_are_as_wide_as_pytorchs(name: str) -> None:
    axes = int(name[-2])
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(6, 8, (5,) * axes, groups=2)
    ours = getattr(cr, name)(6, 8, (5,) * axes, groups=2, rng=0)
    for mine, other in zip(ours.param(), theirs.parameters(), strict=True):
        assert mine.shape == tuple(other.shape)
        bound = 1 / np.sqrt(np.prod(ours.weight.shape[1:]))
        for values in (mine.value, other.detach().numpy()):
            assert np.abs(values).max() <= bound
            assert np.abs(values).max() > bound * 0.5  # 8 numbers uniform on ±1 stay below 1/2 once in 256 times


def test_an_initializer_sees_each_filter_as_a_row() -> None:
    layer = cr.Conv2d(2, 5, 3, init=initializers.orthogonal, dtype="float64", rng=0)
    filters = layer.weight.value.reshape(5, -1)
    np.testing.assert_allclose(filters @ filters.T, np.eye(5), atol=18 * np.finfo(float).eps)
    assert not layer.bias.value.any()


def test_filters_can_be_shared() -> None:
    first = cr.Conv1d(2, 2, 3, padding=1, dtype="float64", rng=0)
    net = cr.Sequential(first, cr.Tanh(), cr.Conv1d(2, 2, 3, padding=1, bias=first.bias, weight=first.weight))
    assert net.num_parameters == 14
    cr.check_gradients(net, np.random.default_rng(1).normal(size=(2, 2, 5)))


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_batch_gives_nothing_and_no_gradient(name: str) -> None:
    layer = getattr(cr, name)(2, 3, 2)
    lengths = (3,) * int(name[-2])
    y, saved = layer.forward(np.zeros((0, 2, *lengths), "float32"))
    assert y.shape == (0, 3, *((2 if "Transpose" not in name else 4),) * len(lengths))
    assert layer.backward(y, saved).shape == (0, 2, *lengths)
    assert not layer.weight.grad.any()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: cr.Conv2d(3, 4, 0), ValueError, "Conv2d: kernel_size must be at least 1, got 0"),
        (lambda: cr.Conv2d(3, 4, (3, 3, 3)), ValueError, "Conv2d: kernel_size must be an integer or have 2 entries"),
        (lambda: cr.Conv1d(3, 4, 3, stride=1.5), TypeError, "Conv1d: stride must be an integer, got 1.5"),
        (lambda: cr.Conv2d(3, 4, 3, groups=2), ValueError, "Conv2d: in_channels must be divisible by groups=2, got 3"),
        (lambda: cr.Conv2d(4, 3, 3, groups=2), ValueError, "Conv2d: out_channels must be divisible by groups=2, got 3"),
        (lambda: cr.Conv2d(0, 3, 3), ValueError, "Conv2d: in_channels must be a positive integer, got 0"),
        (lambda: cr.Conv2d(3, 4, 3, padding="full"), ValueError, 'Conv2d: padding must be "same" or "valid", got'),
        (
            lambda: cr.Conv2d(3, 4, 3, 2, "same"),
            ValueError,
            'Conv2d: padding="same" is for stride 1, got stride=(2, 2)',
        ),
        (lambda: cr.Conv2d(3, 4, 3, padding=-1), ValueError, "Conv2d: padding must be at least 0, got -1"),
        (lambda: cr.Conv2d(3, 4, 3, padding_mode="edge"), ValueError, "Conv2d: padding_mode must be"),
        (
            lambda: cr.Conv2d(3, 4, 3, weight=np.ones((4, 3, 3))),
            ValueError,
            "Conv2d(3, 4, kernel_size=(3, 3)): weight must be (4, 3, 3, 3), got (4, 3, 3)",
        ),
        (
            lambda: cr.Conv1d(2, 4, 1, bias=np.ones(2)),
            ValueError,
            "Conv1d(2, 4, kernel_size=(1,)): bias must be (4,), got (2,)",
        ),
        (lambda: cr.Conv1d(1, 1, 1, init="he"), TypeError, "Conv1d: init must be a function of chainrule.initializers"),
        (lambda: cr.Conv1d(1, 1, 1, dtype="int32"), TypeError, "Conv1d: dtype must be float16, float32 or float64"),
        (
            lambda: cr.ConvTranspose1d(1, 1, 2, 2, output_padding=2),
            ValueError,
            "ConvTranspose1d: output_padding must be less than stride or dilation, got output_padding=(2,)",
        ),
        (
            lambda: cr.ConvTranspose1d(1, 1, 2, padding_mode="reflect"),
            ValueError,
            'ConvTranspose1d: padding_mode must be "zeros"',
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            np.ones((2, 3, 4)),
            TypeError,
            "x must be a numpy float32 array like the weight, got a numpy float64 array; x",
        ),
        (
            np.ones((3, 8), "float32"),
            ValueError,
            "x must be (batch, 3, length), got (3, 8); if it is one sample, x[None]",
        ),
        (np.ones((2, 4, 8), "float32"), ValueError, "x must be (batch, 3, length), got (2, 4, 8)"),
        (np.ones((2, 3, 4), "float32"), ValueError, "x with its padding must have room for a kernel that reaches (5,)"),
        (np.ones((2, 3, 0), "float32"), ValueError, "x must be (batch, 3, length), got (2, 3, 0)"),
        (torch.ones(2, 3, 8), TypeError, "x must be a numpy float32 array like the weight, got a torch float32 array"),
        ([[[1.0] * 8] * 3], TypeError, "x must be a numpy float32 array like the weight, got a list"),
    ],
)
def test_a_wrong_input_is_refused_by_name(x: Any, error: type[Exception], message: str) -> None:
    told = "Conv1d(3, 2, kernel_size=(3,), stride=(1,), dilation=(2,)).forward: "
    with pytest.raises(error, match=re.escape(told + message)):
        cr.Conv1d(3, 2, 3, dilation=2).forward(x)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("wrong", ["shape", "dtype"])
def test_a_gradient_that_does_not_fit_is_refused_and_changes_nothing(name: str, wrong: str) -> None:
    layer = getattr(cr, name)(2, 3, 2)
    y, saved = layer.forward(np.ones((2, 2, *(3,) * int(name[-2])), "float32"))
    dy = y[1:] if wrong == "shape" else y.astype("float64")
    error, said = (ValueError, "dy must be (2, 3, ") if wrong == "shape" else (TypeError, "dy must be a numpy float32")
    with pytest.raises(error, match=re.escape(f"{layer}.backward: {said}")):
        layer.backward(dy, saved)
    assert not layer.weight.grad.any()
    assert not layer.bias.grad.any()


@pytest.mark.parametrize("name", KINDS)
def test_help_tells_of_each_class_by_itself(name: str) -> None:
    said = getattr(cr, name).__doc__
    lengths = {1: "length", 2: "height, width", 3: "depth, height, width"}[int(name[-2])]
    for word in ("Equation", "Shapes", "Saves", "Source", "Parameters", "Raises", f"x (batch, in_channels, {lengths})"):
        assert word in said
