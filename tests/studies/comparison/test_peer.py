import math
import signal
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.data import Dataset
from chainrule.studies.comparison import full, ours
from chainrule.studies.comparison.errors import train_ours, train_peer
from chainrule.studies.comparison.peer import Peer
from chainrule.studies.comparison.questions import LOSSES, OPTIMIZERS, Cell

ACTIVATIONS = next(question.values for question in full().questions if question.name == "activation")


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        Cell,
        points=st.integers(2, 60),
        lr=st.sampled_from([1e-3, 0.01]),
        epochs=st.integers(1, 4),
        batch_size=st.integers(1, 30),
        activation=st.sampled_from(ACTIVATIONS),
        optimizer=st.sampled_from(list(OPTIMIZERS)),
        loss=st.sampled_from(list(LOSSES)),
        width=st.integers(1, 30),
        depth=st.integers(1, 4),
    ),
    st.integers(0, 1000),
)
def test_both_go_from_the_same_start_to_the_same_end(cell, seed):
    points = cr.data.disk(cell.points, seed=seed, radius="balanced")
    data = Dataset(points.x.astype(float), points.target.astype(float))
    model, loss = ours.built(cell, seed).to(dtype="float64"), ours.loss_of(cell)
    peer = Peer(cell, model)
    assert all(np.array_equal(peer.parameters()[name], value) for name, value in model.state_dict().items())
    history = cr.fit(
        model,
        loss,
        data,
        optimizer=ours.rule(cell),
        epochs=cell.epochs,
        batch_size=cell.batch_size,
        seed=seed,
        keep="last",
    )
    losses = peer.train(data, seed=seed, epochs=cell.epochs)
    np.testing.assert_allclose(losses, history.losses, rtol=1e-6)  # the sum over an epoch is of float32 there
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(peer.parameters()[name], value, rtol=1e-8, atol=1e-10)
    tested = cr.evaluate(model, loss, data)
    np.testing.assert_allclose(peer.test(data)[0], tested.loss, rtol=1e-7)
    assert peer.test(data)[1] == tested.error_rate


def test_an_epoch_goes_on_where_the_last_one_ended():
    cell, data = Cell(points=50), cr.data.disk(50, seed=3)
    at_once, by_parts = (Peer(cell, ours.built(cell, 1)) for _ in range(2))
    expected = at_once.train(data, seed=1, epochs=3)
    found = [loss for epoch in range(3) for loss in by_parts.train(data, seed=1, first=epoch, epochs=1)]
    assert found == expected


def test_the_network_of_fit_many_is_the_one_that_is_built_alone():
    cell = Cell(points=30, epochs=2, width=4)
    data = cr.data.disk(30, seed=0)
    many = cr.fit_many(
        ours.build, cr.MSELoss(), data, configs=[ours.configuration(cell)], seeds=[7], epochs=1, keep="last"
    )
    alone = ours.built(cell, 7)
    cr.fit(alone, cr.MSELoss(), data, optimizer=ours.rule(cell), epochs=2, batch_size=50, seed=7, keep="last")
    for name, value in many[0].model.state_dict().items():
        assert np.array_equal(alone.state_dict()[name], value)


def test_a_training_that_ctrl_c_cut_short_is_no_figure():
    model, data = ours.built(Cell(), 0), cr.data.disk(100, seed=0)
    with pytest.raises(KeyboardInterrupt):
        ours.train(model, Cell(), data, epochs=50, seed=0, callbacks=[lambda _: signal.raise_signal(signal.SIGINT)])


def test_networks_that_diverge_are_rows_that_say_so(plan, monkeypatch):
    wild = Cell(points=40, lr=1e9, epochs=50)
    row = train_peer(("report", 0, wild, 40, 50))
    assert "the loss became" in row["failed"]
    assert math.isnan(row["test_error"])
    monkeypatch.setattr(type(plan), "cells", lambda self: [wild])
    monkeypatch.setattr(type(plan), "tuned", lambda self: [])
    (row,) = train_ours(plan, "report", 0)
    assert "FloatingPointError" in row["failed"]
    assert math.isnan(row["test_error"])


def test_without_torch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "chainrule\[study\]"'):
        Peer(Cell(), ours.built(Cell(), 0))
