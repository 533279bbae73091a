"""One set of numbers, two places for them: Python's arrays and the engine's memory.

Who owns them when, and why nothing can come between, is said on one page: native/src/python/home.h. Here is what needs
Python for it: to read what an optimizer remembers.
"""

import sys
import weakref
from typing import Any, NoReturn

import numpy as np

from ..module import Parameter, newest_values
from ..optimizers import Lookahead
from ..optimizers.optimizer import Kept
from .plan import Plan


class Keeper:
    """Brings an optimizer's state into one compiled network, which brings it back itself.

    Parameters
    ----------
    plan, native : the network, as a plan and compiled; the latter holds the Keeper, and is not held by it.
    advice : what to do about an array that no longer fits.
    """

    def __init__(self, plan: Plan, native: Any, advice: str) -> None:
        self.plan, self.native, self.advice = plan, weakref.ref(native), advice
        # Of each parameter the rule that it goes by; None for one that is frozen, of which nothing is remembered.
        self.rules = [plan.owners[i] if plan.optimizer is not None and i >= 0 else None for i in plan.rule_of]
        # As the plan has it: options may be set before a state is taken, and the network compiled anew only later.
        self.kept = [None if rule is None else rule.kept(s) for rule, s in zip(self.rules, plan.shapes, strict=True)]
        native.mismatch, native.take_state = self.mismatch, self.take_state
        if plan.optimizer is not None:
            native.set_counter(plan.optimizer.counter)
            for optimizer in self._optimizers():
                others = (known for known in optimizer.keepers if known() is not None)
                optimizer.keepers = (*others, weakref.ref(native))

    def _optimizers(self) -> tuple[Any, ...]:
        """Who remembers something of the parameters: the optimizer, and behind it the Lookahead around it."""
        optimizer = self.plan.optimizer
        return (optimizer.optimizer, optimizer) if isinstance(optimizer, Lookahead) else (optimizer,)

    def take_state(self) -> None:
        """Bring the optimizer's state into the engine, which owns it from here on."""
        native: Any = self.native()  # which is alive: it calls
        # Not optimizer.state: other networks with this optimizer are not asked, if they have none of the parameters.
        optimizer, *around = self._optimizers()
        places: list[tuple[int, dict[str, Any], tuple[str, ...], bool, bool]] = []
        for i, (parameter, rule, kept) in enumerate(zip(self.plan.parameters, self.rules, self.kept, strict=True)):
            if rule is None or kept is None:
                continue
            state = optimizer._state.setdefault(parameter, {})
            native.set_steps_taken(i, self._take(native, i, 0, state, rule, kept))
            places.append((i, state, tuple(kept.arrays), kept.counts, False))
            first = len(kept.arrays)
            for lookahead in around:
                state, kept = lookahead._state.setdefault(parameter, {}), lookahead.kept(self.plan.shapes[i])
                native.set_steps_ahead(i, self._take(native, i, first, state, lookahead, kept))
                places.append((i, state, tuple(kept.arrays), kept.counts, True))
        native.set_state_places(places)
        native.owns_state = True

    def _take(self, native: Any, i: int, first: int, state: dict[str, Any], rule: Any, kept: Kept) -> int:
        """Bring one dict of a parameter's into its arrays from number `first` on; returns the steps that were made."""
        for k, (name, shape) in enumerate(kept.arrays.items(), first):
            if name in state:
                native.write_state(i, k, np.ascontiguousarray(state[name], dtype=self.plan.dtype))
                if _references(state, name) > _NOBODY_ELSE or state[name].base is not None:
                    native.open_state(i, k, state[name])
            else:  # none yet, or of an option that was set later
                native.write_state(i, k, np.full(shape, rule.initial_value(name), dtype=self.plan.dtype))
        # For those that do not count their steps all that matters is whether there was one before.
        return int(state.get("step", 1)) if state else 0

    def mismatch(self, i: int, value: Any) -> NoReturn:
        """Raise the error for a parameter's array that is not as it was."""
        found = f"{getattr(value, 'dtype', type(value).__name__)} {tuple(getattr(value, 'shape', ()))}"
        if isinstance(value, np.ndarray) and type(value) is not np.ndarray:
            found = f"a {type(value).__name__}, {found}"
        of = "the gradient of " if value is self.plan.parameters[i]._grad else ""
        raise ValueError(
            f"{of}parameter {i} was a {self.plan.dtype} {self.plan.shapes[i]} array when the network was compiled, "
            f"and is {found} now; {self.advice}"
        )


def _references(state: dict[str, Any], name: str) -> int:
    return sys.getrefcount(state[name])


_NOBODY_ELSE = _references({"array": np.empty(0)}, "array")


def newest(parameter: Parameter) -> np.ndarray:
    """A copy of a parameter's newest value, which leaves no trace: a look between epochs costs little."""
    value: np.ndarray = newest_values([parameter])[0]
    return value
