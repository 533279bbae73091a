"""Losses: Modules that compare what a network says with what it should have said."""

from .classification import BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss, SoftMarginLoss
from .loss import Loss
from .multi import MultiLoss
from .regression import HuberLoss, L1Loss, MSELoss, PoissonNLLLoss, QuantileLoss, SmoothL1Loss

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "MultiLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "QuantileLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
]
