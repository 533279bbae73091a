"""L-BFGS: all samples at once, and a line search. SciPy leads, the engine makes the passes."""

import warnings
from typing import Any

import numpy as np
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning

from .. import engine
from ..data import Dataset
from ..layers import Linear
from ..losses import CrossEntropyLoss
from ..module import Module
from .recipe import Objective

ROWS = 256  # of a pass


def minimise(estimator: Any, objective: Objective, data: Dataset, *, penalty: float, threads: int) -> None:
    """Train the estimator's network, and set its `n_iter_` and `loss_`.

    Parameters
    ----------
    data : prepared samples.
    penalty : what half the sum of all squared weights is multiplied by.

    Warns with ConvergenceWarning if it has not converged.

    Source    Byrd, Lu, Nocedal, Zhu 1995, "A limited memory algorithm for bound constrained optimization"
    """
    network: Module = estimator.network_
    parameters = network.param()
    weights = {id(layer.weight) for layer in network.modules() if isinstance(layer, Linear)}
    penalised = np.concatenate([np.full(p.size, id(p) in weights) for p in parameters])
    passes = _passes(network, threads)
    parts = _parts(objective.loss, data, estimator.n_outputs_)
    reported = np.nan

    def value_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal reported
        _set(parameters, vector)
        passes.zero_grad()
        loss = 0.0
        for (x, *known), share in parts:
            value, saved = objective.loss.forward(passes.forward(x), *known)
            passes.backward(objective.loss.backward(share, saved), False)
            loss += share * float(value)
        gradient = objective.gradient * np.concatenate([p.grad.reshape(-1) for p in parameters], dtype=np.float64)
        gradient += penalty * penalised * vector
        cost = 0.5 * penalty * float(np.sum(penalised * vector * vector))
        reported = objective.reported * loss + objective.offset + cost
        return objective.gradient * loss + cost, gradient

    start = np.concatenate([p.value.reshape(-1) for p in parameters], dtype=np.float64)
    options = {"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol}
    found = optimize.minimize(value_and_gradient, start, method="L-BFGS-B", jac=True, options=options)
    value_and_gradient(found.x)  # the last place that it tried need not be the best
    estimator.n_iter_, estimator.loss_ = min(int(found.nit), estimator.max_iter), reported
    if estimator.verbose:
        print(f"L-BFGS: {found.nit} iterations, {found.nfev} evaluations, loss = {reported:.8f}, {found.message}")
    if found.status != 0:
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}):\n{found.message}\n"
            f"Increase the number of iterations (max_iter={estimator.max_iter}) or scale the data.",
            ConvergenceWarning,
            stacklevel=4,
        )


def _set(parameters: list[Any], vector: np.ndarray) -> None:
    """Write a flat vector into the parameters."""
    start = 0
    for parameter in parameters:
        parameter.value[...] = vector[start : start + parameter.size].reshape(parameter.shape)
        start += parameter.size


def _parts(loss: Any, data: Dataset, n_outputs: int) -> list[tuple[tuple[np.ndarray, ...], float]]:
    """The samples in parts that stay in the cache, each with its share in the loss of all: means add up by weight."""
    target = data.target
    if isinstance(loss, CrossEntropyLoss):  # which would make the one-hot rows anew at every pass
        target = np.eye(n_outputs, dtype=data.x.dtype)[target]
    batches = list(Dataset(data.x, target, data.sample_weight).batches(ROWS, shuffle=False))
    weights = [float(batch[2].sum()) if len(batch) > 2 else len(batch[0]) for batch in batches]
    sums = getattr(loss, "reduction", "mean") == "sum"
    return [(batch, 1.0 if sums else weight / sum(weights)) for batch, weight in zip(batches, weights, strict=True)]


def _passes(network: Module, threads: int) -> Any:
    """The network compiled, or by its own methods if the engine does not know it."""
    try:
        return engine.compile(network, batch_size=ROWS, threads=threads)
    except (ValueError, engine.EngineMissing):
        return _Python(network)


class _Python:
    """The passes of a network by the names of a compiled one."""

    def __init__(self, network: Module) -> None:
        self.network, self.zero_grad = network, network.zero_grad
        self.saved: Any = None

    def forward(self, x: np.ndarray) -> Any:
        y, self.saved = self.network.forward(x)
        return y

    def backward(self, dy: np.ndarray, input: bool) -> None:  # noqa: A002 - as in Compiled
        self.network.backward(dy, self.saved)
