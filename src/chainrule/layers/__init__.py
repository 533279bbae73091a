"""Layers and activations: Modules with one input and one output."""

from .activations import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from .containers import Sequential
from .dropout import Dropout
from .linear import Linear
from .shape import Flatten, Identity
from .softmax import LogSoftmax, Softmax

__all__ = [
    "ELU",
    "GELU",
    "Dropout",
    "Flatten",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]
