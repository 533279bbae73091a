"""Averages of the weights that training passes through: `fit(average=EMA(0.99))`."""

from .average import Average, require_average
from .averaged import Averaged
from .ema import EMA
from .swa import SWA

__all__ = ["EMA", "SWA", "Average", "Averaged", "require_average"]
