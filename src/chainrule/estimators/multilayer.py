"""How the MLP estimators train: scikit-learn's arguments, attributes and rules, and the engine's steps."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from .. import train
from ..arguments import choice, flag, number, positive
from ..data import Dataset
from ..layers import Linear
from ..module import Module
from ..optimizers import Adagrad, Optimizer, Schedule
from ..train.prepare import prepare
from . import lbfgs, recipe
from .base import AUTO_BATCH, NetworkEstimator, Samples, checked_dtype, counting
from .epochs import Epochs
from .penalty import SLIGHT, Penalised, passes
from .recipe import Objective

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class Multilayer(NetworkEstimator):
    """What MLPClassifier and MLPRegressor share. The arguments and attributes are described there."""

    hidden_layer_sizes: Any
    activation: Any
    solver: Any
    alpha: float
    batch_size: Any
    learning_rate: Any
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: Any
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    dropout: Any
    monitor: str
    clip_norm: float | None
    clip_value: float | None
    dtype: Any
    n_outputs_: int

    _optimizer: Any
    _monitored: str  # what decides when to stop: "score", "validation loss", "loss"; empty before the first epoch
    _rule_settings: Any
    _first_rate: Any

    def _check_settings(self) -> None:
        """Refuse arguments that make no sense, before anything is changed."""
        recipe.hidden_sizes(self, self.hidden_layer_sizes)
        if not isinstance(self.solver, Optimizer):
            choice(self, "solver", self.solver, recipe.SOLVERS)
        if not isinstance(self.learning_rate, Schedule):
            choice(self, "learning_rate", self.learning_rate, recipe.RATES)
        elif self.solver == "adagrad":
            Adagrad(deepcopy(self.learning_rate))  # which refuses one that cycles a momentum
        for name in ("alpha", "power_t", "tol"):
            number(self, name, getattr(self, name), least=0)
        for name in ("learning_rate_init", "epsilon"):
            number(self, name, getattr(self, name), above=0)
        for name in ("momentum", "beta_1", "beta_2", "validation_fraction"):
            number(self, name, getattr(self, name), least=0, below=1)
        for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping"):
            flag(self, name, getattr(self, name))
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                number(self, name, getattr(self, name), above=0)
        for name in ("max_iter", "max_fun"):
            positive(self, name, getattr(self, name))
        if self.n_iter_no_change != np.inf:
            positive(self, "n_iter_no_change", self.n_iter_no_change)
        if not isinstance(self.batch_size, str) or self.batch_size != "auto":
            positive(self, "batch_size", self.batch_size)
        choice(self, "monitor", self.monitor, ("score", "loss"))
        if self.solver == "lbfgs" and np.any(np.asarray(self.dropout, dtype=float)):
            raise ValueError(f"{type(self).__name__}: dropout needs a stochastic solver, as lbfgs cannot follow noise")

    # -- what the two estimators say about targets

    def _learn(self, y: Any, classes: Any, *, new: bool, only_one: bool) -> None:
        """Take in what y says of the outputs of a new network, or see that it fits the old one."""
        raise NotImplementedError

    def _objective(self) -> Objective:
        """What is minimised."""
        raise NotImplementedError

    def _score(self) -> Callable[..., float]:
        """The score that early stopping goes by, as a metric of `fit`."""
        raise NotImplementedError

    def _last_activation(self) -> Module | None:
        """The layer after the last Linear that belongs to the network itself."""
        return None

    # -- training

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *validation: Any,
        classes: Any = None,
        only_one: bool = False,
    ) -> Any:
        self._check_settings()
        if only_one and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        new = not hasattr(self, "network_") or not (self.warm_start or only_one)
        samples = self._samples(X, y, sample_weight, reset=new)
        held_out = self._held_out(*validation) if validation else None
        self._learn(samples.y, classes, new=new, only_one=only_one)
        samples, random = counting(self._weighted(samples)), check_random_state(self.random_state)
        objective = self._objective()
        if new:
            self._initialize(samples.x, objective, random)
        if self.solver == "lbfgs":
            self._minimise(samples, objective)
            return self
        if self.early_stopping and held_out is None:
            samples, held_out = self._split(samples, self.validation_fraction, random)
        # Where a fit goes on, the next one sees the samples in another order, and draws other masks.
        seed = int(random.randint(2**31 - 1)) + self._epochs_before
        self._train(samples, held_out, objective, seed=seed, only_one=only_one)
        return self

    def _initialize(self, x: np.ndarray, objective: Objective, random: Any) -> None:
        """A new network, and empty records."""
        dtype = checked_dtype(self, x)
        widths = [x.shape[1], *recipe.hidden_sizes(self, self.hidden_layer_sizes), self.n_outputs_]
        last = self._last_activation()
        network = recipe.network(self, widths, self.activation, self.dropout, last, random, dtype)
        self._keep_network(network, objective.outcome)
        self.n_layers_, self.out_activation_ = len(widths), objective.out_activation
        self.n_iter_ = self.t_ = self._epochs_before = 0
        self._optimizer, self._monitored = None, ""

    def _begin_records(self, monitored: str) -> None:
        """Make ready to write epochs down; what was not monitored before has no best yet."""
        if not self._monitored:
            self.loss_curve_: list[float] = []
            self.validation_loss_curve_: list[float] = []
        if monitored != self._monitored:
            by_score = monitored == "score"
            self.validation_scores_: list[float] | None = [] if by_score else None
            self.best_validation_score_ = -np.inf if by_score else None
            self.best_loss_ = None if by_score else np.inf
            self._no_improvement_count, self._monitored = 0, monitored
        self.n_iter_ = 0

    def _minimise(self, samples: Samples, objective: Objective) -> None:
        data = prepare("fit", "train", self._data(samples), self.network_, objective.loss)
        total = len(data) if samples.weight is None else float(samples.weight.sum())
        objective.offset = objective.constant(data.target, samples.weight)
        lbfgs.minimise(self, objective, data, penalty=self.alpha / total, threads=effective_n_jobs(self.n_jobs))
        if not all(np.isfinite(parameter.value).all() for parameter in self.network_.param()):
            raise ValueError(NOT_FINITE)

    def _train(
        self, samples: Samples, held_out: Samples | None, objective: Objective, *, seed: int, only_one: bool
    ) -> None:
        data, looked_at = self._data(samples), None if held_out is None else self._data(held_out)
        if looked_at is not None:
            objective.validation_offset = objective.constant(looked_at.target, looked_at.sample_weight)
        n = len(data)
        batch_size = min(AUTO_BATCH, n) if self.batch_size == "auto" else min(self.batch_size, n)
        if self.batch_size != "auto" and self.batch_size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=4
            )
        mean_weight = 1.0 if samples.weight is None else float(samples.weight.mean())
        by_score = self.early_stopping and self.monitor == "score"
        score = self._score() if by_score and looked_at is not None else None
        self._begin_records("score" if by_score else "validation loss" if self.early_stopping else "loss")
        steps = -(-n // batch_size)
        last = n - (steps - 1) * batch_size
        per_step = mean_weight * steps / ((steps - 1) / batch_size + 1 / last)  # with which an epoch's decays add up
        rule, exact = self._rule(objective, per_step), self._exact(samples, batch_size, per_step)
        stepwise = exact and steps > 1
        penalty = 0.0 if stepwise else self._penalty() * steps / (n * mean_weight)
        epochs = Epochs(self, objective, n, steps, penalty, each=exact, score=score, only_one=only_one)
        decay = rule.weight_decay if stepwise else None
        threads, network, loss = effective_n_jobs(self.n_jobs), self.network_, objective.loss
        if stepwise:
            network = passes(self.network_, batch_size=batch_size, seed=seed, threads=threads)
            loss = Penalised(objective, self.network_, rule, self._penalty())
        objective.offset = 0.0 if stepwise else objective.constant(data.target, data.sample_weight)
        try:
            history = train.fit(
                network,
                loss,
                data,
                epochs=1 if only_one else self.max_iter,
                batch_size=batch_size,
                validation=looked_at,
                optimizer=rule,
                seed=seed,
                shuffle=bool(self.shuffle),
                keep="best" if self.early_stopping and not by_score else "last",
                metrics=() if score is None else [score],
                callbacks=[epochs],
                progress=False,
                threads=threads,
                engine="python" if stepwise else "auto",
            )
            exhausted = history.stopped == "all epochs done"
        except FloatingPointError as diverged:
            history = diverged.history  # type: ignore[attr-defined]
            exhausted = self._go_on_diverged(epochs, objective, looked_at, diverged)
        finally:
            self._epochs_before += self.n_iter_
            if decay is not None:
                rule.weight_decay = decay
        epochs.give_back_best()
        if history.interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        elif not only_one and exhausted:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _go_on_diverged(
        self, epochs: Epochs, objective: Objective, looked_at: Dataset | None, diverged: FloatingPointError
    ) -> bool:
        """What scikit-learn makes of a run that diverged: early stopping gives the best parameters back.

        Returns   whether the epochs that it would still make are all that max_iter allows

        Raises ValueError without early stopping, or if no parameters before were better.
        """
        if looked_at is not None and self.early_stopping:
            nothing, before, score = np.full((len(looked_at), self.n_outputs_), np.nan), self._best(), epochs.score
            ready = prepare("fit", "validation", looked_at, self.network_, objective.loss)
            last = np.nan if score is None else score(nothing, ready.target, ready.sample_weight)
            exhausted = epochs.go_on_diverged(last)
            if self._best() == before and (score is not None or before < np.inf):
                return exhausted
        raise ValueError(f"{NOT_FINITE} {diverged}") from None

    def _best(self) -> Any:
        return self.best_loss_ if self.best_validation_score_ is None else self.best_validation_score_

    def _penalty(self) -> float:
        """What half of all squared weights is multiplied by: of AdamW and rules of the user's own it is no loss."""
        return self.alpha if self.solver in recipe.PENALISED else 0.0

    def _exact(self, samples: Samples, batch_size: int, samples_per_step: float) -> bool:
        """Whether the penalty of each step counts, so that the numbers are those of scikit-learn.

        The engine's epochs have one decay for all batches, and one mean for all samples.
        """
        if self.solver not in recipe.PENALISED or isinstance(getattr(self, "loss", ""), Module):
            return False
        unequal = samples.weight is not None and np.ptp(samples.weight) > 0 and len(samples.x) > batch_size
        return bool(unequal) or self.alpha / samples_per_step >= SLIGHT

    def _rule(self, objective: Objective, samples_per_step: float) -> Optimizer:
        """The optimizer: the one of before, or one of new settings that remembers what that one did."""
        rule = recipe.optimizer(self, objective, samples_per_step)
        before: Optimizer | None = self._optimizer
        settings = (repr(rule), recipe.functions(rule.lr))
        first_rate = (self.learning_rate_init, repr(self.learning_rate), recipe.functions(self.learning_rate))
        if before is not None and self._rule_settings == settings:
            return before
        if before is not None and type(before) is type(rule):
            parameters = self.network_.param()
            state = before.state_dict(parameters)
            if self._first_rate == first_rate and not isinstance(self.solver, Optimizer):
                rule.lr = before.lr  # which "adaptive", "invscaling" or a schedule has brought down
            rule.load_state_dict(parameters, state)
        self._optimizer, self._rule_settings, self._first_rate = rule, settings, first_rate
        return rule

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
        return True

    # -- scikit-learn's view of the parameters

    @property
    def coefs_(self) -> list[np.ndarray]:
        """The weights of each layer, (n_in, n_out): views, which may be written into."""
        return [layer.weight.value.T for layer in self._linear()]

    @coefs_.setter
    def coefs_(self, coefs: list[np.ndarray]) -> None:
        for layer, coef in zip(self._linear(), coefs, strict=True):
            layer.weight.value[...] = coef.T

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """The biases of each layer, (n_out,): the arrays themselves."""
        return [layer.bias.value for layer in self._linear() if layer.bias is not None]

    @intercepts_.setter
    def intercepts_(self, intercepts: list[np.ndarray]) -> None:
        for layer, intercept in zip(self._linear(), intercepts, strict=True):
            if layer.bias is not None:
                layer.bias.value[...] = intercept

    def _linear(self) -> list[Linear]:
        if "network_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} is not fitted yet")
        return [module for module in self.network_.modules() if isinstance(module, Linear)]
