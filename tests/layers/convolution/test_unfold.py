import re
from typing import Any

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy, seeds
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr


def test_fold_counts_in_how_many_windows_each_place_is() -> None:
    x = np.ones((1, 1, 3, 4))
    y = cr.Unfold(2)(x)
    assert y.shape == (1, 4, 6)
    assert cr.Fold((3, 4), 2)(y).tolist() == [[[[1, 2, 2, 1], [2, 4, 4, 2], [1, 2, 2, 1]]]]


def test_a_convolution_is_unfold_and_a_product() -> None:
    rng = np.random.default_rng(0)
    conv = cr.Conv2d(2, 3, 2, stride=2, padding=1, dtype="float64", rng=0)
    x = rng.normal(size=(2, 2, 5, 4))
    by_hand = conv.weight.value.reshape(3, -1) @ cr.Unfold(2, padding=1, stride=2)(x) + conv.bias.value[:, None]
    np.testing.assert_allclose(conv(x).reshape(2, 3, -1), by_hand, rtol=1e-12)


@pytest.mark.parametrize("library", LIBRARIES)
@given(data=st.data(), seed=seeds())
def test_pytorch_agrees(library: str, data: st.DataObject, seed: int) -> None:
    def each(least: int, most: int) -> Any:
        return data.draw(st.integers(least, most) | st.tuples(*[st.integers(least, most)] * 2))

    arguments = each(1, 3), each(1, 2), each(0, 2), each(1, 3)
    shape = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 5), st.integers(1, 5)))
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=shape)).requires_grad_()
    try:
        expected = torch.nn.Unfold(*arguments)(x)
    except RuntimeError:
        with pytest.raises(ValueError, match=r"^Unfold\(.*must have room for the kernel"):
            cr.Unfold(*arguments).forward(x.detach().numpy())
        return
    dy = rng.normal(size=tuple(expected.shape))
    expected.backward(torch.from_numpy(dy))
    unfold, fold = cr.Unfold(*arguments), cr.Fold(shape[2:], *arguments)
    y, saved = unfold.forward(array(x.detach().numpy(), library))
    np.testing.assert_array_equal(numpy(y), numpy(expected))
    np.testing.assert_allclose(numpy(unfold.backward(array(dy, library), saved)), numpy(x.grad), rtol=1e-12, atol=1e-13)
    folded, saved = fold.forward(y)
    np.testing.assert_allclose(numpy(folded), numpy(torch.nn.Fold(shape[2:], *arguments)(expected)), rtol=1e-12)
    np.testing.assert_array_equal(numpy(fold.backward(folded, saved)), numpy(unfold(folded)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cr.Unfold(3)(np.ones((1, 1, 2, 4))), ValueError, "x with its padding must have room for the kernel"),
        (
            lambda: cr.Unfold(3)(np.ones((1, 4, 4))),
            ValueError,
            "x must be (batch, channels, height, width), got (1, 4, 4)",
        ),
        (lambda: cr.Unfold((3, 0)), ValueError, "Unfold: kernel_size[1] must be at least 1, got 0"),
        (lambda: cr.Fold(2, 3)(np.ones((1, 9, 1))), ValueError, "output_size with its padding must have room"),
        (lambda: cr.Fold(4, 3)(np.ones((1, 9, 3))), ValueError, "x must be (batch, channels · 9, 4), got (1, 9, 3)"),
        (lambda: cr.Fold(4, 3)(np.ones((1, 8, 4))), ValueError, "x must be (batch, channels · 9, 4), got (1, 8, 4)"),
        (lambda: cr.Fold(4, 3)(np.ones((9, 4))), ValueError, "got (9, 4); if it is one sample, x[None]"),
        (lambda: cr.Fold(4, 3)(np.ones((1, 9, 4), int)), TypeError, "x must be a floating-point array"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()
