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
    pooling,
    residual,
    select,
    sequential,
    shape,
    softmax,
    upsample,
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
    "pooling",
    "residual",
    "select",
    "sequential",
    "shape",
    "softmax",
    "upsample",
]
