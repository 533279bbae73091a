"""Layers in ONNX's words, read in both directions: `to_onnx` writes a layer so, and `from_onnx` knows it again.

Each stands as the tree of nodes that ends in its output. A tree is (op, arguments …); an argument is another tree, a
list of trees that mean the same (of which the first is written), X (the input of the layer), a number that must stand
there, or the name of the layer's argument whose number stands there. A last argument {attribute: name} does the same
for the attributes of a node. Mul and Add may have their arguments the other way round.

Layers whose meaning in ONNX depends on shapes or on the opset have functions in write.py and read.py instead.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ... import layers
from ...module import Module

X: Any = object()


@dataclass(frozen=True)
class Pattern:
    """A tree, and the layer that it is, with the arguments that do not stand in it.

    since : the first opset that has it.
    in_float64 : whether its definition has no constants in float32.
    """

    tree: Any
    layer: type[Module]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    since: int = 1
    in_float64: bool = True

    @property
    def size(self) -> int:
        """How many nodes it has."""
        return _size(self.tree)


def _size(tree: Any) -> int:
    if isinstance(tree, list):
        return _size(tree[0])
    return 1 + sum(map(_size, tree[1:])) if isinstance(tree, tuple) else 0


def _halved(normal: Any) -> Any:
    """X times half of `normal`, in any order."""
    return [("Mul", ("Mul", X, 0.5), normal), ("Mul", X, ("Mul", normal, 0.5)), ("Mul", ("Mul", X, normal), 0.5)]


_SCALED = ("Mul", X, "beta")

# Twice the normal distribution function, and what comes near it.
_NORMAL = ("Add", ("Erf", [("Div", X, math.sqrt(2)), ("Mul", X, math.sqrt(0.5))]), 1.0)
_CUBE = [("Mul", X, ("Mul", X, X)), ("Pow", X, 3.0)]
_BENT = ("Mul", math.sqrt(2 / math.pi), ("Add", X, ("Mul", 0.044715, _CUBE)))
_NEARLY_NORMAL = ("Add", ("Tanh", _BENT), 1.0)

PATTERNS = [  # of one layer, the first that says everything is written
    Pattern(("Relu", X), layers.ReLU),
    Pattern(("Tanh", X), layers.Tanh),
    Pattern(("Sigmoid", X), layers.Sigmoid),
    Pattern(("LeakyRelu", X, {"alpha": "negative_slope"}), layers.LeakyReLU),
    Pattern(("PRelu", X, "negative_slope"), layers.LeakyReLU),
    Pattern(("Elu", X, {"alpha": "alpha"}), layers.ELU),
    Pattern(("Where", ("Greater", X, 0.0), X, ("Mul", "alpha", ("Elu", X))), layers.ELU),
    Pattern(("Mul", X, ("Sigmoid", X)), layers.SiLU),
    Pattern(("Where", ("Greater", _SCALED, "threshold"), X, ("Div", ("Softplus", _SCALED), "beta")), layers.Softplus),
    Pattern(("Where", ("Greater", X, "threshold"), X, ("Softplus", X)), layers.Softplus),
    Pattern(("Div", ("Softplus", _SCALED), "beta"), layers.Softplus),
    Pattern(("Softplus", X), layers.Softplus),
    Pattern(("Gelu", X, {"approximate": "approximate"}), layers.GELU, since=20, in_float64=False),
    Pattern(_halved(_NORMAL), layers.GELU, {"approximate": "none"}),
    Pattern(_halved(_NEARLY_NORMAL), layers.GELU, {"approximate": "tanh"}),
    Pattern(("Mish", X), layers.Mish, since=18),
    Pattern(("Mul", X, ("Tanh", ("Softplus", X))), layers.Mish),
    Pattern(("Softsign", X), layers.Softsign),
]


def operators(tree: Any) -> set[str]:
    """The operators of a tree."""
    if isinstance(tree, list):
        return set().union(*map(operators, tree))
    return {tree[0]}.union(*map(operators, tree[1:])) if isinstance(tree, tuple) else set()
