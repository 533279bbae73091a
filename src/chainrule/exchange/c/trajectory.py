"""A few training steps in Python, and how far float32 may be from them at the end.

A bound carried through every derivative and update, as rounding.py carries one through a prediction, would be a second
framework. Rounding is imitated instead: the steps run in float64, and then again with all that a layer, the loss or
the optimizer hands on moved, up or down at random, by as much as float32 could be off at most. Whatever amplifies
rounding (cancellation, a kink that is near, a gradient close to zero that Adam divides by its own size) does so to the
moves too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from ... import losses, signature
from ...engine.plan import Op, Plan
from ...module import Module, Parameter
from ...structures import Structure, each, leaves, rebuild
from .activations import Elementwise, activation_of
from .dropout import Dropout
from .kind import LIBRARY, UNIT
from .kinds import KINDS
from .layout import program_of
from .parameters import trained

BATCH = 4  # rows of a step
MOST_ROWS = 31  # so that the last step has a row less
RUNS = 8  # with moves
MARGIN = 2.0  # over the largest distance among them
UPDATE = 4.0  # roundings of a weight in one update, at most: two of decay, two of the step
Numbers = list[np.ndarray]


@dataclass(frozen=True)
class Trajectory:
    """What the test compares.

    x, target : rows in the order of the steps, BATCH for each but perhaps the last, for each input and each output.
    losses : of each step, before its update, and how far float32 may be from each.
    parameters, gradients : after the last step, those that are trained, as arrays in the order of the plan; and the
        same of them.
    """

    x: Numbers
    target: Numbers
    losses: tuple[Numbers, Numbers]
    parameters: tuple[Numbers, Numbers]
    gradients: tuple[Numbers, Numbers]


def trajectory(model: Module, plan: Plan, x: Structure) -> Trajectory:
    """Training steps of a model over rows of x, from the parameters on that it has; the plan is what it lowers to.

    Raises ValueError if a number does not stay finite.
    """
    x = each(lambda part: part[:MOST_ROWS], x)
    rng = np.random.default_rng(1)
    targets = [_target(plan, i, len(leaves(x)[0]), rng) for i in range(len(plan.heads))]
    target = rebuild(plan.y, targets)
    start = [parameter.value for parameter in plan.parameters]
    try:
        with np.errstate(all="ignore"):
            truth = _steps(model, plan, start, x, target, _Moves(0.0))
            widest = max(plan.values[i].columns for op in plan.ops for i in op.inputs)
            rows = BATCH * max(plan.values[i].positions for op in plan.ops for i in op.inputs)
            units = max(rows, widest) + LIBRARY
            moved = [_steps(model, plan, start, x, target, _Moves(units, seed)) for seed in range(RUNS)]
    finally:
        for parameter, value in zip(plan.parameters, start, strict=True):
            parameter.value, parameter.grad = value, np.zeros_like(value)
    for what, arrays in zip(("the loss", "a parameter", "a gradient"), truth, strict=True):
        if not all(np.isfinite(array).all() for array in arrays):
            rules = f"{signature.call(plan.loss)} and {signature.call(plan.optimizer)}"
            raise ValueError(f"to_c: {what} became NaN or infinite in training steps on random inputs by {rules}")
    return Trajectory(leaves(x), targets, *(_bounded(kind, *runs) for kind, *runs in zip(truth, *moved, strict=True)))


def _bounded(truth: Numbers, *runs: Numbers) -> tuple[Numbers, Numbers]:
    """Numbers, and how far float32 may be from each: what the runs differ by, and the rounding of the number itself."""
    bounds = []
    for i, array in enumerate(truth):
        farthest = np.max([np.abs(run[i] - array) for run in runs], axis=0)
        bounds.append(MARGIN * farthest + UPDATE * UNIT * np.abs(array))
    return truth, bounds


class _Moves:
    """Changes of numbers by so many units of float32, up or down at random."""

    def __init__(self, units: float, seed: int = 0) -> None:
        self.units, self.rng = units, np.random.default_rng(seed)

    def __call__(self, kept: Any, units: float | None = None) -> Any:
        """What a layer hands on, with every number in it moved."""
        if isinstance(kept, tuple):
            return tuple(self(one) for one in kept)
        if not self.units or not isinstance(kept, np.ndarray | np.floating) or kept.dtype.kind != "f":
            return kept
        return kept * (1 + UNIT * (self.units if units is None else units) * self._signs(kept.shape))

    def inside(self, y: np.ndarray, size: Any) -> np.ndarray:
        """What a function makes of terms as large as `size`, which may cancel, as in 1 + tanh u."""
        moved: np.ndarray = y + UNIT * (LIBRARY if self.units else 0.0) * self._signs(y.shape) * size
        return moved

    def _signs(self, shape: tuple[int, ...]) -> np.ndarray:
        return 2.0 * self.rng.integers(2, size=shape) - 1


def _steps(
    model: Module, plan: Plan, start: Numbers, x: Structure, target: Structure, moved: _Moves
) -> tuple[Numbers, Numbers, Numbers]:
    """The losses, and the parameters and gradients after the last step."""
    for parameter, value in zip(plan.parameters, start, strict=True):
        parameter.value, parameter.grad = value.astype(np.float64), np.zeros(value.shape)
    for op in plan.ops:
        if isinstance(KINDS[op.kind], Dropout):
            op.layer.reseed(0, op.settings["stream"])
    plan.optimizer.forget()
    values, n, changing = [], len(leaves(x)[0]), [plan.parameters[i] for i in trained(plan)]
    with _moving(plan, moved):
        for begin in range(0, n, BATCH):
            here, wanted = (each(itemgetter(slice(begin, begin + BATCH)), part) for part in (x, target))
            shown = each(lambda part: moved(part.astype(np.float64)), here)  # the roundings of the first product
            values.append(_loss_and_gradients(model, plan, shown, wanted))
            for parameter in changing:
                parameter.grad = moved(parameter.grad)
            _update(plan, changing, moved)
    return values, [p.value for p in changing], [p.grad for p in changing]


def _loss_and_gradients(model: Module, plan: Plan, x: Structure, target: Structure) -> np.ndarray:
    """Forward and backward; returns the loss."""
    y, saved = model.forward(x)
    value, kept = plan.loss.forward(y, target)
    for parameter in plan.parameters:
        parameter.grad[...] = 0
    model.backward(plan.loss.backward(1.0, kept), saved)
    return np.asarray(value)


@contextmanager
def _moving(plan: Plan, moved: _Moves) -> Iterator[None]:
    """Within the block, what each layer and each loss of the plan hands on is moved."""
    things: dict[int, Any] = {id(head.loss): head.loss for head in plan.heads}
    ways = {id(head.loss): _ways_of_loss(head.loss, moved) for head in plan.heads}
    for op in program_of(plan, learns=True).ops:
        if id(op.layer) not in things:
            things[id(op.layer)], ways[id(op.layer)] = op.layer, _ways_of_layer(op, moved)
    try:
        for key, thing in things.items():
            thing.forward, thing.backward = ways[key]
        yield
    finally:
        for thing in things.values():
            del thing.forward, thing.backward


def _ways_of_layer(op: Op, moved: _Moves) -> tuple[Callable[..., Any], Callable[..., Any]]:
    there, back = op.layer.forward, op.layer.backward
    activation = activation_of(op) if isinstance(KINDS[op.kind], Elementwise) else None
    inside = bool(op.layer.children())  # and what is inside has moved what it keeps already

    def forward(x: Structure) -> tuple[Any, Any]:
        y, kept = there(x)
        y, kept = moved(y), kept if inside else moved(kept)
        if activation:
            y = moved.inside(y, 1.0 if activation.together else np.minimum(np.abs(x), 1.0))
        return y, kept

    def backward(dy: np.ndarray, kept: Any) -> Structure:
        dx = each(moved, back(dy, kept))
        if activation:
            size = np.abs(dy)
            dx = moved.inside(dx, size.max(axis=-1, keepdims=True) if activation.together else size)
        return dx

    return forward, backward


def _ways_of_loss(loss: Any, moved: _Moves) -> tuple[Callable[..., Any], Callable[..., Any]]:
    there, back = loss.forward, loss.backward

    def forward(y: np.ndarray, target: np.ndarray) -> tuple[Any, Any]:
        value, kept = moved(there(y, target))
        elements = y.size if loss.reduction == "sum" else 1
        return moved.inside(np.asarray(value), elements * (1.0 + np.max(np.abs(y)))), kept

    def backward(dvalue: Any, kept: Any) -> Any:
        return moved(back(dvalue, kept))

    return forward, backward


def _update(plan: Plan, changing: list[Parameter], moved: _Moves) -> None:
    before = [parameter.value.copy() for parameter in changing]
    with _unconstrained(plan.optimizer) as constraints:
        plan.optimizer.step(changing)
    for parameter, old in zip(changing, before, strict=True):
        change = moved(parameter.value - old, LIBRARY)  # which has roundings of its own, that of lr among them
        parameter.value = moved(old + change, UPDATE)
        rule = plan.optimizer.rule_of(parameter)
        for constraint in constraints[rule]:  # what they make 0 is 0 whatever the roundings, so they come last
            constraint.apply(parameter.value, moved(np.float64(rule.current_lr), UPDATE))
            parameter.value = moved(parameter.value)
        state = plan.optimizer.state[parameter]
        state |= {name: moved(kept) for name, kept in state.items()}


@contextmanager
def _unconstrained(optimizer: Any) -> Iterator[dict[Any, tuple[Any, ...]]]:
    """Within the block, an optimizer without its constraints, which are given for each of its rules."""
    kept = {rule: rule.constraint for rule in optimizer.rules}
    found = {rule: rule.constraints for rule in optimizer.rules}
    for rule in kept:
        rule.constraint = None
    yield found
    for rule, constraint in kept.items():
        rule.constraint = constraint


def _target(plan: Plan, i: int, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Random targets such as the loss of head i is made for."""
    head, n = plan.heads[i], plan.values[plan.outputs[i]].size
    if head.class_targets:
        classes = [index for index in range(n) if index != head.loss.ignore_index] or [head.loss.ignore_index]
        return rng.choice(classes, size=rows)
    shape = (rows, *plan.y_shapes[i])
    if isinstance(head.loss, losses.BCEWithLogitsLoss):
        target = rng.uniform(size=shape)
    elif isinstance(head.loss, losses.PoissonNLLLoss):
        target = rng.poisson(2.0, size=shape).astype(np.float64)
    else:
        target = rng.normal(size=shape)
    return target.astype(np.float32).astype(np.float64)
