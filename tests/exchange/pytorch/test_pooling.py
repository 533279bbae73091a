"""Forwards of somebody's own that pool, pad, upsample and shuffle: read, trained here as there, or refused in words."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

import chainrule as cr

X = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 4, 12, 12)))


class LeNet(nn.Module):
    """As PyTorch's tutorials write it."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(4, 6, 3), nn.Conv2d(6, 8, 2)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(32, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = self.relu(F.max_pool2d(self.conv2(x), 2))
        return self.fc(torch.flatten(x, 1))


class ThereAndBack(nn.Module):
    """An encoder whose places are given to the decoder, as in SegNet."""

    def __init__(self):
        super().__init__()
        self.pool, self.back = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.narrow, self.wide = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        h, indices = self.pool(x)
        return self.wide(self.back(torch.tanh(self.narrow(h)), indices))


def same(module):
    """The network that is read, which says what the module says, forth and back."""
    torch.manual_seed(0)
    module = module.double().eval()
    model, x = cr.from_torch(module), X.clone().requires_grad_()
    expected = module(x)
    y, saved = model.forward(X.numpy())
    dy = np.random.default_rng(1).normal(size=y.shape)
    expected.backward(torch.from_numpy(dy))
    np.testing.assert_allclose(y, expected.detach(), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(model.backward(dy, saved), x.grad, rtol=1e-9, atol=1e-11)
    back = cr.to_torch(model)
    np.testing.assert_allclose(back(X).detach(), expected.detach(), rtol=1e-9, atol=1e-11)
    return model


@pytest.mark.parametrize("make", [LeNet, ThereAndBack])
def test_a_network_of_ones_own_comes_over_and_goes_back(make):
    same(make())


@pytest.mark.parametrize("make", [LeNet, ThereAndBack])
def test_it_trains_here_as_there(make):
    torch.manual_seed(0)
    mine = make().double()
    theirs = copy.deepcopy(mine)
    target, loss = torch.from_numpy(np.random.default_rng(2).normal(size=tuple(mine(X).shape))), nn.MSELoss()
    peer, optimizer = (torch.optim.SGD(module.parameters(), lr=0.05) for module in (theirs, mine))
    for _ in range(3):
        peer.zero_grad()
        loss(theirs(X), target).backward()
        peer.step()
    cr.train_torch(mine, loss, (X, target), optimizer=optimizer, epochs=3, batch_size=4, shuffle=False, keep="last")
    for (name, ours), other in zip(mine.state_dict().items(), theirs.state_dict().values(), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-9, atol=1e-11, err_msg=name)


class Calls(nn.Module):
    """A forward that is one function."""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def forward(self, x):
        return self.run(x)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (
            lambda x: F.max_pool2d(x, 3, 2, 1),
            "MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=False)",
        ),
        (
            lambda x: F.max_pool2d(x, 2, 2, 0, 1, True),
            "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=True)",
        ),
        (
            lambda x: torch.max_pool2d(x, 2),
            "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        ),
        (lambda x: F.avg_pool2d(x, 2, ceil_mode=True), "AvgPool2d(kernel_size=2, stride=2, padding=0, ceil_mode=True)"),
        (lambda x: F.lp_pool2d(x, 2, 3), "LPPool2d(norm_type=2, kernel_size=3, stride=None, ceil_mode=False)"),
        (lambda x: F.adaptive_avg_pool2d(x, 1), "AdaptiveAvgPool2d(output_size=1)"),
        (lambda x: F.adaptive_avg_pool2d(x, (3, 4)), "AdaptiveAvgPool2d(output_size=(3, 4))"),
        (lambda x: F.adaptive_max_pool2d(x, 5), "AdaptiveMaxPool2d(output_size=5)"),
        (lambda x: F.pad(x, (1, 2, 0, 1)), "ZeroPad2d((1, 2, 0, 1))"),
        (lambda x: F.pad(x, (1, 2, 0, 1), value=2.0), "ConstantPad2d(padding=(1, 2, 0, 1), value=2.0)"),
        (lambda x: F.pad(x, (1, 2, 0, 1), "reflect"), "ReflectionPad2d((1, 2, 0, 1))"),
        (lambda x: F.pad(x, (1, 2, 0, 1), "circular"), "CircularPad2d((1, 2, 0, 1))"),
        (lambda x: F.interpolate(x, scale_factor=2), "Upsample(scale_factor=2, mode='nearest')"),
        (lambda x: F.interpolate(x, 7, mode="bicubic"), "Upsample(size=7, mode='bicubic')"),
        (lambda x: F.pixel_shuffle(x, 2), "PixelShuffle(upscale_factor=2)"),
        (lambda x: F.pixel_unshuffle(x, 2), "PixelUnshuffle(downscale_factor=2)"),
        (lambda x: torch.channel_shuffle(x, 2), "ChannelShuffle(groups=2)"),
    ],
)
def test_a_function_is_the_layer_of_its_name(run, expected):
    assert repr(same(Calls(run))[0]).replace("2.0, mode", "2, mode") == expected


def test_indices_of_a_function_reach_the_way_back():
    def run(x):
        y, indices = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(torch.relu(y), indices, 2)

    kinds = [type(layer).__name__ for layer in same(Calls(run)).children()]
    assert kinds == ["MaxPool2d", "Select", "Select", "ReLU", "MaxUnpool2d"]


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (
            lambda x: F.interpolate(x, 24, mode="bilinear", antialias=True),
            "interpolate: antialias=True is what Upsample does",
        ),
        (lambda x: F.interpolate(x, 24, mode="area"), "interpolate: Upsample: mode must be"),
        (lambda x: F.max_pool2d(x, 2, padding=2), "max_pool2d: MaxPool2d: padding must be at most half of the window"),
    ],
)
def test_what_no_layer_does_is_refused_with_its_line(run, says):
    with pytest.raises(ValueError, match=rf"from_torch: Calls: {says}.*line \d+|{says}"):
        cr.from_torch(Calls(run))
