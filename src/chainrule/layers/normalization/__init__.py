"""Normalization: numbers of mean 0 and variance 1, over the batch or within a sample, and a weight and a bias behind.

docs/derivations/normalization.md derives the backward passes.
"""

from .batch import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .fold import fold_batch_norm
from .group import GroupNorm
from .instance import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from .layer import LayerNorm
from .local_response import LocalResponseNorm
from .rms import RMSNorm

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
    "fold_batch_norm",
]
