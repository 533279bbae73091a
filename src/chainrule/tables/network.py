"""The network that tables are learned with unless somebody asks for another one."""

import itertools
from collections.abc import Sequence

from .. import layers, random
from ..layers import Dropout, Linear, Sequential
from ..optimizers import AdamW

ACTIVATIONS = {
    "elu": layers.ELU,
    "gelu": layers.GELU,
    "leaky_relu": layers.LeakyReLU,
    "relu": layers.ReLU,
    "sigmoid": layers.Sigmoid,
    "silu": layers.SiLU,
    "softplus": layers.Softplus,
    "tanh": layers.Tanh,
}


def build_network(
    n_in: int,
    n_out: int,
    *,
    hidden: Sequence[int],
    activation: str,
    dropout: float,
    lr: float,
    weight_decay: float,
    seed: int,
) -> Sequential:
    """n_in - hidden - n_out: after each hidden layer the activation, and Dropout if there is to be any."""
    with random.seeded(seed):
        network = Sequential(AdamW(lr=lr, weight_decay=weight_decay))
        for wide, narrow in itertools.pairwise([n_in, *hidden]):
            network.append(Linear(wide, narrow)).append(ACTIVATIONS[activation]())
            if dropout > 0:
                network.append(Dropout(dropout))
        return network.append(Linear([n_in, *hidden][-1], n_out))


def batch_size_for(rows: int) -> int:
    """A power of two that makes about fifty steps of an epoch, 16 at least and 1,024 at most."""
    size = 16
    while size < 1024 and size * 50 < rows:
        size *= 2
    return size
