"""Layers that stand in ONNX as several nodes: each as the tree that ends in the last of them.

A tree is (op, arguments …); an argument is another tree, X (the input of the layer), a number that must stand there, or
a name for a number that is to be found. Mul and Add may have their arguments the other way round.
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
    return 1 + max(_depth(argument) for argument in tree[1:]) if isinstance(tree, tuple) else 0


_SCALED = ("Mul", X, "beta")
_NORMAL = ("Add", ("Erf", ("Div", X, math.sqrt(2))), 1.0)  # twice the normal distribution function

_CUBE = ("Mul", 0.044715, ("Mul", X, ("Mul", X, X)))
_NEARLY_NORMAL = ("Add", ("Tanh", ("Mul", math.sqrt(2 / math.pi), ("Add", X, _CUBE))), 1.0)

PATTERNS = [
    Pattern(("Mul", X, ("Sigmoid", X)), lambda found: layers.SiLU()),
    Pattern(
        ("Where", ("Greater", _SCALED, "threshold"), X, ("Div", ("Softplus", _SCALED), "beta")),
        lambda found: layers.Softplus(found["beta"], found["threshold"]),
    ),
    Pattern(("Where", ("Greater", X, 0.0), X, ("Mul", "alpha", ("Elu", X))), lambda found: layers.ELU(found["alpha"])),
    Pattern(("PRelu", X, "slope"), lambda found: layers.LeakyReLU(found["slope"])),
    Pattern(("Mul", ("Mul", X, _NORMAL), 0.5), lambda found: layers.GELU()),
    Pattern(("Mul", ("Mul", X, 0.5), _NORMAL), lambda found: layers.GELU()),
    Pattern(("Mul", ("Mul", X, 0.5), _NEARLY_NORMAL), lambda found: layers.GELU("tanh")),
]
