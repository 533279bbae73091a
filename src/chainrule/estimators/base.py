"""What all estimators share: data come in checked, and a trained network answers."""

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from joblib import effective_n_jobs
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from ..arguments import choice
from ..arrays import dtype_name
from ..data import Dataset
from ..layers import Sequential
from ..module import Module
from ..structures import Structure
from ..train.prepare import require_finite
from .prediction import Predictor

SPARSE = ("csr", "csc")
FLOATING = (np.float64, np.float32)
AUTO_BATCH = 200  # samples of batch_size="auto", as in scikit-learn


NOTHING: Mapping[str, Any] = MappingProxyType({})


class Samples(NamedTuple):
    """Checked data: x (n, n_features) floating-point; y as it came, (n,) or (n, n_outputs); weight (n,) or None.

    extra : by name, what the loss asks for beside them, (n, …).
    """

    x: np.ndarray
    y: Any
    weight: np.ndarray | None
    extra: Mapping[str, np.ndarray] = NOTHING

    def take(self, at: Any) -> "Samples":
        """The samples at these places."""
        weight = None if self.weight is None else self.weight[at]
        return Samples(self.x[at], self.y[at], weight, {name: array[at] for name, array in self.extra.items()})


class NetworkEstimator(BaseEstimator):
    """A scikit-learn estimator around a network of chainrule's.

    network_ : the network that is trained, without what makes predictions of its outputs. It is a Module like any
        other: `network_.save(path)`, `chainrule.to_onnx(network_, path)`.
    """

    network_: Module
    n_features_in_: int
    n_jobs: int | None

    _numbers = False  # whether y must hold numbers

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *validation: Any,
        classes: Any = None,
        only_one: bool = False,
    ) -> Any:
        """Train: `validation` is X, y and weights of one's own; only_one is for `partial_fit`."""
        raise NotImplementedError

    def _check_solver(self) -> bool:
        """True, or AttributeError if the solver makes no steps, so that there is no `partial_fit`."""
        return True

    # -- what classifiers and regressors say about targets

    @property
    def _may_be_missing(self) -> bool:
        """Whether y may hold NaN, for numbers that nobody knows."""
        return False

    def _target(self, y: Any) -> np.ndarray:
        """The targets as the loss takes them."""
        raise NotImplementedError

    def _weighted(self, samples: Samples) -> Samples:
        """The samples with all their weights."""
        return samples

    def _strata(self, y: Any) -> Any:
        """What a split has to keep in proportion; None for nothing."""
        return None

    # -- data

    def _samples(
        self, X: Any, y: Any, sample_weight: Any, extra: Mapping[str, Any] = NOTHING, *, reset: bool
    ) -> Samples:
        """Data to learn from, those of weight 0 too: their classes count."""
        self._require_rows(X)
        of_x: dict[str, Any] = {"accept_sparse": SPARSE, "dtype": FLOATING}
        if self._may_be_missing:
            of_y = {"ensure_2d": False, "ensure_all_finite": "allow-nan", "dtype": FLOATING}
            X, y = validate_data(self, X, y, validate_separately=(of_x, of_y), reset=reset)
            check_consistent_length(X, y)
        else:
            X, y = validate_data(self, X, y, multi_output=True, y_numeric=self._numbers, reset=reset, **of_x)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        x, weight = dense(X), None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        return Samples(x, y, weight, {name: beside(name, array, x) for name, array in extra.items()})

    def _held_out(
        self, X_val: Any, y_val: Any, sample_weight_val: Any, *, extra: Mapping[str, Any] = NOTHING
    ) -> Samples | None:
        """Validation data of the user's own, if there are any."""
        if X_val is None and y_val is None and sample_weight_val is None:
            return None
        if X_val is None or y_val is None:
            given, other = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
            raise ValueError(f"{type(self).__name__}.fit: {other} must be given too, got only {given}")
        check_consistent_length(X_val, y_val)
        return counting(self._samples(X_val, y_val, sample_weight_val, extra, reset=False))

    def _split(self, samples: Samples, share: float, random: Any) -> tuple[Samples, Samples]:
        """Set a share of the samples aside, for validation."""
        places = train_test_split(
            np.arange(len(samples.x)), random_state=random, test_size=share, stratify=self._strata(samples.y)
        )
        if len(places[1]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return samples.take(places[0]), samples.take(places[1])

    def _data(self, samples: Samples) -> Dataset:
        """Samples as `fit` takes them."""
        return Dataset(self._shown(samples.x), self._target(samples.y), samples.weight, extra=samples.extra)

    def _shown(self, x: np.ndarray) -> Structure:
        """What the network is shown of x (n, n_features)."""
        return x

    def _inputs(self, X: Any) -> np.ndarray:
        """X as the network takes it: contiguous, of its dtype, finite. A plain array is looked at by NumPy alone."""
        if (
            type(X) is np.ndarray
            and X.dtype in FLOATING
            and X.ndim == 2
            and X.shape[1] == self.n_features_in_
            and X.shape[0] > 0
            and not hasattr(self, "feature_names_in_")
        ):
            x = self._converted(X)
            if bool(np.isfinite(x).all()):
                return x
        self._require_rows(X)
        x = self._converted(dense(validate_data(self, X, accept_sparse=SPARSE, dtype=FLOATING, reset=False)))
        require_finite(type(self).__name__, "X", x)
        return x

    def _require_rows(self, X: Any) -> None:
        """Refuse arrays of images and series: scikit-learn's are rows, which a network may lay out for itself."""
        shape = tuple(getattr(X, "shape", ()))
        if len(shape) > 2:
            network = f"a network that begins with Reshape{shape[1:]}"
            if len(shape) == 4:
                network += "; where the channels come last, (n, h, w, c), with Permute(0, 3, 1, 2) behind it"
            raise ValueError(
                f"{type(self).__name__}: X must be (n, n_features), a row of numbers for each sample, got {shape}; "
                f"give it X.reshape(len(X), -1), and {network}"
            )

    def _converted(self, X: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # what is too large for the dtype becomes infinite, and is refused as such
            return np.ascontiguousarray(X, dtype=self._dtype)

    # -- the network

    def _keep_network(self, network: Module, outcome: Module | None) -> None:
        """Keep a network that is to be trained, and what makes predictions of its outputs."""
        self.network_ = network
        self._dtype = network.param()[0].value.dtype
        self._predictor = Predictor(
            network if outcome is None else Sequential(network, outcome), effective_n_jobs(self.n_jobs)
        )

    def _require_fitted(self) -> None:
        if "network_" not in vars(self):  # asked first because scikit-learn's own question takes as long as the network
            check_is_fitted(self)

    def _outputs(self, X: Any) -> np.ndarray:
        """What the network predicts of X: probabilities or numbers, (n, n_outputs)."""
        self._require_fitted()
        y = self._predictor(self._shown(self._inputs(X)))
        return y.reshape(len(y), -1)

    def input_gradient(self, X: Any, output: int | None = None) -> np.ndarray:
        """How each prediction changes with each feature: the derivative of the predictions by X.

        Of a classifier these are the probabilities of its classes (or labels), of a regressor its numbers.

        Parameters
        ----------
        X : (n, n_features).
        output : the number of one output, 0 … n_outputs-1; by default all.

        Returns   (n, n_features) for one output, or if there is only one; else (n, n_outputs, n_features)

        Raises ValueError for an output that does not exist.
        """
        self._require_fitted()
        x = self._inputs(X)
        gradients = self._gradients(x)
        n = gradients.shape[1]
        if output is None:
            return gradients[:, 0] if n == 1 else gradients
        if not isinstance(output, int | np.integer) or not 0 <= output < n:
            raise ValueError(f"{type(self).__name__}.input_gradient: output must be in 0 … {n - 1}, got {output!r}")
        return gradients[:, output]

    def _gradients(self, x: np.ndarray) -> np.ndarray:
        """The gradient of each output of the network with its outcome, (n, n_outputs, n_features), by `backward`."""
        network = copy.deepcopy(self._predictor.network).eval()  # whose gradients and mode are nobody's
        y, saved = network.forward(self._shown(x))
        found = np.empty((len(x), y.shape[1], x.shape[1]), x.dtype)
        for i in range(y.shape[1]):
            dy = np.zeros_like(y)
            dy[:, i] = 1
            found[:, i] = self._gathered(network.backward(dy, saved), x)
        return found

    def _gathered(self, dx: Structure, x: np.ndarray) -> np.ndarray:
        """The gradient by x, of that by what the network is shown of it."""
        whole: np.ndarray = dx
        return whole

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def counting(samples: Samples) -> Samples:
    """The samples without those of weight 0, which are to change nothing at all: no split, no batch, no step.

    Raises ValueError if none is left.
    """
    if samples.weight is None or samples.weight.all():
        return samples
    counts = samples.weight != 0
    if not counts.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")  # scikit-learn's words
    return samples.take(counts)


def beside(name: str, values: Any, x: np.ndarray) -> np.ndarray:
    """An array (n, …) that goes along with x for the loss, whose matter it is what infinity and NaN mean there."""
    array: np.ndarray = check_array(
        values, dtype=None, ensure_2d=False, allow_nd=True, ensure_all_finite=False, input_name=name
    )
    check_consistent_length(x, array)
    return array


def dense(X: Any) -> np.ndarray:
    """X, or its numbers as a dense array if it is sparse: the engine multiplies dense matrices."""
    full: np.ndarray = X.toarray() if sparse.issparse(X) else X
    return full


def checked_dtype(estimator: Any, x: np.ndarray) -> np.dtype:
    """The dtype that the network is to compute in: that of the argument, or else of x."""
    if estimator.dtype is None:
        followed: np.dtype = x.dtype
        return followed
    return np.dtype(choice(estimator, "dtype", dtype_name(estimator.dtype), ("float32", "float64")))


def keep_arguments(estimator: Any, arguments: dict[str, Any]) -> None:
    """Keep every argument of a constructor under its own name, unlooked at, as scikit-learn asks for."""
    vars(estimator).update({name: value for name, value in arguments.items() if name != "self"})
