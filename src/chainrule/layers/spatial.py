"""What layers over series, images and volumes have in common: what x has to be, and how help() tells of it."""

from inspect import cleandoc
from typing import Any, ClassVar

from .. import arrays
from ..arrays import Array
from ..module import Module

LENGTHS = {1: "length", 2: "height, width", 3: "depth, height, width"}


class Spatial(Module):
    """A layer for x (batch, channels, *lengths), written once for any number of lengths.

    A class with a number in its name says how many with `axes`, and in one sentence what it does there. The rest of its
    docstring is that of the classes it comes from, where the equations stand, with the names of its lengths.
    """

    axes: ClassVar[int] = 0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "axes" in vars(cls):
            below = cls.__mro__[: cls.__mro__.index(Spatial)]
            sentences, *rests = zip(*((kind.__doc__ or "").partition("\n")[::2] for kind in below), strict=True)
            told = "\n".join(cleandoc(rest) for rest in rests[0] if rest)
            cls.__doc__ = f"{sentences[0]}\n\n{told.replace('*lengths', LENGTHS[cls.axes])}\n"

    def look(self, x: Array) -> Any:
        """The array-API namespace of x, if x is (batch, channels, *lengths) and holds floating-point numbers."""
        xp, lengths = self.namespace(x), LENGTHS[self.axes]
        if x.ndim != self.axes + 2:
            self.refuse_shape(f"must be (batch, channels, {lengths})", x, one_sample=x.ndim == self.axes + 1)
        if not arrays.is_floating(x):
            self.refuse("forward", "x must be a floating-point array", arrays.describe_kind(x), TypeError)
        return xp
