"""All kinds of ops that there are in C, by the names that the plan gives them."""

from . import activations, dropout, glu, joins, linear, shape
from .kind import Kind

KINDS: dict[str, Kind] = {
    **linear.KINDS,
    **activations.KINDS,
    **dropout.KINDS,
    **glu.KINDS,
    **joins.KINDS,
    **shape.KINDS,
}
