"""One rule for each Module that the engine knows, in files named as those of layers/; rule.py says what a rule is."""

from . import (
    activations,
    convolution,
    dropout,
    glu,
    graph,
    joins,
    linear,
    padding,
    parallel,
    residual,
    select,
    sequential,
    shape,
    softmax,
)

__all__ = [
    "activations",
    "convolution",
    "dropout",
    "glu",
    "graph",
    "joins",
    "linear",
    "padding",
    "parallel",
    "residual",
    "select",
    "sequential",
    "shape",
    "softmax",
]
