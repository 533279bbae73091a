"""Lookahead: slow weights that go where fast ones have led."""

from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from .. import arrays, signature
from ..arguments import number, positive
from ..module import Parameter, Watched
from .half import widened
from .optimizer import Optimizer
from .remembered import checked
from .schedules import Schedule


class Lookahead(Optimizer):
    """An optimizer around another one: it goes k steps ahead, and the weights a part of the way that these have led.

    Equation  w by the rule of the other optimizer, and after every k updates of a parameter
              slow ← slow + alpha (w - slow);  w ← slow, where slow begins as the w before the first update
    Keeps     slow, and the count of updates ("step"), of each parameter, besides what the other one keeps
    Source    Zhang, Lucas, Hinton, Ba, "Lookahead optimizer: k steps forward, 1 step back", NeurIPS 2019, algorithm 1
    Note      PyTorch has no such thing. Moments go on as they are, as in the paper's experiments. Between two such
              moments the model holds the fast weights. These a constraint is applied to; slow ones lie between fast
              ones, so that UnitNorm does not hold for them

    `lr`, its schedule, the counts and all options are the other optimizer's: `optimizer.lr = 0.01` sets its rate.

    Parameters
    ----------
    optimizer : the rule of the fast weights, such as Adam(lr=0.01).
    k : how many of its updates make one of the slow weights.
    alpha : how far these go, 0 … 1.

    Raises TypeError or ValueError for what is no optimizer, or another Lookahead, and for other numbers.

    >>> from chainrule import SGD
    >>> Lookahead(SGD(lr=0.1))
    Lookahead(SGD(lr=0.1))
    """

    counts_steps = True

    def __init__(self, optimizer: Optimizer, k: int = 5, alpha: float = 0.5) -> None:
        self.optimizer = optimizer
        self.k = k
        self.alpha = alpha
        self.keepers = ()  # those of the other one too, whose state they have with this one's
        self._state: WeakKeyDictionary[Parameter, dict[str, Any]] = WeakKeyDictionary()

    def step(self, parameters: Iterable[Parameter]) -> None:
        """Update each parameter in place by the other optimizer, and after every k times go back a part of the way."""
        parameters = list(parameters) if isinstance(parameters, Iterable) else [parameters]
        new = [p for p in parameters if isinstance(p, Parameter) and p.trainable and not self._state.get(p)]
        begun = {parameter: self.begin(widened(parameter).value) for parameter in new}
        self.optimizer.step(parameters)  # which refuses what are no Parameters
        self._state.update(begun)
        for parameter in dict.fromkeys(p for p in parameters if p.trainable):
            state = self._state[parameter]
            self._follow(widened(parameter).value, state)
            state["step"] += 1
            if state["step"] % self.k == 0:
                slow = state["slow"]
                slow += self.alpha * (parameter.value - slow)
                parameter.value[...] = slow

    def state_names(self) -> tuple[str, ...]:
        return ("slow",)

    def watch(self, network: Any) -> None:
        Watched.watch(self, network)
        self.optimizer.watch(network)

    def begin(self, value: Any) -> dict[str, Any]:
        return {"step": 0, "slow": arrays.convert(value)}

    # -- what is the other optimizer's

    @property
    def lr(self) -> float | Schedule:
        """The learning rate of the fast weights, a number or a schedule."""
        return self.optimizer.lr

    @lr.setter
    def lr(self, lr: float | Schedule) -> None:
        self.optimizer.lr = lr

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "optimizer" and (not isinstance(value, Optimizer) or isinstance(value, Lookahead)):
            raise TypeError(f"Lookahead: optimizer must be an optimizer, such as SGD(lr=0.1), got {value!r}")
        if name == "k":
            value = positive(self, "k", value)
        if name == "alpha":
            value = number(self, "alpha", value, least=0, most=1)
        inner = vars(self).get("optimizer")
        options = [] if inner is None else [one.name for one in signature.parameters(type(inner))]
        if name in options and name not in ("lr", "optimizer", "k", "alpha"):
            setattr(inner, name, value)
        elif "_state" in vars(self) and not hasattr(self, name) and type(self) is self._library_class():
            raise AttributeError(self._no_option("Lookahead", name))
        else:
            Watched.__setattr__(self, name, value)  # the other one looks at its lr itself

    def _options(self) -> list[str]:
        return [*super()._options(), *self.optimizer._options()]

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Set several options together, of this one and of the other one."""
        own = {name: value for name, value in options.items() if name in ("optimizer", "k", "alpha")}
        made = Lookahead(
            **{"optimizer": self.optimizer, "k": self.k, "alpha": self.alpha, **own}
        )  # refuses what is none
        made.optimizer.set_options({name: value for name, value in options.items() if name not in own})
        for name in own:
            Watched.__setattr__(self, name, getattr(made, name))

    @property
    def own_momentum(self) -> float:
        """The other optimizer's."""
        return self.optimizer.own_momentum

    def __getattr__(self, name: str) -> Any:
        """What is not kept here, such as counts and clip_norm, is the other's."""
        if name == "optimizer":  # of one that is still being made
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    @property
    def groups(self) -> tuple[Optimizer, ...]:  # type: ignore[override]
        """The other optimizer's, which are among its `rules`."""
        return self.optimizer.groups

    @property
    def rules(self) -> tuple[Optimizer, ...]:
        """The other optimizer and its groups."""
        return self.optimizer.rules

    def rule_of(self, parameter: Parameter) -> Optimizer:
        """This one: the slow weights of all parameters go by it."""
        return self

    def turn_to(self, parameters: Iterable[Parameter]) -> None:
        self.optimizer.turn_to(parameters)

    def end_epoch(self, loss: float | None = None) -> None:
        self.optimizer.end_epoch(loss)

    # -- what both remember

    def forget(self, parameters: Iterable[Parameter] | None = None) -> None:
        parameters = None if parameters is None else list(parameters)
        self.optimizer.forget(parameters)
        for parameter in list(self._state) if parameters is None else parameters:
            self._state.pop(parameter, None)

    def state_dict(self, parameters: Iterable[Parameter]) -> dict[str, Any]:
        """What the other optimizer says; of each parameter what is remembered here, and "optimizer", what is there."""
        parameters = list(parameters)
        found = self.optimizer.state_dict(parameters)
        each = []
        for parameter, theirs in zip(parameters, found["parameters"], strict=True):
            mine = dict(self._state.get(parameter, {}))
            if mine:
                mine["slow"] = arrays.convert(mine["slow"])
            each.append(mine | ({"optimizer": theirs} if theirs else {}))
        return found | {"parameters": each}

    def load_state_dict(self, parameters: Iterable[Parameter], state: Mapping[str, Any]) -> None:
        parameters = list(parameters)
        mine, theirs = _divided(state)
        loaded = checked(self, parameters, mine)
        self.optimizer.load_state_dict(parameters, theirs)
        for parameter, kept in zip(parameters, loaded, strict=True):
            self._state.pop(parameter, None)
            if kept:
                self._state[parameter] = kept

    def __repr__(self) -> str:
        return signature.call(self)


def _divided(state: Any) -> tuple[Any, Any]:
    """What a state says of the slow weights, and what it says of the other optimizer; itself twice if it is none."""
    each = state.get("parameters") if isinstance(state, Mapping) else None
    if not isinstance(each, list | tuple) or not all(isinstance(kept, Mapping) for kept in each):
        return state, state
    mine = [{name: value for name, value in kept.items() if name != "optimizer"} for kept in each]
    theirs = [kept.get("optimizer", {}) for kept in each]
    return {**state, "parameters": mine}, {**state, "parameters": theirs}
