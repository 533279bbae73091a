"""Metrics of scikit-learn's, which take the target first, and classes or probabilities in the place of outputs."""

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...arguments import choice
from ...arrays import Array
from ...roles import require_function
from .decisions import one_class_each
from .outputs import answers, probabilities, scores, threshold_of
from .weighing import rows, weights

# What the functions of sklearn.metrics take next to the target, of those that give one number for a network's outputs.
TAKE = {
    "classes": (
        "accuracy_score",
        "balanced_accuracy_score",
        "cohen_kappa_score",
        "f1_score",
        "fbeta_score",
        "hamming_loss",
        "jaccard_score",
        "matthews_corrcoef",
        "precision_score",
        "recall_score",
        "zero_one_loss",
    ),
    "probabilities": (
        "brier_score_loss",
        "d2_brier_score",
        "d2_log_loss_score",
        "log_loss",
        "top_k_accuracy_score",
    ),
    "scores": ("average_precision_score", "roc_auc_score"),
    "outputs": (
        "d2_absolute_error_score",
        "d2_pinball_score",
        "d2_tweedie_score",
        "explained_variance_score",
        "max_error",
        "mean_absolute_error",
        "mean_absolute_percentage_error",
        "mean_gamma_deviance",
        "mean_pinball_loss",
        "mean_poisson_deviance",
        "mean_squared_error",
        "mean_squared_log_error",
        "mean_tweedie_deviance",
        "median_absolute_error",
        "r2_score",
        "root_mean_squared_error",
        "root_mean_squared_log_error",
    ),
}
SCORER = "a scorer takes an estimator: give the function that it is made of"
TARGET_FIRST = (("y_true",), ("labels_true",))  # names of a first argument that is the target


class ScikitLearn:
    """A metric (y, target, sample_weight=None) that asks one of scikit-learn's; `from_sklearn` makes it.

    metric, of, options : the function, what it takes next to the target, and what more it is given.
    """

    def __init__(self, metric: Callable[..., Any], of: str, name: str, options: dict[str, Any]) -> None:
        self.metric, self.of, self.options = metric, of, options
        self.__name__ = name
        self.takes = _names(metric)

    def __call__(self, y: Array, target: Array, sample_weight: Array | None = None, *, loss: object = None) -> Any:
        """What the function says; NaN if a y is. loss : what says which classes and probabilities outputs mean."""
        if self.of == "outputs":
            said, true = rows(self.__name__, "y", y), rows(self.__name__, "target", target)
            counts, weight = weights(self.__name__, len(said), sample_weight)
            said, true = said[counts], true[counts]
        else:
            found = one_class_each(self.__name__, y, answers(target, loss), sample_weight, threshold_of(loss))
            said, true, weight = found.said, found.true, found.weight
            if self.of != "classes":
                said = (scores if self.of == "scores" else probabilities)(y, loss)[found.counts]
        if np.isnan(said).any() or (self.of == "classes" and (said < 0).any()):
            return float("nan")
        said = said if self.of == "outputs" else _of_class_one(said)
        try:
            return self.metric(true, said, **self._given(said, weight))
        except ValueError as error:  # "Input contains NaN." does not say which of several metrics would not have it
            raise ValueError(f"{self.__name__}: {error}") from error

    def _given(self, said: np.ndarray, weight: np.ndarray | None) -> dict[str, Any]:
        """The options, weights where it takes them, and the classes that outputs are of, if some may be missing."""
        given = dict(self.options)
        if "labels" in self.takes and self.of in ("probabilities", "scores"):
            given.setdefault("labels", np.arange(said.shape[1] if said.ndim == 2 else 2))
        if weight is not None and "sample_weight" in self.takes:
            given["sample_weight"] = weight
        return given

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"from_sklearn({self.metric.__name__}, of={self.of!r}{options})"


def from_sklearn(
    metric: Callable[..., Any], *, of: str | None = None, name: str | None = None, **options: Any
) -> ScikitLearn:
    """A metric of scikit-learn's, or any function (y_true, …), as one that `fit`, `fit_many` and `evaluate` can ask.

    It is given the target first, without rows that the loss ignores; next to it what it takes of the outputs, as the
    loss means them; and sample_weight, if it has such an argument and there are weights. NaN in the outputs gives NaN.

    The functions of sklearn.metrics may be given to `fit` as they are, and so may `functools.partial` of them. This is
    for options, and for what is not known by name.

    Parameters
    ----------
    metric : the function.
    of : what it takes: "classes" (batch,), integers; "probabilities", (batch,) of class 1 of two, (batch, C) of more;
        "scores", the same, but of two classes any numbers that rank them; "outputs", as they are. Known of those in
        sklearn.metrics that give a number for outputs of a network.
    name : of its column; by default that of the function.
    options : are passed on to the function.

    Raises TypeError for options that it does not take, and for scorers, which take an estimator.

    >>> from sklearn.metrics import fbeta_score
    >>> y, target = np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]]), np.array([1, 0, 0])
    >>> round(float(from_sklearn(fbeta_score, beta=2)(y, target)), 4)
    0.8333
    """
    given: Any = metric
    if isinstance(given, partial):  # there is never one inside of another
        if given.args:
            raise TypeError(f"from_sklearn: metric must be given its options by name, got {given!r}")
        metric, options = given.func, given.keywords | options
    require_function("from_sklearn", "metric", metric)
    told = getattr(metric, "__name__", repr(metric))
    try:
        inspect.signature(metric).bind(None, None, **options)
    except TypeError as error:
        why = SCORER if _is_scorer(metric) else error
        raise TypeError(f"from_sklearn: {told} must take (y_true, y_pred) and its options, but {why}") from None
    except ValueError:  # some functions that were written in C do not say
        pass
    if "sample_weight" in options:
        raise TypeError(f"from_sklearn: {told} is given the sample_weight of the data, got one as an option")
    of = _taken(metric) if of is None else choice("from_sklearn", "of", of, tuple(TAKE))
    if of is None:
        raise TypeError(
            f"from_sklearn: of must say what {told} takes next to the target, and it must give a number: "
            f'of="classes", "probabilities", "scores" or "outputs"'
        )
    return ScikitLearn(metric, of, told if name is None else name, options)


def recognised(who: str, metric: Any) -> Any:
    """scikit-learn's metric as one of ours; any other as it is.

    Raises TypeError for a function in scikit-learn's order of which nobody has said what it takes.
    """
    function = metric.func if isinstance(metric, partial) else metric
    if isinstance(function, ScikitLearn) or not (_names(function)[:1] in TARGET_FIRST or _from_sklearn(function)):
        return metric
    if _taken(function) is None:
        told = getattr(function, "__name__", repr(function))
        hint = f"say what it takes of the outputs: chainrule.metrics.from_sklearn({told}, of=…)"
        raise TypeError(
            f"{who}: each of metrics must be a function (y, target) that gives a number, got {told} of scikit-learn's "
            f"kind, {SCORER if _is_scorer(function) else f'(y_true, y_pred); {hint}'}"
        )
    return from_sklearn(metric)


def _of_class_one(values: np.ndarray) -> np.ndarray:
    """Of two classes, or of a single output, those of class 1 alone."""
    return values if values.ndim == 1 or values.shape[1] > 2 else values[:, -1]


def _taken(function: Any) -> str | None:
    """What a function takes next to the target, if it is one of sklearn.metrics that is known."""
    module, name = sys.modules.get("sklearn.metrics"), getattr(function, "__name__", "")
    if module is None or getattr(module, name, None) is not function:
        return None
    return next((of for of, names in TAKE.items() if name in names), None)


def _from_sklearn(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).partition(".")[0] == "sklearn"


def _is_scorer(function: Any) -> bool:
    return _names(function)[:1] == ("estimator",)


def _names(function: Any) -> tuple[str, ...]:
    """The names of a function's arguments; none where it does not say, as some that were written in C."""
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()
