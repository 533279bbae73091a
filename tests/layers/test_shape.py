import re
from typing import Any

import numpy as np
import pytest
from cases import LIBRARIES, array

import chainrule as cr


def test_identity_hands_on_what_comes() -> None:
    x = np.ones((2, 3))
    assert cr.Identity().forward(x) == (x, None)
    assert cr.Identity().backward(x) is x


@pytest.mark.parametrize("library", LIBRARIES)
def test_flatten_makes_rows_of_images(library: str) -> None:
    x = array(np.arange(24.0).reshape(2, 3, 4), library)
    y, saved = cr.Flatten().forward(x)
    assert y.tolist() == [list(map(float, range(12))), list(map(float, range(12, 24)))]
    assert cr.Flatten().backward(y, saved).tolist() == x.tolist()


@pytest.mark.parametrize(
    ("dims", "shape", "flat"),
    [((1, -1), (5,), (5, 1)), ((0, -1), (2, 3), (6,)), ((-2, -1), (2, 3, 4), (2, 12)), ((1, 1), (2, 3), (2, 3))],
)
def test_flatten_lays_out_the_axes_that_it_is_told(
    dims: tuple[int, int], shape: tuple[int, ...], flat: tuple[int, ...]
) -> None:
    y, saved = cr.Flatten(*dims).forward(np.ones(shape))
    assert y.shape == flat
    assert cr.Flatten(*dims).backward(y, saved).shape == shape


def test_flatten_keeps_an_empty_batch() -> None:
    assert cr.Flatten()(np.ones((0, 3, 4))).shape == (0, 12)


def test_flatten_refuses_axes_that_are_not_there() -> None:
    message = "Flatten(start_dim=2, end_dim=3).forward: x must have axes 2 to 3, got (5, 4)"
    with pytest.raises(ValueError, match=re.escape(message)):
        cr.Flatten(2, 3).forward(np.ones((5, 4)))


def test_flatten_refuses_a_list() -> None:
    with pytest.raises(TypeError, match=re.escape("Flatten().forward: x must be an array")):
        cr.Flatten().forward([[1.0]])


@pytest.mark.parametrize("library", LIBRARIES)
def test_reshape_gives_each_sample_a_shape(library: str) -> None:
    x = array(np.arange(12.0).reshape(2, 6), library)
    y, saved = cr.Reshape(2, -1).forward(x)
    assert y.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert cr.Reshape(2, -1).backward(y, saved).tolist() == x.tolist()


def test_reshape_knows_the_shape_of_an_empty_batch() -> None:
    assert cr.Reshape(2, -1)(np.ones((0, 6))).shape == (0, 2, 3)
    assert cr.Unflatten(1, (2, -1))(np.ones((0, 6))).shape == (0, 2, 3)
    assert cr.Reshape(0, 3)(np.ones((2, 0))).shape == (2, 0, 3)


def test_permute_puts_axes_in_another_order_and_back() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    y, saved = cr.Permute(0, -1, 1).forward(x)
    np.testing.assert_array_equal(y, x.transpose(0, 2, 1))
    np.testing.assert_array_equal(cr.Permute(0, -1, 1).backward(y, saved), x)


@pytest.mark.parametrize(
    ("layer", "x", "words"),
    [
        (cr.Reshape(4), (2, 6), "Reshape(4).forward: x must have as many numbers in each sample as (4,), got (2, 6)"),
        (cr.Reshape(5, -1), (2, 6), "x must have as many numbers in each sample as (5, -1), got (2, 6)"),
        (cr.Reshape(), (2, 6), "Reshape().forward: x must have as many numbers in each sample as (), got (2, 6)"),
        (cr.Reshape(1), (), "Reshape(1).forward: x must be (batch, …), got ()"),
        (
            cr.Unflatten(1, (4,)),
            (2, 6),
            "Unflatten(1, (4,)).forward: x must have an axis 1 that becomes (4,), got",
        ),
        (cr.Unflatten(3, (1, 1)), (2, 6), "x must have an axis 3 that becomes (1, 1), got (2, 6)"),
        (cr.Permute(0, 2, 1), (2, 3, 4, 5), "Permute(0, 2, 1).forward: x must have 3 axes, got (2, 3, 4, 5)"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(layer: cr.Module, x: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words) + r"( \(2, 6\))?$"):
        layer.forward(np.ones(x))


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "words"),
    [
        (cr.Reshape, (-1, 2, -1), ValueError, "Reshape: shape must have at most one -1, got (-1, 2, -1)"),
        (cr.Reshape, (-2,), ValueError, "Reshape: shape must be at least -1, got -2"),
        (cr.Reshape, ((2, 3),), TypeError, "Reshape: shape must be an integer, got (2, 3)"),
        (cr.Unflatten, (1, 6), TypeError, "Unflatten: unflattened_size must be a tuple of integers, got 6"),
        (cr.Unflatten, (1, ()), TypeError, "Unflatten: unflattened_size must be a tuple of integers, got ()"),
        (cr.Permute, (1, 0), ValueError, "Permute: dims must be 0 and then every other axis once, got (1, 0)"),
        (cr.Permute, (0, 1, 1), ValueError, "Permute: dims must be 0 and then every other axis once, got (0, 1, 1)"),
        (cr.Permute, (), ValueError, "Permute: dims must be 0 and then every other axis once, got ()"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    kind: Any, arguments: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        kind(*arguments)
