"""What the engine is told of each optimizer.

The engine's twin of an optimizer has its name, and takes the arguments of its constructor under their own names.
"""

from typing import Any

from ... import optimizers, signature
from ...optimizers import Schedule
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


def cycling(optimizer: Any) -> Schedule | None:
    """The schedule that cycles the momentum, if one does, of the optimizer's or of a group's."""
    rates = [rule.lr for rule in optimizer.rules]
    return next((rate for rate in rates if isinstance(rate, Schedule) and rate.cycles_momentum()), None)


def require_own_momentum(optimizer: Any) -> None:
    """Raise CannotLower for a schedule that cycles the momentum, which the engine is told but once."""
    if (rate := cycling(optimizer)) is not None:
        raise CannotLower(f"a momentum that {type(rate).__name__} cycles")


def settings(optimizer: Any) -> dict[str, Any]:
    """The name of an optimizer, and what its constructor was given, as numbers.

    `betas` become beta1 and beta2, and no clipping is 0. The learning rate is left out: it may change at any time, and
    comes with every step.

    Raises CannotLower for an optimizer that the engine does not know, for clipping to 0, for groups, maximize and
    constraints, and as `require_own_momentum`.
    """
    kind = type(optimizer)
    if kind not in KNOWN:
        raise CannotLower(kind.__name__)
    if 0 in (optimizer.clip_value, optimizer.clip_norm):
        raise CannotLower("clipping to 0")
    require_own_momentum(optimizer)
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
