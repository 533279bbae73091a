"""Schedules against torch.optim.lr_scheduler, epoch by epoch; PyTorch's are recursions, ours closed forms."""

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr

EPOCHS = 50
torch_schedules = torch.optim.lr_scheduler

SCHEDULES = [
    ("StepLR", {"step_size": 1}),
    ("StepLR", {"step_size": 7, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [3, 10, 11, 40]}),
    ("MultiStepLR", {"milestones": [20, 5, 5], "gamma": 0.3}),
    ("MultiStepLR", {"milestones": []}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("ExponentialLR", {"gamma": 1.0}),
    ("CosineAnnealingLR", {"T_max": 50}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 1}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.01, "end_factor": 0.7, "total_iters": 20}),
    ("LinearLR", {"total_iters": 1}),
]
every_schedule = pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=str)


def torch_optimizer(lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


def rates(optimizer: cr.Optimizer, losses: list[float] | None = None) -> list[float]:
    """The learning rates of the epochs, one after another."""
    found = []
    for loss in losses or [0.0] * EPOCHS:
        found.append(optimizer.current_lr)
        optimizer.end_epoch(loss)
    return found


def torch_rates(peer: torch.optim.Optimizer, advance: Callable[[float], None], losses: Any = None) -> list[float]:
    found = []
    for loss in losses or [0.0] * EPOCHS:
        found.append(peer.param_groups[0]["lr"])
        peer.step()
        advance(loss)
    return found


@every_schedule
def test_fifty_epochs_are_those_of_pytorch(name: str, options: dict[str, Any]) -> None:
    peer = torch_optimizer()
    scheduler = getattr(torch_schedules, name)(peer, **options)
    ours = rates(cr.SGD(lr=getattr(cr, name)(0.1, **options)))
    # PyTorch multiplies epoch after epoch, which adds 50 roundings; near 0 a cosine cancels, so relative to lr.
    np.testing.assert_allclose(ours, torch_rates(peer, lambda _: scheduler.step()), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        (one, other)
        for one, other in itertools.permutations([SCHEDULES[1], SCHEDULES[2], SCHEDULES[5], SCHEDULES[11]], 2)
    ],
    ids=str,
)
def test_chained_schedules_multiply_as_in_pytorch(
    inner: tuple[str, dict[str, Any]], outer: tuple[str, dict[str, Any]]
) -> None:
    peer = torch_optimizer()
    chain = torch_schedules.ChainedScheduler(
        [getattr(torch_schedules, name)(peer, **options) for name, options in (inner, outer)]
    )
    schedule = getattr(cr, outer[0])(getattr(cr, inner[0])(0.1, **inner[1]), **outer[1])
    theirs = torch_rates(peer, lambda _: chain.step())
    np.testing.assert_allclose(rates(cr.SGD(lr=schedule)), theirs, rtol=1e-13)


def test_warm_up_and_then_a_cosine_by_hand() -> None:
    schedule = cr.LinearLR(cr.CosineAnnealingLR(1.0, T_max=4), start_factor=0.5, total_iters=2)
    cosine = [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]
    found = [schedule.at(steps=0, epochs=epoch) for epoch in range(5)]
    assert found == pytest.approx([0.5 * cosine[0], 0.75 * cosine[1], *cosine[2:]], abs=1e-15)


def wobbling(seed: int, trend: float) -> list[float]:
    """Losses that fall (or rise) and wobble, with plateaus."""
    rng = np.random.default_rng(seed)
    falling = 2 * np.exp(trend * np.arange(EPOCHS) / 10) + 0.05 * rng.normal(size=EPOCHS)
    falling[15:30] = falling[15]
    return [float(loss) for loss in falling]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 2},
        {"patience": 0, "factor": 0.5, "threshold": 0.1},
        {"patience": 1, "cooldown": 3, "factor": 0.7},
        {"patience": 0, "min_lr": 0.01, "factor": 0.3},
        {"patience": 0, "factor": 0.1, "eps": 1e-3},
    ],
    ids=str,
)
@pytest.mark.parametrize("trend", [-1.0, 0.0, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_reduce_on_plateau_is_that_of_pytorch(
    mode: str, threshold_mode: str, options: dict[str, Any], trend: float, seed: int
) -> None:
    losses = wobbling(seed, trend)
    peer = torch_optimizer()
    scheduler = torch_schedules.ReduceLROnPlateau(peer, mode, threshold_mode=threshold_mode, **options)
    ours = cr.SGD(lr=cr.ReduceLROnPlateau(0.1, mode, threshold_mode=threshold_mode, **options))
    theirs = torch_rates(peer, scheduler.step, losses)
    np.testing.assert_allclose(rates(ours, losses), theirs, rtol=1e-13)


@pytest.mark.parametrize("strange", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_no_progress_as_in_pytorch(strange: float) -> None:
    losses = [strange, strange, 3.0, strange, 2.0, 1.0, strange, strange, strange, 0.5]
    peer = torch_optimizer()
    scheduler = torch_schedules.ReduceLROnPlateau(peer, patience=1)
    ours = cr.SGD(lr=cr.ReduceLROnPlateau(0.1, patience=1))
    np.testing.assert_allclose(rates(ours, losses), torch_rates(peer, scheduler.step, losses), rtol=1e-13)


def test_below_zero_the_threshold_is_a_share_of_the_size() -> None:
    schedule = cr.ReduceLROnPlateau(1.0, patience=0, threshold=0.1)
    optimizer = cr.SGD(lr=schedule)
    assert rates(optimizer, [-10.0, -9.5, -10.5, -12.0, 0.0]) == pytest.approx([1.0, 1.0, 0.1, 0.01, 0.01])
    assert schedule.best == -12.0


def test_a_plateau_reduces_what_another_schedule_gives() -> None:
    optimizer = cr.SGD(lr=cr.ReduceLROnPlateau(cr.ExponentialLR(1.0, gamma=0.5), factor=0.1, patience=0))
    assert rates(optimizer, [1.0, 1.0, 0.5, 0.4]) == pytest.approx([1.0, 0.5, 0.025, 0.0125])
    wrapped = cr.SGD(lr=cr.ExponentialLR(cr.ReduceLROnPlateau(1.0, factor=0.1, patience=0), gamma=0.5))
    assert rates(wrapped, [1.0, 1.0, 0.5, 0.4]) == pytest.approx([1.0, 0.5, 0.025, 0.0125])


def test_a_plateau_needs_the_loss() -> None:
    with pytest.raises(ValueError, match=re.escape("ReduceLROnPlateau needs the loss: optimizer.end_epoch(loss)")):
        cr.SGD(lr=cr.ReduceLROnPlateau(0.1)).end_epoch()


def test_what_a_plateau_has_learned_is_saved_with_the_optimizer() -> None:
    def make() -> cr.SGD:
        return cr.SGD(lr=cr.StepLR(cr.ReduceLROnPlateau(0.1, patience=1, cooldown=1), step_size=20))

    losses = wobbling(3, 0.0)
    whole = rates(make(), losses)
    first, second = make(), make()
    assert rates(first, losses[:23]) == whole[:23]
    second.load_state_dict([], first.state_dict([]))
    assert rates(second, losses[23:]) == whole[23:]
    second.forget()
    assert rates(second, losses) == whole


def test_a_schedule_may_count_steps() -> None:
    optimizer = cr.SGD(lr=cr.StepLR(1.0, step_size=2, every="step"))
    parameter, found = cr.Parameter(np.zeros(1)), []
    for _ in range(5):
        found.append(optimizer.current_lr)
        optimizer.step([parameter])
    assert found == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01])
    optimizer.end_epoch()
    assert optimizer.current_lr == pytest.approx(0.01)
    assert optimizer.lr.changes_within_epochs()
    assert cr.LinearLR(cr.StepLR(1.0, 2, every="step")).changes_within_epochs()
    assert not cr.LinearLR(cr.StepLR(1.0, 2)).changes_within_epochs()


def test_an_update_uses_the_rate_of_its_epoch() -> None:
    optimizer, parameter = cr.SGD(lr=cr.StepLR(1.0, step_size=1)), cr.Parameter(np.zeros(1))
    parameter.grad[...] = -1
    optimizer.step([parameter])
    optimizer.step([parameter])
    optimizer.end_epoch()
    optimizer.step([parameter])
    assert parameter.value.tolist() == pytest.approx([2.1])


def test_repr_is_the_call_that_makes_the_schedule() -> None:
    for name, options in SCHEDULES:
        schedule = getattr(cr, name)(0.1, **options)
        assert vars(eval(repr(schedule), vars(cr))) == vars(schedule)
    assert repr(cr.LinearLR(cr.StepLR(0.1, 30))) == "LinearLR(lr=StepLR(lr=0.1, step_size=30))"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: cr.StepLR(-1.0, 3), ValueError, "StepLR: lr must be at least 0 and finite, got -1.0"),
        (lambda: cr.StepLR(math.nan, 3), ValueError, "StepLR: lr must be at least 0 and finite, got nan"),
        (lambda: cr.StepLR("a", 3), TypeError, "StepLR: lr must be a number or a schedule, got 'a'"),
        (lambda: cr.StepLR(0.1, 0), ValueError, "StepLR: step_size must be at least 1, got 0"),
        (lambda: cr.CosineAnnealingLR(0.1, 0), ValueError, "CosineAnnealingLR: T_max must be at least 1, got 0"),
        (lambda: cr.LinearLR(0.1, total_iters=0), ValueError, "LinearLR: total_iters must be at least 1, got 0"),
        (lambda: cr.StepLR(0.1, 3, every="day"), ValueError, 'StepLR: every must be "epoch" or "step", got \'day\''),
        (lambda: cr.ReduceLROnPlateau(0.1, "least"), ValueError, 'ReduceLROnPlateau: mode must be "min" or "max", got'),
        (lambda: cr.ReduceLROnPlateau(0.1, factor=1.0), ValueError, "factor must be at least 0 and below 1, got 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()
