"""One set of numbers, two owners: Python's arrays and the engine's memory.

While the engine owns the numbers, nobody has to copy them. Whoever reads or sets `Parameter.value`, `Optimizer.steps`
or `Optimizer.state` takes them back first, and the engine's next step fetches them again: so both always see the same
numbers, and a step costs nothing when nobody looks. An array that was read before a step is not updated by it; read
`Parameter.value` again.
"""

import threading
import weakref
from typing import Any

import numpy as np

from .. import optimizers
from ..module import Parameter
from .plan import Plan

# One exchange at a time: a thread that reads parameters while another trains must see all of a step or nothing.
_exchange = threading.RLock()

# The names that the optimizers in Python give to the engine's arrays of state, in its order.
STATES: dict[type, tuple[str, ...]] = {
    optimizers.SGD: ("momentum_buffer",),
    optimizers.Adam: ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    optimizers.AdamW: ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    optimizers.Adagrad: ("sum",),
}


def state_names(optimizer: Any, n: int) -> tuple[str, ...]:
    """The names of the n arrays that `optimizer` keeps for each parameter."""
    if isinstance(optimizer, optimizers.RMSprop):
        centered, momentum = ("grad_avg",) * optimizer.centered, ("momentum_buffer",) * (optimizer.momentum > 0)
        return ("square_avg", *centered, *momentum)
    return STATES[type(optimizer)][:n] if optimizer is not None else ()


class Keeper:
    """Moves the numbers of one compiled network between Python and the engine.

    Parameters
    ----------
    plan, native : the network, as a plan and compiled.
    gradients : whether gradients move too; a run of whole steps keeps none.
    """

    def __init__(self, plan: Plan, native: Any, *, gradients: bool) -> None:
        self.plan, self.native, self.gradients = plan, native, gradients
        self.shapes = [parameter.shape for parameter in plan.parameters]
        self.names = state_names(plan.optimizer, native.states)
        self.settings = _settings(plan.optimizer)
        self.counted = 0  # the engine's count of steps, of which the optimizer in Python knows

    def take(self) -> None:
        """Bring Python's numbers into the engine, which owns them from here on.

        Raises ValueError or TypeError if the parameters are not what the network was compiled for.
        """
        with _exchange:
            self._take()

    def _take(self) -> None:
        if _settings(self.plan.optimizer) != self.settings:
            raise ValueError(f"{self.plan.optimizer!r} was changed after the network was compiled; compile it again")
        values = [self._checked(i, parameter) for i, parameter in enumerate(self.plan.parameters)]
        for i, (parameter, value) in enumerate(zip(self.plan.parameters, values, strict=True)):
            self.native.write_value(i, value)
            if self.gradients:
                self.native.write_gradient(i, np.ascontiguousarray(parameter.grad))
            self._take_state(i, parameter)
        for parameter in self.plan.parameters:
            parameter.keeper = self
        if self.plan.optimizer is not None:
            self.counted = self.native.steps_taken(0)
            self._tell(weakref.ref(self))
        self.native.owns = True

    def fetch(self) -> None:
        """Bring the engine's numbers into Python's arrays, if the engine owns them; Python owns them from here on."""
        with _exchange:
            if self.native.owns:
                self._fetch()

    def look(self, parameter: Parameter) -> np.ndarray:
        """A copy of the engine's value of a parameter, which the engine goes on owning."""
        i = next(i for i, mine in enumerate(self.plan.parameters) if mine is parameter)
        value = np.empty(self.shapes[i], self.plan.dtype)
        self.native.read_value(i, value)
        return value

    def _fetch(self) -> None:
        self.native.owns = False
        for i, parameter in enumerate(self.plan.parameters):
            read_into(parameter.value, lambda out, i=i: self.native.read_value(i, out))
            if self.gradients:
                read_into(parameter.grad, lambda out, i=i: self.native.read_gradient(i, out))
            self._fetch_state(i, parameter)
        for parameter in self.plan.parameters:  # not before: other threads that read meanwhile have to wait
            parameter.keeper = None
        if self.plan.optimizer is not None:
            self.plan.optimizer._steps += self.steps_ahead()
            self._tell()

    def _tell(self, *keeper: Any) -> None:
        """Set whether the optimizer has to ask this keeper first; a tuple is never seen half changed by a thread."""
        others = (known for known in self.plan.optimizer.keepers if known() not in (None, self))
        self.plan.optimizer.keepers = (*others, *keeper)

    def steps_ahead(self) -> int:
        """How many steps the engine has made of which the optimizer in Python does not know."""
        return int(self.native.steps_taken(0)) - self.counted

    def _checked(self, i: int, parameter: Parameter) -> np.ndarray:
        value = parameter.value
        if type(value) is not np.ndarray or value.dtype != self.plan.dtype or value.shape != self.shapes[i]:
            found = f"{getattr(value, 'dtype', type(value).__name__)} {tuple(getattr(value, 'shape', ()))}"
            raise ValueError(
                f"parameter {i} was a {self.plan.dtype} {self.shapes[i]} array when the network was compiled, "
                f"and is {found} now; compile it again"
            )
        return np.ascontiguousarray(value)

    def _take_state(self, i: int, parameter: Parameter) -> None:
        optimizer = self.plan.optimizer
        if not self.names:  # nothing is remembered
            return
        # Not optimizer.state: that would fetch what other networks with this optimizer have, and they are not asked.
        state = optimizer._state.get(parameter, {})
        begun = all(name in state for name in self.names) and bool(state)
        # Only Adam and Adagrad count their steps; for the others all that matters is whether there was one before.
        self.native.set_steps_taken(i, int(state.get("step", 1)) if begun else 0)
        for k, name in enumerate(self.names):
            if begun:
                self.native.write_state(i, k, np.ascontiguousarray(state[name], dtype=self.plan.dtype))
            else:
                start = getattr(optimizer, "initial_accumulator_value", 0.0)
                self.native.write_state(i, k, np.full(self.shapes[i], start, dtype=self.plan.dtype))

    def _fetch_state(self, i: int, parameter: Parameter) -> None:
        optimizer = self.plan.optimizer
        if not self.names or not self.native.steps_taken(i):
            return
        state = optimizer._state.setdefault(parameter, {})
        for k, name in enumerate(self.names):
            if name not in state or state[name].dtype != self.plan.dtype:  # the model may have changed its dtype since
                state[name] = np.empty(self.shapes[i], dtype=self.plan.dtype)
            read_into(state[name], lambda out, k=k: self.native.read_state(i, k, out))
        if not isinstance(optimizer, optimizers.SGD | optimizers.RMSprop):
            state["step"] = self.native.steps_taken(i)


def newest(parameter: Parameter) -> np.ndarray:
    """A copy of a parameter's newest value; whoever owns it goes on owning it: a look between epochs costs little."""
    with _exchange:
        keeper = parameter.keeper
        return np.array(parameter.value) if not isinstance(keeper, Keeper) else keeper.look(parameter)


def steps_now(optimizer: Any) -> int:
    """An optimizer's count of steps, those in engines included, which are left where they are."""
    with _exchange:
        keepers = [known() for known in optimizer.keepers]
        ahead = sum(keeper.steps_ahead() for keeper in keepers if keeper is not None)
        return int(optimizer._steps + ahead)


def read_into(array: np.ndarray, read: Any) -> None:
    """Let `read` fill an array, however it lies in memory."""
    if array.flags.c_contiguous and array.flags.writeable:
        read(array)
    else:
        buffer = np.empty(array.shape, array.dtype)
        read(buffer)
        array[...] = buffer


def _settings(optimizer: Any) -> dict[str, Any]:
    """What an optimizer's rule depends on, except the learning rate, which may change at any time."""
    if optimizer is None:
        return {}
    return {k: v for k, v in vars(optimizer).items() if isinstance(v, int | float | tuple) and k not in _CHANGING}


_CHANGING = ("lr", "_steps", "epochs", "keepers")
