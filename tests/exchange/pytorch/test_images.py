"""Networks of images: over from PyTorch, trained here as there, and back."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

import chainrule as cr

RNG = np.random.default_rng(0)
X, TARGET = torch.from_numpy(RNG.normal(size=(60, 2, 8, 10))), torch.from_numpy(RNG.integers(3, size=60))


def chain():
    """A chain with what only a Conv2d has: stride, groups, a padding_mode, a transpose."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, padding="same", groups=2, bias=False),
        nn.Tanh(),
        nn.ConvTranspose2d(8, 2, 2, stride=2, output_padding=1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(2 * 9 * 11, 3),
    )


class LeNet(nn.Module):
    """As PyTorch's tutorial writes it, but for the size of its images."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 16, 3, padding=1)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 2 * 2, 12), nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Block(nn.Module):
    """torchvision's BasicBlock."""

    def __init__(self, n_in, n_out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        identity = x
        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu(out)
        out = self.conv2(out)
        out = self.bn2(out)
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """A small one, put together as torchvision's are."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(True)
        self.layer1, self.layer2 = nn.Sequential(Block(4, 4), Block(4, 4)), nn.Sequential(Block(4, 8, 2), Block(8, 8))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(8, 3)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.avgpool(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(x, 1))


def made(make):
    torch.manual_seed(0)
    return make().double()


NETWORKS = pytest.mark.parametrize("make", [chain, LeNet, ResNet], ids=lambda make: make.__name__)


@NETWORKS
def test_it_comes_over_and_goes_back_with_its_numbers(make):
    network = made(make).eval()
    model = cr.from_torch(network)
    expected = network(X).detach().numpy()
    np.testing.assert_allclose(model(X.numpy()), expected, rtol=1e-9, atol=1e-12)
    assert model.state_dict().keys() == network.state_dict().keys()
    back = cr.to_torch(model)
    np.testing.assert_allclose(back(X).detach().numpy(), expected, rtol=1e-9, atol=1e-12)
    assert repr(cr.from_torch(back)) == repr(model)


@NETWORKS
def test_it_trains_here_as_there(make):
    mine = made(make)
    theirs = copy.deepcopy(mine)
    loss, peer = nn.CrossEntropyLoss(), torch.optim.Adam(theirs.parameters(), lr=0.003)
    for _ in range(3):
        for start in range(0, 60, 20):
            peer.zero_grad()
            loss(theirs(X[start : start + 20]), TARGET[start : start + 20]).backward()
            peer.step()
    optimizer = torch.optim.Adam(mine.parameters(), lr=0.003)
    loader = DataLoader(TensorDataset(X, TARGET), batch_size=20)
    cr.train_torch(mine, loss, loader, optimizer=optimizer, epochs=3, keep="last")
    for (name, ours), other in zip(mine.state_dict().items(), theirs.state_dict().values(), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-9, atol=1e-11, err_msg=name)
