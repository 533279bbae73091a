"""What the benchmarks compare is the same work."""

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import branches


@pytest.mark.parametrize("name", branches.NETWORKS)
def test_a_network_with_branches_is_the_same_for_every_peer(name):
    assert "PyTorch eager" in branches.distances(branches.NETWORKS[name])


def test_a_peer_that_trains_another_network_is_found_out():
    without_skips = dataclasses.replace(branches.NETWORKS["residual"], equation=branches.plain)
    with pytest.raises(ArithmeticError, match="not train the same network"):
        branches.distances(without_skips)
