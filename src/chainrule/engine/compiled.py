"""The step-level door: a network on the engine, for loops that a user writes."""

import weakref
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from .. import arrays, random
from ..arguments import as_array, as_indices, positive
from ..module import Module, fill
from ..optimizers.schedules import Schedule
from ..roles import require_loss, require_model, require_optimizer
from ..structures import Structure, names
from . import native, statistics
from .lower import CannotLower, checked_shapes, lower, sample_shape
from .plan import Plan
from .rules import optimizers as optimizer_rules
from .sync import Keeper

HARMLESS = ("training", "epochs", "keepers")  # attributes that the engine is not told of, and often set


_CALLS = ("predict", "forward", "backward", "step", "zero_grad", "update")


class Compiled:
    """A network that runs on the engine one call at a time; made by `compile`.

    It shares its parameters with the model that it was made from: what is set there is what the next call uses, and
    what a step wrote is what `Parameter.value` shows. Each thread needs an object of its own.

    A network with several inputs or heads takes and gives tuples or dicts of arrays, as the model does.

    Plain NumPy arrays of the network's dtype are read where they lie. Anything else that `fit` would take is converted
    first, which costs a small network more than its step; docs/arrays.md has the rules.

    plan : the program that runs; print it.
    """

    plan: Plan

    def __init__(
        self,
        model: Module,
        loss: Module | None = None,
        optimizer: Any = None,
        *,
        batch_size: int = 256,
        class_targets: Any = False,
        sample_shape: Any = None,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        options = {
            "batch_size": batch_size,
            "class_targets": class_targets,
            "sample_shape": sample_shape,
            "seed": seed,
            "threads": threads,
        }
        self._origin = Origin((model, loss, optimizer), options)
        self._native = self._origin.compiled()
        self.plan = self._origin.plan
        self._lease = native.module().Lease(self._native)  # the numbers go home with it
        self._native.read = partial(_read, self.plan)
        for name in _CALLS:  # what the methods below do, without the way there, which takes a fifth of a small call
            if getattr(type(self), name) is getattr(Compiled, name) and not self.plan.statistics:
                setattr(self, name, getattr(self._native, name))

    def predict(self, x: Structure, out: Structure | None = None) -> Structure:
        """The outputs for x, in evaluation mode.

        Shapes    x (batch, n_in) or one sample (n_in,) -> (batch, n_out) or (n_out,), of the network's dtype; into
                  `out`, if it is given
        """
        self._bring_statistics()
        return self._native.predict(x, out)

    def forward(self, x: Structure, training: bool = True) -> Structure:
        """The outputs for x, at most batch_size rows; what `backward` needs is remembered until the next call."""
        self._bring_statistics()
        y = self._native.forward(x, training)
        if training:
            self._take_statistics()
        return y

    def backward(self, dy: Structure, input: bool = True) -> Structure | None:  # noqa: A002 - the network's
        """The gradient by x, given that by the outputs; adds to the gradients of the parameters.

        With input=False only the latter, which takes less time; the gradient by x is then None.
        """
        return self._native.backward(dy, input)

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        self._native.zero_grad()

    def update(self) -> None:
        """Update the parameters by the gradients that `backward` has gathered."""
        self._native.update()

    def step(self, x: Structure, target: Structure, sample_weight: Any = None) -> float:
        """Forward, loss, backward, update on one batch of at most batch_size rows; returns the loss before the update.

        Shapes    x (batch, n_in); target (batch, n_out), or class indices, int64 (batch,), if compiled for them;
                  sample_weight (batch,), one for all heads, or None for all the same

        Weights that are all 0 are as in a batch of `fit`: a loss of 0, whose gradient 0 goes into the update.

        Raises ValueError for weights that are not finite or below 0, before anything is changed.
        """
        self._bring_statistics()
        loss: float = self._native.step(x, target, sample_weight)
        self._take_statistics()
        return loss

    def _bring_statistics(self) -> None:
        """Have the engine go by what the Buffers of running statistics hold."""
        if of := self.plan.statistics:
            statistics.bring(of, len(self.plan.parameters), self.plan.dtype, self._native.write_value)

    def _take_statistics(self) -> None:
        """Have the Buffers hold what the engine has made of them: all of them or, if interrupted before, none."""
        if of := self.plan.statistics:
            found = statistics.taken(of, len(self.plan.parameters), self.plan.dtype, self._native.read_value)
            fill((), (), map(setattr, found, repeat("value"), found.values()))

    def __reduce__(self) -> Any:
        return (_rebuild, (self._origin.made_of, self._origin.options, self._native.dropout_pass))

    def __repr__(self) -> str:
        return f"Compiled({self._origin.made_of[0]!r})"


class Origin:
    """What a network was compiled from. It hears of every change, and the network's next call asks what it means.

    The engine's own half holds it, so that a method that somebody keeps goes on hearing. It holds neither that half
    nor the Compiled: so the memory of a network goes back with the last who uses it.
    """

    def __init__(self, made_of: tuple[Any, Any, Any], options: dict[str, Any]) -> None:
        self.made_of, self.options = made_of, options
        self.plan = self.lowered()
        self.told = native.described(self.plan)

    def compiled(self) -> Any:
        """The engine's half, which hears of changes from here on."""
        network = native.compile_plan(self.plan, told=self.told, is_home=True, keeps_gradients=True)
        self.plan = native.measured(self.plan, network)
        self.network = weakref.ref(network)
        Keeper(self.plan, network, "compile it again")
        network.refresh = self.require_unchanged
        model, loss, _ = self.made_of
        for module in model.modules() + ([] if loss is None else loss.modules()):
            module.watch(self)
        for parameter in self.plan.parameters:
            parameter.watch(self)
        if self.plan.optimizer is not None:
            self.changed("lr")
            self.plan.optimizer.watch(self)
        return network

    def changed(self, name: str) -> None:
        """Hear that an attribute of the model, the loss or the optimizer was set."""
        network, optimizer = self.network(), self.plan.optimizer
        if network is None:
            return
        if name == "lr" and optimizer is not None:
            self._set_rates(network)
        elif name not in HARMLESS:
            network.changed = True

    def require_unchanged(self) -> None:
        """Raise ValueError if the program is no longer that of the model, the loss and the optimizer."""
        try:
            plan = self.lowered()
        except CannotLower as reason:
            raise ValueError(f"the model was changed after compile: the engine does not know {reason}") from None
        told = native.described(plan)
        if told != self.told:
            before, now = native.program(self.told), native.program(told)
            for name in now | before:
                _require_same(name, before.get(name, "nothing"), now.get(name, "nothing"))
            if told["rules"] != self.told["rules"]:
                raise ValueError(
                    "the optimizer's constraints were others when the network was compiled; compile it again"
                )
        _require_same("the optimizer", self.plan.optimizer, plan.optimizer)
        for i, (known_rule, rule) in enumerate(zip(self.plan.owners, plan.owners, strict=True)):
            _require_same(f"rule {i} of the optimizer", known_rule, rule)
        for i, (known, parameter) in enumerate(zip(self.plan.parameters, plan.parameters, strict=True)):
            _require_same(f"parameter {i}", known, parameter)
        if plan.statistics != self.plan.statistics:
            raise ValueError("the Buffers of running statistics were others when it was compiled; compile it again")
        if (network := self.network()) is not None:
            network.changed = False

    def lowered(self) -> Plan:
        """The plan as everything is now."""
        model, loss, optimizer = self.made_of
        if loss is not None and optimizer is None:
            optimizer = getattr(model, "optimizer", None)
        options = dict(self.options)
        batch, shape = options.pop("batch_size"), options.pop("sample_shape")
        if shape is None:
            shape = sample_shape(model)
        return lower(model, loss, optimizer, sample_shape=shape, batch=batch, **options)

    def _set_rates(self, network: Any) -> None:
        """Tell the engine the learning rates of the rules, and the momenta where a schedule cycles one."""
        owners = self.plan.owners
        schedules = [owner.lr for owner in owners if isinstance(owner.lr, Schedule)]
        cycles = any(schedule.cycles_momentum() for schedule in schedules)
        ask = self._rate if len(owners) == 1 and not cycles else partial(self._rates, cycles)
        now = self._rates(cycles)
        network.set_rates(now[: len(owners)], now[len(owners) :], ask if schedules else None)
        if optimizer_rules.keep_other_momenta(self.plan):
            network.changed = True

    def _rate(self) -> float:
        (owner,) = self.plan.owners
        return float(owner.lr_at(steps=owner.steps, epochs=owner.epochs))

    def _rates(self, cycles: bool) -> list[float]:
        owners = self.plan.owners
        rates = [float(owner.lr_at(steps=owner.steps, epochs=owner.epochs)) for owner in owners]
        momenta = [float(owner.momentum_at(steps=owner.steps, epochs=owner.epochs)) for owner in owners if cycles]
        return rates + momenta


def compile(  # noqa: A001 - the name that the field gives it
    model: Module,
    loss: Module | None = None,
    optimizer: Any = None,
    *,
    batch_size: int = 256,
    class_targets: Any = False,
    sample_shape: Any = None,
    seed: int = 0,
    threads: int = 1,
) -> Compiled:
    """A network on the engine, for loops of your own: `predict`, `forward`, `backward`, `step`.

    Parameters
    ----------
    model : a network of layers that the engine knows.
    loss, optimizer : needed for `step`; the model's own optimizer serves if there is a loss and none is given.
    batch_size : the most rows of a `forward` or a `step`; `predict` takes any number.
    class_targets : whether the targets of `step` are class indices; for several heads a tuple or dict of such.
    sample_shape : the shape of one sample, or a tuple or dict of shapes for several inputs. By default it is what the
        layers say: a Linear how many numbers it takes, a Graph or a Parallel how many inputs there are.
    seed : of the dropout masks.
    threads : the most threads that a call may use.

    Raises ValueError for what the engine does not know, by name; EngineMissing if it was not built.

    The numbers of the parameters and the learning rate may change at any time. After any other change of the model, the
    loss or the optimizer (a layer appended or replaced, another Parameter or one frozen, an option set) the next call
    raises ValueError: compile the network again. Only writing into the weights of a loss goes unnoticed; they are
    copied here.

    Note      denormal numbers, closer to 0 than 1.2e-38 (float32) or 2.2e-308 (float64), are 0 to the engine, in `fit`
              and `predict` too; not so in Python and PyTorch. Moments of dead units decay into them, where the
              processor takes many times as long. An option of an optimizer that is more than 0 stays so

    >>> import numpy as np, chainrule as cr
    >>> network = cr.compile(cr.Sequential(cr.Linear(2, 1, weight=[[1.0, 2.0]], bias=[0.5])))
    >>> network.predict(np.array([10.0, 1.0], dtype="float32"))
    array([12.5], dtype=float32)
    """
    require_model("compile", model)
    if loss is not None:
        require_loss("compile", loss)
    if optimizer is not None or (loss is not None and getattr(model, "optimizer", None) is not None):
        require_optimizer("compile", optimizer, model)
    batch_size, threads = positive("compile", "batch_size", batch_size), positive("compile", "threads", threads)
    if sample_shape is not None:
        sample_shape = checked_shapes("compile", sample_shape)
    random.check_seed(seed)
    try:
        return Compiled(
            model,
            loss,
            optimizer,
            batch_size=batch_size,
            class_targets=class_targets,
            sample_shape=sample_shape,
            seed=seed,
            threads=threads,
        )
    except CannotLower as reason:
        raise ValueError(f"compile: the engine does not know {reason}") from None


def _read(plan: Plan, values: Any, where: str, indices: bool) -> np.ndarray:
    """What the engine reads where it was given anything but a plain array of the network's dtype: `predict`, in C++."""
    owner, _, name = where.partition(": ")
    if indices:
        return as_indices(owner, name, values)
    array = as_array(owner, name, values)
    heads = dict(zip(["target" + of for of in names(plan.y)], plan.heads, strict=False))
    if name in heads and getattr(heads[name].loss, "classes", False) and not arrays.is_floating(array):
        raise TypeError(
            f"{owner}: {name} must hold probabilities, floating-point numbers, got {arrays.describe_kind(array)}; "
            f"compile(…, class_targets=True) takes class indices"
        )
    numbers: np.ndarray = arrays.bring(array, np.empty(0), dtype=plan.dtype)
    return numbers


def _rebuild(made_of: tuple[Any, ...], options: dict[str, Any], dropout_pass: int) -> Compiled:
    compiled = Compiled(*made_of, **options)
    compiled._native.dropout_pass = dropout_pass
    return compiled


def _require_same(name: str, before: Any, now: Any) -> None:
    if now is not before and (type(now) is not str or now != before):
        another = "another one" if repr(now) == repr(before) else now
        raise ValueError(f"{name} was {before} when the network was compiled, and is {another} now; compile it again")
