"""Schedules against torch.optim.lr_scheduler, epoch by epoch; PyTorch's are recursions, ours closed forms."""

import copy
import itertools
import json
import math
import pickle
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


def test_plateaus_within_a_plateau_are_saved_apart() -> None:
    def make() -> cr.SGD:
        inner = cr.StepLR(cr.ReduceLROnPlateau(0.1, factor=0.9, patience=1), 20)
        return cr.SGD(lr=cr.ReduceLROnPlateau(inner, factor=0.9, patience=4))

    losses = wobbling(3, 0.0)
    whole = rates(make(), losses)
    first, second = make(), make()
    rates(first, losses[:23])
    assert first.lr.lr.lr.reductions > first.lr.reductions > 0
    second.load_state_dict([], json.loads(json.dumps(first.state_dict([]))))
    assert rates(second, losses[23:]) == whole[23:]


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


# -- where a schedule begins


def network() -> cr.Sequential:
    return cr.Sequential(cr.Linear(3, 1, rng=0, dtype="float64"))


X = np.random.default_rng(0).normal(size=(64, 3))
DATA = (X, X[:, :1])

UNITS = {  # name: (a schedule that falls every 10 epochs of 4 steps, the same in PyTorch)
    "epochs": (
        lambda: cr.StepLR(0.1, 10),
        lambda peer: torch.optim.lr_scheduler.StepLR(peer, 10),
    ),
    "steps": (
        lambda: cr.StepLR(0.1, 40, every="step"),
        lambda peer: torch.optim.lr_scheduler.StepLR(peer, 10),
    ),
    "plateau": (
        lambda: cr.ReduceLROnPlateau(0.1, patience=1, threshold=0.5),
        lambda peer: torch.optim.lr_scheduler.ReduceLROnPlateau(peer, patience=1, threshold=0.5),
    ),
}
each_unit = pytest.mark.parametrize("unit", list(UNITS))
each_engine = pytest.mark.parametrize("engine", ["native", "python"])


def run(model: cr.Sequential, optimizer: cr.Optimizer, epochs: int, engine: str) -> cr.History:
    return cr.fit(model, cr.MSELoss(), DATA, epochs=epochs, batch_size=16, optimizer=optimizer, engine=engine)


class Peer:
    """PyTorch's habit: an optimizer and a scheduler of its own for each network."""

    def __init__(self, unit: str) -> None:
        self.optimizer = torch_optimizer()
        self.scheduler = UNITS[unit][1](self.optimizer)

    def rates(self, losses: list[float]) -> list[float]:
        found = []
        for loss in losses:
            found.append(self.optimizer.param_groups[0]["lr"])
            self.optimizer.step()
            self.scheduler.step(*([loss] if "Plateau" in type(self.scheduler).__name__ else []))
        return found


@each_engine
@each_unit
def test_a_schedule_counts_for_each_network_by_itself_as_if_each_had_an_optimizer(unit: str, engine: str) -> None:
    one = cr.SGD(UNITS[unit][0]())
    networks, peers = [network() for _ in range(3)], [Peer(unit) for _ in range(3)]
    for epochs in (25, 15):  # trained, and later trained on, in turn
        for model, peer in zip(networks, peers, strict=True):
            history = run(model, one, epochs, engine)
            assert history.learning_rates == pytest.approx(peer.rates(history.losses), rel=1e-12)
    assert (one.steps, one.epochs) == (3 * 40 * 4, 3 * 40)


@each_engine
@each_unit
def test_a_schedule_begins_when_it_is_set(unit: str, engine: str) -> None:
    model, optimizer = network(), cr.SGD(0.1)
    other = network()
    run(other, optimizer, 3, engine)
    run(model, optimizer, 10, engine)
    optimizer.lr = schedule = UNITS[unit][0]()
    peer = Peer(unit)
    for epochs in (12, 15):  # going on goes on
        history = run(model, optimizer, epochs, engine)
        assert history.learning_rates == pytest.approx(peer.rates(history.losses), rel=1e-12)
    optimizer.lr = schedule  # again: it begins again, and has forgotten what it learned
    assert optimizer.current_lr == 0.1
    assert run(other, optimizer, 1, engine).learning_rates == [0.1]


@each_engine
def test_a_schedule_that_a_callback_sets_begins_with_the_next_epoch(engine: str) -> None:
    def anneal(run: cr.Run) -> None:
        if run.history.epochs == 3:
            run.optimizer.lr = cr.CosineAnnealingLR(0.2, T_max=4, every="step")

    model = network()
    history = cr.fit(
        model, cr.MSELoss(), DATA, epochs=5, batch_size=32, optimizer=cr.SGD(0.1), callbacks=[anneal], engine=engine
    )
    assert history.learning_rates == pytest.approx([0.1, 0.1, 0.1, 0.2, 0.1])


@each_engine
@each_unit
def test_a_callback_that_trains_another_network_by_the_same_optimizer_leaves_the_schedule_alone(
    unit: str, engine: str
) -> None:
    optimizer, model, other = cr.SGD(UNITS[unit][0]()), network(), network()
    of_other: list[float] = []
    losses_of_other: list[float] = []

    def train_other(_: cr.Run) -> None:
        history = run(other, optimizer, 1, engine)
        of_other.extend(history.learning_rates)
        losses_of_other.extend(history.losses)

    history = cr.fit(
        model,
        cr.MSELoss(),
        DATA,
        epochs=25,
        batch_size=16,
        optimizer=optimizer,
        callbacks=[train_other],
        engine=engine,
    )
    assert history.learning_rates == pytest.approx(Peer(unit).rates(history.losses), rel=1e-12)
    assert of_other == pytest.approx(Peer(unit).rates(losses_of_other), rel=1e-12)


@each_engine
def test_a_network_that_diverges_takes_nothing_from_others_of_its_optimizer(engine: str) -> None:
    optimizer, model, alone, wild = cr.Adam(cr.StepLR(0.1, 2)), network(), network(), network()
    run(model, optimizer, 3, engine)
    wild[0].weight.value[...] = 1e300
    with pytest.raises(FloatingPointError):
        run(wild, optimizer, 1, engine)
    own = cr.Adam(cr.StepLR(0.1, 2))
    run(alone, own, 3, engine)
    assert run(model, optimizer, 2, engine).learning_rates == run(alone, own, 2, engine).learning_rates
    np.testing.assert_array_equal(model[0].weight.value, alone[0].weight.value)
    wild[0].weight.value[...] = 0
    assert run(wild, optimizer, 1, engine).learning_rates == [0.1]  # its own memory is gone


def test_a_loop_of_ones_own_counts_on_until_it_turns_to_another_network() -> None:
    optimizer, first, second = cr.SGD(cr.StepLR(1.0, 2)), network(), network()

    def epoch(model: cr.Sequential) -> float:
        rate = optimizer.current_lr
        optimizer.step(model.param())
        optimizer.end_epoch()
        return rate

    assert [epoch(first) for _ in range(3)] == pytest.approx([1, 1, 0.1])
    assert run(first, optimizer, 2, "native").learning_rates == pytest.approx([0.1, 0.01])  # it is the same network
    assert run(second, optimizer, 1, "native").learning_rates == [1.0]
    optimizer.turn_to(first.param())
    assert epoch(first) == pytest.approx(0.01)
    optimizer.turn_to(second.param())
    assert [epoch(second) for _ in range(2)] == pytest.approx([1, 0.1])


def test_networks_that_share_parameters_are_different_networks() -> None:
    optimizer, body = cr.SGD(cr.StepLR(1e-3, 2)), network()
    one, two = (cr.Sequential(body, cr.Linear(1, 1, rng=i, dtype="float64")) for i in range(2))
    for model in (one, two):
        assert run(model, optimizer, 3, "native").learning_rates == pytest.approx([1e-3, 1e-3, 1e-4])
    assert run(one, optimizer, 2, "native").learning_rates == pytest.approx([1e-4, 1e-5])


def test_the_same_schedule_in_several_optimizers_begins_in_each() -> None:
    schedule = cr.ReduceLROnPlateau(0.1, patience=0, threshold=0.9)
    for _ in range(2):
        assert run(network(), cr.SGD(schedule), 4, "native").learning_rates[:2] == [0.1, 0.1]


@each_unit
def test_copies_and_states_go_on_where_the_network_was(unit: str) -> None:
    model, other, optimizer = network(), network(), cr.SGD(UNITS[unit][0](), momentum=0.5)
    run(model, optimizer, 15, "native")
    run(other, optimizer, 3, "native")
    state = optimizer.state_dict(model.param())
    assert state["counted"] == {"steps": 60, "epochs": 15}
    copied, loaded = copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))
    new, fresh = network(), cr.SGD(UNITS[unit][0](), momentum=0.5)
    new.load_state_dict(model.state_dict())
    fresh.load_state_dict(new.param(), state)
    expected = run(model, optimizer, 20, "native")
    for again, rule in (copied, loaded, (new, fresh)):
        history = run(again, rule, 20, "native")
        assert (history.learning_rates, history.losses) == (expected.learning_rates, expected.losses)


def test_a_state_of_before_counts_were_kept_apart_is_read() -> None:
    optimizer, model = cr.SGD(cr.StepLR(0.1, 10)), network()
    optimizer.load_state_dict(model.param(), {"steps": 60, "epochs": 15, "schedule": {}, "parameters": [{}, {}]})
    assert run(model, optimizer, 1, "native").learning_rates == pytest.approx([0.01])


def test_an_optimizer_shows_where_its_schedule_is() -> None:
    optimizer, model = cr.SGD(cr.StepLR(0.1, 10)), network()
    made = "SGD(lr=StepLR(lr=0.1, step_size=10))"
    assert repr(optimizer) == made
    run(model, optimizer, 20, "native")
    assert repr(optimizer) == f"{made} at lr=0.001 after 20 epochs"
    optimizer.turn_to(network().param())
    assert repr(optimizer) == made
    optimizer.turn_to(model.param())
    assert repr(optimizer) == f"{made} at lr=0.001 after 20 epochs"
    optimizer.forget()
    assert repr(optimizer) == made
    optimizer.lr = cr.StepLR(0.1, 10, every="step")
    run(model, optimizer, 2, "native")
    assert repr(optimizer).endswith(" at lr=0.1 after 2 epochs and 8 steps")


@pytest.mark.parametrize(("rate", "error"), [("0.1", TypeError), (None, TypeError), (-1, ValueError)])
def test_a_learning_rate_that_is_set_is_checked_as_one_that_is_given(rate: Any, error: type[Exception]) -> None:
    optimizer = cr.SGD(0.1)
    with pytest.raises(error, match="SGD: lr must be"):
        optimizer.lr = rate
    assert optimizer.lr == 0.1


@pytest.mark.parametrize("around", [lambda plateau: plateau, lambda plateau: cr.ExponentialLR(plateau, 1.0)])
def test_a_schedule_that_hears_losses_belongs_to_one_optimizer(around):
    plateau = cr.ReduceLROnPlateau(0.1, patience=0, factor=0.5)
    first, second = cr.SGD(around(plateau)), cr.SGD(around(plateau))
    second.end_epoch(1.0)
    for loss in (1.0, 2.0):  # the one falls behind, the other does not hear of it
        first.end_epoch(loss)
    assert (first.current_lr, second.current_lr) == (0.05, 0.1)
    again = first.lr
    first.lr = again  # its own
    assert first.lr is again
    shared = cr.StepLR(0.1, 2)
    assert cr.SGD(shared).lr is cr.Adam(shared).lr is shared  # a function of time may be of several


class Falling(cr.optimizers.Schedule):
    """Of somebody's own, which says what is no rate after a while."""

    def __init__(self, until, says, **options):
        super().__init__(0.1, **options)
        self.until, self.says = until, says

    def after(self, lr, t):
        return lr if t < self.until else self.says


def lambda_lr(until, says, **options):
    return cr.LambdaLR(1.0, lambda t: 0.1 if t < until else says, **options)


@pytest.mark.parametrize("make", [Falling, lambda_lr])
@pytest.mark.parametrize("every", ["epoch", "step"])
@pytest.mark.parametrize("says", [float("nan"), -1.0, float("inf")])
@pytest.mark.parametrize("of_group", [False, True])
def test_a_rate_that_cannot_be_ends_a_run_when_it_comes_with_the_same_words_in_both_loops(make, every, says, of_group):
    x = np.random.default_rng(0).normal(size=(40, 2))
    found = []
    for engine in ("python", "native"):
        model = cr.Sequential(cr.Linear(2, 3, rng=0), cr.Tanh(), cr.Linear(3, 1, rng=1)).double()
        lr = make(37 if every == "epoch" else 74, says, every=every)
        groups = [{"parameters": model[2], "lr": lr}]
        optimizer = cr.SGD(0.1, groups=groups) if of_group else cr.SGD(lr)
        with pytest.raises(ValueError, match=r"must be at least 0 and finite, got (nan|inf|-1)") as caught:
            cr.fit(model, cr.MSELoss(), (x, x[:, :1]), epochs=50, batch_size=20, optimizer=optimizer, engine=engine)
        found.append((str(caught.value), caught.value.history.epochs, caught.value.history.steps))
        assert np.isfinite(model[0].weight.value).all()
        with pytest.raises(ValueError, match="must be at least 0 and finite"):
            cr.compile(model, cr.MSELoss(), cr.SGD(make(0, says, every=every))).step(x, x[:, :1])
    assert found[0] == found[1]
    assert found[0][1:] == (37, 74)
