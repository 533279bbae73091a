import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import EarlyStopping, History


def stops_after(losses, **options):
    """The number of epochs after which EarlyStopping ends a run with these losses; None if it never does."""
    history, stop = History(), EarlyStopping(**options)
    for loss in losses:
        history.record(loss, None, {}, learning_rate=0.1, seconds=0.0)
        if stop(history):
            return history.epochs
    return None


def test_it_stops_when_patience_epochs_brought_nothing_better():
    assert stops_after([5, 4, 3, 3, 3, 3], patience=3) == 6
    assert stops_after([5, 4, 3, 4, 4, 2, 4, 4, 4], patience=3) == 9
    assert stops_after([1, 2], patience=1) == 2


def test_it_never_stops_while_the_loss_falls():
    assert stops_after([10 - 0.1 * epoch for epoch in range(50)], patience=1) is None


def test_better_means_by_more_than_min_delta():
    losses = [1.0, 0.75, 0.5, 0.25, 0.0]  # exact in binary
    assert stops_after(losses, patience=1, min_delta=0.25) == 2
    assert stops_after(losses, patience=1, min_delta=0.2) is None


def test_it_looks_at_the_validation_loss_where_there_is_one():
    history, stop = History(), EarlyStopping(patience=1)
    for loss, validation_loss in ((2.0, 1.0), (1.0, 1.0)):
        history.record(loss, validation_loss, {}, learning_rate=0.1, seconds=0.0)
    assert stop(history)


def test_it_remembers_nothing_so_one_object_serves_two_runs():
    stop = EarlyStopping(patience=2)
    data = cr.data.disk(50, seed=0)
    runs = []
    for _ in range(2):
        model = cr.Sequential(cr.SGD(lr=0.0), cr.Linear(2, 2, rng=0))
        runs.append(cr.fit(model, cr.MSELoss(), data, epochs=50, batch_size=50, shuffle=False, stop=stop))
    assert [run.epochs for run in runs] == [3, 3]
    assert runs[0].stopped == "EarlyStopping(patience=2, min_delta=0.0)"


@pytest.mark.parametrize("patience", [0, -1, 2.5, "3", None, True])
def test_patience_must_be_a_positive_integer(patience):
    with pytest.raises(ValueError, match="EarlyStopping: patience must be a positive integer, got"):
        EarlyStopping(patience)


@pytest.mark.parametrize("min_delta", [-0.1, math.nan])
def test_min_delta_must_not_be_negative(min_delta):
    with pytest.raises(ValueError, match="EarlyStopping: min_delta must be at least 0 and finite, got"):
        EarlyStopping(min_delta=min_delta)


@given(
    st.lists(st.integers(0, 6), max_size=25),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.5, 2.0]),
    st.lists(st.integers(0, 6), min_size=8, max_size=8),
)
def test_ahead_is_as_long_as_it_can_be_and_no_longer(losses, patience, min_delta, future):
    stop = cr.EarlyStopping(patience, min_delta=min_delta)
    ahead = stop.ahead(cr.History(losses=[float(x) for x in losses]))
    assert 1 <= ahead <= patience + (not losses)
    for n in range(1, ahead):
        assert not stop(cr.History(losses=losses + future[:n]))
    assert stop(cr.History(losses=losses + [100] * ahead))


def test_early_stopping_ends_where_a_function_that_is_asked_after_every_epoch_does():
    def train(stop):
        cr.seed(0)
        model = cr.Sequential(cr.SGD(lr=0.5), cr.Linear(2, 8), cr.Tanh(), cr.Linear(8, 2))
        data = cr.data.disk(100, seed=0), cr.data.disk(50, seed=1)
        return model, cr.fit(model, cr.MSELoss(), data[0], epochs=500, validation=data[1], stop=stop)

    stop = cr.EarlyStopping(7, min_delta=0.0005)
    (one, history), (other, asked) = train(stop), train(lambda h: stop(h))
    assert history.losses == asked.losses
    assert history.epochs < 500
    for a, b in zip(one.param(), other.param(), strict=True):
        np.testing.assert_array_equal(a.value, b.value)
