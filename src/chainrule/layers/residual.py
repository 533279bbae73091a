"""A network with a way around it."""

from typing import Any

from ..arrays import Array
from ..module import Module
from .networks import Network, require_module


class Residual(Network):
    """What a network makes of x, added to x itself: the network learns what to change.

    Equation  y = x + body(x);  dx = dy + dy · body'(x): x is read twice, so its gradient is that of both readers
              with a shortcut, y = shortcut(x) + body(x)
    Shapes    x (batch, …) -> y (the same, or what shortcut makes of it)
    Saves     what body saves, and what shortcut does
    Source    He, Zhang, Ren, Sun 2016, "Deep residual learning for image recognition", equations 1 and 2

    Parameters
    ----------
    body : the network, which keeps the shape, or gives that of the shortcut.
    shortcut : the way around it; None for x itself.

    >>> from chainrule import Linear, Sequential, Tanh
    >>> Residual(Sequential(Linear(8, 8), Tanh()))
    Residual(
      (body): Sequential(
        (0): Linear(8, 8)                      72
        (1): Tanh()
      )  # 72 parameters
    )  # x + body(x), 72 parameters
    """

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        self.body = require_module(self, "body", body)
        self.shortcut = None if shortcut is None else require_module(self, "shortcut", shortcut)

    def forward(self, x: Array) -> tuple[Array, tuple[Any, Any]]:
        around, kept = (x, None) if self.shortcut is None else self.shortcut.forward(x)
        y, saved = self.body.forward(x)
        return self._sum(around, y), (kept, saved)

    def backward(self, dy: Array, saved: tuple[Any, Any]) -> Array:
        kept, inner = saved
        dx = self.body.backward(dy, inner)
        return dx + (dy if self.shortcut is None else self.shortcut.backward(dy, kept))

    def backward_parameters(self, dy: Array, saved: tuple[Any, Any]) -> None:
        kept, inner = saved
        if self.body.has_trainable():
            self.body.backward_parameters(dy, inner)
        if self.shortcut is not None and self.shortcut.has_trainable():
            self.shortcut.backward_parameters(dy, kept)

    def _infer(self, x: Array) -> Array:
        around = x if self.shortcut is None else self.shortcut._infer(x)
        return self._sum(around, self.body._infer(x))

    def _sum(self, around: Array, y: Array) -> Array:
        if around.shape != y.shape:
            of = "x" if self.shortcut is None else "shortcut(x)"
            expected = f"body(x) must have the shape of {of}, {tuple(around.shape)}"
            self.refuse("forward", expected, tuple(y.shape))
        return around + y

    def closing(self) -> str:
        return f"{'x' if self.shortcut is None else 'shortcut(x)'} + body(x), {super().closing()}"
