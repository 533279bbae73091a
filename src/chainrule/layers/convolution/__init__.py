"""Convolution, its transpose, and the columns that both are products with: see docs/derivations/convolution.md."""

from .conv import Conv1d, Conv2d, Conv3d
from .transposed import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .unfold import Fold, Unfold

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Fold",
    "Unfold",
]
