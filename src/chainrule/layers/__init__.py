"""Layers, activations, and the networks that they make."""

from .activations import ELU, GELU, LeakyReLU, Mish, ReLU, Sigmoid, SiLU, Softplus, Softsign, Tanh
from .convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Fold, Unfold
from .dropout import Dropout, Dropout1d, Dropout2d, Dropout3d
from .glu import GLU
from .graph import Graph
from .joins import Concat, Multiply, Sum
from .linear import Linear
from .normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LocalResponseNorm,
    RMSNorm,
    fold_batch_norm,
)
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
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Concat",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Flatten",
    "Fold",
    "Graph",
    "GroupNorm",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "Mish",
    "Multiply",
    "Parallel",
    "Permute",
    "RMSNorm",
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
    "fold_batch_norm",
]
