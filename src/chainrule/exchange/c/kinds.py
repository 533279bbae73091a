"""All kinds of ops that there are in C, by the names that the plan gives them."""

from . import activations, dropout, joins, linear, shape
from .kind import Kind

KINDS: dict[str, Kind] = {
    **linear.KINDS,
    **activations.KINDS,
    **dropout.KINDS,
    **joins.KINDS,
    **shape.KINDS,
}
