"""PixelShuffle, PixelUnshuffle and ChannelShuffle: what the contract test does not see."""

import numpy as np
import pytest
import torch

import chainrule as cr


@pytest.mark.parametrize("r", [1, 2, 3])
def test_each_way_is_pytorchs_and_undoes_the_other(r):
    x = np.random.default_rng(0).normal(size=(2, 5 * r**2, 3, 4))
    large = cr.PixelShuffle(r)(x)
    np.testing.assert_array_equal(large, torch.nn.PixelShuffle(r)(torch.from_numpy(x)))
    np.testing.assert_array_equal(cr.PixelUnshuffle(r)(large), torch.nn.PixelUnshuffle(r)(torch.from_numpy(large)))
    np.testing.assert_array_equal(cr.PixelUnshuffle(r)(large), x)
    np.testing.assert_array_equal(cr.PixelShuffle(r).backward(large), x)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("lengths", [(4,), (2, 3), (2, 1, 3)])
def test_channels_are_dealt_as_pytorch_deals_them(groups, lengths):
    x = np.random.default_rng(0).normal(size=(2, 6, *lengths))
    y, _ = cr.ChannelShuffle(groups).forward(x)
    np.testing.assert_array_equal(y, torch.nn.ChannelShuffle(groups)(torch.from_numpy(x)))
    np.testing.assert_array_equal(cr.ChannelShuffle(groups).backward(y), x)


def test_channels_by_hand():
    x = np.arange(6.0).reshape(1, 6, 1)
    assert cr.ChannelShuffle(2)(x).ravel().tolist() == [0, 3, 1, 4, 2, 5]
    assert cr.PixelShuffle(2)(np.arange(4.0).reshape(1, 4, 1, 1)).tolist() == [[[[0, 1], [2, 3]]]]


def test_what_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"x must have a multiple of 4 channels, got \(1, 6, 2, 2\)"):
        cr.PixelShuffle(2).forward(np.ones((1, 6, 2, 2)))
    with pytest.raises(ValueError, match=r"height and a width that are multiples of 2, got \(1, 1, 2, 3\)"):
        cr.PixelUnshuffle(2).forward(np.ones((1, 1, 2, 3)))
    with pytest.raises(ValueError, match=r"\(batch, channels, …\) with a multiple of 4 channels, got \(1, 6, 2\)"):
        cr.ChannelShuffle(4).forward(np.ones((1, 6, 2)))
    with pytest.raises(ValueError, match=r"got \(6, 2\).*x\[None\]"):
        cr.ChannelShuffle(2).forward(np.ones((6, 2)))
