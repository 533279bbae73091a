"""The contract of an optimizer, and what all of them share: the learning rate, clipping, state for each Parameter."""

import copy
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary, WeakSet, ref

from .. import arrays, constraints, signature
from ..arguments import flag, number
from ..constraints import Constraint
from ..module import Parameter, Watched
from .clipping import clip_grad_norm_, clip_grad_value_
from .course import Course
from .groups import OF_ALL, grouped
from .half import widened
from .remembered import checked
from .schedules import Schedule

PACKAGE = __name__.rpartition(".")[0]


_listening: "WeakSet[Optimizer]" = WeakSet()  # those whose schedules have heard losses, or may


class Keeper(Protocol):
    """Who may have newer state than an optimizer: a compiled network, after its steps."""

    def give_state(self) -> None:
        """Bring it into the optimizer."""


class Kept(NamedTuple):
    """What a rule of the library remembers of a Parameter.

    arrays : their names and shapes, in the engine's order.
    counts : whether there is "step" besides, the number of its updates.
    """

    arrays: Mapping[str, tuple[int, ...]]
    counts: bool


class Optimizer(Watched):
    """A rule that turns gradients into updates: `optimizer.step(module.param())`.

    Subclasses write `update`, which takes the gradient by `gradient(parameter)`. An optimizer belongs to no model: what
    it remembers is kept for each Parameter (found by identity, forgotten with it), so one model can be trained by
    several, and several models by one. A schedule, too, counts for each model by itself, see `turn_to`.

    What a rule of the library remembers it says itself: the names of its arrays (`state_names`), what they begin with
    (`initial_value`), and whether "step" counts the updates of each Parameter (`counts_steps`). Checkpoints, the
    engine, PyTorch and C go by that. One that keeps other arrays of matrices than of vectors, or of other shapes than
    the Parameter's, says so in `kept` and in `begin`; C has no such rules. A rule of your own may keep in `state`
    whatever it likes.

    A rule computes in float32 at least, and keeps what it remembers so: for a Parameter of 16 bits `update` gets a twin
    in float32, and the Parameter the twin's value, rounded once. (In float16 itself eps=1e-8 is 0, and Adam's first
    step from a gradient of 0 is NaN, as it is in PyTorch.)

    Parameters that are frozen (`parameter.trainable` is False) it passes over: no update, no decay, no share in
    clipping, and what it remembers of them stays.

    Options may be set at any time, and are looked at as the constructor does: of what cannot be nothing is changed. A
    name that is none of them is an AttributeError; a class of somebody's own may keep what it likes.

    A group is an optimizer of the same class for some of the parameters. `optimizer.groups` are these rules, whose
    options may be set as the optimizer's own; `rule_of(parameter)` is the one that a parameter goes by,
    and what it knows (`update`, `state_names`, `decay_of`, `current_lr`) is what holds for it. The state of all
    parameters, the counts and `clip_norm` are the outer optimizer's.

    Parameters
    ----------
    lr : the learning rate, a number or a schedule; it may be set at any time, for the next step. A schedule begins when
        it is set; one that hears losses (ReduceLROnPlateau) belongs to one optimizer, and another gets a copy.
    clip_norm : before an update, scale all gradients of the step down to this 2-norm together, if theirs is larger.
    clip_value : before an update, cut each element of the gradients to ± this.
    decay_biases : whether weight decay, where a rule has it, is for all parameters (as in PyTorch), or only for those
        with two or more axes.
    maximize : go uphill: the sign of each gradient is turned before anything else.
    constraint : what holds after each update, one of `chainrule.constraints` or several, which are applied in turn.
    groups : options of their own for some of the parameters: a list of dicts, each with "parameters" (a Module, a
        Parameter or several of them) and any argument of the class but clip_norm and groups. What a group does not
        say is as the optimizer has it when it is made.
    """

    weight_decay: float = 0.0
    counts_steps: bool = False
    momentum_may_cycle: bool = False  # whether `update` goes by `current_momentum`, which a schedule may cycle
    constraint: Constraint | tuple[Constraint, ...] | None
    groups: "tuple[Optimizer, ...]" = ()
    parameters: frozenset[Parameter] = frozenset()  # of a group

    def __init__(
        self,
        lr: float | Schedule,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        decay_biases: bool = True,
        maximize: bool = False,
        constraint: Constraint | Sequence[Constraint] | None = None,
    ) -> None:
        self.keepers: tuple[ref[Keeper], ...] = ()  # compiled networks, which may have newer state
        self.counter = array("q", [0])  # updates made so far; compiled networks count on in it
        self._ended = array("q", [0])  # epochs ended so far
        self._state: WeakKeyDictionary[Parameter, dict[str, Any]] = WeakKeyDictionary()
        self._course = Course()  # of the network that is being trained
        self._courses = [self._course]  # of all networks
        self.lr = lr
        self.clip_norm = None if clip_norm is None else number(self, "clip_norm", clip_norm, least=0)
        self.clip_value = None if clip_value is None else number(self, "clip_value", clip_value, least=0)
        self.decay_biases = flag(self, "decay_biases", decay_biases)
        self.maximize = flag(self, "maximize", maximize)
        self.constraint = constraint  # type: ignore[assignment]  # see __setattr__

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "lr":
            value = value if isinstance(value, Schedule) else number(self, "lr", value, least=0)
            if isinstance(value, Schedule):
                self._require_momentum_for(value)
                value = self._own(value)
                value.forget()
                self._course.count((0, 0), (self.steps, self.epochs))
                vars(self)["_courses"] = [self._course]
        if self.parameters and name in OF_ALL and value is not None and value != ():
            kind = type(self).__name__
            raise ValueError(f"{kind}: a group has no {name} of its own; set that of the optimizer, got {value!r}")
        if name == "constraint":
            value = constraints.checked(self, value)
        elif name not in ("lr", "keepers") and "groups" in vars(self):  # the last that a constructor sets
            value = self._option(name, value)
        if name == "groups" and not (isinstance(value, tuple) and all(isinstance(one, Optimizer) for one in value)):
            value = grouped(self, value)
        super().__setattr__(name, value)

    def _option(self, name: str, value: Any) -> Any:
        """An option that is set once the optimizer is made, as its constructor would have it."""
        now = vars(self).get(name)
        if type(value) is type(now) is float and value == now:  # as where a decay is set before every step
            return value
        unknown = not hasattr(self, name) or name == "weight_decay"  # which all have, but Rprop as no option
        if unknown and type(self) is self._library_class() and name not in self._options():
            raise AttributeError(self._no_option(type(self).__name__, name))
        return self._checked({name: value}).get(name, value)

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Set several options, which are looked at together: {"momentum": 0.0, "nesterov": False}.

        Raises TypeError for what is no option and for groups, which are set by themselves; TypeError or ValueError for
        what the constructor refuses. Nothing is changed then.
        """
        known = self._options()
        for name in options:
            if name not in known:
                raise TypeError(self._no_option(f"{type(self).__name__}.set_options", name))
        checked = self._checked(options)
        if "lr" in options:
            self.lr = options["lr"]  # which is looked at there, before it changes anything
        for name in options.keys() - {"lr"}:
            super().__setattr__(name, checked.get(name, options[name]))

    def _options(self) -> list[str]:
        """The names of the options that may be set."""
        no = OF_ALL if self.parameters else ("groups",)
        kinds = dict.fromkeys([type(self), self._library_class()])  # a class of somebody's own may have **options
        names = dict.fromkeys(one.name for kind in kinds for one in signature.parameters(kind))
        return [name for name in names if name not in no]

    def _no_option(self, who: str, name: str) -> str:
        """What is said of a name that is none of the options."""
        import difflib  # here, because it takes time to import

        known = self._options()
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"is {close[0]!r} meant? There" if close else "there"
        return f"{who}: {'a group has' if self.parameters else 'there is'} no {name!r}; {hint} are {', '.join(known)}"

    def _checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Those that the constructor knows, as it would keep them; it is asked, and so refuses what it refuses.

        A class of somebody's own is taken for the one of the library's that it is made from.
        """
        kind = self._library_class()
        known = [argument.name for argument in signature.parameters(kind) if argument.name not in ("lr", "groups")]
        given = {name: value for name, value in options.items() if name in known}
        now = {name: getattr(self, name) for name in known if given and hasattr(self, name)}
        if given and len(now) == len(known):  # else the constructor of a class that is made from another is at work
            made: Any = kind(**{**now, **given, "lr": 0.0})
            given = {name: getattr(made, name) for name in given}
        return given

    def _library_class(self) -> "type[Optimizer]":
        return next(one for one in type(self).__mro__ if one.__module__.startswith(PACKAGE))

    def _own(self, schedule: Schedule) -> Schedule:
        """The schedule; a copy if a part of it hears another optimizer's losses, for it would hear those of both."""
        if mine := set(map(id, schedule.listeners())):
            others = [one.lr for one in list(_listening) if one is not self and isinstance(one.lr, Schedule)]
            if any(id(part) in mine for other in others for part in other.listeners()):
                schedule = copy.deepcopy(schedule)
            _listening.add(self)
        return schedule

    def _require_momentum_for(self, schedule: Schedule) -> None:
        if schedule.cycles_momentum() and not self.momentum_may_cycle:
            kind = type(self).__name__
            raise ValueError(
                f"{kind}: lr must leave the momentum alone, which {kind} keeps as it is: cycle_momentum=False; "
                f"got {schedule!r}"
            )

    @property
    def steps(self) -> int:
        """Updates made so far."""
        return self.counter[0]

    @steps.setter
    def steps(self, steps: int) -> None:
        self.counter[0] = steps

    @property
    def epochs(self) -> int:
        """Epochs ended so far."""
        return self._ended[0]

    @epochs.setter
    def epochs(self, epochs: int) -> None:
        self._ended[0] = epochs

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """What is applied after each update, in this order."""
        if isinstance(self.constraint, tuple):
            return self.constraint
        return () if self.constraint is None else (self.constraint,)

    @property
    def rules(self) -> "tuple[Optimizer, ...]":
        """The optimizer itself and its groups."""
        return (self, *self.groups)

    def rule_of(self, parameter: Parameter) -> "Optimizer":
        """The rule that a parameter goes by: its group's, or the optimizer itself."""
        for group in self.groups:
            if parameter in group.parameters:
                return group
        return self

    def join(self, owner: "Optimizer", parameters: Iterable[Parameter], *, own_lr: bool = True) -> None:
        """Be a group of another optimizer, with whose steps and epochs its schedule counts.

        own_lr : whether the group has a learning rate of its own, of which a schedule begins; else it goes on as the
            optimizer's, of which it is a copy.
        """
        vars(self).update(counter=owner.counter, _ended=owner._ended, parameters=frozenset(parameters))
        now = (self.steps, self.epochs)
        self._course.count((0, 0) if own_lr else owner._course.counted(*now), now)
        if not own_lr:
            self._learn(owner._learned())

    def watch(self, network: Any) -> None:
        for rule in self.rules:
            super(Optimizer, rule).watch(network)

    @property
    def state(self) -> WeakKeyDictionary[Parameter, dict[str, Any]]:
        """What is remembered of each Parameter; read it again after steps of a compiled network."""
        for keeper in self.keepers:
            if (alive := keeper()) is not None:
                alive.give_state()
        return self._state

    @property
    def current_lr(self) -> float:
        """The learning rate of the next step."""
        return self.lr_at(steps=self.steps, epochs=self.epochs) if isinstance(self.lr, Schedule) else self.lr

    def lr_at(self, *, steps: int, epochs: int) -> float:
        """The learning rate when this optimizer counts so many steps and epochs, with the network it is turned to."""
        if not isinstance(self.lr, Schedule):
            return self.lr
        steps, epochs = self._course.counted(steps, epochs)
        rate = self.lr.at(steps=steps, epochs=epochs)
        if not 0 <= rate < math.inf:
            raise ValueError(
                f"{type(self).__name__}: the learning rate must be at least 0 and finite, got {rate} from {self.lr!r} "
                f"after {epochs} epochs and {steps} steps"
            )
        return rate

    @property
    def own_momentum(self) -> float:
        """The momentum that the rule was given, or β1 of the Adam family; 0 for a rule that has no such thing.

        A schedule may cycle it, of a rule whose `update` goes by `current_momentum`: `momentum_may_cycle`.
        """
        return 0.0

    @property
    def current_momentum(self) -> float:
        """The momentum of the next step, β1 of the Adam family: what the schedule says, or else the rule's own."""
        if not isinstance(self.lr, Schedule):
            return self.own_momentum
        return self.momentum_at(steps=self.steps, epochs=self.epochs)

    def momentum_at(self, *, steps: int, epochs: int) -> float:
        """The momentum when this optimizer counts so many steps and epochs, as `lr_at`."""
        if not isinstance(self.lr, Schedule):
            return self.own_momentum
        steps, epochs = self._course.counted(steps, epochs)
        found = self.lr.momentum_at(steps=steps, epochs=epochs)
        return self.own_momentum if found is None else found

    def keeps_momentum(self) -> bool:
        """Whether there is a momentum, or a schedule that may bring one."""
        return self.own_momentum > 0 or (isinstance(self.lr, Schedule) and self.lr.cycles_momentum())

    def turn_to(self, parameters: Iterable[Parameter]) -> None:
        """Have the schedule count for the network with these parameters, from its beginning or from where it was left.

        `fit` does so when a run begins. A loop of your own that trains several networks by one optimizer calls it
        before each; without it all count as one. A network is the same as long as it has the same Parameters.
        """
        parameters = list(parameters)
        for group in self.groups:
            group.turn_to(parameters)
        course = self._course_of(parameters)
        if course is not self._course:
            now = (self.steps, self.epochs)
            self._course.count(self._course.counted(*now), now)
            self._course.learned = self._learned()
            if course is None:
                course = Course()
            course.since = now
            self._learn(course.learned)
            alive = [other for other in self._courses if other is not course and len(other.parameters)]
            vars(self).update(_course=course, _courses=[*alive, course])
        if parameters:
            course.parameters, course.claimed = WeakSet(parameters), True

    def _course_of(self, parameters: list[Parameter]) -> Course | None:
        """The course of these parameters, if there is one; the present one for none."""
        present_first = [self._course, *self._courses]
        return next((course for course in present_first if not parameters or course.is_of(parameters)), None)

    def _learned(self) -> dict[str, Any]:
        return self.lr.state() if isinstance(self.lr, Schedule) else {}

    def _learn(self, learned: Mapping[str, Any]) -> None:
        """Have the schedule know what another one of its kind has learned; nothing for one that begins."""
        if isinstance(self.lr, Schedule):
            self.lr.forget()
            if learned:
                self.lr.load_state(learned)

    def step(self, parameters: Iterable[Parameter]) -> None:
        """Update each parameter in place by its gradient, after clipping; one that is listed twice, once.

        Those that are frozen stay as they are.
        """
        parameters = list(parameters) if isinstance(parameters, Iterable) else [parameters]
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(
                    f"{type(self).__name__}.step: expected Parameters, as module.param() lists them, "
                    f"got a {type(parameter).__name__}"
                )
        parameters = list(dict.fromkeys(parameters))
        trained = [(parameter, self.rule_of(parameter)) for parameter in parameters if parameter.trainable]
        for parameter, rule in trained:
            for constraint in rule.constraints:
                constraint.check(parameter)
        for parameter, rule in trained:
            if rule.clip_value is not None:
                clip_grad_value_([parameter], rule.clip_value)
        if self.clip_norm is not None:
            clip_grad_norm_([parameter for parameter, _ in trained], self.clip_norm)
        rates, states = {rule: rule.current_lr for rule in self.rules}, self.state
        for parameter, rule in trained:
            lr, state, wide = rates[rule], states.setdefault(parameter, {}), widened(parameter)
            self._follow(wide.value, state)
            rule.update(wide, state, lr)
            for constraint in rule.constraints:
                constraint.apply(wide.value, lr)
            if wide is not parameter:
                parameter.value[...] = wide.value
        self.steps += 1
        for rule in self.rules:
            if not rule._course.claimed:
                rule._course.parameters.update(parameters)

    def gradient(self, parameter: Parameter) -> Any:
        """The gradient that an update goes down: that of the loss, or its opposite to maximize it."""
        return -parameter.grad if self.maximize else parameter.grad

    def decay_of(self, parameter: Parameter) -> float:
        """The weight decay of a parameter."""
        return self.weight_decay if self.decay_biases or parameter.value.ndim > 1 else 0.0

    def state_names(self) -> tuple[str, ...]:
        """The names of the arrays that are remembered of each Parameter, all of its shape, in the engine's order."""
        return ()

    def initial_value(self, name: str) -> float:
        """What all numbers of the array `name` are before a Parameter's first update."""
        return 0.0

    def kept(self, shape: tuple[int, ...]) -> Kept:
        """What is remembered of a Parameter of this shape: what `begin` gives, in words."""
        return Kept(dict.fromkeys(self.state_names(), shape), self.counts_steps)

    def begin(self, value: Any) -> dict[str, Any]:
        """What is remembered of a Parameter with this value before its first update."""
        xp = arrays.namespace(value)
        step = {"step": 0} if self.counts_steps else {}
        return step | {name: xp.full_like(value, self.initial_value(name)) for name in self.state_names()}

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        """Change `parameter.value` in place by `gradient(parameter)`; `state` starts empty, and is this one's own."""
        raise NotImplementedError(f"{type(self).__name__} has no update")

    @staticmethod
    def _follow(value: Any, state: dict[str, Any]) -> None:
        """Take the state where the parameter is, if its module was moved to another library, dtype or device."""
        for name, kept in state.items():
            if hasattr(kept, "dtype") and arrays.is_array(kept):  # a rule may keep whatever it likes besides
                state[name] = arrays.following(kept, value)

    def end_epoch(self, loss: float | None = None) -> None:
        """Tell the optimizer that an epoch is over, and what its (validation) loss was: schedules count epochs."""
        self._ended[0] += 1  # so set, it is not told to compiled networks: they ask
        for rule in self.rules:
            if isinstance(rule.lr, Schedule):
                rule.lr.observe(loss)

    def forget(self, parameters: Iterable[Parameter] | None = None) -> None:
        """Drop everything remembered: moments, and the count of steps and epochs; or only what is of one network."""
        if parameters is not None:
            parameters = list(parameters)
            self.turn_to(parameters)
            for parameter in parameters:
                self.state.pop(parameter, None)
            if self.state or any(other is not self._course and len(other.parameters) for other in self._courses):
                for rule in self.rules:
                    rule._course.count((0, 0), (self.steps, self.epochs))
                    rule._learn({})
                return
        self.state.clear()
        self.steps = self.epochs = 0
        for rule in self.rules:
            course = Course()
            vars(rule).update(_course=course, _courses=[course])
            rule._learn({})

    def state_dict(self, parameters: Iterable[Parameter]) -> dict[str, Any]:
        """What the optimizer remembers of these parameters, by their place in the list, and its counts.

        "counted" are the steps and epochs of these parameters alone, of which a schedule knows; "groups", if there are
        any, hold the same and the schedule of each.
        """
        parameters = list(parameters)
        kept = [self._kept(parameter) for parameter in parameters]
        own, *groups = (rule._schedule_of(parameters) for rule in self.rules)
        found = {"steps": self.steps, "epochs": self.epochs, **own, "parameters": kept}
        return found | {"groups": groups} if groups else found

    def _kept(self, parameter: Parameter) -> dict[str, Any]:
        """A copy of what is remembered of a Parameter, with what options set since its last update ask for."""
        state, rule = self.state.get(parameter, {}), self.rule_of(parameter)
        kept = {name: arrays.convert(v) if arrays.is_array(v) else v for name, v in state.items()}
        if kept and type(rule).__module__.startswith(PACKAGE):
            missing = [name for name in rule.state_names() if name not in kept]
            kept |= {name: rule.begin(widened(parameter).value)[name] for name in missing}
        return kept

    def _schedule_of(self, parameters: list[Parameter]) -> dict[str, Any]:
        """How far the schedule has come with these parameters, and what it has learned."""
        course = self._course_of(parameters) or self._course
        present = course is self._course
        steps, epochs = course.counted(self.steps, self.epochs) if present else (course.steps, course.epochs)
        return {
            "counted": {"steps": steps, "epochs": epochs},
            "schedule": self._learned() if present else dict(course.learned),
        }

    def load_state_dict(self, parameters: Iterable[Parameter], state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave for the same parameters in the same order.

        Raises ValueError, and changes nothing, for anything else.
        """
        parameters = list(parameters)
        loaded = checked(self, parameters, state)
        now = (state["steps"], state["epochs"])
        self.turn_to(parameters)
        self.steps, self.epochs = now
        for rule, own in zip(self.rules, (state, *state.get("groups", ())), strict=True):
            counted = own.get("counted", own)  # where one network was trained all counts are its own
            rule._course.count((counted["steps"], counted["epochs"]), now)
            rule._learn(own["schedule"])
        for parameter, kept in zip(parameters, loaded, strict=True):
            self.state[parameter] = kept

    # A WeakKeyDictionary cannot be pickled, and a deep copy of one keeps the old keys; pairs follow their Parameters.

    def __getstate__(self) -> dict[str, Any]:
        pairs = list(self.state.items())
        return super().__getstate__() | {"_state": pairs, "keepers": ()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        pairs = {p: {name: arrays.own(value) for name, value in kept.items()} for p, kept in state["_state"]}
        self._state = WeakKeyDictionary(pairs)

    def __repr__(self) -> str:
        """The call that makes it; of a schedule that is on its way, also where it is."""
        steps, epochs = self._course.counted(self.steps, self.epochs)
        words = signature.call(self)
        if isinstance(self.lr, Schedule) and (steps or epochs):
            when = f"{epochs} epochs" + (f" and {steps} steps" if self.lr.changes_within_epochs() else "")
            words = f"{words} at lr={self.current_lr:.6g} after {when}"
        n = len(self.parameters)
        return f"{words} for {n} Parameter{'s' * (n > 1)}" if n else words
