"""MLPClassifier and MLPRegressor: scikit-learn's, trained by the engine, and what was refused there."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..module import Module
from ..train.metrics import threshold_of
from . import recipe, scores
from .base import keep_arguments
from .multilayer import Multilayer
from .outputs import NetworkClassification, NetworkRegression
from .recipe import Objective


class MLPClassifier(NetworkClassification, Multilayer):
    """A classifier with scikit-learn's arguments, attributes, defaults and warnings, and chainrule's speed.

    Put `from chainrule.estimators import MLPClassifier` in the place of scikit-learn's import. Initial weights, the
    split for early stopping and the updates are those of scikit-learn's class; the order of samples is chainrule's.

    Parameters
    ----------
    hidden_layer_sizes … max_fun : as in scikit-learn, and what more some of them may be:
    activation : also "leaky_relu", "elu", "gelu", "silu", "softplus", a chainrule Module, or a list with one for each
        hidden layer.
    solver : also "adamw" (whose weight decay is alpha), "rmsprop", "adagrad", or a chainrule Optimizer, which then
        decides about learning rate, decay and clipping alone.
    learning_rate : also a chainrule Schedule, for every stochastic solver; it brings its own first rate, and where it
        cycles a momentum, that in place of momentum and beta_1.
    warm_start : goes on with the moments of the optimizer too, and so does `partial_fit`.
    class_weight : "balanced", or a dict of weights by class, as elsewhere in scikit-learn.
    dropout : the share of each hidden layer's outputs that is zeroed in training, 0 <= dropout < 1, or a list of them.
    monitor : what early_stopping goes by, "score" as in scikit-learn, or "loss", that of the validation data.
    clip_norm, clip_value : before an update scale all gradients down to this 2-norm, or cut each to ± this.
    dtype : "float32" or "float64", in which the network computes; by default that of X, as in scikit-learn.
    n_jobs : the most threads that a step or a prediction may use; None is 1, -1 all cores.

    classes_, n_features_in_, feature_names_in_, n_iter_, t_, n_layers_, n_outputs_, out_activation_, loss_,
    loss_curve_, best_loss_, validation_scores_, best_validation_score_, coefs_, intercepts_ : as in scikit-learn.
    validation_loss_curve_ : the loss of the validation data after each epoch, where there are any.
    network_ : the trained network, a chainrule Sequential without its softmax: `chainrule.to_c(network_, folder)`.

    Raises ValueError or TypeError for arguments that make no sense, and for data that do not fit.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MLPClassifier((20, 20), "gelu", solver="adamw", learning_rate_init=0.01, random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.95
    True
    """

    loss = "log_loss"  # as in scikit-learn, where it is no argument either

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Any = None,
        dropout: Any = 0.0,
        monitor: str = "score",
        clip_norm: float | None = None,
        clip_value: float | None = None,
        dtype: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        keep_arguments(self, locals())

    def _learn(self, y: Any, classes: Any, *, new: bool, only_one: bool) -> None:
        self._learn_classes(y, classes, new=new, only_one=only_one)
        n = len(self.classes_)
        self.n_outputs_ = n if self._labels.several or n > 2 else 1

    def _objective(self) -> Objective:
        return recipe.classification(len(self.classes_), self._labels.several)

    def _target(self, y: Any) -> np.ndarray:
        target = self._labels.encode(y)
        return target if self._labels.several or len(self.classes_) > 2 else target[:, None]

    def _score(self) -> Callable[..., float]:
        return scores.accuracy(self._labels.several, threshold_of(self._objective().loss))

    def _strata(self, y: Any) -> Any:
        return y if self.n_outputs_ == 1 else None


class MLPRegressor(NetworkRegression, Multilayer):
    """A regressor with scikit-learn's arguments, attributes, defaults and warnings, and chainrule's speed.

    Put `from chainrule.estimators import MLPRegressor` in the place of scikit-learn's import. Initial weights, the
    split for early stopping and the updates are those of scikit-learn's class; the order of samples is chainrule's.

    Parameters
    ----------
    loss : "squared_error" or "poisson" as in scikit-learn; also "absolute_error", "huber", "quantile", or a chainrule
        loss. These are means over samples and outputs, without scikit-learn's half.
    out_activation : after the last layer, a name as for `activation` or a Module; with "poisson" it is the exponential.
    quantile : the share of targets that is to lie below the prediction, for loss="quantile".
    delta : beyond which error loss="huber" is straight.

    All others, and the attributes, are those of MLPClassifier; there is no class_weight. y may be (n, n_outputs).

    Raises ValueError or TypeError for arguments that make no sense, and for data that do not fit.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> upper = MLPRegressor("quantile", (20,), quantile=0.9, learning_rate_init=0.1, max_iter=1000, random_state=0)
    >>> bool(0.85 < (y < upper.fit(X, y).predict(X)).mean() < 0.95)
    True
    """

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        out_activation: Any = "identity",
        quantile: float = 0.5,
        delta: float = 1.0,
        dropout: Any = 0.0,
        monitor: str = "score",
        clip_norm: float | None = None,
        clip_value: float | None = None,
        dtype: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        keep_arguments(self, locals())

    def _learn(self, y: Any, classes: Any, *, new: bool, only_one: bool) -> None:
        n = self._number_of_outputs(y, new=new)
        if isinstance(self.loss, str) and self.loss == "poisson" and (y < 0).any():
            raise ValueError(f"MLPRegressor: y must not be negative for loss='poisson', got {y.min()}")
        self.n_outputs_ = n
        self._objective()  # refuses a loss that it does not know

    def _objective(self) -> Objective:
        objective = recipe.regression(self, self.loss, self.n_outputs_, quantile=self.quantile, delta=self.delta)
        self._exponential = objective.out_activation == "exp"
        if not self._exponential:
            named = isinstance(self.out_activation, str)
            objective.out_activation = self.out_activation if named else repr(self.out_activation)
        return objective

    def _last_activation(self) -> Module | None:
        if isinstance(self.out_activation, str) and self.out_activation == "identity":
            return None
        if self._exponential:
            raise ValueError(
                "MLPRegressor: out_activation must be \"identity\" for loss='poisson', which predicts exponentials"
            )
        return recipe.activation(self, "out_activation", self.out_activation)

    def _target(self, y: Any) -> np.ndarray:
        target: np.ndarray = y.reshape(len(y), -1)
        return target

    def _score(self) -> Callable[..., float]:
        return scores.r2(exponential=self._exponential)
