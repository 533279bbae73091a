"""Functions of torch.nn.functional that normalize, as our layers of the same names.

Weights would be tensors of the module's own, for which no layer stands: modules such as torch.nn.LayerNorm have some.
"""

from collections.abc import Callable
from typing import Any

from ... import layers


def _layer_norm(x: Any, normalized_shape: Any, weight: None = None, bias: None = None, eps: float = 1e-5) -> Any:
    return layers.LayerNorm(tuple(normalized_shape), eps, elementwise_affine=False), x


def _rms_norm(x: Any, normalized_shape: Any, weight: None = None, eps: float | None = None) -> Any:
    return layers.RMSNorm(tuple(normalized_shape), eps, elementwise_affine=False), x


def _local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    return layers.LocalResponseNorm(size, alpha, beta, k), x


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "local_response_norm": _local_response_norm,
}
