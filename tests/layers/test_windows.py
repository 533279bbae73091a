"""Windows against indices written out, and each transpose against what it is the transpose of."""

from itertools import product

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy, seeds
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.layers.windows import add_windows, crop, each_axis, out_length, pad, windows


@st.composite
def geometries(draw):
    """Lengths, kernel, stride and dilation of one to three axes, in which a window has room."""
    axes = draw(st.integers(1, 3))
    several = st.lists(st.integers(1, 3), min_size=axes, max_size=axes).map(tuple)
    kernel, stride, dilation = draw(several), draw(several), draw(several)
    room = draw(st.lists(st.integers(0, 3), min_size=axes, max_size=axes))
    lengths = tuple(d * (k - 1) + 1 + more for k, d, more in zip(kernel, dilation, room, strict=True))
    return lengths, kernel, stride, dilation


@pytest.mark.parametrize("library", LIBRARIES)
@given(geometry=geometries(), seed=seeds(), backwards=st.booleans())
def test_a_window_holds_what_the_kernel_sees(library, geometry, seed, backwards):
    lengths, kernel, stride, dilation = geometry
    rng = np.random.default_rng(seed)
    x = array(rng.normal(size=(2, 2, *lengths)), library)
    if backwards and library == "numpy":
        x = x[::-1]  # a layout of its own
    found = windows(x, kernel, stride, dilation)
    out = tuple(found.shape[2 : 2 + len(lengths)])
    assert found.shape == (2, 2, *out, *kernel)
    for places, taps in product(np.ndindex(*out), np.ndindex(*kernel)):
        at = tuple(s * o + d * k for s, o, d, k in zip(stride, places, dilation, taps, strict=True))
        np.testing.assert_array_equal(found[(..., *places, *taps)], x[(..., *at)])
    dwindows = array(rng.normal(size=found.shape), library)
    dx = array(np.zeros(x.shape), library)
    add_windows(dx, dwindows, stride, dilation)
    # ⟨windows(x), dwindows⟩ = ⟨x, dx⟩ is what makes the one the transpose of the other.
    inner, back = (numpy(found) * numpy(dwindows)).sum(), (numpy(x) * numpy(dx)).sum()
    assert abs(inner - back) <= 4 * numpy(found).size * np.finfo(float).eps * 16


@pytest.mark.parametrize("library", LIBRARIES)
@given(pairs=st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 2)), min_size=1, max_size=3))
def test_padding_is_that_of_pytorch_and_its_transpose_cuts_it_off(library, pairs):
    x = array(np.random.default_rng(0).normal(size=(2, 1, 5, 4, 3)[: 2 + len(pairs)]), library)
    expected = torch.nn.functional.pad(
        torch.as_tensor(x), [side for pair in reversed(pairs) for side in pair], value=7.0
    )
    y = pad(x, tuple(pairs), 7.0)
    np.testing.assert_array_equal(y, expected)
    ones = torch.ones(tuple(x.shape), dtype=torch.float64, requires_grad=True)
    dy = np.random.default_rng(1).normal(size=tuple(y.shape))
    torch.nn.functional.pad(ones, [side for pair in reversed(pairs) for side in pair]).backward(torch.from_numpy(dy))
    np.testing.assert_array_equal(crop(array(dy, library), tuple(pairs)), ones.grad)


@given(
    length=st.integers(1, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    ceil_mode=st.booleans(),
    data=st.data(),
)
def test_there_are_as_many_windows_as_in_pytorch(length, kernel, stride, dilation, ceil_mode, data):
    padding = data.draw(st.integers(0, kernel // 2))
    expected = out_length(length, kernel, stride, padding, dilation, ceil_mode)
    pool = torch.nn.MaxPool1d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    if expected < 1:
        with pytest.raises(RuntimeError):
            pool(torch.zeros(1, 1, length))
    else:
        assert pool(torch.zeros(1, 1, length)).shape[-1] == expected


def test_an_argument_of_every_axis_is_an_integer_or_a_tuple():
    layer = cr.Identity()
    assert each_axis(layer, "stride", 2, 3) == (2, 2, 2)
    assert each_axis(layer, "stride", [2, 1], 2) == (2, 1)
    assert each_axis(layer, "padding", np.int64(0), 1, least=0) == (0,)
    with pytest.raises(ValueError, match=r"Identity: stride must be an integer or have 2 entries, got \(1, 2, 3\)"):
        each_axis(layer, "stride", (1, 2, 3), 2)
    with pytest.raises(ValueError, match=r"Identity: stride\[1\] must be at least 1, got 0"):
        each_axis(layer, "stride", (1, 0), 2)
    with pytest.raises(TypeError, match=r"Identity: stride must be an integer, got 1.5"):
        each_axis(layer, "stride", 1.5, 2)
