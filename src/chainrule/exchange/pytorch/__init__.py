"""PyTorch, both ways."""

from .modules import from_torch, to_torch
from .train import train_torch

__all__ = ["from_torch", "to_torch", "train_torch"]
