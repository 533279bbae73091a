"""What scikit-learn does between two epochs: it writes down the loss, looks whether it still falls, and may stop."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine.sync import newest
from ..layers import Linear
from ..module import Parameter
from ..train import History, Run
from .recipe import Objective

LEAST_RATE = 1e-6  # of learning_rate="adaptive", as in scikit-learn
CUT = 5.0  # by which that divides the rate
MOST = 11  # epochs at once, as many as the default patience allows: the line would be a poor one over more
SLIGHT = 1e-3  # the share of the loss below which the penalty of each epoch may be read off a straight line


class Epochs:
    """A callback of `fit` that keeps an MLP estimator's records, and its rule for stopping.

    An epoch is no improvement if the loss is not lower than the best so far by more than tol; with early stopping, if
    the score of the validation data is not higher by tol. More than n_iter_no_change such epochs in a row end the run,
    or divide the learning rate by 5 where that is adaptive.

    Parameters
    ----------
    estimator : an MLP estimator whose attributes are kept.
    objective : what its numbers mean.
    samples : of an epoch.
    steps : of an epoch.
    penalty : what half of all squared weights adds to a loss that does not hold it already.
    each : whether every epoch is looked at by itself, as the penalty is not slight.
    score : the score of the validation data, where early stopping goes by that; its value is read from the History.
    only_one : whether this is `partial_fit`, which never stops by itself.
    """

    def __init__(
        self,
        estimator: Any,
        objective: Objective,
        samples: int,
        steps: int,
        penalty: float,
        *,
        each: bool,
        score: Callable[..., float] | None,
        only_one: bool,
    ) -> None:
        self.estimator, self.objective, self.samples, self.score = estimator, objective, samples, score
        self.only_one, self.each = only_one, each
        self.middle = 0.5 - 0.5 / steps  # of an epoch, in the mean of its steps: each counts the weights before it
        self.parameters: list[Parameter] = estimator.network_.param()
        self.weights = [layer.weight for layer in estimator.network_.modules() if isinstance(layer, Linear)]
        self.penalty = 0.5 * penalty
        self.cost = self._cost()
        self.seen = 0  # epochs that are written down
        self.best: list[np.ndarray] | None = None  # parameters of the best score

    def ahead(self, history: History) -> int:
        """How many epochs may pass before a decision can be due: as many as it takes for the patience to end.

        It depends on losses and weights alone, so the same run is always cut into the same parts.
        """
        estimator = self.estimator
        every = (
            self.each or estimator.verbose or (estimator.solver == "sgd" and estimator.learning_rate == "invscaling")
        )
        if every or not history.losses or self.cost > SLIGHT * abs(estimator.loss_):
            return 1
        return int(min(estimator.n_iter_no_change + 1 - estimator._no_improvement_count, MOST))

    def __call__(self, run: Run) -> None:
        """Write down the epochs that have ended since the last call, and decide whether to go on."""
        before, self.cost = self.cost, self._cost()
        new = range(self.seen, run.history.epochs)
        for i, epoch in enumerate(new):  # meanwhile the weights moved from the one cost to the other
            self._write_down(run, epoch, before + (i + self.middle) / len(new) * (self.cost - before))
        self.seen = run.history.epochs
        if self.estimator._no_improvement_count > self.estimator.n_iter_no_change:
            self._give_up(run)

    def _write_down(self, run: Run, epoch: int, cost: float) -> None:
        """Write down an epoch, and judge whether it is an improvement."""
        estimator, history = self.estimator, run.history
        loss = self.objective.reported * history.losses[epoch] + self.objective.offset + cost
        looked: float | None = None
        if history.validation_losses:
            looked = self.objective.reported * history.validation_losses[epoch] + self.objective.validation_offset
        self._keep(loss, looked, np.nan if self.score is None else history.metrics[self.score.__name__][epoch])
        if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
            first = estimator.learning_rate_init * self.objective.gradient
            self._set_rate(run.optimizer, first / (estimator.t_ + 1) ** estimator.power_t)

    def _keep(self, loss: float, validation_loss: float | None, score: float) -> None:
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.t_ += self.samples
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)
        if validation_loss is not None:
            estimator.validation_loss_curve_.append(validation_loss)
        self._say(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        if self.score is not None:
            estimator.validation_scores_.append(score)
            self._say(f"Validation score: {score:f}")
        self._judge()

    def _cost(self) -> float:
        """What the penalty alpha adds to the loss."""
        return self.penalty * sum(float(np.vdot(w, w)) for w in map(newest, self.weights)) if self.penalty else 0.0

    def _judge(self) -> None:
        """Count the epochs without an improvement, and remember what is best."""
        estimator = self.estimator
        if self.score is not None:
            score, best = estimator.validation_scores_[-1], estimator.best_validation_score_
            better, enough = score > best, not score < best + estimator.tol
            if better:
                estimator.best_validation_score_ = score
                self.best = [newest(parameter) for parameter in self.parameters]
        else:
            by_loss = estimator.early_stopping and not self.only_one
            loss = (estimator.validation_loss_curve_ if by_loss else estimator.loss_curve_)[-1]
            best = estimator.best_loss_
            better, enough = loss < best, not loss > best - estimator.tol
            if better:
                estimator.best_loss_ = loss
        estimator._no_improvement_count = 0 if enough else estimator._no_improvement_count + 1

    def _give_up(self, run: Run) -> None:
        """End the run, or go on with smaller steps."""
        estimator = self.estimator
        what = "Validation score" if self.score is not None else "Training loss"
        if estimator.early_stopping and self.score is None:
            what = "Validation loss"
        patience = estimator.n_iter_no_change
        why = f"{what} did not improve more than tol={estimator.tol:f} for {patience} consecutive epochs."
        if self._smaller(run.optimizer, why):
            return
        if estimator.solver == "sgd" and estimator.learning_rate == "adaptive":
            why += " Learning rate too small."
        self._say(f"{why} Stopping.")
        if not self.only_one:
            run.stop(why)

    def _smaller(self, optimizer: Any, why: str = "") -> bool:
        """Divide the learning rate, if it is adaptive and not yet too small; returns whether."""
        estimator = self.estimator
        adaptive = estimator.solver == "sgd" and estimator.learning_rate == "adaptive"
        if not adaptive or optimizer.lr / self.objective.gradient <= LEAST_RATE:
            return False
        self._set_rate(optimizer, optimizer.lr / CUT)
        self._say(f"{why} Setting learning rate to {optimizer.lr / self.objective.gradient:f}")
        estimator._no_improvement_count = 0
        return True

    def _set_rate(self, optimizer: Any, rate: float) -> None:
        """Go on at another learning rate, with the steps that momentum remembers as long as they were.

        scikit-learn remembers rate · gradient, chainrule the gradient.
        """
        for parameter in self.parameters:
            if "momentum_buffer" in (state := optimizer.state.get(parameter, {})):
                state["momentum_buffer"] *= optimizer.lr / rate
        optimizer.lr = rate

    def _say(self, what: str) -> None:
        if self.estimator.verbose:
            print(what)

    def go_on_diverged(self, score: float) -> bool:
        """Write down the epochs that scikit-learn would still make with parameters that are not finite.

        score : that of every one of them, where early stopping goes by a score.

        Returns   whether they are all that max_iter allows
        """
        estimator = self.estimator
        while estimator.n_iter_ < estimator.max_iter:
            self._keep(np.nan, np.nan, score)
            if estimator._no_improvement_count > estimator.n_iter_no_change and not self._smaller(estimator._optimizer):
                return False
        return True

    def give_back_best(self) -> None:
        """Leave the network at the parameters of its best score, if there is one."""
        if self.best is not None:
            for parameter, best in zip(self.parameters, self.best, strict=True):
                parameter.value[...] = best
