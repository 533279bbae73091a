"""Data in files, larger than memory: read in windows, while the network trains on the one before."""

from .dataset import Opened

__all__ = ["Opened"]
