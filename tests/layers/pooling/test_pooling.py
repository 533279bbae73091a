"""Pooling: what the contract test does not see, next to PyTorch on windows of every kind."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import chainrule as cr

TIMES = settings(max_examples=40, deadline=None)


def one_or_each(axes, least, most):
    """An integer, or a tuple with one for each axis."""
    number = st.integers(least, most)
    return number | st.tuples(*[number] * axes)


def lengths(axes):
    return st.tuples(*[st.integers(1, 8)] * axes)


def both(name, axes, options, x, *more):
    """The layer here and there on one x, forth and back: what ours gives, or None where PyTorch refuses."""
    tensor = torch.from_numpy(x).requires_grad_()
    try:
        theirs = getattr(torch.nn, f"{name}{axes}d")(**options)
        expected = theirs(tensor, *(torch.from_numpy(one) if isinstance(one, np.ndarray) else one for one in more))
    except (ValueError, RuntimeError, TypeError):
        return None
    ours = getattr(cr, f"{name}{axes}d")(**options)
    try:
        y, saved = ours.forward(x, *more)
    except ValueError as refusal:
        # PyTorch says -inf, found at a place that is not there; and gives arrays without numbers.
        known = ("each window must see something of x", "y must have room for something")
        assert any(words in str(refusal) for words in known), refusal  # noqa: PT017
        return None
    first, there = (y[0], expected[0]) if isinstance(y, tuple) else (y, expected)
    dy = np.random.default_rng(1).normal(size=first.shape)
    there.backward(torch.from_numpy(dy))
    dx = ours.backward((dy, None) if isinstance(y, tuple) else dy, saved)
    close = {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(first, there.detach(), **close)
    np.testing.assert_allclose(dx, tensor.grad, **close)
    if isinstance(y, tuple):
        np.testing.assert_array_equal(y[1], expected[1])
    return y


def drawn(data, axes, *, decimals=None):
    """Numbers (2, 2, *lengths), rounded so that several are equal where decimals are given."""
    x = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(2, 2, *data.draw(lengths(axes))))
    return x if decimals is None else np.round(x, decimals)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("odd", ["ties", "NaN", "-inf"])
@TIMES
@given(data=st.data())
def test_max_pooling_finds_what_pytorch_finds_and_where(axes, odd, data):
    x = drawn(data, axes, decimals=0)
    if odd != "ties":
        hit = np.random.default_rng(0).uniform(size=x.shape) < 0.4
        x[hit] = math.nan if odd == "NaN" else -math.inf
    options = {
        "kernel_size": data.draw(one_or_each(axes, 1, 4)),
        "stride": data.draw(st.none() | one_or_each(axes, 1, 4)),
        "padding": data.draw(one_or_each(axes, 0, 2)),
        "dilation": data.draw(one_or_each(axes, 1, 3)),
        "ceil_mode": data.draw(st.booleans()),
        "return_indices": True,
    }
    assume(both("MaxPool", axes, options, x) is not None)


@pytest.mark.parametrize("axes", [1, 2, 3])
@TIMES
@given(data=st.data())
def test_average_pooling_agrees_with_pytorch(axes, data):
    options = {
        "kernel_size": data.draw(one_or_each(axes, 1, 4)),
        "stride": data.draw(st.none() | one_or_each(axes, 1, 4)),
        "padding": data.draw(one_or_each(axes, 0, 2)),
        "ceil_mode": data.draw(st.booleans()),
        "count_include_pad": data.draw(st.booleans()),
    }
    if axes > 1:
        options["divisor_override"] = data.draw(st.none() | st.integers(1, 5))
    assume(both("AvgPool", axes, options, drawn(data, axes)) is not None)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:divide by zero:RuntimeWarning")
@TIMES
@given(data=st.data())
def test_lp_pooling_agrees_with_pytorch_zeros_and_roots_that_are_none_included(axes, data):
    x = drawn(data, axes)
    x = data.draw(st.sampled_from([x, abs(x), np.maximum(x, 0.0)]))
    options = {
        "norm_type": data.draw(st.sampled_from([1, 2, 3, 4, 1.5, 2.5, math.inf, -math.inf])),
        "kernel_size": data.draw(st.integers(1, 4)),
        "stride": data.draw(st.none() | one_or_each(axes, 1, 4)),
        "ceil_mode": data.draw(st.booleans()),
    }
    assume(both("LPPool", axes, options, x) is not None)


@pytest.mark.parametrize("kind", ["Avg", "Max"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@TIMES
@given(data=st.data())
def test_adaptive_pooling_agrees_with_pytorch(kind, axes, data):
    some = st.integers(1, 9)
    each = st.tuples(*[st.none() | some] * axes) if axes > 1 else some  # PyTorch's series know no tuple
    options = {"output_size": data.draw(some | each)}
    if kind == "Max":
        options["return_indices"] = data.draw(st.booleans())
    assert (
        both(f"Adaptive{kind}Pool", axes, options, drawn(data, axes, decimals=0 if kind == "Max" else None)) is not None
    )


@pytest.mark.parametrize("axes", [1, 2, 3])
@TIMES
@given(data=st.data())
def test_unpooling_agrees_with_pytorch(axes, data):
    x = drawn(data, axes)
    window = {
        "kernel_size": data.draw(one_or_each(axes, 1, 3)),
        "stride": data.draw(st.none() | one_or_each(axes, 1, 3)),
        "padding": data.draw(one_or_each(axes, 0, 1)),
    }
    found = both("MaxPool", axes, window | {"return_indices": True}, x)
    assume(found is not None)
    y, indices = found
    rows = indices.reshape(4, -1)
    assume(all(len(np.unique(row)) == row.size for row in rows))  # which of several x stays is left open
    size = data.draw(st.sampled_from([None, x.shape, x.shape[2:]]))
    assume(both("MaxUnpool", axes, window, np.ascontiguousarray(y), indices, size) is not None)


# -- by hand


def test_the_first_of_equal_numbers_gets_the_gradient_and_overlapping_windows_add():
    pool = cr.MaxPool1d(3, stride=1)
    y, saved = pool.forward(np.array([[[1.0, 2.0, 2.0, 0.0, 1.0]]]))
    assert y.tolist() == [[[2, 2, 2]]]
    assert pool.backward(np.array([[[1.0, 2.0, 4.0]]]), saved).tolist() == [[[0, 3, 4, 0, 0]]]


def test_padding_counts_or_does_not_and_what_hangs_over_never_does():
    x = np.array([[[1.0, 2.0, 3.0, 6.0]]])
    assert cr.AvgPool1d(2, padding=1)(x).tolist() == [[[0.5, 2.5, 3.0]]]
    assert cr.AvgPool1d(2, padding=1, count_include_pad=False)(x).tolist() == [[[1.0, 2.5, 6.0]]]
    assert cr.AvgPool1d(3, ceil_mode=True)(x).tolist() == [[[2.0, 6.0]]]
    assert cr.AvgPool1d(3)(x).tolist() == [[[2.0]]]
    image = np.array([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert cr.AvgPool2d(2, divisor_override=3)(image).tolist() == [[[[4.0]]]]


def test_adaptive_windows_cover_all_and_may_overlap():
    x = np.array([[[1.0, 2.0, 3.0, 4.0, 11.0]]])
    assert cr.AdaptiveAvgPool1d(2)(x).ravel().tolist() == pytest.approx([2.0, 6.0])
    assert cr.AdaptiveMaxPool1d(3)(x).tolist() == [[[2.0, 4.0, 11.0]]]
    assert cr.AdaptiveAvgPool1d(None)(x).tolist() == x.tolist()
    assert cr.AdaptiveAvgPool1d(10)(x)[0, 0, ::2].tolist() == x[0, 0].tolist()


def test_a_norm_between_the_sum_and_the_largest():
    x = np.array([[[3.0, 4.0]]])
    assert [cr.LPPool1d(p, 2)(x).item() for p in (1, 2, math.inf, -math.inf)] == pytest.approx([7, 5, 4, 3])


def test_pooling_and_back_in_one_network():
    net = cr.Sequential(cr.MaxPool2d(2, return_indices=True), cr.MaxUnpool2d(2))
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    y, saved = net.forward(x)
    assert y[0, 0].tolist() == [[0, 0, 0, 0], [0, 5, 0, 7], [0, 0, 0, 0], [0, 13, 0, 15]]
    np.testing.assert_array_equal(net.backward(np.ones_like(y), saved), (y > 0) * 1.0)
    assert cr.check_gradients(net, x).ok


def test_indices_go_past_other_layers_in_a_graph():
    net = cr.Graph(
        {
            "found": (cr.MaxPool1d(2, return_indices=True), "x"),
            "y": (cr.Select(0), "found"),
            "at": (cr.Select(1), "found"),
            "h": (cr.Tanh(), "y"),
            "back": (cr.MaxUnpool1d(2), ("h", "at")),
        }
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 6))
    assert net(x).shape == x.shape
    assert cr.check_gradients(net, x).ok


def test_a_batch_may_be_empty():
    for layer in (
        cr.MaxPool2d(2),
        cr.AvgPool2d(2),
        cr.LPPool2d(2, 2),
        cr.AdaptiveAvgPool2d(2),
        cr.AdaptiveMaxPool2d(2),
    ):
        y, saved = layer.forward(np.ones((0, 3, 4, 4)))
        assert y.shape == (0, 3, 2, 2)
        assert layer.backward(y, saved).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("make", "x", "says"),
    [
        (
            lambda: cr.MaxPool2d(2),
            (3, 4, 4),
            r"x must be \(batch, channels, height, width\), got \(3, 4, 4\).*x\[None\]",
        ),
        (lambda: cr.MaxPool2d(3), (1, 1, 2, 5), r"x must be as long as the window, \(3, 3\), got \(1, 1, 2, 5\)"),
        (lambda: cr.AvgPool1d(3), (1, 1, 2), r"x must be as long as the window, \(3,\), got \(1, 1, 2\)"),
        (lambda: cr.MaxPool1d(2, padding=1, dilation=2), (1, 1, 1), "each window must see something of x"),
        (lambda: cr.AdaptiveAvgPool2d(2), (1, 1, 0, 3), "x must have something along each axis"),
        (lambda: cr.MaxPool2d(2, padding=2), None, "MaxPool2d: padding must be at most half of the window, 1, got 2"),
        (
            lambda: cr.AvgPool2d((4, 2), padding=(2, 2)),
            None,
            "AvgPool2d: padding must be at most half of the window, 1",
        ),
        (lambda: cr.MaxPool2d((2, 2, 2)), None, "MaxPool2d: kernel_size must be an integer or have 2 entries"),
        (
            lambda: cr.AdaptiveMaxPool3d((2, 2)),
            None,
            "AdaptiveMaxPool3d: output_size must be an integer or have 3 entries",
        ),
        (lambda: cr.LPPool1d(0, 2), None, "LPPool1d: norm_type must not be 0"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(make, x, says):
    with pytest.raises(ValueError, match=says):
        make().forward(np.ones(x))


@pytest.mark.parametrize(
    ("indices", "size", "says"),
    [
        (None, None, r"indices must be integers \(1, 1, 2\) like x, got a NoneType"),
        (np.zeros((1, 1, 2)), None, r"indices must be integers \(1, 1, 2\) like x"),
        (np.zeros((1, 2), int), None, r"indices must be integers \(1, 1, 2\) like x, got \(1, 2\)"),
        (np.array([[[0, 4]]]), None, r"indices must be places in y \(4,\), 0 to 3"),
        (np.array([[[-1, 3]]]), None, r"indices must be places in y \(4,\), 0 to 3"),
        (np.array([[[0, 3]]]), (6,), r"output_size must be less than stride \(2,\) away from \(4,\), got \(6,\)"),
        (np.array([[[0, 3]]]), (1, 2, 3, 4), "output_size must be less than stride"),
    ],
)
def test_indices_that_do_not_fit_are_refused(indices, size, says):
    with pytest.raises(ValueError, match=says):
        cr.MaxUnpool1d(2).forward(np.ones((1, 1, 2)), indices, size)


@pytest.mark.parametrize("kind", ["MaxPool", "MaxUnpool", "AvgPool", "LPPool", "AdaptiveAvgPool", "AdaptiveMaxPool"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_help_tells_equation_shapes_and_arguments_of_each_class(kind, axes):
    told = getattr(cr, f"{kind}{axes}d").__doc__
    assert "Equation  y[" in told or "Equation  y =" in told
    assert {1: "length", 2: "height, width", 3: "depth, height, width"}[axes] + ") -> y" in told
    assert "Parameters\n----------" in told


def test_repr_is_pytorchs():
    for make in (
        lambda nn: nn.MaxPool2d(2),
        lambda nn: nn.MaxPool1d(3, 2, 1),
        lambda nn: nn.AvgPool1d(2),
        lambda nn: nn.AvgPool2d((2, 3), 1),
        lambda nn: nn.LPPool2d(2, 3),
        lambda nn: nn.AdaptiveAvgPool2d((None, 2)),
        lambda nn: nn.AdaptiveMaxPool1d(3),
        lambda nn: nn.MaxUnpool2d(2),
        lambda nn: nn.ZeroPad2d(1),
        lambda nn: nn.ConstantPad1d(1, 2.5),
        lambda nn: nn.Upsample(scale_factor=2),
        lambda nn: nn.Upsample(size=(2, 3), mode="bilinear"),
        lambda nn: nn.PixelShuffle(2),
        lambda nn: nn.PixelUnshuffle(2),
        lambda nn: nn.ChannelShuffle(2),
    ):
        assert repr(make(cr)) == repr(make(torch.nn))
