"""Many networks at once: every combination of configuration, seed and fold, over all cores."""

from .ensemble import Ensemble
from .fit_many import fit_many
from .results import Result, Results

__all__ = ["Ensemble", "Result", "Results", "fit_many"]
