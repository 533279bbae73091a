"""Networks of images: over from PyTorch, trained here as there, and back."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import chainrule as cr

RNG = np.random.default_rng(0)
X, TARGET = torch.from_numpy(RNG.normal(size=(60, 2, 10, 8))), torch.from_numpy(RNG.integers(3, size=60))


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
        nn.Linear(2 * 11 * 9, 3),
    )


class Blocks(nn.Module):
    """Blocks with a way around them, as in a ResNet, whose ReLUs work in place."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.down, self.around = nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.Conv2d(4, 6, 1, stride=2)
        self.relu, self.out = nn.ReLU(inplace=True), nn.Linear(6 * 5 * 4, 3)

    def forward(self, x):
        x = self.relu(self.stem(x))
        h = self.conv2(self.relu(self.conv1(x)))
        h += x
        x = self.relu(h)
        h = self.down(x)
        h += self.around(x)
        return self.out(torch.flatten(self.relu(h), 1))


def made(make):
    torch.manual_seed(0)
    return make().double()


NETWORKS = pytest.mark.parametrize("make", [chain, Blocks], ids=lambda make: make.__name__)


@NETWORKS
def test_it_comes_over_and_goes_back_with_its_numbers(make):
    network = made(make)
    model = cr.from_torch(network)
    expected = network(X).detach().numpy()
    np.testing.assert_allclose(model(X.numpy()), expected, rtol=1e-9, atol=1e-12)
    assert list(model.state_dict()) == list(network.state_dict())
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
