"""Layers that stand in ONNX as several nodes: each as the tree that ends in the last of them.

A tree is (op, arguments …); an argument is another tree, a list of trees that mean the same, X (the input of the
layer), a number that must stand there, or a name for a number that is to be found. Mul and Add may have their arguments
the other way round.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ... import layers
from ...module import Module

X: Any = object()


@dataclass(frozen=True)
class Pattern:
    """A tree, and the layer for the numbers that were found in it."""

    tree: Any
    make: Callable[[dict[str, float]], Module]

    @property
    def depth(self) -> int:
        """How many nodes lie between the input and the output at most."""
        return _depth(self.tree)


def _depth(tree: Any) -> int:
    if isinstance(tree, list):
        return max(map(_depth, tree))
    return 1 + max(map(_depth, tree[1:])) if isinstance(tree, tuple) else 0


def _halved(normal: Any) -> Any:
    """X times half of `normal`, in any order."""
    return [("Mul", X, ("Mul", normal, 0.5)), ("Mul", ("Mul", X, normal), 0.5), ("Mul", ("Mul", X, 0.5), normal)]


_SCALED = ("Mul", X, "beta")

# Twice the normal distribution function, and what comes near it.
_NORMAL = ("Add", ("Erf", [("Div", X, math.sqrt(2)), ("Mul", X, math.sqrt(0.5))]), 1.0)
_CUBE = [("Mul", X, ("Mul", X, X)), ("Pow", X, 3.0)]
_BENT = ("Mul", math.sqrt(2 / math.pi), ("Add", X, ("Mul", 0.044715, _CUBE)))
_NEARLY_NORMAL = ("Add", ("Tanh", _BENT), 1.0)

PATTERNS = [
    Pattern(("Mul", X, ("Sigmoid", X)), lambda found: layers.SiLU()),
    Pattern(
        ("Where", ("Greater", _SCALED, "threshold"), X, ("Div", ("Softplus", _SCALED), "beta")),
        lambda found: layers.Softplus(found["beta"], found["threshold"]),
    ),
    Pattern(
        ("Where", ("Greater", X, "threshold"), X, ("Softplus", X)),
        lambda found: layers.Softplus(threshold=found["threshold"]),
    ),
    Pattern(("Div", ("Softplus", _SCALED), "beta"), lambda found: layers.Softplus(found["beta"])),
    Pattern(("Where", ("Greater", X, 0.0), X, ("Mul", "alpha", ("Elu", X))), lambda found: layers.ELU(found["alpha"])),
    Pattern(("PRelu", X, "slope"), lambda found: layers.LeakyReLU(found["slope"])),
    Pattern(_halved(_NORMAL), lambda found: layers.GELU()),
    Pattern(_halved(_NEARLY_NORMAL), lambda found: layers.GELU("tanh")),
]
