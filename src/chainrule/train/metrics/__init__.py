"""What people ask of a trained network: functions (y, target, sample_weight=None) of all samples that return a number.

A class is the largest of several outputs; of a single output, whether it lies above `threshold`: 0.5 unless given, and
in `fit` and `evaluate` what the loss says (BCEWithLogitsLoss: 0, as its outputs are logits). Targets are class indices,
integers or whole numbers, or the like rows.

`fit`, `fit_many` and `evaluate` ask of the rows that the loss counts, with the weights that it gives them: rows whose
target the loss ignores and rows of weight 0 are left out before, and a row of weight 2 counts as two. (The weights that
a loss has for classes are no weights of rows.)

With several heads (a MultiLoss) a metric is asked of one of them: `metrics={"kind": [accuracy], "size": [r2]}`, by the
name of the head or by its place in the tuple. One in a plain list is given all of it: y and target as the network and
the data have them, tuples or dicts.

A metric of your own is a function (y, target), or one with an argument named `sample_weight` too, which it is given by
that name: (n,) numbers above 0, or None where all count the same. A function of two arguments cannot weigh: it is given
the rows that count, each once.
"""

from .asking import (
    OF_ONE_HEAD,
    Measure,
    Metric,
    for_loss,
    measures,
    name_of,
    require_metrics,
    takes_weights,
    threshold_of,
)
from .classification import accuracy, error_rate, errors
from .counted import counting
from .decisions import classes, labels
from .regression import mae, r2, rmse

__all__ = [
    "OF_ONE_HEAD",
    "Measure",
    "Metric",
    "accuracy",
    "classes",
    "counting",
    "error_rate",
    "errors",
    "for_loss",
    "labels",
    "mae",
    "measures",
    "name_of",
    "r2",
    "require_metrics",
    "rmse",
    "takes_weights",
    "threshold_of",
]
