"""All kinds of ops that there are in C, by the names that the plan gives them; and the rules of those of its own."""

from ...engine.rules.rule import Rule
from . import activations, convolution, dropout, glu, joins, linear, normalization, places, pooling, shape
from .kind import Kind

KINDS: dict[str, Kind] = {
    **linear.KINDS,
    **activations.KINDS,
    **convolution.KINDS,
    **dropout.KINDS,
    **glu.KINDS,
    **joins.KINDS,
    **normalization.KINDS,
    **places.KINDS,
    **pooling.KINDS,
    **shape.KINDS,
}

RULES: dict[type, Rule] = {**convolution.RULES, **dropout.RULES, **normalization.RULES, **places.RULES, **pooling.RULES}
