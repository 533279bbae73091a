"""What the engine is to run, as plain data that prints as a table."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from .. import signature
from ..module import Module, Parameter
from ..structures import Structure, leaves, names
from .statistics import Statistics


class CannotLower(Exception):
    """The engine has no rule for something; the message says for what."""


class Value(NamedTuple):
    """A matrix: samples × positions rows, and a column for each channel. A vector has one position."""

    columns: int
    positions: int = 1

    @property
    def size(self) -> int:
        """The numbers of a sample."""
        return self.columns * self.positions


class Op(NamedTuple):
    """One step of the program: it reads values and writes one.

    kind : the engine's name for it: that of the class in Python, or of what the class amounts to ("Sum" in Residual).
    layer : the Module that it stands for.
    inputs, output : numbers of values.
    parameters : places in the plan's list; of "Linear" the weight, and the bias if there is one.
    settings : what travels of the layer, by name: numbers, words, lists of numbers.
    statistics : the place in the plan's list of those that the layer follows in training; None for most.
    """

    kind: str
    layer: Any
    inputs: tuple[int, ...]
    output: int
    parameters: tuple[int, ...]
    settings: dict[str, Any]
    statistics: int | None = None

    @property
    def text(self) -> str:
        """The layer as it prints; where the op is only a part of it, its kind and where it stands."""
        name = type(self.layer).__name__
        return f"{name}({self.layer.extra_repr()})" if name == self.kind else f"{self.kind} of {name}"


class Head(NamedTuple):
    """A loss on one output: its share in the loss of the network is weight · loss.

    settings : what travels of the loss, by name, as of an op.
    """

    loss: Any
    weight: float
    class_targets: bool
    settings: dict[str, Any]

    def __str__(self) -> str:
        times = "" if self.weight == 1 else f"{self.weight:g} · "
        return f"{times}{signature.call(self.loss)}{', class indices' * self.class_targets}"


@dataclass(frozen=True)
class Plan:
    """A network, a loss and an optimizer as a flat program.

    dtype : "float32" or "float64", of all numbers.
    modules : the network's, in the order of `modules()`.
    values, ops : the ops in the order of the forward pass; each value is written before it is read, or comes from
        outside.
    parameters : each once, however many ops share it.
    shapes : of their values, which were so when the network was lowered.
    matrices : what each is to the engine: outputs, inputs (0 of a row of numbers), a kernel's taps (0 of others).
    x, y : the numbers of the values that come from outside, and of those that are asked for, in the form in which the
        network takes and gives them: a number, a tuple or a dict (structures.py).
    x_shapes, y_shapes : the shape of one sample of each of them.
    statistics : Buffers that layers write in training: to the engine three more parameters each, behind the others.
    loss, optimizer : the Python objects whose twins the engine runs; None for a network that only predicts.
    heads : the loss of each output.
    rules : what travels of the optimizer, by name, for each distinct set of options that parameters have.
    owners : for each rule the optimizer or the group of it that says its learning rate.
    rule_of : for each parameter the number of its rule, -1 for one that is frozen.
    lookahead : what travels of the Lookahead around the rules, by name; None if there is none.
    batch, samples : the most rows of a batch, and of the training data; 0 samples are not shuffled.
    accumulate : batches of a training step, whose gradients add up.
    average : what travels of the average of the parameters that `fit` keeps, by name; None if there is none.
    seed : of the dropout masks.
    threads : the most threads that a step may use.
    bytes, notes : what the engine takes from memory, and what became of each op; known once it is compiled.
    """

    dtype: str
    modules: tuple[Module, ...]
    values: tuple[Value, ...]
    parameters: tuple[Parameter, ...]
    shapes: tuple[tuple[int, ...], ...]
    matrices: tuple[tuple[int, int, int], ...]
    ops: tuple[Op, ...]
    x: Structure
    y: Structure
    x_shapes: tuple[tuple[int, ...], ...]
    y_shapes: tuple[tuple[int, ...], ...]
    statistics: tuple[Statistics, ...] = ()
    loss: Any = None
    heads: tuple[Head, ...] = ()
    optimizer: Any = None
    rules: tuple[dict[str, Any], ...] = ()
    owners: tuple[Any, ...] = ()
    rule_of: tuple[int, ...] = ()
    lookahead: dict[str, Any] | None = None
    batch: int = 1
    accumulate: int = 1
    average: dict[str, Any] | None = None
    samples: int = 0
    seed: int = 0
    threads: int = 1
    bytes: int | None = None
    notes: tuple[str, ...] | None = None

    @property
    def inputs(self) -> tuple[int, ...]:
        """The values that come from outside."""
        return tuple(leaves(self.x))

    @property
    def outputs(self) -> tuple[int, ...]:
        """The values that are asked for."""
        return tuple(leaves(self.y))

    def places(self, op: Op) -> tuple[int, ...]:
        """The numbers of all that it has to the engine: its parameters, and its statistics."""
        if op.statistics is None:
            return op.parameters
        first = len(self.parameters) + 3 * op.statistics
        return (*op.parameters, first, first + 1, first + 2)

    def flops(self, op: Op) -> int:
        """Multiplications and additions for a sample going forward."""
        if not op.parameters:
            return 0
        rows = op.inputs[0] if op.kind == "ConvolutionTransposed" else op.output  # each meets every weight once
        return 2 * self.parameters[op.parameters[0]].size * self.values[rows].positions

    @property
    def flops_per_step(self) -> int:
        """Multiplications and additions of one training step: forward, and for the two gradients of every product.

        Nobody asks for the gradient by a weight that is frozen, nor by a value that no other one had a part in.
        """
        trained: set[int] = set()
        total = 0
        for op in self.ops:
            gradients = self.is_trained(op.parameters[:1]) + any(i in trained for i in op.inputs)
            total += self.flops(op) * (1 + gradients)
            if self.is_trained(op.parameters) or any(i in trained for i in op.inputs):
                trained.add(op.output)
        return self.batch * total

    def is_trained(self, parameters: Iterable[int]) -> bool:
        """Whether one of these parameters is not frozen."""
        return any(self.rule_of[i] >= 0 for i in parameters)

    def __str__(self) -> str:
        return "\n".join([*_table(self._rows(), "><<>>>><"), *self._ends(), self._totals()])

    def _rows(self) -> list[list[str]]:
        """A row for each input and each op, below their titles."""
        rows = [["op", "layer", "values", "output", "parameters", "operations", "bytes", ""]]
        reads = [", ".join(map(str, op.inputs)) for op in self.ops]
        width = max(map(len, reads), default=0)
        for name, number in zip(names(self.x), self.inputs, strict=True):
            place = f"{'':{width}} → {number}"
            rows.append(["", f"x{name}", place, self._matrix(number), "", "", self._bytes(number), ""])
        seen: set[int] = set()
        for i, (op, read) in enumerate(zip(self.ops, reads, strict=True)):
            new = sum(self.parameters[p].size for p in op.parameters if p not in seen)
            shared = "shared" if op.parameters and seen.issuperset(op.parameters) else ""
            seen.update(op.parameters)
            rows.append(
                [
                    str(i),
                    op.text,
                    f"{read:>{width}} → {op.output}",
                    self._matrix(op.output),
                    f"{new:,}" if new else shared,
                    f"{self.batch * self.flops(op):,}" if self.flops(op) else "",
                    self._bytes(op.output),
                    ", ".join(filter(None, [self._treatment(op), self.notes[i] if self.notes else ""])),
                ]
            )
        return rows

    def _ends(self) -> list[str]:
        """A line for each output, with its loss, and one for the optimizer."""
        rows = []
        for i, (name, number) in enumerate(zip(names(self.y), self.outputs, strict=True)):
            head = self.heads[i] if self.heads else None
            rows.append([f"y{name}", f"value {number}", "" if head is None else str(head)])
        lines = _table(rows, "<<<")
        if self.optimizer is not None:
            lines.append(signature.call(self.optimizer))
        if len(self.rules) > 1:
            lines += [f"rule {i}  {self._rule(i)}" for i in range(len(self.rules))]
        return ["    " + line for line in lines]

    def _treatment(self, op: Op) -> str:
        """Which of its parameters are frozen, and which rules the others follow, where there are several."""
        rules = [self.rule_of[i] for i in op.parameters]
        words = []
        if -1 in rules:
            frozen = sum(self.parameters[i].size for i, rule in zip(op.parameters, rules, strict=True) if rule < 0)
            words.append("frozen" if set(rules) == {-1} else f"{frozen:,} of them frozen")
        if len(self.rules) > 1 and (known := sorted(set(rules) - {-1})):
            words.append(f"rule{'s' * (len(known) > 1)} {' and '.join(map(str, known))}")
        return ", ".join(words)

    def _rule(self, i: int) -> str:
        """The options of a rule, which may be another one's but for the decay, that biases do without."""
        owner = self.owners[i]
        decay = self.rules[i]["weight_decay"]
        other = f", weight_decay={decay:g}" if decay else ", without decay"
        own = owner is self.optimizer or owner is getattr(self.optimizer, "optimizer", None)
        words = "the optimizer's own" if own else signature.call(owner)
        return words if decay == owner.weight_decay else words + other

    def _totals(self) -> str:
        total = sum(parameter.size for parameter in self.parameters)
        frozen = sum(p.size for p, rule in zip(self.parameters, self.rule_of, strict=True) if rule < 0)
        of_them = f" ({frozen:,} frozen)" if frozen else ""
        what = f"{self.flops_per_step:,} operations a step" if self.heads else "no loss"
        arena = "" if self.bytes is None else f", {self.bytes:,} bytes in one arena"
        return f"{self.dtype}, {total:,} parameters{of_them}, {what}{arena}"

    def _matrix(self, number: int) -> str:
        value = self.values[number]
        rows = f"{self.batch:,}" if value.positions == 1 else f"{self.batch:,} · {value.positions:,}"
        return f"({rows}, {value.columns:,})"

    def _bytes(self, number: int) -> str:
        return f"{self.batch * self.values[number].size * (4 if self.dtype == 'float32' else 8):,}"


def _table(rows: list[list[str]], sides: str) -> list[str]:
    """Rows as lines, with columns as wide as they have to be; `sides` says of each column, left < or right >."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    form = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    return [form.format(*row).rstrip() for row in rows]
