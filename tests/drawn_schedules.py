"""Schedules with odd arguments, drawn by hypothesis, as ours and as PyTorch's."""

from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st

import chainrule as cr

EPOCHS = 60
BASE = 0.1

theirs = torch.optim.lr_scheduler
lengths = st.integers(1, 90)  # below and above the 60 epochs
shares = st.floats(0.01, 1.0)
momenta = st.floats(0.0, 0.95)


def zigzag(t: int) -> float:
    """A function of the epoch: 1, 0.5, 0.33, 1, …"""
    return 1 / (1 + t % 3)


def slowly(t: int) -> float:
    """A factor after epoch t, that falls."""
    return 1 - 0.5 / t


def falling(t: int) -> float:
    """A share of a cycle's height, of its number or of the time."""
    return 1 / (1 + t / 7)


@dataclass(frozen=True)
class Drawn:
    """A class of schedules and its arguments; `inner` are those of a SequentialLR."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    inner: tuple["Drawn", ...] = ()

    def ours(self, lr: Any = BASE, **more: Any) -> cr.Schedule:
        """As a schedule of ours that starts from `lr`."""
        if self.name == "SequentialLR":
            return cr.SequentialLR([one.ours(lr, **more) for one in self.inner], **self.options, **more)
        start = () if self.name in ("OneCycleLR", "CyclicLR") else (lr,)
        return getattr(cr, self.name)(*start, **self.options, **more)

    def theirs(self, optimizer: torch.optim.Optimizer) -> Any:
        """As a scheduler of PyTorch's."""
        if self.name == "SequentialLR":
            return theirs.SequentialLR(optimizer, [one.theirs(optimizer) for one in self.inner], **self.options)
        return getattr(theirs, self.name)(optimizer, **self.options)


def drawn(name: str, **options: st.SearchStrategy[Any]) -> st.SearchStrategy[Drawn]:
    return st.builds(Drawn, st.just(name), st.fixed_dictionaries(options))


FACTORS = [  # schedules that multiply, whatever others do
    drawn("StepLR", step_size=lengths, gamma=shares),
    drawn("MultiStepLR", milestones=st.lists(st.integers(0, 70), max_size=6), gamma=shares),
    drawn("ExponentialLR", gamma=st.floats(0.7, 1.1)),
    drawn("ConstantLR", factor=shares, total_iters=lengths),
    drawn("LinearLR", start_factor=shares, end_factor=st.floats(0.0, 1.0), total_iters=lengths),
    drawn("MultiplicativeLR", lr_lambda=st.just(slowly)),
]
DECAYS = [  # to the least rate, where a recursion of PyTorch's goes on from nothing
    drawn("PolynomialLR", total_iters=lengths, power=st.floats(0.0, 4.0)),
    drawn("CosineAnnealingLR", T_max=lengths, eta_min=st.floats(0.0, 0.2)),
]
RESTARTS = [  # PyTorch's go by the first rate
    drawn("CosineAnnealingWarmRestarts", T_0=lengths, T_mult=st.integers(1, 4), eta_min=st.floats(0.0, 0.2)),
    drawn("LambdaLR", lr_lambda=st.just(zigzag)),
]
bounds = {"base_momentum": momenta, "max_momentum": st.floats(0.01, 0.95)}  # from 0 on, RMSprop of PyTorch fails
CYCLES = [
    drawn(
        "OneCycleLR",
        max_lr=st.floats(1e-3, 1.0),
        total_steps=st.integers(EPOCHS + 1, 100),
        pct_start=st.floats(0.0, 1.0),
        anneal_strategy=st.sampled_from(["cos", "linear"]),
        div_factor=st.floats(0.5, 50),
        final_div_factor=st.floats(0.5, 1e5),
        three_phase=st.booleans(),
        **bounds,
    ),
    drawn(
        "OneCycleLR",
        max_lr=st.floats(1e-3, 1.0),
        epochs=st.integers(7, 9),
        steps_per_epoch=st.integers(10, 13),
        **bounds,
    ),
    drawn(
        "CyclicLR",
        base_lr=st.floats(0.0, 0.2),
        max_lr=st.floats(0.0, 1.0),
        step_size_up=st.integers(1, 40),
        step_size_down=st.none() | st.integers(1, 40),
        mode=st.sampled_from(["triangular", "triangular2", "exp_range"]),
        gamma=st.floats(0.8, 1.0),
        **bounds,
    ),
    drawn(
        "CyclicLR",
        base_lr=st.floats(0.0, 0.2),
        max_lr=st.floats(0.0, 1.0),
        step_size_up=st.integers(1, 40),
        scale_fn=st.just(falling),
        scale_mode=st.sampled_from(["cycle", "iterations"]),
        **bounds,
    ),
]
cycles = st.one_of(CYCLES)


@st.composite
def sequences(draw: Any) -> Drawn:
    """Schedules that run one after another; those of PyTorch's that begin anew at a milestone, from the first rate."""
    beginning = [one for one in (*FACTORS, *DECAYS, *RESTARTS) if one is not FACTORS[-1]]
    inner = tuple(draw(st.lists(st.one_of(beginning), min_size=1, max_size=4)))
    n = len(inner) - 1
    milestones = sorted(draw(st.lists(st.integers(0, 70), min_size=n, max_size=n)))
    return Drawn("SequentialLR", {"milestones": milestones}, inner)
