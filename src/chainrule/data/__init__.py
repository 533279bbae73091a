"""Data: arrays in batches, and the report's points."""

from .dataset import Dataset
from .disk import RADII, disk

__all__ = ["RADII", "Dataset", "disk"]
