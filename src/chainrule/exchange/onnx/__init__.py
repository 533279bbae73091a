"""ONNX, both ways."""

from .read import from_onnx
from .write import to_onnx

__all__ = ["from_onnx", "to_onnx"]
