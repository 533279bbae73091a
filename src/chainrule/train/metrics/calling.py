"""How a metric is called: with what the loss means, and with weights if it takes them."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...arrays import Array
from .classification import accuracy, balanced_accuracy, confusion_matrix, error_rate, errors, f1
from .counted import by_element
from .decisions import one_class_each
from .likelihood import log_loss
from .outputs import answers, probabilities, scores, threshold_of
from .ranking import roc_auc
from .regression import mae, mape, r2, rmse
from .scikit_learn import ScikitLearn, recognised

Metric = Callable[..., float]

BY_THRESHOLD: tuple[Callable[..., Any], ...] = (errors, error_rate, accuracy, balanced_accuracy, f1, confusion_matrix)
OF_NUMBERS = (mae, rmse, r2, mape)
OF_ONE_HEAD = (*BY_THRESHOLD, roc_auc, log_loss, *OF_NUMBERS)


def name_of(metric: Callable[..., Any]) -> str:
    """What the metric is called; a functools.partial goes by the name of its function, unless it has one itself."""
    return str(getattr(metric, "__name__", getattr(function_of(metric), "__name__", repr(metric))))


def function_of(metric: Callable[..., Any]) -> Any:
    """The function itself, of a functools.partial too."""
    return metric.func if isinstance(metric, partial) else metric


def for_loss(metric: Callable[..., Any], loss: object) -> Callable[..., Any]:
    """The metric as a function (y, target, sample_weight) for a network that was trained with `loss`.

    Those of this package, and scikit-learn's, are given what the loss means: its threshold, probabilities, classes, and
    which elements it counts. Those of a user are given outputs and targets as they are. Whether a metric takes weights
    is looked at here, once.
    """
    metric = recognised("metrics", metric)
    function = function_of(metric)
    if isinstance(function, ScikitLearn):
        return _asked(partial(metric, loss=loss))
    if is_one_of(BY_THRESHOLD, metric):
        given = {"threshold": threshold_of(loss)} | getattr(metric, "keywords", {})
        asked = _asked(partial(function, *getattr(metric, "args", ()), **given))
        return lambda y, target, weight: asked(y, answers(target, loss), weight)
    asked = _asked(metric)
    if function is roc_auc:
        return lambda y, target, weight: asked(scores(y, loss), _named(y, target, loss), weight)
    if function is log_loss:
        return lambda y, target, weight: asked(probabilities(y, loss), answers(target, loss), weight)
    if is_one_of(OF_NUMBERS, metric):
        return lambda y, target, weight: asked(y, target, by_element(loss, target, weight))
    return asked


def _named(y: Array, target: Array, loss: object) -> np.ndarray:
    """The class of each sample, of targets that may be rows like those of y."""
    return one_class_each("roc_auc", y, answers(target, loss), None).true


def of_one_head(metric: Callable[..., Any]) -> bool:
    """Whether a metric takes the outputs of one head, and not those of several."""
    return isinstance(function_of(metric), ScikitLearn) or is_one_of(OF_ONE_HEAD, metric)


def is_one_of(functions: tuple[Callable[..., Any], ...], metric: Callable[..., Any]) -> bool:
    """Whether the metric is one of these; by identity, as a user's objects may compare as they like."""
    return any(function_of(metric) is function for function in functions)


def _asked(metric: Callable[..., Any]) -> Callable[..., Any]:
    """The metric as a function of three arguments, whether it takes weights, by name or by place, or not.

    Raises TypeError for what takes neither (y, target) nor (y, target, sample_weight).
    """
    weighs, by_place = takes_weights(metric), False
    try:
        signature = inspect.signature(metric)
        third = list(signature.parameters.values())[2:3]
        by_place = any(one.name == "sample_weight" and one.kind is one.POSITIONAL_ONLY for one in third)
        by_name = {"sample_weight": None} if weighs and not by_place else {}
        signature.bind(*(3 if by_place else 2) * (None,), **by_name)
    except TypeError:
        raise TypeError(f"a metric must take (y, target) or (y, target, sample_weight), got {metric!r}") from None
    except ValueError:  # some functions that were written in C do not say
        pass
    if by_place:
        return metric
    if weighs:
        return lambda y, target, sample_weight: metric(y, target, sample_weight=sample_weight)
    return lambda y, target, sample_weight: metric(y, target)


def takes_weights(metric: Callable[..., Any]) -> bool:
    """Whether a metric has an argument `sample_weight`."""
    try:
        return "sample_weight" in inspect.signature(metric).parameters
    except (TypeError, ValueError):  # some functions that were written in C do not say
        return False
