"""A plan as C runs it: only the ops that do something there."""

from dataclasses import dataclass

from ...engine.plan import Op, Plan


@dataclass(frozen=True)
class Program:
    """The ops of a plan that do something, and that an output needs.

    root : for each value of the plan the one whose numbers it has: itself, unless an op that vanishes hands it on.
    trained : of each value, whether a parameter that is not frozen had a part in it, so that somebody asks for the
        gradient by it.
    """

    plan: Plan
    ops: tuple[Op, ...]
    root: tuple[int, ...]
    trained: tuple[bool, ...]

    @property
    def inputs(self) -> list[int]:
        """The values that come from outside."""
        return [self.root[value] for value in self.plan.inputs]

    @property
    def outputs(self) -> list[int]:
        """The values that are asked for, one for each output; they may be the same, or inputs."""
        return [self.root[value] for value in self.plan.outputs]

    def reads(self, op: Op) -> list[int]:
        """The values that an op reads."""
        return [self.root[value] for value in op.inputs]

    @property
    def freezes(self) -> bool:
        """Whether the way back comes through an op whose first parameter, its weight, is frozen."""
        back = [op for op in self.ops if self.trained[op.output] and op.parameters]
        return not all(self.plan.is_trained(op.parameters[:1]) for op in back)

    @property
    def forks(self) -> bool:
        """Whether an op with parameters reads a value that others read too, and by which somebody asks."""
        readers = [*self.outputs, *(value for op in self.ops for value in self.reads(op))]
        products = {value for op in self.ops if op.parameters for value in self.reads(op)}
        return any(self.trained[value] and readers.count(value) > 1 for value in products)
