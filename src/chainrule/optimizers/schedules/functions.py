"""Learning rates by a function of one's own."""

from array import array
from collections.abc import Callable

from ...arguments import function, number
from .schedule import Schedule


class LambdaLR(Schedule):
    """Multiply by a function of the epoch.

    Equation  lr · lr_lambda(t)
    Note      a file cannot keep a function: `save` refuses it, and a checkpoint knows it by its name alone. A class of
              one's own, derived from Schedule with `after(lr, t)`, can be kept: `load(path, modules=[MySchedule])`.
              PyTorch's goes by the first rate, whatever a chain has made of it: of 0.1 · 0.5ᵗ, by an ExponentialLR
              that is chained before, lr_lambda(3) = 2 makes 0.2 there and here 0.025

    >>> import chainrule as cr
    >>> cr.LambdaLR(cr.ExponentialLR(0.1, gamma=0.5), lambda epoch: 2.0).at(steps=0, epochs=3)
    0.025
    """

    def __init__(self, lr: float | Schedule, lr_lambda: Callable[[int], float], *, every: str = "epoch") -> None:
        super().__init__(lr, every=every)
        self.lr_lambda = function(self, "lr_lambda", lr_lambda)

    def after(self, lr: float, t: int) -> float:
        return lr * number(self, f"lr_lambda({t})", self.lr_lambda(t), least=0)


class MultiplicativeLR(Schedule):
    """Multiply by a function of the epoch after each epoch.

    Equation  lr · lr_lambda(1) lr_lambda(2) … lr_lambda(t)
    Note      a file cannot keep a function, see LambdaLR
    """

    def __init__(self, lr: float | Schedule, lr_lambda: Callable[[int], float], *, every: str = "epoch") -> None:
        super().__init__(lr, every=every)
        self.lr_lambda = function(self, "lr_lambda", lr_lambda)
        self._products = array("d", [1.0])  # of the first factors: 0, 1, … of them

    def after(self, lr: float, t: int) -> float:
        products = self._products
        while len(products) <= t:
            i = len(products)
            products.append(products[-1] * number(self, f"lr_lambda({i})", self.lr_lambda(i), least=0))
        return lr * products[t]
