"""Layers, activations, and the networks that they make."""

from .activations import ELU, GELU, LeakyReLU, Mish, ReLU, Sigmoid, SiLU, Softplus, Softsign, Tanh
from .convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Fold, Unfold
from .dropout import Dropout
from .glu import GLU
from .graph import Graph
from .joins import Concat, Multiply, Sum
from .linear import Linear
from .parallel import Parallel
from .residual import Residual
from .select import Select
from .sequential import Sequential
from .shape import Flatten, Identity, Permute, Reshape, Unflatten
from .softmax import LogSoftmax, Softmax

__all__ = [
    "ELU",
    "GELU",
    "GLU",
    "Concat",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Dropout",
    "Flatten",
    "Fold",
    "Graph",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Mish",
    "Multiply",
    "Parallel",
    "Permute",
    "ReLU",
    "Reshape",
    "Residual",
    "Select",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sum",
    "Tanh",
    "Unflatten",
    "Unfold",
]
