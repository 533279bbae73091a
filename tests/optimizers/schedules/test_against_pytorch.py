"""Schedules against torch.optim.lr_scheduler over 60 epochs of odd arguments; PyTorch's are recursions."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from drawn_schedules import BASE, DECAYS, EPOCHS, FACTORS, RESTARTS, Drawn, cycles, sequences
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import optimizers

# PyTorch multiplies epoch after epoch, at most 60 roundings of a chain of two, or four in a row. At the least rate of
# a cosine 1 + cos cancels, to an error of eps / (1 - cos(π / T_max)) < 900 eps for T_max < 60 that its recursion keeps.
RTOL, ATOL = 1e-12, 1e-15
# PyTorch's share of a cycle has the error of 1 + t / size - cycle, up to 60 eps, by the share of the way up, 1/41.
CYCLE_ATOL = 60 * 41 * 2.3e-16

schedulers = torch.optim.lr_scheduler


def peer(kind: Any = torch.optim.SGD, **options: Any) -> torch.optim.Optimizer:
    parameter = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    parameter.grad = torch.zeros(1, dtype=torch.float64)
    return kind([parameter], lr=BASE, **options)


def rates_of_theirs(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int = EPOCHS) -> list[float]:
    found = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The epoch parameter in `scheduler.step()` was not necessary")
        for _ in range(steps):
            found.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
    return found


def rates_of_ours(schedule: cr.Schedule) -> list[float]:
    """One after another, by epochs or by steps."""
    optimizer, parameter, found = cr.SGD(lr=schedule), cr.Parameter(np.zeros(1)), []
    for _ in range(EPOCHS):
        found.append(optimizer.current_lr)
        if schedule.every == "step":
            optimizer.step([parameter])
        else:
            optimizer.end_epoch()
    return found


@pytest.mark.parametrize("every", ["epoch", "step"])
@settings(max_examples=150, deadline=None)
@given(one=st.one_of(*FACTORS, *DECAYS, *RESTARTS, sequences()))
def test_sixty_epochs_are_those_of_pytorch(every: str, one: Drawn) -> None:
    optimizer = peer()
    theirs = rates_of_theirs(optimizer, one.theirs(optimizer))
    np.testing.assert_allclose(rates_of_ours(one.ours(every=every)), theirs, rtol=RTOL, atol=ATOL)


@settings(max_examples=100, deadline=None)
@given(chain=st.lists(st.one_of(FACTORS), min_size=2, max_size=4))
def test_a_chain_multiplies_as_in_pytorch(chain: list[Drawn]) -> None:
    optimizer = peer()
    theirs = rates_of_theirs(optimizer, schedulers.ChainedScheduler([one.theirs(optimizer) for one in chain]))
    ours: Any = BASE
    for one in chain:
        ours = one.ours(ours)
    np.testing.assert_allclose(rates_of_ours(ours), theirs, rtol=RTOL, atol=ATOL)


def phase_of_no_length(one: Drawn) -> bool:
    """Whether the way up of a OneCycleLR takes exactly one step, where PyTorch divides by zero."""
    return one.options.get("pct_start", 0.3) * one.options.get("total_steps", 0) == 1


@pytest.mark.parametrize("kind", ["SGD", "RMSprop", "Adam", "AdamW"])
@settings(max_examples=100, deadline=None)
@given(one=cycles, seed=st.integers(0, 2**32 - 1))
def test_sixty_steps_of_a_cycle_are_those_of_pytorch_with_its_momentum(kind: str, one: Drawn, seed: int) -> None:
    assume(not phase_of_no_length(one))
    # Where its momentum is exactly 0, PyTorch's RMSprop leaves the buffer as it is; ours goes on with it.
    assume(kind != "RMSprop" or one.options.get("base_momentum") != 0)
    options: dict[str, Any] = {"momentum": 0.5} if kind in ("SGD", "RMSprop") else {"betas": (0.5, 0.95)}
    rule = getattr(optimizers, kind)(lr=one.ours(), **options)
    start, *gradients = np.random.default_rng(seed).normal(size=(EPOCHS + 1, 3))
    parameter, tensor = cr.Parameter(start), torch.nn.Parameter(torch.tensor(start))
    theirs = getattr(torch.optim, kind)([tensor], lr=BASE, **options)
    scheduler = one.theirs(theirs)
    for gradient in gradients:
        group = theirs.param_groups[0]
        momentum = group["betas"][0] if "betas" in group else group["momentum"]
        assert rule.current_lr == pytest.approx(group["lr"], rel=RTOL, abs=CYCLE_ATOL)
        assert rule.current_momentum == pytest.approx(momentum, rel=RTOL, abs=CYCLE_ATOL)
        parameter.grad[...] = gradient
        tensor.grad = torch.tensor(gradient)
        rule.step([parameter])
        theirs.step()
        scheduler.step()
    # An error of a share in the momentum m stays for 1 / (1 - m) <= 20 steps, in what adds up to 20 gradients.
    np.testing.assert_allclose(parameter.value, tensor.detach().numpy(), rtol=1e-9, atol=EPOCHS * 400 * CYCLE_ATOL)


# -- where they differ, as the docstrings say


def at(schedule: cr.Schedule, t: int) -> float:
    return schedule.at(steps=t, epochs=t)


def chained(*makers: Any) -> list[float]:
    optimizer = peer()
    return rates_of_theirs(optimizer, schedulers.ChainedScheduler([make(optimizer) for make in makers]))


def test_a_chain_through_a_cosine_remembers_what_pytorch_forgets_past_its_end() -> None:
    theirs = chained(
        lambda optimizer: schedulers.ExponentialLR(optimizer, gamma=0.9),
        lambda optimizer: schedulers.CosineAnnealingLR(optimizer, T_max=4),
    )
    ours = cr.CosineAnnealingLR(cr.ExponentialLR(0.1, gamma=0.9), T_max=4)
    assert theirs[:5] == pytest.approx([at(ours, t) for t in range(5)], rel=RTOL, abs=ATOL)
    assert theirs[6] == pytest.approx(0.045, rel=RTOL)
    assert at(ours, 6) == pytest.approx(0.1 * 0.9**6 / 2, rel=RTOL) == pytest.approx(0.02657, abs=5e-6)


def test_a_chain_through_a_function_multiplies_where_pytorch_begins_with_the_first_rate() -> None:
    theirs = chained(
        lambda optimizer: schedulers.ExponentialLR(optimizer, gamma=0.5),
        lambda optimizer: schedulers.LambdaLR(optimizer, lambda epoch: 2.0),
    )
    ours = cr.LambdaLR(cr.ExponentialLR(0.1, gamma=0.5), lambda epoch: 2.0)
    assert (theirs[3], at(ours, 3)) == pytest.approx((0.2, 0.025), rel=RTOL)
    theirs = chained(
        lambda optimizer: schedulers.ExponentialLR(optimizer, gamma=0.5),
        lambda optimizer: schedulers.CosineAnnealingWarmRestarts(optimizer, T_0=2),
    )
    ours = cr.CosineAnnealingWarmRestarts(cr.ExponentialLR(0.1, gamma=0.5), T_0=2)
    assert (theirs[3], at(ours, 3)) == pytest.approx((0.05, 0.00625), rel=RTOL)


def test_after_its_cycle_a_schedule_stays_where_pytorch_fails() -> None:
    optimizer, ours = peer(), cr.OneCycleLR(1.0, total_steps=10)
    scheduler = schedulers.OneCycleLR(optimizer, 1.0, total_steps=10)
    assert rates_of_theirs(optimizer, scheduler, 10) == pytest.approx([at(ours, t) for t in range(10)], rel=RTOL)
    with pytest.raises(ValueError, match="Tried to step 11 times"):
        scheduler.step()
    assert [at(ours, t) for t in (9, 10, 1000)] == [1 / 25 / 1e4] * 3
    assert [ours.momentum_at(steps=t, epochs=0) for t in (9, 10, 1000)] == [0.95] * 3


def test_a_way_up_of_one_step_is_over_at_once_where_pytorch_divides_by_zero() -> None:
    with pytest.raises(ZeroDivisionError):
        schedulers.OneCycleLR(peer(), 1.0, total_steps=10, pct_start=0.1)
    ours = cr.OneCycleLR(1.0, total_steps=10, pct_start=0.1)
    assert (at(ours, 0), at(ours, 9)) == pytest.approx((1, 4e-6))


def test_after_a_cycle_in_a_sequence_the_momentum_is_again_that_of_the_optimizer() -> None:
    optimizer = peer(momentum=0.5)
    cycle = schedulers.CyclicLR(optimizer, 0.1, 0.1, step_size_up=5, max_momentum=0.9)
    scheduler = schedulers.SequentialLR(optimizer, [cycle, schedulers.StepLR(optimizer, 1)], [2])
    rates_of_theirs(optimizer, scheduler, 3)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.9 - 0.1 / 5)
    ours = [cr.CyclicLR(0.1, 0.1, step_size_up=5, max_momentum=0.9), cr.StepLR(0.1, 1, every="step")]
    rule = cr.SGD(cr.SequentialLR(ours, [2], every="step"), momentum=0.5)
    assert [rule.momentum_at(steps=t, epochs=0) for t in range(4)] == pytest.approx([0.9, 0.88, 0.5, 0.5])
