"""What the engine is told of each optimizer, but for its learning rate, which may change at any time."""

from typing import Any

from ... import optimizers, signature
from .rule import CannotLower, name_of

KNOWN = (optimizers.SGD, optimizers.Adam, optimizers.AdamW, optimizers.RMSprop, optimizers.Adagrad)


def settings(optimizer: Any) -> dict[str, Any]:
    """What travels of an optimizer, in the engine's names."""
    if type(optimizer) not in KNOWN:
        raise CannotLower(name_of(optimizer))
    if 0 in (optimizer.clip_value, optimizer.clip_norm):
        raise CannotLower("clipping to 0")
    own = vars(optimizer)
    names = [parameter.name for parameter in signature.parameters(type(optimizer)) if parameter.name != "lr"]
    found = {"kind": name_of(optimizer)} | {name: own[name] for name in names if name in own}
    if "betas" in found:
        found["beta1"], found["beta2"] = found.pop("betas")
    return found | {name: optimizer.__dict__[name] or 0.0 for name in ("clip_value", "clip_norm")}
