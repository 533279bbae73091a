"""Several networks as one: their mean, and how far they are apart."""

from typing import Any

import numpy as np

from ..arrays import to_numpy
from ..module import Module
from ..structures import Structure, leaves, rebuild
from ..train import predict


class Ensemble:
    """Networks that were trained alike, from different initial weights or on different data.

    Parameters
    ----------
    members : the networks; their outputs have to have the same shape.

    Equation  mean = 1/n Σᵢ yᵢ;  spread = √(1/(n - 1) Σᵢ (yᵢ - mean)²)
    Source    Lakshminarayanan, Pritzel, Blundell, "Simple and scalable predictive uncertainty estimation using deep
              ensembles", NeurIPS 2017
    """

    def __init__(self, members: list[Module]) -> None:
        if not members:
            raise ValueError("Ensemble: there are no members")
        self.members = list(members)

    def predict(self, x: Any) -> tuple[Structure, Structure]:
        """The members' mean output for x, and their standard deviation (0 for a single member), in the outputs' units.

        Shapes    x (n, …) -> (n, n_out), (n, n_out); of networks with several heads both are a tuple or a dict of such
        """
        said = [predict(member, x) for member in self.members]
        heads = [np.stack([to_numpy(y) for y in of_head]) for of_head in zip(*map(leaves, said), strict=True)]
        means = [y.mean(axis=0) for y in heads]
        spreads = [y.std(axis=0, ddof=min(1, len(y) - 1)) for y in heads]
        return rebuild(said[0], means), rebuild(said[0], spreads)

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return f"Ensemble of {len(self)} networks like {self.members[0]!r}"
