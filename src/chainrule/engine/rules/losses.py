"""What the engine is told of each loss."""

from typing import Any

from ... import arrays, losses
from .rule import CannotLower, name_of

KNOWN = (
    losses.MSELoss,
    losses.L1Loss,
    losses.SmoothL1Loss,
    losses.HuberLoss,
    losses.QuantileLoss,
    losses.PoissonNLLLoss,
    losses.BCEWithLogitsLoss,
    losses.CrossEntropyLoss,
    losses.NLLLoss,
)


def settings(loss: Any, shape: tuple[int, ...], class_targets: bool) -> dict[str, Any]:
    """What travels of a loss on outputs of this shape, in the engine's names; weights are a number for each column.

    Raises CannotLower for a loss that the engine does not know, or does not know for such targets.
    """
    if type(loss) not in KNOWN:
        raise CannotLower(name_of(loss))
    if loss.reduction == "none":
        raise CannotLower(f'{name_of(loss)} with reduction="none"')
    if class_targets and not loss.classes:
        raise CannotLower(f"{name_of(loss)} with class indices as targets")
    if not class_targets and isinstance(loss, losses.NLLLoss):
        raise CannotLower("NLLLoss with targets that are not class indices")
    if isinstance(loss, losses.PoissonNLLLoss) and loss.full:
        raise CannotLower("PoissonNLLLoss with full=True")
    if loss.classes and len(shape) != 1:
        raise CannotLower(f"{name_of(loss)} on outputs of shape {shape}")
    if isinstance(loss, losses.BCEWithLogitsLoss):
        for weight in (loss.weight.value, loss.pos_weight.value):
            if weight is not None and tuple(weight.shape) not in ((), (1,), shape, (1, *shape)):
                raise CannotLower("BCEWithLogitsLoss with a weight for each sample")
    elif loss.classes and loss.weight.value is not None and tuple(loss.weight.value.shape) != shape:
        raise CannotLower(f"{name_of(loss)} with {tuple(loss.weight.value.shape)} class weights for {shape} classes")
    own, found = vars(loss), {"kind": name_of(loss), "reduction": loss.reduction}
    for name in ("beta", "delta", "quantile", "log_input", "eps", "ignore_index", "label_smoothing"):
        if name in own:
            found[name] = own[name]
    for name in ("weight", "pos_weight"):
        if name in own:
            found[name] = _numbers(own[name])
    return found


def _numbers(buffer: Any) -> list[float]:
    return [] if buffer.value is None else arrays.to_numpy(buffer.value).reshape(-1).tolist()
