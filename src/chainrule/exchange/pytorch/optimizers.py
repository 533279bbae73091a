"""PyTorch's optimizers as ours, and what they remember, both ways."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from ... import optimizers
from ...extras import require
from ...module import Parameter
from .pairs import Pair, copy, pairs, plain


def rules(torch: Any) -> list[Pair]:
    """The optimizers that PyTorch has too; their arguments are keys of a parameter group there."""
    return [pair for pair in pairs(optimizers, torch.optim) if pair.ours is not optimizers.Optimizer]


# PyTorch counts the updates of each parameter; ours need no such count.
COUNTED_THERE = (optimizers.Adadelta, optimizers.RMSprop)

# What PyTorch keeps of each parameter as one number, and ours know from how often it was updated.
DERIVED: dict[type, Callable[[Any, int], dict[str, float]]] = {
    optimizers.ASGD: lambda rule, step: {"eta": rule.eta(step + 1, rule.current_lr), "mu": rule.mu(step + 1)},
    optimizers.NAdam: lambda rule, step: {"mu_product": rule.mu_product(step)},
}


def optimizer_from_torch(optimizer: Any, parameters: Iterable[tuple[Any, Parameter]] = ()) -> Any:
    """A torch.optim optimizer as one of ours, by its options; what it remembers is `state_from_torch`'s.

    Its first parameter group becomes the optimizer, and each other that has other options a group of it.

    parameters : each of PyTorch's that there may be in groups, with ours.

    Raises TypeError or ValueError for what ours cannot do.
    """
    torch = require("torch", "torch")
    pair = next((pair for pair in rules(torch) if type(optimizer) is pair.theirs), None)
    if pair is None:
        known = ", ".join(pair.name for pair in rules(torch))
        raise TypeError(f"from_torch: optimizer must be one of {known}, got {type(optimizer).__name__}")
    groups = optimizer.param_groups
    options = [{key: plain(group[key]) for key in pair.arguments} for group in groups]
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        raise ValueError(f"from_torch: {pair.name} has hooks, which chainrule cannot call; remove them")
    ours = {id(theirs): parameter for theirs, parameter in parameters}
    others = [
        {"parameters": [ours[id(parameter)] for parameter in group["params"]], **its_options}
        for group, its_options in zip(groups[1:], options[1:], strict=True)
        if its_options != options[0] and group["params"]
    ]
    return pair.ours(**options[0], groups=others)


def state_from_torch(theirs: Any, ours: Any, parameters: Iterable[tuple[Any, Parameter]]) -> None:
    """Let our optimizer go on from what PyTorch's remembers of the same parameters.

    Raises ValueError for a number that does not follow from the count of steps, as where betas have changed.
    """
    steps = 0
    for theirs_parameter, parameter in parameters:
        kept = {k: v for k, v in theirs.state.get(theirs_parameter, {}).items() if v is not None}
        if "step" in kept:
            steps = max(steps, int(kept["step"]))
        for name, expected in _derived(ours.rule_of(parameter), int(kept.get("step", 0))).items():
            found = float(kept.pop(name, expected))
            if name == "eta":  # goes by the learning rate, which a scheduler may have changed since
                continue
            if not math.isclose(found, expected, rel_tol=1e-3, abs_tol=1e-6):  # PyTorch's is a float32, multiplied up
                who = f"from_torch: {name} of {type(ours).__name__}"
                raise ValueError(f"{who} would be {expected:.6g} by its options and steps, and is {found:.6g}")
        ours.state[parameter] = {key: int(v) if key == "step" else copy(v) for key, v in kept.items()}
        if not ours.counts_steps:
            ours.state[parameter].pop("step", None)
    ours.steps = steps


def state_for_torch(
    ours: Any, theirs: Any, parameters: Iterable[tuple[Any, Parameter]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What PyTorch's optimizer needs to go on from what ours remembers: its own dicts, and what belongs into each."""
    torch = require("torch", "torch")
    groups = {parameter: group for group in theirs.param_groups for parameter in group["params"]}
    before = {parameter: int(kept["step"]) for parameter, kept in theirs.state.items() if "step" in kept}
    made = ours.steps - max(before.values(), default=0)  # since `state_from_torch`; a group may have been added later
    found = []
    for theirs_parameter, parameter in parameters:
        kept = ours.state.get(parameter)
        if not kept:
            continue
        device = theirs_parameter.device
        state = {key: torch.tensor(value).to(device) for key, value in kept.items() if key != "step"}
        counted = before.get(theirs_parameter, 0) + made
        step = counted if isinstance(ours, COUNTED_THERE) else kept.get("step")
        if step is not None:
            beside = isinstance(ours, optimizers.ASGD)
            for name, number in {"step": step, **_derived(ours.rule_of(parameter), step)}.items():
                state[name] = _number(torch, number, groups[theirs_parameter], device, beside)
        found.append((theirs.state[theirs_parameter], state))
    return found


def _derived(rule: Any, step: int) -> dict[str, float]:
    """The numbers of a parameter that follow from how often it was updated, as PyTorch keeps them then."""
    return DERIVED[type(rule)](rule, step) if type(rule) in DERIVED else {}


def _number(torch: Any, number: float, group: dict[str, Any], device: Any, beside: bool) -> Any:
    """The number of steps, or another, as PyTorch keeps it, beside the weights where its kernel counts by itself."""
    double = torch.get_default_dtype() == torch.float64 and not group.get("fused")
    beside = beside or bool(group.get("fused") or group.get("capturable"))
    return torch.tensor(
        float(number), dtype=torch.float64 if double else torch.float32, device=device if beside else "cpu"
    )
