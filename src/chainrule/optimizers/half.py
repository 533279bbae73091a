"""Parameters of 16 bits, which rules compute in 32."""

from .. import arrays
from ..module import Parameter


def widened(parameter: Parameter) -> Parameter:
    """The parameter itself, or for one of 16 bits its twin in float32."""
    if arrays.dtype_name(parameter.value.dtype) not in arrays.HALF:
        return parameter
    twin = Parameter(arrays.convert(parameter.value, dtype="float32"))
    twin.grad = arrays.convert(parameter.grad, dtype="float32")
    return twin
