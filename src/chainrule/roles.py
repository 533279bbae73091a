"""The border of training: a model, a loss and an optimizer are what they have to be, or an error says what came.

`who` is the name of the function that was called.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from . import layers, losses, optimizers
from .losses import Loss
from .losses.extra import asked
from .module import Module, UpdateRule, is_update_rule
from .optimizers import Optimizer, Schedule


def require_model(who: str, model: Any) -> Module:
    """model, if it is a Module that may be trained; no class and no list of them."""
    if isinstance(model, Loss):
        raise TypeError(f"{who}: model must be a network, got the loss {model!r}; the model comes first, then the loss")
    if isinstance(model, Module):
        return model
    if isinstance(model, list | tuple) and model and all(isinstance(layer, Module) for layer in model):
        raise TypeError(f"{who}: model must be a Module, got several; make one of them: Sequential(*layers)")
    raise TypeError(f"{who}: model must be a Module, such as Sequential(…), got {told(model, layers, 'from_torch')}")


def require_loss(who: str, loss: Any) -> Module:
    """loss, if it is a Module of (y, target)."""
    if is_update_rule(loss):
        raise TypeError(f"{who}: loss must be a loss, such as MSELoss(), got the optimizer {loss!r}; give optimizer=…")
    if not isinstance(loss, Module):
        raise TypeError(f"{who}: loss must be a loss, such as MSELoss(), got {told(loss, losses, 'from_torch')}")
    if isinstance(loss, Loss):
        return loss
    try:
        inspect.signature(loss.forward).bind(None, None, **dict.fromkeys(asked(loss).needs))
    except TypeError:
        raise TypeError(f"{who}: loss must be a Module of (y, target), such as MSELoss(), got {loss!r}") from None
    return loss


def require_optimizer(who: str, optimizer: Any, model: Any) -> UpdateRule:
    """optimizer, if it is one, or else the model's own."""
    if optimizer is None:
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None:
            raise ValueError(f"{who}: no optimizer; give optimizer=…, or make one the first argument of Sequential")
    if isinstance(optimizer, Optimizer):
        if optimizer.groups and isinstance(model, Module):
            require_groups_of(who, optimizer, model)
        return optimizer
    if isinstance(optimizer, Schedule):
        raise TypeError(f"{who}: optimizer must be an optimizer, got a schedule; give it to one: SGD(lr={optimizer!r})")
    if not is_update_rule(optimizer) or _from_torch(optimizer):
        got = told(optimizer, optimizers, "train_torch")
        raise TypeError(f"{who}: optimizer must be an optimizer, such as Adam(), got {got}")
    return optimizer


def require_groups_of(who: str, optimizer: Optimizer, model: Module) -> None:
    """Raise ValueError for a group of other Parameters than the model's: what it says would be for nobody."""
    parameters = frozenset(model.param())
    for i, group in enumerate(optimizer.groups):
        if parameters.isdisjoint(group.parameters):
            raise ValueError(
                f"{who}: each of the groups must be of Parameters of the model, and groups[{i}] is of others: "
                f"{group!r}; a copy of a model, or one that was loaded, has Parameters of its own"
            )


def require_functions(who: str, name: str, functions: Any) -> list[Callable[..., Any]]:
    """functions, if they are a list of some."""
    if callable(functions) or isinstance(functions, str) or not isinstance(functions, Iterable):
        raise TypeError(f"{who}: {name} must be a list of functions, got {told(functions, optimizers)}")
    return [require_function(who, f"each of {name}", function) for function in functions]


def require_function(who: str, name: str, function: Any) -> Callable[..., Any]:
    """function, if it can be called and is no class, which would only be made."""
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"{who}: {name} must be a function, got {told(function, optimizers)}")
    called: Callable[..., Any] = function
    return called


def told(thing: Any, package: Any, through: str = "") -> str:
    """What came, and what was probably meant."""
    if isinstance(thing, type):
        return f"the class {thing.__name__}; call it: {thing.__name__}(…)"
    if isinstance(thing, str):
        like = "".join(c for c in thing.casefold() if c.isalnum())
        meant = next((name for name in package.__all__ if like and name.casefold().startswith(like)), None)
        return repr(thing) + (f"; did you mean {meant}()?" if meant else "")
    if _from_torch(thing):
        return f"PyTorch's {type(thing).__name__}" + (f"; see {through}" if through else "")
    if thing is None or isinstance(thing, int | float):
        return repr(thing)
    name = getattr(thing, "__name__", "")
    return f"the function {name}" if name else f"a {type(thing).__name__}"


def _from_torch(thing: Any) -> bool:
    return any(base.__module__.partition(".")[0] == "torch" for base in type(thing).__mro__)
