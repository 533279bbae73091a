"""One array of several."""

from ..arguments import whole
from ..arrays import Array, namespace
from ..module import Module
from ..structures import Structure, each
from .networks import described


class Select(Module):
    """Hand on one part of x; nobody reads the others here, so their gradient is zero.

    Equation  y = x_key;  dx_key = dy, and 0 for every other part
    Shapes    x a tuple or dict of arrays -> y (the shape of that part)
    Saves     x

    Parameters
    ----------
    key : the place in a tuple, or the name in a dict.
    """

    def __init__(self, key: int | str) -> None:
        self.key = key if isinstance(key, str) else whole(self, "key", key)

    def forward(self, x: Structure) -> tuple[Array, Structure]:
        if isinstance(self.key, str):
            if not isinstance(x, dict) or self.key not in x:
                self.refuse("forward", f"x must be a dict with {self.key!r}", described(x))
        elif not isinstance(x, tuple) or not -len(x) <= self.key < len(x):
            self.refuse("forward", f"x must be a tuple with a part {self.key}", described(x))
        return x[self.key], x

    def backward(self, dy: Array, x: Structure) -> Structure:
        dx = each(lambda part: namespace(part).zeros_like(part), x)
        if isinstance(self.key, str):
            return dx | {self.key: dy}
        parts = list(dx)
        parts[self.key] = dy
        return tuple(parts)
