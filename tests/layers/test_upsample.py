"""Upsample: what the contract test does not see, next to PyTorch at sizes of every kind."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.layers.upsample import AXES


def agrees(options, lengths):
    """Whether PyTorch's own forward and backward agree: its shortcuts go by the lengths, not by the scale_factor."""
    scale = options.get("scale_factor")
    if scale is None or options.get("recompute_scale_factor") or options["mode"] not in ("nearest", "bicubic"):
        return True
    each = scale if isinstance(scale, tuple) else (scale,) * len(lengths)
    return not any(int(n * s) in (n, 2 * n) and s not in (1, 2) for n, s in zip(lengths, each, strict=True))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("mode", "axes"), [(mode, n) for mode, every in AXES.items() for n in every])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_pytorch_agrees(mode, axes, dtype, data):
    lengths = data.draw(st.tuples(*[st.integers(1, 9)] * axes))
    options = {"mode": mode}
    if data.draw(st.booleans()):
        size = st.integers(1, 14)
        options["size"] = data.draw(size | st.tuples(*[size] * axes))
    else:
        scale = st.sampled_from([0.3, 0.5, 0.7, 1, 1.3, 1.5, 2, 2.5, 3]) | st.floats(0.2, 4)
        options["scale_factor"] = data.draw(scale | st.tuples(*[scale] * axes))
        options["recompute_scale_factor"] = data.draw(st.sampled_from([None, False, True]))
    if not mode.startswith("nearest"):
        options["align_corners"] = data.draw(st.sampled_from([None, False, True]))
    assume(agrees(options, lengths))
    layer, rng = cr.Upsample(**options), np.random.default_rng(0)
    x = rng.normal(size=(2, 2, *lengths)).astype(dtype)
    try:
        y, saved = layer.forward(x)
    except ValueError:  # nothing would be left of x
        with pytest.raises((RuntimeError, ValueError)):
            torch.nn.Upsample(**options)(torch.from_numpy(x))
        return
    tensor = torch.from_numpy(x).requires_grad_()
    expected = torch.nn.Upsample(**options)(tensor)
    dy = rng.normal(size=y.shape).astype(dtype)
    expected.backward(torch.from_numpy(dy))
    # In float32 PyTorch's places between pixels are off by an eps of up to 14 pixels, ours are not.
    close = {"rtol": 1e-9, "atol": 1e-11} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(y, expected.detach(), **close)
    np.testing.assert_allclose(layer.backward(dy, saved), tensor.grad, **close)


def test_the_two_short_names_are_what_pytorch_means_by_them():
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 4))
    for name in ("UpsamplingNearest2d", "UpsamplingBilinear2d"):
        theirs = getattr(torch.nn, name)(scale_factor=2)(torch.from_numpy(x))
        np.testing.assert_allclose(getattr(cr, name)(scale_factor=2)(x), theirs, rtol=1e-12)


def test_an_example_by_hand():
    x = np.array([[[1.0, 3.0]]])
    assert cr.Upsample(4)(x).tolist() == [[[1, 1, 3, 3]]]
    assert cr.Upsample(4, mode="linear")(x).tolist() == [[[1, 1.5, 2.5, 3]]]
    assert cr.Upsample(3, mode="linear", align_corners=True)(x).tolist() == [[[1, 2, 3]]]
    layer = cr.Upsample(4, mode="linear")
    assert layer.backward(np.array([[[1.0, 2.0, 4.0, 8.0]]]), (2,)).tolist() == [[[1 + 1.5 + 1, 0.5 + 3 + 8]]]


def test_a_number_that_is_none_stays_where_it_is():
    x = np.array([[[1.0, np.nan, 3.0, np.inf]]])
    y = cr.Upsample(scale_factor=2)(x)
    np.testing.assert_array_equal(y, np.repeat(x, 2, axis=2))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "there must be a size or a scale_factor, got None and None"),
        ({"size": 2, "scale_factor": 2.0}, "there must be a size or a scale_factor, got 2 and 2.0"),
        ({"size": 2, "align_corners": True}, 'align_corners is not for mode "nearest"'),
        ({"size": 2, "recompute_scale_factor": True}, "recompute_scale_factor is for a scale_factor, got size=2"),
        ({"size": 2, "mode": "area"}, "mode must be"),
        ({"size": ()}, "size must have one entry for each axis"),
        ({"scale_factor": -1.0}, "scale_factor must be above 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, says):
    with pytest.raises(ValueError, match=f"^Upsample: {says}"):
        cr.Upsample(**options)


def test_an_x_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"x must be \(batch, channels, height, width\), got \(1, 2, 3\).*x\[None\]"):
        cr.Upsample(2, mode="bilinear").forward(np.ones((1, 2, 3)))
    with pytest.raises(ValueError, match=r"x must have as many axes as there are in \(2, 3\)"):
        cr.Upsample((2, 3)).forward(np.ones((1, 2, 3)))
    with pytest.raises(ValueError, match="x must have something along each axis, as y"):
        cr.Upsample(scale_factor=0.3).forward(np.ones((1, 2, 3)))
    with pytest.raises(TypeError, match="x must be a floating-point array"):
        cr.Upsample(2).forward(np.ones((1, 2, 3), int))
