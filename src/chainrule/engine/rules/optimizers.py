"""What the engine is told of each optimizer, and of each constraint.

The engine's twin of an optimizer has its name, and takes the arguments of its constructor under their own names; so has
that of a constraint.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ... import constraints, optimizers, signature
from ...module import Parameter
from ...optimizers import Schedule
from ..plan import CannotLower, Plan

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
    optimizers.Adafactor,
    optimizers.Muon,
)
CONSTRAINTS = (
    constraints.L1,
    constraints.L2,
    constraints.MaxNorm,
    constraints.UnitNorm,
    constraints.NonNegative,
    constraints.Mask,
)
NOT_TOLD = ("lr", "groups", "decay_biases", "constraint")  # of every step, or resolved here


class Rules(NamedTuple):
    """How an optimizer treats the parameters of a plan; the fields of Plan with these names."""

    rules: tuple[dict[str, Any], ...]
    owners: tuple[Any, ...]
    rule_of: tuple[int, ...]
    lookahead: dict[str, Any] | None = None


def rules(optimizer: Any, parameters: Sequence[Parameter]) -> Rules:
    """One rule for each distinct set of options that parameters have; without an optimizer only who is frozen.

    Where all are frozen there is the optimizer's own, for its schedule goes on.

    Raises CannotLower for what the engine does not know; ValueError for a constraint that cannot be for its parameter.
    """
    if optimizer is None:
        return Rules((), (), tuple(0 if parameter.trainable else -1 for parameter in parameters))
    lookahead = None
    if type(optimizer) is optimizers.Lookahead:
        lookahead = {"kind": "Lookahead", "k": optimizer.k, "alpha": optimizer.alpha}
        optimizer = optimizer.optimizer
    known = {optimizer: settings(optimizer)}  # to read the options takes a good part of the time that lowering does
    found: dict[tuple[Any, float], int] = {}
    rule_of = []
    for parameter in parameters:
        if not parameter.trainable:
            rule_of.append(-1)
            continue
        owner = optimizer.rule_of(parameter)
        for constraint in owner.constraints:
            constraint.check(parameter)
        if owner not in known:
            known[owner] = settings(owner)
        if type(owner) is optimizers.Adafactor and parameter.value.ndim > 2:
            raise CannotLower("Adafactor of arrays with more than two axes")
        rule_of.append(found.setdefault((owner, owner.decay_of(parameter)), len(found)))
    if not found:
        found[optimizer, optimizer.weight_decay] = 0
    told = tuple(
        known[owner]
        | {"weight_decay": decay, "clip_norm": known[optimizer]["clip_norm"]}
        | {"constraints": [_constraint(constraint) for constraint in owner.constraints]}
        for owner, decay in found
    )
    return Rules(told, tuple(owner for owner, _ in found), tuple(rule_of), lookahead)


def settings(optimizer: Any) -> dict[str, Any]:
    """The name of an optimizer, or of a group of one, and what its constructor was given, as numbers.

    `betas` become beta1 and beta2, no clipping is 0, no eps1 of Adafactor is -1. The learning rate is left out: it
    may change at any time, and comes with every step.

    Raises CannotLower for an optimizer that the engine does not know, for clipping to 0, and for a momentum that may go
    to 0 while dampening weakens what it adds up: how that begins again, the engine does not count.
    """
    kind = type(optimizer)
    if kind not in KNOWN:
        raise CannotLower(kind.__name__)
    if 0 in (optimizer.clip_value, optimizer.clip_norm):
        raise CannotLower("clipping to 0")
    told: dict[str, Any] = {"kind": kind.__name__}
    for name in (argument.name for argument in signature.parameters(kind) if argument.name not in NOT_TOLD):
        value = getattr(optimizer, name)
        if isinstance(value, tuple):
            one = name if name == "eps" else name.removesuffix("s")
            told |= {f"{one}{i}": _number(part) for i, part in enumerate(value, 1)}
        elif name == "adjust_lr_fn":
            told[name] = value == "match_rms_adamw"  # "original" is no choice of its own
        else:
            told[name] = 0.0 if value is None else value
    if optimizer.momentum_may_cycle and "momentum" in told:
        told["keeps_momentum"] = optimizer.keeps_momentum()  # a schedule may bring one
        if told.get("dampening") and _may_stop(optimizer.lr, optimizer.momentum):
            raise CannotLower(f"a momentum that {type(optimizer.lr).__name__} may bring to 0, with dampening")
    return told


def _may_stop(lr: Any, own: float) -> bool:
    """Whether a schedule may bring a momentum to 0, where the rule's own is what it leaves alone."""
    if not isinstance(lr, Schedule) or not lr.cycles_momentum():
        return False
    if isinstance(lr, optimizers.CyclicLR | optimizers.OneCycleLR):
        return min(lr.base_momentum, lr.max_momentum) == 0
    if type(lr).momentum_at is not Schedule.momentum_at and type(lr) is not optimizers.SequentialLR:
        return True  # of somebody's own, which may say anything
    return own == 0 or any(_may_stop(inner, own) for inner in lr.inner())


def _number(part: float | None) -> float:
    return -1.0 if part is None else part


def keep_other_momenta(plan: Plan) -> bool:
    """Whether a learning rate that was set since the plan was made brings a momentum, or took one away."""
    keeps = [owner.keeps_momentum() for owner in plan.owners]
    return any(rule.get("keeps_momentum", now) != now for rule, now in zip(plan.rules, keeps, strict=True))


def _constraint(constraint: Any) -> dict[str, Any]:
    kind = type(constraint)
    if kind not in CONSTRAINTS:
        raise CannotLower(kind.__name__)
    told: dict[str, Any] = {"kind": kind.__name__}
    for name in (argument.name for argument in signature.parameters(kind)):
        value = getattr(constraint, name)
        told[name] = value.ravel().astype(float).tolist() if name == "mask" else value
    return told
