"""Activations: the engine has each under its class's name, with the arguments of its constructor."""

from ... import layers
from .rule import elementwise

elementwise(
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.Tanh,
    layers.Sigmoid,
    layers.SiLU,
    layers.GELU,
    layers.Softplus,
    layers.Mish,
    layers.Softsign,
)
