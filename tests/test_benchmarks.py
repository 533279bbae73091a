"""What the benchmarks compare is the same work."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import branches
import fashion_accuracy


@pytest.mark.parametrize("name", branches.NETWORKS)
def test_a_network_with_branches_is_the_same_for_every_peer(name):
    assert "PyTorch eager" in branches.distances(branches.NETWORKS[name])


def test_a_peer_that_trains_another_network_is_found_out():
    without_skips = dataclasses.replace(branches.NETWORKS["residual"], equation=branches.plain)
    with pytest.raises(ArithmeticError, match="not train the same network"):
        branches.distances(without_skips)


def pictures():
    """As many as four batches of noise, and classes."""
    rng = np.random.default_rng(0)
    n = 4 * fashion_accuracy.BATCH
    return rng.random((n, 1, 28, 28), dtype=np.float32), rng.integers(10, size=n)


def test_a_lenet_is_the_same_for_every_peer_and_sees_the_same_batches(monkeypatch):
    assert "PyTorch eager" in fashion_accuracy.distances(pictures())
    in_order = fashion_accuracy.Task.order
    monkeypatch.setattr(fashion_accuracy.Task, "order", lambda task, number: in_order(task, number + 1))
    with pytest.raises(ArithmeticError, match="not train the same network"):
        fashion_accuracy.distances(pictures())


def test_a_level_is_reached_after_its_halves_and_what_the_first_one_compiled_is_not_counted():
    course = [(5.0, 0.5), (1.0, 0.7), (1.5, 0.6), (1.25, 0.9)]
    assert fashion_accuracy.reached(course, 0.7) == (2, 1.375 + 1.0)
    assert fashion_accuracy.reached(course, 0.71) == (4, 1.375 + 1.0 + 1.5 + 1.25)
    slower = [(2 * seconds, accuracy) for seconds, accuracy in course]
    [own, other] = fashion_accuracy.table([{"chainrule": course, "peer": slower}], [0.7])
    assert (own["times"], other["times"], other["epochs"], other["compiling"]) == (1, 2, 1, 7.25)
