"""What the engine is told of an average of weights; its twin has its name, and the arguments under their own names."""

from typing import Any

from ... import averages, signature
from ..plan import CannotLower

# A rule holds for exactly its class: a subclass may have changed anything.
KNOWN = (averages.EMA, averages.SWA)
MOST = 2**53  # epochs or steps, which every number type here can count to


def settings(average: averages.Average | None) -> dict[str, Any] | None:
    """The name of an average, and what its constructor was given; None for none.

    Raises CannotLower for an average that the engine does not know.
    """
    if average is None:
        return None
    if type(average) not in KNOWN:
        raise CannotLower(f"average={average!r}")
    told = {argument.name: getattr(average, argument.name) for argument in signature.parameters(type(average))}
    return {"kind": type(average).__name__} | {
        name: min(value, MOST) if isinstance(value, int) else value for name, value in told.items()
    }
