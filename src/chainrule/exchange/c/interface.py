"""What the functions of C take and give: an array for each input, each output and each target of the network."""

import re
from collections.abc import Iterator
from itertools import count
from string import ascii_lowercase
from typing import NamedTuple

from ...engine.plan import Plan
from ...structures import Structure
from .activations import ACTIVATIONS
from .names import refusal
from .spelling import COUNTERS, statics

# Names that functions which see these arrays use for something else: functions (those of the activations are added
# below), other arguments, variables. Numbers may follow them.
TAKEN = {
    "adaptive_avg_pool", "adaptive_max_pool", "add", "all_finite", "avg_pool", "batch", "bce_with_logits",
    "class_weight", "clip_norm", "clip_value", "columns_of", "constrain", "convolution", "copy", "counts",
    "cross_entropy", "dropout", "element_weight", "end_window", "first_window", "forward", "g", "gather", "glu", "good",
    "huber", "is_finite", "known_steps", "l1", "l1_step", "l2_step", "layer_norm", "learn", "limit_norms", "linear",
    "loss", "mask", "max_pool", "momentum", "mse", "mu_product", "multiply", "nll", "non_negative", "parameter",
    "philox", "poisson_nll", "pos_weight", "put_mask", "q_of", "quantile_loss", "reaches", "rms_norm", "row", "rows_of",
    "scale_and_shift", "share", "smoothl1", "soft_margin", "state", "tanh", "target", "trained", "update", "update_all",
    "w", "zero",
}  # fmt: skip
TAKEN |= {name for one in ACTIVATIONS.values() for text in (*one.forward, *one.backward) for name in statics(text)}


class Array(NamedTuple):
    """An array of floats, or of classes.

    name : in C.
    macro, size : numbers of a row, as C calls it, and how many that is.
    shape : of a sample.
    classes : whether it holds a class for each row.
    """

    name: str
    macro: str
    size: int
    shape: tuple[int, ...]
    classes: bool = False

    @property
    def declared(self) -> str:
        """As an argument that is read."""
        return f"const {'int' if self.classes else 'float'} *{self.name}"

    @property
    def width(self) -> str:
        """Numbers of a row, where several rows lie one after the other."""
        return "1" if self.classes else self.macro

    @property
    def of_row(self) -> str:
        """The row called `row`."""
        return f"{self.name}[row]" if self.classes else f"{self.name} + row * {self.macro}"


class Interface(NamedTuple):
    """All of them."""

    inputs: list[Array]
    outputs: list[Array]
    targets: list[Array]

    @property
    def reads(self) -> str:
        """The inputs as arguments."""
        return ", ".join(array.declared for array in self.inputs)

    @property
    def arguments(self) -> str:
        """The inputs and outputs as arguments."""
        return ", ".join([self.reads, *(f"float *{array.name}" for array in self.outputs)])

    @property
    def wants(self) -> str:
        """The targets as arguments."""
        return ", ".join(target.declared for target in self.targets)

    def letters(self) -> Iterator[str]:
        """Names for arrays that the caller does not see: a, b, c, …"""
        seen = {array.name for array in (*self.inputs, *self.outputs)}
        taken = seen | {"x", "y"} | TAKEN | set(COUNTERS)
        letters = (letter * times for times in count(1) for letter in ascii_lowercase)
        return (name for name in letters if name not in taken)


def interface(name: str, plan: Plan) -> Interface:
    """Of a network of this name.

    One input is x, one output is y; several have their own names, where these are words of C that mean nothing else in
    the file, or else are x0, x1, …, and y0, y1, ….
    """
    seen = set() if isinstance(plan.y, tuple | dict) else {"y"}
    sizes = [[plan.values[i].size for i in values] for values in (plan.inputs, plan.outputs)]
    upper = name.upper()
    inputs = _arrays(upper, "x", "INPUTS", plan.x, sizes[0], plan.x_shapes, seen)
    outputs = _arrays(upper, "y", "OUTPUTS", plan.y, sizes[1], plan.y_shapes, seen)
    targets = []
    for i, (head, output) in enumerate(zip(plan.heads, outputs, strict=False)):
        called = "target" if output.name == "y" else f"target{i}" if output.name == f"y{i}" else f"target_{output.name}"
        targets.append(output._replace(name=called, classes=head.class_targets))
    return Interface(inputs, outputs, targets)


def _arrays(
    upper: str,
    default: str,
    what: str,
    form: Structure,
    sizes: list[int],
    shapes: tuple[tuple[int, ...], ...],
    seen: set[str],
) -> list[Array]:
    if not isinstance(form, tuple | dict):
        seen.add(default)
        return [Array(default, f"{upper}_{what}", sizes[0], shapes[0])]
    found = []
    for i, (size, shape) in enumerate(zip(sizes, shapes, strict=True)):
        called = list(form)[i] if isinstance(form, dict) else ""
        if not _fits(called, upper) or called.lower() in seen:
            called = f"{default}{i}"
        seen.add(called.lower())
        found.append(Array(called, f"{upper}_{called.upper()}_{what}", size, shape))
    return found


def _fits(called: str, upper: str) -> bool:
    """Whether an array may be called so."""
    word = re.sub(r"(_backward)?_?\d*$", "", called).lower()
    usual = refusal(called) == "" and not re.fullmatch(r"[A-Z][A-Z0-9_]+", called)  # which may be a macro
    ours = TAKEN & {word, called.lower()} or called in COUNTERS or re.fullmatch(r"[xy]\d+|target_.*", called.lower())
    return usual and not ours and not called.upper().startswith(f"{upper}_")
