"""The penalty alpha, step by step as in scikit-learn: divided by what is in the batch, and in the loss of each step."""

from typing import Any

import numpy as np

from .. import engine
from ..layers import Linear
from ..losses import Loss
from ..module import Module
from .recipe import Objective

# The share of a weight by which a step decays it, at a learning rate of 1. Below it the engine makes whole epochs, with
# one decay for all batches, and the penalty of an epoch is read off its two ends.
SLIGHT = 1e-4


class Passes(Module):
    """A network whose forward and backward the engine makes, for a loop in Python.

    Raises ValueError for a network that the engine does not know, EngineMissing if it was not built.
    """

    def __init__(self, network: Module, *, batch_size: int, seed: int, threads: int) -> None:
        self.network = network
        self.compiled = engine.compile(network, batch_size=batch_size, seed=seed, threads=threads)

    def forward(self, x: Any) -> tuple[Any, Any]:
        return (self.compiled.forward(x) if self.training else self.compiled.predict(x)), None

    def backward(self, dy: Any, saved: Any) -> Any:
        return self.compiled.backward(dy, False)


def passes(network: Module, **how: Any) -> Module:
    """The network with passes by the engine, or as it is."""
    try:
        return Passes(network, **how)
    except (ValueError, engine.EngineMissing):
        return network


class Penalised(Loss):
    """A loss with alpha's penalty, for a loop that makes its steps one by one.

    Equation  value = loss + alpha Σ w² / (2 Σ sample_weight), of the batch, the weights as they are before its update
              the decay of the update that follows is alpha / Σ sample_weight
    Note      in evaluation mode it is the loss alone

    Parameters
    ----------
    objective : the loss, and what it is in scikit-learn's numbers. What targets alone add to that is added here.
    network, optimizer : whose weights are penalised, and who decays them.
    """

    def __init__(self, objective: Objective, network: Module, optimizer: Any, alpha: float) -> None:
        loss: Any = objective.loss
        super().__init__(reduction=loss.reduction)
        self.loss, self.classes, self.threshold = loss, loss.classes, loss.threshold
        self.objective, self.optimizer, self.alpha = objective, optimizer, alpha
        self.weights = [layer.weight for layer in network.modules() if isinstance(layer, Linear)]

    def forward(self, y: Any, target: Any, sample_weight: Any = None) -> tuple[Any, Any]:
        value, saved = self.loss.forward(y, target, sample_weight)
        if not self.training:
            return value, saved
        total = len(y) if sample_weight is None else float(sample_weight.sum())
        self.optimizer.weight_decay = self.alpha / total / self.objective.gradient
        more = 0.5 * self.alpha / total * sum(float(np.vdot(w.value, w.value)) for w in self.weights)
        more += self.objective.constant(target, sample_weight)
        return value + more / self.objective.reported, saved

    def backward(self, dvalue: Any, saved: Any) -> Any:
        return self.loss.backward(dvalue, saved)

    def check(self, y: Any, target: Any, sample_weight: Any) -> None:
        self.loss.check(y, target, sample_weight)

    def total_weight(self, y: Any, target: Any, sample_weight: Any = None) -> float:
        """What the batch counts in the loss of the epoch: its samples, whatever they weigh."""
        return len(y)
