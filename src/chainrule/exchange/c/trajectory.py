"""A few training steps in Python, and how far float32 may be from them at the end.

A bound carried through every derivative and update, as rounding.py carries one through a prediction, would be a second
framework. Rounding is imitated instead: the steps run in float64, and then again with all that a layer, the loss or
the optimizer hands on moved, up or down at random, by as much as float32 could be off at most. Whatever amplifies
rounding (cancellation, a kink that is near, a gradient close to zero that Adam divides by its own size) does so to the
moves too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import layers, losses, signature
from ...engine.plan import Op, Plan
from .rounding import LIBRARY, UNIT

BATCH = 4  # rows of a step
MOST_ROWS = 31  # so that the last step has a row less
RUNS = 8  # with moves
MARGIN = 2.0  # over the largest distance among them
UPDATE = 4.0  # roundings of a weight in one update, at most: two of decay, two of the step
Numbers = list[np.ndarray]


@dataclass(frozen=True)
class Trajectory:
    """What the test compares.

    x, target : rows in the order of the steps, BATCH for each but perhaps the last.
    losses : of each step, before its update, and how far float32 may be from each.
    parameters, gradients : after the last step, as arrays in the order of the plan; and the same of them.
    """

    x: np.ndarray
    target: np.ndarray
    losses: tuple[Numbers, Numbers]
    parameters: tuple[Numbers, Numbers]
    gradients: tuple[Numbers, Numbers]


def trajectory(plan: Plan, x: np.ndarray) -> Trajectory:
    """Training steps over rows of x, from the plan's parameters on.

    Raises ValueError if a number does not stay finite.
    """
    x = x[:MOST_ROWS]
    target = _targets(plan, len(x))
    start = [parameter.value for parameter in plan.parameters]
    try:
        with np.errstate(all="ignore"):
            truth = _steps(plan, start, x, target, _Moves(0.0))
            units = max(BATCH, *(op.n_in for op in plan.ops)) + LIBRARY
            moved = [_steps(plan, start, x, target, _Moves(units, seed)) for seed in range(RUNS)]
    finally:
        for parameter, value in zip(plan.parameters, start, strict=True):
            parameter.value, parameter.grad = value, np.zeros_like(value)
    for what, arrays in zip(("the loss", "a parameter", "a gradient"), truth, strict=True):
        if not all(np.isfinite(array).all() for array in arrays):
            rules = f"{signature.call(plan.loss)} and {signature.call(plan.optimizer)}"
            raise ValueError(f"to_c: {what} became NaN or infinite in training steps on random inputs by {rules}")
    return Trajectory(x, target, *(_bounded(kind, *runs) for kind, *runs in zip(truth, *moved, strict=True)))


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
        if not self.units or not isinstance(kept, np.ndarray | np.floating):
            return kept
        return kept * (1 + UNIT * (self.units if units is None else units) * self._signs(kept.shape))

    def inside(self, y: np.ndarray, size: Any) -> np.ndarray:
        """What a function makes of terms as large as `size`, which may cancel, as in 1 + tanh u."""
        moved: np.ndarray = y + UNIT * (LIBRARY if self.units else 0.0) * self._signs(y.shape) * size
        return moved

    def _signs(self, shape: tuple[int, ...]) -> np.ndarray:
        return 2.0 * self.rng.integers(2, size=shape) - 1


def _steps(
    plan: Plan, start: Numbers, x: np.ndarray, target: np.ndarray, moved: _Moves
) -> tuple[Numbers, Numbers, Numbers]:
    """The losses, and the parameters and gradients after the last step."""
    for parameter, value in zip(plan.parameters, start, strict=True):
        parameter.value, parameter.grad = value.astype(np.float64), np.zeros(value.shape)
    for op in plan.ops:
        if op.kind == "dropout":
            op.layer.reseed(0, op.stream)
    plan.optimizer.forget()
    values = []
    for begin in range(0, len(x), BATCH):
        rows = slice(begin, begin + BATCH)
        values.append(_loss_and_gradients(plan, x[rows].astype(np.float64), target[rows], moved))
        _update(plan, moved)
    return values, [p.value for p in plan.parameters], [p.grad for p in plan.parameters]


def _loss_and_gradients(plan: Plan, x: np.ndarray, target: np.ndarray, moved: _Moves) -> np.ndarray:
    """Forward and backward; returns the loss."""
    saved: list[Any] = []
    y = moved(x)  # the roundings of the first product
    for op in plan.ops:
        size = 1.0 if _together(op) else np.minimum(np.abs(y), 1.0)
        y, kept = moved(op.layer.forward(y))
        y = moved.inside(y, size) if op.kind == "activation" else y
        saved.append(kept)
    value, kept = moved(plan.loss.forward(y, target))
    elements = y.size if plan.loss.reduction == "sum" else 1
    value = moved.inside(np.asarray(value), elements * (1.0 + np.max(np.abs(y))))
    for parameter in plan.parameters:
        parameter.grad[...] = 0
    dy = moved(plan.loss.backward(1.0, kept))
    for op, kept in zip(reversed(plan.ops), reversed(saved), strict=True):
        size = np.abs(dy).max(axis=1, keepdims=True) if _together(op) else np.abs(dy)
        dy = moved(op.layer.backward(dy, kept))
        dy = moved.inside(dy, size) if op.kind == "activation" else dy
    for parameter in plan.parameters:
        parameter.grad = moved(parameter.grad)
    return value


def _update(plan: Plan, moved: _Moves) -> None:
    before = [parameter.value.copy() for parameter in plan.parameters]
    plan.optimizer.step(plan.parameters)
    for parameter, old in zip(plan.parameters, before, strict=True):
        change = moved(parameter.value - old, LIBRARY)  # which has roundings of its own, that of lr among them
        parameter.value = moved(old + change, UPDATE)
        state = plan.optimizer.state[parameter]
        state |= {name: moved(kept) for name, kept in state.items()}


def _together(op: Op) -> bool:
    """Whether every number of a row reaches every other."""
    return isinstance(op.layer, layers.Softmax | layers.LogSoftmax)


def _targets(plan: Plan, rows: int) -> np.ndarray:
    """Random targets such as the loss is made for."""
    rng, shape = np.random.default_rng(1), (rows, plan.n_out)
    if plan.class_targets:
        classes = [index for index in range(plan.n_out) if index != plan.loss.ignore_index] or [plan.loss.ignore_index]
        return rng.choice(classes, size=rows)
    if isinstance(plan.loss, losses.BCEWithLogitsLoss):
        target = rng.uniform(size=shape)
    elif isinstance(plan.loss, losses.PoissonNLLLoss):
        target = rng.poisson(2.0, size=shape).astype(np.float64)
    else:
        target = rng.normal(size=shape)
    return target.astype(np.float32).astype(np.float64)
