"""What the engine is told of each optimizer.

The engine's twin of an optimizer has its name, and takes the arguments of its constructor under their own names.
"""

from typing import Any

from ... import optimizers, signature
from ..plan import CannotLower

# A rule holds for exactly its class: a subclass may have changed anything.
KNOWN = (
    optimizers.SGD,
    optimizers.Adam,
    optimizers.AdamW,
    optimizers.RMSprop,
    optimizers.Adagrad,
    optimizers.NAdam,
    optimizers.RAdam,
    optimizers.Adamax,
    optimizers.Adadelta,
    optimizers.Rprop,
    optimizers.ASGD,
)


NOT_TOLD = ("lr", "groups", "maximize", "constraint")


def settings(optimizer: Any) -> dict[str, Any]:
    """The name of an optimizer, and what its constructor was given, as numbers.

    `betas` become beta1 and beta2, and no clipping is 0. The learning rate is left out: it may change at any time, and
    comes with every step.

    Raises CannotLower for an optimizer that the engine does not know, for clipping to 0, and for groups, maximize and
    constraints.
    """
    kind = type(optimizer)
    if kind not in KNOWN:
        raise CannotLower(kind.__name__)
    if 0 in (optimizer.clip_value, optimizer.clip_norm):
        raise CannotLower("clipping to 0")
    for option in ("groups", "maximize", "constraint"):
        if getattr(optimizer, option):
            raise CannotLower(f"{option}, an option of {kind.__name__}")
    told: dict[str, Any] = {"kind": kind.__name__}
    for name in (argument.name for argument in signature.parameters(kind) if argument.name not in NOT_TOLD):
        value = getattr(optimizer, name)
        if isinstance(value, tuple):
            told |= {f"{name.removesuffix('s')}{i}": part for i, part in enumerate(value, 1)}
        else:
            told[name] = 0.0 if value is None else value
    return told
