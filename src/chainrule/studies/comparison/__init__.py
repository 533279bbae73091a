"""What the report's network learns and what it takes, next to the same network in PyTorch.

The figures pass through the files in this order:

    questions   what is varied: each Cell is one way to train the network
    ours, peer  the network in chainrule and in PyTorch, from the same numbers
    errors      both are trained in every Cell, for every seed and disk, and tested
    times       both are timed in every Cell, in turn
    courses     both are watched, epoch by epoch
    store       three tables in a folder: what is in them is not measured again
    summary     means and confidence intervals
    pictures, sentences, page   what a reader gets
"""

from .page import findings
from .page import write as write_page
from .questions import Plan, full, quick
from .run import Left, Study

__all__ = ["Left", "Plan", "Study", "findings", "full", "quick", "write_page"]
