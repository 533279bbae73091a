"""NetworkClassifier and NetworkRegressor: any network of chainrule's as a scikit-learn estimator."""

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils import check_random_state

from .. import layers, losses, random, train
from ..arguments import number, positive
from ..data import Dataset
from ..layers import Linear, ReLU, Sequential
from ..losses import Loss
from ..losses.extra import Asked, asked
from ..module import Module, is_update_rule
from ..optimizers import Adam
from ..structures import Structure, is_several
from ..train import metrics
from ..train.options import NAMES
from ..train.prepare import require_counting
from .base import AUTO_BATCH, NOTHING, NetworkEstimator, Samples, checked_dtype, counting, keep_arguments
from .outputs import NetworkClassification, NetworkRegression

Build = Callable[[Any, int], Module] | Module

_building = threading.Lock()  # the generator of initial weights is one for all threads


def default_network(n_features: int, n_outputs: int) -> Sequential:
    """What `build=None` stands for: one hidden layer of 32 units."""
    return Sequential(Linear(n_features, 32), ReLU(), Linear(32, n_outputs))


class AnyNetwork(NetworkEstimator):
    """What NetworkClassifier and NetworkRegressor share. The arguments are described there."""

    _parts: dict[str, list[int]] | None = None  # the columns of X that each input is shown; None: one is shown all

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        **extra: Any,
    ) -> Any:
        """Train on samples.

        Shapes    X (n, n_features), dense or sparse, a data frame of numbers too; sample_weight (n,);
                  y as `predict` gives it: (n,), or (n, n_outputs) or (n, n_labels)

        Parameters
        ----------
        X_val, y_val, sample_weight_val : validation data of your own, to watch the loss, and to stop early by.
        extra : by name the arrays (n, …) that a loss of your own asks for: `fit(X, y, low=…)`, and with X_val also
            `low_val=…`. What cuts sample_weight (GridSearchCV, cross_validate(params=…)) cuts them too.

        Returns   the estimator itself
        """
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val, extra=extra)

    def _learn(self, y: Any, classes: Any, *, new: bool, only_one: bool) -> int:
        """Take in what y says; returns the number of outputs that the network must have."""
        raise NotImplementedError

    def _loss(self) -> Any:
        """The loss."""
        raise NotImplementedError

    def _outcome_of(self, loss: Any) -> Module | None:
        """What makes predictions of the outputs."""
        return None

    def _shown(self, x: np.ndarray) -> Structure:
        if self._parts is None:
            return x
        return {name: np.ascontiguousarray(x[:, at]) for name, at in self._parts.items()}

    def _gathered(self, dx: Structure, x: np.ndarray) -> np.ndarray:
        if self._parts is None:
            return super()._gathered(dx, x)
        whole = np.zeros_like(x)
        for name, at in self._parts.items():
            whole[:, at] += dx[name]  # a column that two inputs are shown gathers the gradients of both
        return whole

    def _columns_of_inputs(self, n_features: int) -> dict[str, list[int]] | None:
        """Which columns of X each input of the network is shown; None for one input that is shown all."""
        if self.inputs is None:
            return None
        who = f"{type(self).__name__}: inputs"
        if not isinstance(self.inputs, Mapping) or not self.inputs:
            raise TypeError(f'{who} must map names to columns, such as {{"weather": ["wind"]}}, got {self.inputs!r}')
        known = list(getattr(self, "feature_names_in_", ()))
        places = {name: i for i, name in enumerate(known)} | {i: i for i in range(n_features)}
        found: dict[str, list[int]] = {}
        for name, columns in self.inputs.items():
            if isinstance(columns, str) or not isinstance(columns, Iterable) or len(listed := list(columns)) == 0:
                raise TypeError(f"{who}[{name!r}] must be a list of columns, got {columns!r}")
            for column in listed:
                if isinstance(column, bool | np.bool) or not isinstance(column, Hashable) or column not in places:
                    columns_of_x = ", ".join(known) or f"0 … {n_features - 1} (X has no names)"
                    raise ValueError(f"{who}[{name!r}] must be columns of X, {columns_of_x}, got {column!r}")
            found[name] = [places[column] for column in listed]
            if len(set(found[name])) < len(listed):
                raise ValueError(f"{who}[{name!r}] must name each column once, got {columns!r}")
        return found

    def _beside(self, given: Mapping[str, Any], *, validates: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the loss asks for, of the samples and of the validation data: of "low" and "low_val" that of "low"."""
        name, loss = type(self).__name__, self.loss
        needs, takes, every, _ = Asked() if loss is None else asked(loss)
        kind = "the loss" if loss is None else type(loss).__name__
        looked_at = [one for one in given if one.endswith("_val") and one not in takes]
        of_samples = {one: array for one, array in given.items() if one not in looked_at}
        held_out = {one.removesuffix("_val"): given[one] for one in looked_at}
        for part, ending in ((of_samples, ""), (held_out, "_val")):
            for one in part:
                if not (every or one in takes):
                    wants = f"asks for {', '.join(takes)}" if takes else "takes nothing beside y and sample_weight"
                    raise TypeError(f"{name}.fit() got an unexpected keyword argument {one + ending!r}; {kind} {wants}")
            lacking = [one + ending for one in needs if one not in part] if validates or not ending else []
            if lacking:
                raise TypeError(f"{name}.fit() needs {lacking[0]}=…, an array of n samples: {kind} asks for it")
        if held_out and not validates:
            raise ValueError(f"{name}.fit: X_val must be given too, got only {looked_at[0]}")
        return of_samples, held_out

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *validation: Any,
        classes: Any = None,
        only_one: bool = False,
        extra: Mapping[str, Any] = NOTHING,
    ) -> Any:
        if self.loss is not None and not isinstance(self.loss, Module):
            raise TypeError(f"{type(self).__name__}: loss must be a chainrule loss or None, got {self.loss!r}")
        if self.optimizer is not None and not is_update_rule(self.optimizer):
            raise TypeError(
                f"{type(self).__name__}: optimizer must be a chainrule optimizer or None, got {self.optimizer!r}"
            )
        new = not hasattr(self, "network_") or not (self.warm_start or only_one)
        extra, of_validation = self._beside(extra, validates=any(part is not None for part in validation))
        samples = self._samples(X, y, sample_weight, extra, reset=new)
        if not new and self._columns_of_inputs(samples.x.shape[1]) != self._parts:
            raise ValueError(f"{type(self).__name__}: inputs must be those that network_ has, to go on with it")
        held_out = self._held_out(*validation, extra=of_validation) if validation else None
        n_outputs = self._learn(samples.y, classes, new=new, only_one=only_one)
        samples, generator = counting(self._weighted(samples)), check_random_state(self.random_state)
        loss = self._loss()
        if new:
            self._make(samples.x, n_outputs, loss, seed=int(generator.randint(2**31 - 1)))
        if held_out is None and self.validation_fraction is not None and not only_one:
            share = number(self, "validation_fraction", self.validation_fraction, above=0, below=1)
            samples, held_out = self._split(samples, share, generator)
        seed = int(generator.randint(2**31 - 1)) + self._epochs_before
        self._train(samples, held_out, loss, seed=seed, epochs=1 if only_one else self.epochs)
        return self

    def _make(self, x: np.ndarray, n_outputs: int, loss: Any, *, seed: int) -> None:
        """A new network, checked to have the outputs that it must have."""
        name, build = type(self).__name__, self.build if self.build is not None else default_network
        self._parts = self._columns_of_inputs(x.shape[1])
        n_features: Any = x.shape[1] if self._parts is None else {key: len(at) for key, at in self._parts.items()}
        if self._parts is not None and self.build is None:
            raise ValueError(f"{name}: inputs needs build, which says how they come together")
        copies: dict[int, Any] = {}
        if isinstance(build, Module):
            network = deepcopy(build, copies)
        elif callable(build):
            with _building, random.seeded(seed):
                network = build(n_features, n_outputs)
        else:
            raise TypeError(
                f"{name}: build must be a Module, or a function (n_features, n_outputs) -> Module, got {build!r}"
            )
        if not isinstance(network, Module):
            raise TypeError(f"{name}: build must return a Module, got {network!r}")
        if not network.param():
            raise ValueError(f"{name}: build must make a network with parameters, got {network!r}")
        network.to("numpy", dtype=checked_dtype(self, x))
        y = train.predict(network, self._shown(x[:1]))
        got = f"a {type(y).__name__}" if is_several(y) else tuple(y.shape)
        if got != (1, n_outputs):
            raise ValueError(f"{name}: the network must make (1, {n_outputs}) of one row of X for {loss!r}, got {got}")
        rule = self.optimizer if self.optimizer is not None else getattr(network, "optimizer", None)
        groups = getattr(rule, "groups", ())
        if groups:  # of the network's Parameters: those of `build`, which were copied, or its own
            copies |= {id(parameter): parameter for parameter in network.param()}
        self._optimizer = Adam() if rule is None else deepcopy(rule, copies if groups else None)
        if groups and not all(group.parameters <= set(network.param()) for group in self._optimizer.groups):
            raise ValueError(
                f"{name}: groups of optimizer must be of parameters of the network; let build give it its optimizer: "
                f"Sequential(Adam(groups=…), …)"
            )
        self._keep_network(network, self._outcome_of(loss))
        self.n_outputs_, self._epochs_before = n_outputs, 0

    def _train(self, samples: Samples, held_out: Samples | None, loss: Any, *, seed: int, epochs: int) -> None:
        if isinstance(self.batch_size, str) and self.batch_size == "auto":
            batch_size = min(AUTO_BATCH, len(samples.x))
        else:
            batch_size = positive(self, "batch_size", self.batch_size)
        options: Any = {name: getattr(self, name) for name in self._get_param_names() if name in NAMES}
        options |= {
            "epochs": epochs,
            "batch_size": batch_size,
            "validation": None if held_out is None else self._data(held_out),
            "optimizer": self._optimizer,
            "seed": seed,
            "progress": bool(self.verbose),
            "threads": effective_n_jobs(self.n_jobs),
        }
        try:
            self.history_ = train.fit(self.network_, loss, self._data(samples), **options)
        except FloatingPointError as diverged:
            raise ValueError(f"{type(self).__name__}: {diverged}") from None
        self.n_iter_ = self.history_.epochs
        self._epochs_before += self.n_iter_


class NetworkClassifier(AnyNetwork, NetworkClassification):
    """A classifier around any network.

    Parameters
    ----------
    build : a function (n_features, n_outputs) -> Module, a Module to start from a copy of, or None for one hidden layer
        of 32 units. n_outputs is the number of classes (or of labels), or 1 for two classes and BCEWithLogitsLoss.
    inputs : for a network with several inputs, which columns of X each is shown: {"weather": ["temp", "wind"],
        "calendar": ["month"]}, by the names of a data frame's columns or by their numbers. The network is then shown a
        dict of arrays, and n_features is a dict of their widths. Columns that no input names are left out.
    loss : a chainrule loss; by default CrossEntropyLoss, and BCEWithLogitsLoss where samples bear several labels. With
        NLLLoss the network says log-probabilities; with any other, such as MSELoss, outputs are compared with 1 for the
        true class and 0 for the others, and `predict_proba` divides them by their sum.
    optimizer : a chainrule optimizer, of which a copy is used; by default the network's own, or else Adam().
    epochs, batch_size, shuffle, stop, keep, average, accumulate, max_seconds, callbacks : as in `chainrule.fit`;
        batch_size may be "auto", for 200, or all samples if those are fewer.
    validation_fraction : the share of the samples that is set aside for the validation loss; None for none.
    class_weight : "balanced", or a dict of weights by class.
    random_state : of initial weights, split, order and masks.
    warm_start : go on with the network and its optimizer.
    verbose : show a progress bar.
    dtype : "float32" or "float64", in which the network computes; by default that of X, as in scikit-learn.
    n_jobs : the most threads that a step or a prediction may use; None is 1, -1 all cores.

    network_ : the trained network. history_ : the History of the last fit. classes_, n_features_in_, feature_names_in_,
    n_iter_, n_outputs_ : as in MLPClassifier.

    >>> import chainrule as cr
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> def build(n_features, n_outputs):
    ...     return cr.Sequential(cr.Adam(lr=0.01), cr.Linear(n_features, 16), cr.SiLU(), cr.Linear(16, n_outputs))
    >>> X, y = load_wine(return_X_y=True)
    >>> make_pipeline(StandardScaler(), NetworkClassifier(build, epochs=50, random_state=0)).fit(X, y).score(X, y)
    1.0
    """

    def __init__(
        self,
        build: Build | None = None,
        *,
        inputs: Any = None,
        loss: Any = None,
        optimizer: Any = None,
        epochs: int = 100,
        batch_size: Any = "auto",
        shuffle: bool = True,
        validation_fraction: float | None = None,
        stop: Any = None,
        keep: str = "best",
        average: Any = None,
        accumulate: int = 1,
        max_seconds: float | None = None,
        class_weight: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        callbacks: Iterable[Any] = (),
        verbose: Any = False,
        dtype: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        keep_arguments(self, locals())

    def _learn(self, y: Any, classes: Any, *, new: bool, only_one: bool) -> int:
        self._learn_classes(y, classes, new=new, only_one=only_one)
        n = len(self.classes_)
        single = n <= 2 and not self._labels.several and isinstance(self.loss, losses.BCEWithLogitsLoss)
        return 1 if single else n

    def _loss(self) -> Any:
        several = self._labels.several
        if self.loss is None:
            return losses.BCEWithLogitsLoss() if several else losses.CrossEntropyLoss()
        if several and getattr(self.loss, "classes", False):
            raise ValueError(
                f"NetworkClassifier: samples may bear several labels, so loss must compare each output with 0 or 1, "
                f"such as BCEWithLogitsLoss(), got {self.loss!r}"
            )
        return self.loss

    def _outcome_of(self, loss: Any) -> Module | None:
        if isinstance(loss, losses.BCEWithLogitsLoss):
            self._distributed = self._labels.several or len(self.classes_) <= 2  # else one against all others, each
            return layers.Sigmoid()
        self._distributed = isinstance(loss, Loss) and loss.classes
        return layers.Softmax() if self._distributed else None  # of log-probabilities it makes probabilities

    def _target(self, y: Any) -> np.ndarray:
        target, n = self._labels.encode(y), self.n_outputs_
        if self._labels.several or getattr(self._loss(), "classes", False):
            return target
        return target[:, None] if n == 1 else np.eye(n)[target]

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None, **extra: Any) -> Any:
        """Go on for one epoch, on any samples. The first call needs all classes.

        Shapes    as in fit; classes (n_classes,), for several labels not needed

        Returns   the estimator itself
        """
        return self._fit(X, y, sample_weight, classes=classes, only_one=True, extra=extra)

    def _strata(self, y: Any) -> Any:
        return None if self._labels.several else y


class NetworkRegressor(AnyNetwork, NetworkRegression):
    """A regressor around any network.

    Parameters
    ----------
    loss : a chainrule loss; by default MSELoss. With missing="ignore", such as MSELoss(missing="ignore"), y may hold
        NaN: those numbers have no share in training, validation and `score`.

    All others, and the attributes, are those of NetworkClassifier; n_outputs is the number of columns of y. With
    PoissonNLLLoss the network says logarithms, and `predict` their exponentials.

    >>> import chainrule as cr
    >>> from sklearn.datasets import make_friedman1
    >>> X, y = make_friedman1(1000, random_state=0)
    >>> regressor = NetworkRegressor(loss=cr.HuberLoss(), optimizer=cr.Adam(lr=0.01), epochs=500, random_state=0)
    >>> regressor.fit(X, y).score(X, y) > 0.8
    True
    """

    def __init__(
        self,
        build: Build | None = None,
        *,
        inputs: Any = None,
        loss: Any = None,
        optimizer: Any = None,
        epochs: int = 100,
        batch_size: Any = "auto",
        shuffle: bool = True,
        validation_fraction: float | None = None,
        stop: Any = None,
        keep: str = "best",
        average: Any = None,
        accumulate: int = 1,
        max_seconds: float | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        callbacks: Iterable[Any] = (),
        verbose: Any = False,
        dtype: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        keep_arguments(self, locals())

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, **extra: Any) -> Any:
        """Go on for one epoch, on any samples.

        Shapes    as in fit

        Returns   the estimator itself
        """
        return self._fit(X, y, sample_weight, only_one=True, extra=extra)

    @property
    def _may_be_missing(self) -> bool:
        return getattr(self.loss, "missing", "error") == "ignore"

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of y's variance that is explained, R², averaged over outputs; of what is there of y.

        Shapes    as in fit
        """
        if not self._may_be_missing:
            return float(super().score(X, y, sample_weight))
        said, samples = self.predict(X), self._samples(X, y, sample_weight, reset=False)
        data = Dataset(said.reshape(len(said), -1), self._target(samples.y), samples.weight)
        require_counting(f"{type(self).__name__}.score", "y", self.loss, data.x, data)
        data = metrics.counting(self.loss, data)
        return float(metrics.for_loss(metrics.r2, self.loss)(data.x, data.target, data.sample_weight))

    def _learn(self, y: Any, classes: Any, *, new: bool, only_one: bool) -> int:
        n = self._number_of_outputs(y, new=new)
        self._exponential = isinstance(self.loss, losses.PoissonNLLLoss) and self.loss.log_input
        return n

    def _loss(self) -> Any:
        return losses.MSELoss() if self.loss is None else self.loss

    def _target(self, y: Any) -> np.ndarray:
        target: np.ndarray = y.reshape(len(y), -1)
        return target
