"""Padding: what the contract test does not see."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.layers import padding
from chainrule.layers.padding import padded, unpadded

KINDS = ("Zero", "Constant", "Reflection", "Replication", "Circular")
VALUE = {"Constant": (1.5,)}


def pair(kind, axes, amounts):
    """The layer here and there."""
    name, arguments = f"{kind}Pad{axes}d", (amounts, *VALUE.get(kind, ()))
    return getattr(padding, name)(*arguments), getattr(torch.nn, name)(*arguments)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [1, 2, 3])
@settings(max_examples=25)
@given(data=st.data())
def test_pytorch_agrees_for_any_amounts(kind, axes, data):
    lengths = data.draw(st.tuples(*[st.integers(1, 5)] * axes))
    amounts = data.draw(st.tuples(*[st.integers(-3, 5)] * (2 * axes)))
    ours, theirs = pair(kind, axes, amounts)
    x = np.random.default_rng(0).normal(size=(2, 2, *lengths))
    try:
        y, saved = ours.forward(x)
    except ValueError:
        return  # the next test says which are refused
    tensor = torch.from_numpy(x).requires_grad_()
    expected = theirs(tensor)
    np.testing.assert_array_equal(y, expected.detach())
    dy = np.random.default_rng(1).normal(size=y.shape)
    before = dy.copy()
    expected.backward(torch.from_numpy(dy))
    np.testing.assert_allclose(ours.backward(dy, saved), tensor.grad, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(dy, before)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused_is_what_pytorch_refuses_and_to_cut_off_more_than_there_is(kind):
    for before, after in itertools.product(range(-5, 6), repeat=2):
        ours, theirs = pair(kind, 1, (before, after))
        kept = 4 - max(-before, 0) - max(-after, 0)
        try:
            there = theirs(torch.ones(2, 3, 4)).shape[2] > 0 or kind not in ("Reflection", "Replication")
        except (RuntimeError, ValueError):
            there = False
        if kept < 0 or (kind == "Circular" and max(before, after) > kept):  # PyTorch reads memory that is not x's
            there = False
        if there:
            assert ours(np.ones((2, 3, 4))).shape == (2, 3, 4 + before + after)
        else:
            with pytest.raises(ValueError, match=rf"{kind}Pad1d.*\.forward: .*\(2, 3, 4\)"):
                ours(np.ones((2, 3, 4)))


def test_an_example_by_hand():
    x = np.array([[[1.0, 2.0, 3.0]]])
    assert padded(x, ((2, 1),), "reflect").tolist() == [[[3, 2, 1, 2, 3, 2]]]
    assert padded(x, ((2, 1),), "replicate").tolist() == [[[1, 1, 1, 2, 3, 3]]]
    assert padded(x, ((2, 1),), "circular").tolist() == [[[2, 3, 1, 2, 3, 1]]]
    assert padded(x, ((2, 1),), "constant", 7.0).tolist() == [[[7, 7, 1, 2, 3, 7]]]
    dy = np.array([[[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]]])
    assert unpadded(dy, ((2, 1),), "reflect").tolist() == [[[4, 2 + 8 + 32, 1 + 16]]]
    assert unpadded(dy, ((2, 1),), "replicate").tolist() == [[[1 + 2 + 4, 8, 16 + 32]]]
    assert unpadded(dy, ((2, 1),), "circular").tolist() == [[[4 + 32, 1 + 8, 2 + 16]]]
    assert unpadded(dy, ((2, 1),), "constant").tolist() == [[[4, 8, 16]]]


@pytest.mark.parametrize("padding", [True, 1.5, "1"])
def test_amounts_are_integers(padding):
    with pytest.raises(TypeError, match="ZeroPad2d: padding must be an integer"):
        _make("ZeroPad2d", padding)


@pytest.mark.parametrize("padding", [(1,), (1, 2), (1, 2, 3, 4, 5)])
def test_there_are_two_for_each_axis(padding):
    with pytest.raises(ValueError, match="ZeroPad2d: padding must be an integer or 4 of them"):
        _make("ZeroPad2d", padding)


def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match=r"x must be \(batch, channels, length\), got \(3, 4\).*x\[None\]"):
        _make("ReflectionPad1d", 1).forward(np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"x must be \(batch, channels, height, width\), got \(1, 2, 3, 4, 5\)"):
        _make("ZeroPad2d", 1).forward(np.ones((1, 2, 3, 4, 5)))
    with pytest.raises(TypeError, match="x must be a floating-point array, got a numpy int64 array"):
        _make("ZeroPad1d", 1).forward(np.ones((1, 2, 3), int))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_help_tells_equation_shapes_and_arguments_of_each_class(axes):
    lengths = {1: "length", 2: "height, width", 3: "depth, height, width"}[axes]
    for kind in KINDS:
        told = getattr(padding, f"{kind}Pad{axes}d").__doc__
        assert "Equation  y" in told
        assert f"x (batch, channels, {lengths}) ->" in told
        assert "padding : how much" in told


def _make(name, *arguments):
    return getattr(padding, name)(*arguments)
