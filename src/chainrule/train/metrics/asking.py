"""What fit and evaluate ask of a list of metrics: each a number, under its name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ...data import Dataset
from ...losses.multi import MultiLoss
from ...roles import require_functions
from ..history import COLUMNS
from .calling import Metric, for_loss, function_of, name_of, of_one_head
from .classification import confusion_matrix
from .counted import counting
from .scikit_learn import recognised

Measure = Callable[[Any, Dataset], float]  # of the outputs, and of the data that they are of


def require_metrics(who: str, metrics: Any) -> Any:
    """metrics, if they are a list of functions that give a number, or a mapping from heads to such lists.

    Those of scikit-learn's become metrics of ours (see `from_sklearn`).
    """
    if isinstance(metrics, Mapping):
        return {key: _require(who, f"metrics[{key!r}]", some) for key, some in metrics.items()}
    return _require(who, "metrics", metrics)


def _require(who: str, name: str, metrics: Any) -> list[Metric]:
    found = [recognised(who, metric) for metric in require_functions(who, name, metrics)]
    for metric in found:
        if function_of(metric) is confusion_matrix:
            raise TypeError(
                f"{who}: each of {name} must give a number, and confusion_matrix gives a table; "
                f"ask afterwards: evaluate(model, loss, data).confusion_matrix"
            )
    return found


def measures(metrics: Any, loss: Any, who: str = "fit") -> dict[str, Measure]:
    """What `fit` asks after each epoch, by the name of its column: "accuracy", or of a head "accuracy[kind]".

    metrics : as `require_metrics` gives them. who : asks.

    Raises TypeError for heads that there are not, and where a metric takes one array and there are several.
    """
    found: dict[str, Measure] = {}
    heads = loss.heads if isinstance(loss, MultiLoss) else {}
    if not isinstance(metrics, Mapping):
        for metric in metrics:
            if heads and of_one_head(metric):
                told = ", ".join(map(repr, heads))
                raise TypeError(
                    f"{who}: {name_of(metric)} takes one array, and there are the heads {told}; "
                    f"say of which: metrics={{{next(iter(heads))!r}: [{name_of(metric)}]}}"
                )
            _add(who, found, name_of(metric), _of_all, for_loss(metric, loss))
        return found
    for key, some in metrics.items():
        if key not in heads:
            told = f"there are {', '.join(map(repr, heads))}" if heads else f"{loss!r} has none; give a list"
            raise TypeError(f"{who}: metrics must be by the heads of the loss, got {key!r}; {told}")
        for metric in some:
            of, given = heads[key], partial(_of_head, key, heads[key])
            _add(who, found, f"{name_of(metric)}[{key}]", given, for_loss(metric, of))
    return found


def _of_all(y: Any, data: Dataset) -> tuple[Any, Any, Any]:
    """What a metric of the whole is given: outputs, targets and weights."""
    return y, data.target, data.sample_weight


def _of_head(key: Any, loss: Any, y: Any, data: Dataset) -> tuple[Any, Any, Any]:
    """What a metric of one head is given, of the samples that its loss counts."""
    counted = counting(loss, Dataset(y[key], data.target[key], data.sample_weight))
    return counted.x, counted.target, counted.sample_weight


def _add(who: str, found: dict[str, Measure], name: str, given: Callable[..., Any], metric: Metric) -> None:
    """Write down what is asked under a name, and that it is to be a number."""
    if name in found:
        raise ValueError(f"{who}: there are two metrics named {name!r}; give one a __name__ of its own")
    if name in COLUMNS:  # of the two, a table would show one
        raise ValueError(f"{who}: a metric must not be named {name!r}, like a column of the History; give it another")

    def measure(y: Any, data: Dataset) -> float:
        value = metric(*given(y, data))
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):  # of several numbers NumPy raises the first, PyTorch the last
            got = f"{type(value).__name__} {getattr(value, 'shape', '')}".rstrip()
            raise TypeError(f"{who}: the metric {name} must return a number, got a {got}") from None

    found[name] = measure
