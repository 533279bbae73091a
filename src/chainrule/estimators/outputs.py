"""What estimators answer: labels and probabilities, or numbers."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target

from .base import NetworkEstimator, Samples
from .targets import Labels

# `partial_fit` is there where the solver makes steps.
stochastic = available_if(lambda estimator: estimator._check_solver())


class NetworkClassification(ClassifierMixin, NetworkEstimator):
    """A classifier around a network.

    classes_ : the classes, sorted, as the columns of `predict_proba` are.
    """

    class_weight: Any
    classes_: np.ndarray

    _distributed = True  # whether the network says probabilities

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Train on labelled samples.

        Shapes    X (n, n_features), dense or sparse, a data frame of numbers too; sample_weight (n,);
                  y (n,) labels, or (n, n_labels) of 0 and 1

        Parameters
        ----------
        X_val, y_val, sample_weight_val : validation data of your own, to watch the loss, and to stop early by.

        Returns   the estimator itself
        """
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    @stochastic
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Go on for one epoch, on any samples. The first call needs all classes.

        Shapes    as in fit; classes (n_classes,), for several labels not needed

        Returns   the estimator itself
        """
        return self._fit(X, y, sample_weight, classes=classes, only_one=True)

    def _weighted(self, samples: Samples) -> Samples:
        """The samples with the weights of their classes."""
        if self.class_weight is None:
            return samples
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            return samples._replace(weight=balanced(self._labels.encode(samples.y), samples.weight))
        of_class = compute_sample_weight(self.class_weight, samples.y)
        return samples._replace(weight=of_class if samples.weight is None else of_class * samples.weight)

    def _learn_classes(self, y: Any, classes: Any, *, new: bool, only_one: bool) -> None:
        """Take in the classes of y for a new network, or see that they are those of before.

        Raises ValueError if they are not, or for a first `partial_fit` that does not say what all the classes are.
        """
        if not only_one and new:
            self._labels = Labels(y)
        elif not only_one:
            labels = Labels(y)
            if labels.several != self._labels.several or set(labels.classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {labels.classes}"
                )
        elif new:
            several = type_of_target(y) == "multilabel-indicator"
            if classes is None and not several:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self._labels = Labels(y if several else np.asarray(classes))
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        if only_one:
            self._labels.encode(y)  # refuses labels that are none of the classes, whatever they weigh
        self.classes_ = self._labels.classes

    def _columns(self, y: np.ndarray) -> np.ndarray:
        """A column for each class, where the network gives the probability of the second of two alone."""
        if self._labels.several or y.shape[1] != 1:
            return y
        return np.hstack([1 - y, y]) if len(self.classes_) == 2 else np.ones_like(y)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each sample, or each label that is more probable than not.

        Shapes    X (n, n_features) -> (n,) labels, or (n, n_labels) of 0 and 1
        """
        columns = self._columns(self._outputs(X))
        return self._labels.decode(columns)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, or of each label.

        Shapes    X (n, n_features) -> (n, n_classes) or (n, n_labels), in the order of `classes_`
        """
        columns = self._columns(self._outputs(X))
        if self._distributed:
            return columns
        return np.clip(columns, 0, 1) if self._labels.several else _normalised(columns)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of `predict_proba`; of a probability of 0 it is -∞.

        Shapes    X (n, n_features) -> (n, n_classes) or (n, n_labels)
        """
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def _gradients(self, x: np.ndarray) -> np.ndarray:
        found = super()._gradients(x)
        if self._labels.several or found.shape[1] != 1:
            return found
        return np.concatenate([-found, found], axis=1) if len(self.classes_) == 2 else np.zeros_like(found)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def balanced(index: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Weights with which all classes that are there weigh the same; a weight of 2 counts as two samples.

    Equation  weight · Σ weight / (n_classes · Σ weight of the class); with several labels a product over their columns
    Shapes    index (n,) numbers of classes, or (n, n_labels) of 0 and 1; weight (n,) -> (n,)
    Source    King, Zeng 2001, "Logistic regression in rare events data", as class_weight="balanced" in scikit-learn
    """
    weight = np.ones(len(index)) if weight is None else weight
    found = weight.astype(np.float64)
    for column in index.reshape(len(index), -1).T:
        total = np.bincount(column, weights=weight)
        of_class = np.where(total > 0, total, 1)  # of a class that weighs nothing no sample does either
        found *= total.sum() / (np.count_nonzero(total) * of_class[column])
    return found


def _normalised(y: np.ndarray) -> np.ndarray:
    """Outputs that were trained to be 1 for the true class and 0 for others, as probabilities."""
    y = np.clip(y, 0, None)
    total = y.sum(axis=1, keepdims=True)
    return np.where(total > 0, y / np.where(total > 0, total, 1), 1 / y.shape[1])


class NetworkRegression(RegressorMixin, NetworkEstimator):
    """A regressor around a network."""

    _numbers = True
    _exponential = False  # whether the network says the logarithm of what is predicted
    n_outputs_: int

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Train on samples with numbers to predict.

        Shapes    X (n, n_features), dense or sparse, a data frame of numbers too; y (n,) or (n, n_outputs);
                  sample_weight (n,)

        Parameters
        ----------
        X_val, y_val, sample_weight_val : validation data of your own, to watch the loss, and to stop early by.

        Returns   the estimator itself
        """
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    @stochastic
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Go on for one epoch, on any samples.

        Shapes    as in fit

        Returns   the estimator itself
        """
        return self._fit(X, y, sample_weight, only_one=True)

    def _number_of_outputs(self, y: np.ndarray, *, new: bool) -> int:
        """The columns of y, checked to be as many as before for a network that is not new."""
        n = 1 if y.ndim == 1 else y.shape[1]
        if not new and n != self.n_outputs_:
            raise ValueError(f"{type(self).__name__}: y must have {self.n_outputs_} outputs as before, got {n}")
        return n

    def predict(self, X: Any) -> np.ndarray:
        """What the network predicts.

        Shapes    X (n, n_features) -> (n,) or (n, n_outputs)
        """
        y = self._outputs(X)
        if self._exponential:
            y = np.exp(y)
        return y[:, 0] if y.shape[1] == 1 else y

    def _gradients(self, x: np.ndarray) -> np.ndarray:
        found = super()._gradients(x)
        if self._exponential:  # d exp(y) = exp(y) dy
            found *= np.exp(self._predictor(self._shown(x)))[:, :, None]
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
