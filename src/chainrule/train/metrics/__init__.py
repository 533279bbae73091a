"""What people ask of a trained network: functions (y, target, sample_weight=None) of all samples that return a number.

Of classes `errors`, `error_rate`, `accuracy`, `balanced_accuracy`, `f1`, and the table `confusion_matrix`; of
probabilities `roc_auc`, `log_loss`; of numbers `mae`, `rmse`, `mape`, `r2`. docs/training/metrics.md has a table.

A class is the largest of several outputs; of a single output, whether it lies above `threshold`: 0.5 unless given, and
in `fit` and `evaluate` what the loss says (BCEWithLogitsLoss: 0, as its outputs are logits). Targets are class indices,
integers or whole numbers, or the like rows.

Probabilities are what the loss makes of the outputs, in `fit` and `evaluate`: the softmax of the logits of
CrossEntropyLoss and of the log-probabilities of NLLLoss, σ of the logits of BCEWithLogitsLoss, and with other losses
the outputs themselves (see `probabilities`). Called by yourself, `roc_auc` and `log_loss` take probabilities.

`fit`, `fit_many` and `evaluate` ask of the rows that the loss counts, with the weights that it gives them: rows whose
target the loss ignores and rows of weight 0 are left out before, and a row of weight 2 counts as two. (The weights that
a loss has for classes are no weights of rows.) Where a loss ignores single elements, metrics of numbers do so too.

With several heads (a MultiLoss) a metric is asked of one of them: `metrics={"kind": [accuracy], "size": [r2]}`, by the
name of the head or by its place in the tuple. One in a plain list is given all of it: y and target as the network and
the data have them, tuples or dicts.

A metric of your own is a function (y, target), or one with an argument named `sample_weight` too, which it is given by
that name: (n,) numbers above 0, or None where all count the same. A function of two arguments cannot weigh: it is given
the rows that count, each once. Outputs and targets come as they are: `probabilities(y, loss)` says what they mean.

Metrics of scikit-learn, `metrics=[sklearn.metrics.f1_score]`, take the target first, and classes or probabilities; they
are known by name and given what they take, `from_sklearn` has the options. Any other function whose first argument is
called y_true is refused, as it would be given the two the wrong way round.
"""

from .asking import Measure, measures, require_metrics
from .calling import OF_ONE_HEAD, Metric, for_loss, name_of, takes_weights
from .classification import accuracy, balanced_accuracy, confusion_matrix, error_rate, errors, f1
from .counted import counting
from .decisions import classes, labels
from .likelihood import log_loss
from .outputs import probabilities, scores, threshold_of
from .ranking import roc_auc
from .regression import mae, mape, r2, rmse
from .scikit_learn import from_sklearn

__all__ = [
    "OF_ONE_HEAD",
    "Measure",
    "Metric",
    "accuracy",
    "balanced_accuracy",
    "classes",
    "confusion_matrix",
    "counting",
    "error_rate",
    "errors",
    "f1",
    "for_loss",
    "from_sklearn",
    "labels",
    "log_loss",
    "mae",
    "mape",
    "measures",
    "name_of",
    "probabilities",
    "r2",
    "require_metrics",
    "rmse",
    "roc_auc",
    "scores",
    "takes_weights",
    "threshold_of",
]
