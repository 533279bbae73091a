"""Schedules one after another."""

import re

import pytest

import chainrule as cr


def test_each_begins_at_its_milestone_from_its_own_rate():
    schedule = cr.SequentialLR([cr.LinearLR(0.3), cr.StepLR(1.0, 2, gamma=0.5), cr.ExponentialLR(8.0, 0.5)], [2, 5])
    found = [schedule.at(steps=0, epochs=t) for t in range(8)]
    assert found == pytest.approx([0.1, 0.14, 1.0, 1.0, 0.5, 8.0, 4.0, 2.0])


def test_one_of_no_length_is_passed_over():
    schedule = cr.SequentialLR([cr.StepLR(1.0, 9), cr.StepLR(2.0, 9), cr.StepLR(3.0, 9)], [0, 0])
    assert schedule.at(steps=0, epochs=0) == 3.0


def test_it_counts_steps_if_all_do():
    alone = cr.SequentialLR([cr.StepLR(4.0, 1, every="step")], [], every="step")
    schedule = cr.SequentialLR([cr.ExponentialLR(1.0, 0.5, every="step"), alone], [3], every="step")
    assert [schedule.at(steps=t, epochs=99) for t in range(6)] == pytest.approx([1, 0.5, 0.25, 4, 0.4, 0.04])
    assert schedule.changes_within_epochs()
    assert not cr.SequentialLR([cr.StepLR(4.0, 1)], []).changes_within_epochs()


def test_it_may_stand_within_another_one():
    inner = cr.SequentialLR([cr.StepLR(1.0, 9), cr.StepLR(2.0, 9)], [2])
    assert cr.ExponentialLR(inner, 0.5).at(steps=0, epochs=3) == 0.25
    assert cr.ReduceLROnPlateau(inner).listens()
    assert not inner.listens()


def test_the_momentum_is_that_of_the_one_whose_turn_it_is():
    cycle = cr.CyclicLR(0.1, 0.2, step_size_up=2, every="epoch")
    schedule = cr.SequentialLR([cr.StepLR(0.1, 9), cycle], [2])
    assert schedule.cycles_momentum()
    found = [schedule.momentum_at(steps=0, epochs=t) for t in range(5)]
    assert found == [None, None, *(pytest.approx(m) for m in (0.9, 0.85, 0.8))]


@pytest.mark.parametrize(
    ("schedulers", "milestones", "error", "message"),
    [
        ([], [], TypeError, "SequentialLR: schedulers must be a list of schedules, got []"),
        (cr.StepLR(0.1, 3), [], TypeError, "schedulers must be a list of schedules, got StepLR(lr=0.1, step_size=3)"),
        ([0.1, cr.StepLR(0.1, 3)], [1], TypeError, "schedulers must be a list of schedules, got [0.1, StepLR("),
        ([cr.StepLR(0.1, 3)], [1], ValueError, "milestones must be one fewer than schedulers, got 1 for 1"),
        ([cr.StepLR(0.1, 3)] * 3, [2, 1], ValueError, "milestones must be in increasing order, got [2, 1]"),
        ([cr.StepLR(0.1, 3)] * 2, [1.5], TypeError, "milestones must be an integer, got 1.5"),
        ([cr.StepLR(0.1, 3)] * 2, "1", TypeError, "milestones must be integers, got '1'"),
        (
            [cr.StepLR(cr.ReduceLROnPlateau(0.1), 3)],
            [],
            ValueError,
            "must be functions of time, got StepLR(lr=ReduceLROnPlateau(lr=0.1), step_size=3), which hears losses",
        ),
        (
            [cr.StepLR(0.1, 3), cr.LinearLR(cr.StepLR(0.1, 3, every="step"))],
            [1],
            ValueError,
            'schedulers must all count as it does, every="epoch", got LinearLR(lr=StepLR(',
        ),
    ],
)
def test_what_makes_no_sequence_is_refused(schedulers, milestones, error, message):
    with pytest.raises(error, match=re.escape(message)):
        cr.SequentialLR(schedulers, milestones)
