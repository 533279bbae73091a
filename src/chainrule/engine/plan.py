"""What the engine is to run, as plain data that prints as a table."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .. import signature
from ..module import Parameter


class CannotLower(Exception):
    """The engine has no rule for something; the message says for what."""


class Op(NamedTuple):
    """One step of the program: a matrix (batch, n_in) becomes one of (batch, n_out).

    kind : "linear", "activation" or "dropout".
    text : the layer as it prints.
    layer : the Module that it stands for.
    weight, bias : of a linear op, places in the plan's list of parameters; -1 for no bias.
    stream : of a dropout op, its number among the layers that draw random numbers.
    """

    kind: str
    layer: Any
    n_in: int
    n_out: int
    weight: int = -1
    bias: int = -1
    stream: int = 0

    @property
    def text(self) -> str:
        """The layer as it prints."""
        return f"{type(self.layer).__name__}({self.layer.extra_repr()})"

    @property
    def flops(self) -> int:
        """Multiplications and additions per row going forward; coming back it is twice as many."""
        return 2 * self.n_in * self.n_out if self.kind == "linear" else 0


@dataclass
class Plan:
    """A network, a loss and an optimizer as a flat program.

    dtype : "float32" or "float64", of all numbers.
    n_in, n_out : columns of the network's input and output.
    parameters : each once, however many ops share it.
    ops : in the order of the forward pass.
    loss, optimizer : the Python objects whose twins the engine runs; None for a network that only predicts.
    class_targets : whether targets are class indices.
    batch, samples : the most rows of a training step, and of the training data.
    seed : of the dropout masks.
    threads : the most threads that a step may use.
    bytes : what the engine takes from memory; known once it is compiled.
    """

    dtype: str
    n_in: int
    n_out: int
    parameters: list[Parameter]
    ops: list[Op] = field(default_factory=list)
    loss: Any = None
    optimizer: Any = None
    class_targets: bool = False
    sample_weights: bool = False
    batch: int = 1
    samples: int = 0
    seed: int = 0
    threads: int = 1
    bytes: int | None = None

    @property
    def flops_per_step(self) -> int:
        """Multiplications and additions of one training step: forward, and for the two gradients of every weight."""
        back = [2 * op.flops for op in self.ops]
        first = next((i for i, op in enumerate(self.ops) if op.kind == "linear"), None)
        if first is not None:
            back[first] //= 2  # nobody asks for the gradient by the data
        return self.batch * (sum(op.flops for op in self.ops) + sum(back))

    def __str__(self) -> str:
        size = 4 if self.dtype == "float32" else 8
        lines = [f"{'op':4}{'layer':34}{'output':>16}{'parameters':>12}{'operations':>14}{'bytes':>12}"]
        seen: set[int] = set()
        for number, op in enumerate(self.ops):
            own = [i for i in (op.weight, op.bias) if i >= 0]
            new = sum(self.parameters[i].size for i in own if i not in seen)
            shared = "  shared" if own and all(i in seen for i in own) else ""
            seen.update(own)
            columns = [f"{op.text + shared:34}", f"{f'({self.batch:,}, {op.n_out:,})':>16}"]
            columns += [f"{n:>{width},}" if n else " " * width for n, width in ((new, 12), (op.flops * self.batch, 14))]
            lines.append(f"{number:<4}{''.join(columns)}{self.batch * op.n_out * size:>12,}")
        if self.loss is not None:
            lines.append(f"    {signature.call(self.loss)}")
        if self.optimizer is not None:
            lines.append(f"    {signature.call(self.optimizer)}")
        arena = "" if self.bytes is None else f", {self.bytes:,} bytes in one arena"
        what = f"{self.flops_per_step:,} operations a step" if self.loss is not None else "no loss"
        total = sum(parameter.size for parameter in self.parameters)
        return "\n".join([*lines, f"{self.dtype}, {total:,} parameters, {what}{arena}"])
