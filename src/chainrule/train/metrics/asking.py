"""What fit and evaluate do with metrics."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ...data import Dataset
from ...losses.multi import MultiLoss
from ...roles import require_functions
from ..history import COLUMNS
from .classification import accuracy, error_rate, errors
from .counted import counting
from .regression import mae, r2, rmse

Metric = Callable[..., float]
Measure = Callable[[Any, Dataset], float]  # of the outputs, and of the data that they are of

OF_ONE_HEAD = (errors, error_rate, accuracy, mae, rmse, r2)


def require_metrics(who: str, metrics: Any) -> Any:
    """metrics, if they are a list of functions, or a mapping from heads to such lists."""
    if isinstance(metrics, Mapping):
        return {key: require_functions(who, f"metrics[{key!r}]", some) for key, some in metrics.items()}
    return require_functions(who, "metrics", metrics)


def measures(metrics: Any, loss: Any) -> dict[str, Measure]:
    """What `fit` asks after each epoch, by the name of its column: "accuracy", or of a head "accuracy[kind]".

    metrics : as `require_metrics` gives them.

    Raises TypeError for heads that there are not, and where a metric takes one array and there are several.
    """
    found: dict[str, Measure] = {}
    heads = loss.heads if isinstance(loss, MultiLoss) else {}
    if not isinstance(metrics, Mapping):
        for metric in metrics:
            if heads and getattr(metric, "func", metric) in OF_ONE_HEAD:
                told = ", ".join(map(repr, heads))
                raise TypeError(
                    f"fit: {name_of(metric)} takes one array, and there are the heads {told}; "
                    f"say of which: metrics={{{next(iter(heads))!r}: [{name_of(metric)}]}}"
                )
            _name(found, name_of(metric), _of_all(for_loss(metric, loss)))
        return found
    for key, some in metrics.items():
        if key not in heads:
            told = f"there are {', '.join(map(repr, heads))}" if heads else f"{loss!r} has none; give a list"
            raise TypeError(f"fit: metrics must be by the heads of the loss, got {key!r}; {told}")
        for metric in some:
            _name(found, f"{name_of(metric)}[{key}]", _of_head(for_loss(metric, heads[key]), key, heads[key]))
    return found


def _of_all(metric: Metric) -> Measure:
    return lambda y, data: float(metric(y, data.target, data.sample_weight))


def _of_head(metric: Metric, key: Any, loss: Any) -> Measure:
    def measure(y: Any, data: Dataset) -> float:
        counted = counting(loss, Dataset(y[key], data.target[key], data.sample_weight))
        return float(metric(counted.x, counted.target, counted.sample_weight))

    return measure


def _name(found: dict[str, Measure], name: str, measure: Measure) -> None:
    if name in found:
        raise ValueError(f"fit: there are two metrics named {name!r}; give one a __name__ of its own")
    if name in COLUMNS:  # of the two, a table would show one
        raise ValueError(f"fit: a metric must not be named {name!r}, like a column of the History; give it another")
    found[name] = measure


def name_of(metric: Metric) -> str:
    """What the metric is called; a functools.partial goes by the name of its function."""
    return str(getattr(getattr(metric, "func", metric), "__name__", repr(metric)))


def for_loss(metric: Metric, loss: object) -> Metric:
    """The metric as a function (y, target, sample_weight) for a network that was trained with `loss`.

    Those of classes go by the threshold of the loss. Whether it takes weights is looked at here, once.
    """
    if metric in (errors, error_rate, accuracy):
        metric = partial(metric, threshold=threshold_of(loss))
    weighs = takes_weights(metric)
    try:
        inspect.signature(metric).bind(None, None, **({"sample_weight": None} if weighs else {}))
    except TypeError:
        raise TypeError(f"a metric must take (y, target) or (y, target, sample_weight), got {metric!r}") from None
    except ValueError:  # some functions that were written in C do not say
        pass
    if weighs:
        return lambda y, target, sample_weight: metric(y, target, sample_weight=sample_weight)
    return lambda y, target, sample_weight: metric(y, target)


def takes_weights(metric: Metric) -> bool:
    """Whether a metric has an argument `sample_weight`."""
    try:
        return "sample_weight" in inspect.signature(metric).parameters
    except (TypeError, ValueError):  # some functions that were written in C do not say
        return False


def threshold_of(loss: object) -> float:
    """Above which value a single output says "class 1"."""
    return float(getattr(loss, "threshold", 0.5))
