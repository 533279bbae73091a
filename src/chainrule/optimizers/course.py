"""Where a schedule counts from: for each network from its own beginning, however many one optimizer trains."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from ..module import Parameter


@dataclass
class Course:
    """How far a schedule has come in training one network.

    parameters : of the network; those that were stepped so far, until it is `claimed` by a call of `turn_to`.
    steps, epochs : counted until the optimizer last turned to the network, whose own counts were `since` then.
    learned : what the schedule had learned of losses when the optimizer turned to another network.
    """

    parameters: WeakSet[Parameter] = field(default_factory=WeakSet)
    claimed: bool = False
    steps: int = 0
    epochs: int = 0
    since: tuple[int, int] = (0, 0)
    learned: Mapping[str, Any] = field(default_factory=dict)

    def counted(self, steps: int, epochs: int) -> tuple[int, int]:
        """The steps and epochs of this network, when its optimizer counts so many in all."""
        return self.steps + steps - self.since[0], self.epochs + epochs - self.since[1]

    def count(self, counted: tuple[int, int], since: tuple[int, int]) -> None:
        """Go on from what was counted, when the optimizer counts so many."""
        (self.steps, self.epochs), self.since = counted, since

    def is_of(self, parameters: Collection[Parameter]) -> bool:
        """Whether this is the course of the network with these parameters, or nobody's so far and may become theirs."""
        mine, theirs = set(self.parameters), set(parameters)
        return mine == theirs if self.claimed else mine <= theirs

    # A WeakSet cannot be pickled, and a deep copy of one keeps the old members; a list follows its Parameters.

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"parameters": list(self.parameters)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"parameters": WeakSet(state["parameters"])})
