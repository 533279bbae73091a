"""What the engine is told of each loss, and which it has no rule for.

The engine's twin of a loss has its name, and takes the arguments of its constructor under their own names.
"""

from collections.abc import Callable
from typing import Any

from ... import arrays, losses, signature
from ...module import Buffer
from ..plan import CannotLower

LARGEST_INDEX = 2**53  # numbers travel as float64, which holds every whole number up to here


def settings(loss: Any, shape: tuple[int, ...], class_targets: bool) -> dict[str, Any]:
    """The name of a loss, and what its constructor was given: `mean` for its reduction, lists of numbers for weights.

    Parameters
    ----------
    shape : of one sample of the outputs that it gets.
    class_targets : whether targets are class indices.

    Raises CannotLower for a loss that the engine does not know, or does not know for such targets.
    """
    name, refuse = type(loss).__name__, RULES.get(type(loss))
    if refuse is None:
        raise CannotLower(name)
    if loss.reduction == "none":
        raise CannotLower(f'{name} with reduction="none"')
    if class_targets and not loss.classes:
        raise CannotLower(f"{name} with class indices as targets")
    refuse(loss, shape, class_targets)
    told = {argument.name: _plain(getattr(loss, argument.name)) for argument in signature.parameters(type(loss))}
    if told.get("missing") == "error":
        del told["missing"]  # then nobody looks for what is missing
    return {"kind": name, "mean": told.pop("reduction") == "mean"} | told


def _plain(value: Any) -> Any:
    if not isinstance(value, Buffer):
        return value
    return [] if value.value is None else arrays.to_numpy(value.value).reshape(-1).tolist()


# What each refuses, by raising CannotLower. A rule holds for exactly its class: a subclass may have changed anything.
Rule = Callable[[Any, tuple[int, ...], bool], None]
RULES: dict[type, Rule] = {}


def rule(*kinds: type) -> Callable[[Rule], Rule]:
    """Register a function as the rule for losses of exactly these classes."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


@rule(losses.MSELoss, losses.L1Loss, losses.SmoothL1Loss, losses.HuberLoss, losses.QuantileLoss, losses.SoftMarginLoss)
def _any(loss: Any, shape: tuple[int, ...], class_targets: bool) -> None:
    pass


@rule(losses.PoissonNLLLoss)
def _poisson_nll(loss: losses.PoissonNLLLoss, shape: tuple[int, ...], class_targets: bool) -> None:
    if loss.full:
        raise CannotLower("PoissonNLLLoss with full=True")


@rule(losses.BCEWithLogitsLoss)
def _bce_with_logits(loss: losses.BCEWithLogitsLoss, shape: tuple[int, ...], class_targets: bool) -> None:
    for weight in (loss.weight.value, loss.pos_weight.value):
        if weight is not None and tuple(weight.shape) not in ((), (1,), shape, (1, *shape)):
            raise CannotLower("BCEWithLogitsLoss with a weight for each sample")


@rule(losses.CrossEntropyLoss)
def _cross_entropy(loss: losses.CrossEntropyLoss, shape: tuple[int, ...], class_targets: bool) -> None:
    _check_classes(loss, shape)


@rule(losses.NLLLoss)
def _nll(loss: losses.NLLLoss, shape: tuple[int, ...], class_targets: bool) -> None:
    if not class_targets:
        raise CannotLower("NLLLoss with targets that are not class indices")
    _check_classes(loss, shape)


def _check_classes(loss: losses.CrossEntropyLoss | losses.NLLLoss, shape: tuple[int, ...]) -> None:
    name, weight = type(loss).__name__, loss.weight.value
    if len(shape) != 1:
        raise CannotLower(f"{name} on outputs of shape {shape}")
    if weight is not None and tuple(weight.shape) != shape:
        raise CannotLower(f"{name} with {tuple(weight.shape)} class weights for {shape} classes")
    if abs(loss.ignore_index) > LARGEST_INDEX:
        raise CannotLower(f"{name} with ignore_index={loss.ignore_index}")
