"""Watching a run: `fit(callbacks=[CSVLog("run.csv"), TensorBoard("runs/first")])`.

A callback is any function of a Run; these are objects, which are told of the beginning and the end of a run as well.
"""

from .files import CSVLog, JSONLinesLog
from .log import Log
from .tensorboard import TensorBoard

__all__ = ["CSVLog", "JSONLinesLog", "Log", "TensorBoard"]
