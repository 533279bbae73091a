"""Training and testing: any model, any loss, any data."""

from . import metrics
from .evaluate import Evaluation, evaluate, predict
from .fit import fit
from .history import History
from .session import Run
from .stopping import EarlyStopping
from .update_bn import update_bn

__all__ = ["EarlyStopping", "Evaluation", "History", "Run", "evaluate", "fit", "metrics", "predict", "update_bn"]
