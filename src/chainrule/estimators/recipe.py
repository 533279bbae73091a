"""What the words among an estimator's arguments stand for: layers, optimizers, losses."""

import inspect
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import xlogy

from .. import layers, losses, optimizers
from ..arguments import choice, number, positive
from ..layers import Dropout, Linear, Sequential
from ..module import Module
from ..optimizers import Optimizer, Schedule

ACTIVATIONS: dict[str, Callable[[], Module]] = {
    "identity": layers.Identity,
    "logistic": layers.Sigmoid,
    "tanh": layers.Tanh,
    "relu": layers.ReLU,
    "leaky_relu": layers.LeakyReLU,
    "elu": layers.ELU,
    "gelu": layers.GELU,
    "silu": layers.SiLU,
    "softplus": layers.Softplus,
}
SOLVERS = ("lbfgs", "sgd", "adam", "adamw", "rmsprop", "adagrad")
PENALISED = ("sgd", "adam", "rmsprop", "adagrad")  # whose weight decay is a part of the loss
RATES = ("constant", "invscaling", "adaptive")


@dataclass
class Objective:
    """What is minimised, in the numbers of scikit-learn.

    loss : the chainrule loss that the engine runs.
    outcome : the layer that makes predictions of the network's outputs; None where they are the predictions.
    out_activation : its name.
    gradient : how much steeper scikit-learn's loss is than `loss`, which is a mean over outputs where that is a sum.
    reported : scikit-learn's value of the loss is reported · loss + offset.
    offset, validation_offset : what the targets alone add, those to learn from and those of the validation data.
    """

    loss: Module
    outcome: Module | None = None
    out_activation: str = "identity"
    gradient: float = 1.0
    reported: float = 1.0
    offset: float = 0.0
    validation_offset: float = 0.0

    def constant(self, target: np.ndarray, weight: np.ndarray | None) -> float:
        """The part of scikit-learn's loss that no prediction changes: with Poisson's, t log t - t."""
        if not isinstance(self.loss, losses.PoissonNLLLoss):
            return 0.0
        return float(np.sum(np.average(xlogy(target, target) - target, axis=0, weights=weight)))


def classification(n_classes: int, several: bool) -> Objective:
    """The log loss: of one probability for each label, or of a distribution over more than two classes."""
    if n_classes > 2 and not several:
        return Objective(losses.CrossEntropyLoss(), layers.Softmax(), "softmax")
    n = float(n_classes) if several else 1.0
    return Objective(losses.BCEWithLogitsLoss(), layers.Sigmoid(), "logistic", gradient=n, reported=n)


REGRESSION = ("squared_error", "poisson", "absolute_error", "huber", "quantile")


def regression(owner: object, loss: Any, n_outputs: int, *, quantile: float, delta: float) -> Objective:
    """The loss of a name, or any loss of chainrule's."""
    if isinstance(loss, Module):
        return Objective(loss)
    choice(owner, "loss", loss, REGRESSION)
    if loss == "squared_error":
        return Objective(losses.MSELoss(), gradient=n_outputs / 2, reported=0.5)
    if loss == "poisson":
        return Objective(
            losses.PoissonNLLLoss(), out_activation="exp", gradient=float(n_outputs), reported=float(n_outputs)
        )
    if loss == "huber":
        return Objective(losses.HuberLoss(delta=number(owner, "delta", delta, above=0)))
    if loss == "quantile":
        return Objective(losses.QuantileLoss(number(owner, "quantile", quantile, above=0, below=1)))
    return Objective(losses.L1Loss())


def hidden_sizes(owner: object, sizes: Any) -> list[int]:
    """The widths of the hidden layers, as a list.

    Raises ValueError for widths that are not positive integers.
    """
    sizes = list(sizes) if isinstance(sizes, Iterable) and not isinstance(sizes, str) else [sizes]
    return [positive(owner, "hidden_layer_sizes must be > 0, and each", size) for size in sizes]


def activation(owner: object, name: str, wanted: Any) -> Module:
    """The activation of a name, or a copy of the Module that was given."""
    if isinstance(wanted, Module):
        return deepcopy(wanted)
    return ACTIVATIONS[choice(owner, name, wanted, tuple(ACTIVATIONS))]()


def for_each(owner: object, name: str, value: Any, n: int) -> list[Any]:
    """One value for each of n hidden layers, where one may have been given for all."""
    if isinstance(value, list | tuple | np.ndarray):
        if len(value) != n:
            raise ValueError(
                f"{type(owner).__name__}: {name} must be one, or {n} for {n} hidden layers, got {len(value)}"
            )
        return list(value)
    return [value] * n


def network(
    owner: object,
    widths: list[int],
    activations: Any,
    dropout: Any,
    last: Module | None,
    rng: Any,
    dtype: Any,
) -> Sequential:
    """A network with scikit-learn's initial weights: the same numbers for the same random state.

    Equation  weight and bias uniform on ±√(6 / (n_in + n_out)), or ±√(2 / (n_in + n_out)) before a logistic unit
    Source    Glorot, Bengio 2010, equation 16
    """
    hidden = len(widths) - 2
    names = for_each(owner, "activation", activations, hidden)
    shares = [number(owner, "dropout", p, least=0, below=1) for p in for_each(owner, "dropout", dropout, hidden)]
    made: list[Module] = []
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        # scikit-learn's factor for all layers follows from its one activation; here it is that of the layer's own.
        logistic = (names[min(i, hidden - 1)] if hidden else activations) == "logistic"
        bound = np.sqrt((2.0 if logistic else 6.0) / (n_in + n_out))
        weight = rng.uniform(-bound, bound, (n_in, n_out)).astype(dtype)
        bias = rng.uniform(-bound, bound, n_out).astype(dtype)
        made.append(Linear(n_in, n_out, weight=weight.T, bias=bias))
        if i < hidden:
            made.append(activation(owner, "activation", names[i]))
            if shares[i]:
                made.append(Dropout(shares[i], rng=0))  # `fit` gives it a place in the sequence of its seed
    if last is not None:
        made.append(last)
    return Sequential(*made)


def optimizer(owner: Any, objective: Objective, samples_per_step: float) -> Optimizer:
    """The optimizer that a solver's name stands for, with scikit-learn's meaning of its settings.

    scikit-learn's loss is `objective.gradient` times as steep as the one that runs. A rule that follows gradients as
    they are makes up for that by its learning rate, one that scales them by its eps; decay and clipping shrink alike.

    samples_per_step : what scikit-learn divides alpha by: the samples of a batch, or the sum of their weights.
    """
    if isinstance(owner.solver, Optimizer):
        if owner.solver.groups:
            raise ValueError(
                f"{type(owner).__name__}: groups of solver are of Parameters that are not the network's, which is made "
                f"here; NetworkClassifier and NetworkRegressor take a network with its optimizer"
            )
        return deepcopy(owner.solver)
    scale = objective.gradient
    common: dict[str, Any] = {
        "clip_norm": None if owner.clip_norm is None else owner.clip_norm / scale,
        "clip_value": None if owner.clip_value is None else owner.clip_value / scale,
        "decay_biases": False,
    }
    rate = deepcopy(owner.learning_rate) if isinstance(owner.learning_rate, Schedule) else owner.learning_rate_init
    decay = owner.alpha / samples_per_step / scale
    if owner.solver == "sgd":
        rate = Times(rate, scale) if isinstance(rate, Schedule) else rate * scale
        nesterov = owner.nesterovs_momentum and owner.momentum > 0
        return optimizers.SGD(rate, owner.momentum, weight_decay=decay, nesterov=nesterov, **common)
    common["eps"] = owner.epsilon / scale
    if owner.solver == "rmsprop":
        return optimizers.RMSprop(rate, weight_decay=decay, **common)
    if owner.solver == "adagrad":
        return optimizers.Adagrad(rate, weight_decay=decay, **common)
    betas = (owner.beta_1, owner.beta_2)
    if owner.solver == "adamw":  # whose decay is no part of the loss
        return optimizers.AdamW(rate, betas, weight_decay=owner.alpha, **common)
    return optimizers.Adam(rate, betas, weight_decay=decay, **common)


def functions(rate: Any) -> list[Any]:
    """Those that a schedule goes by: its repr has no more than their names."""
    if not isinstance(rate, Schedule):
        return []
    own = [value for value in vars(rate).values() if inspect.isroutine(value)]
    return [*own, *(function for inner in rate.inner() for function in functions(inner))]


class Times(Schedule):
    """A schedule's learning rate times a factor."""

    def __init__(self, lr: Schedule, factor: float) -> None:
        super().__init__(lr)
        self.factor = factor

    def after(self, lr: float, t: int) -> float:
        return lr * self.factor
