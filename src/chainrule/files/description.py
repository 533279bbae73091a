"""A network as JSON and arrays, and back. docs/files.md has the grammar.

A Module, an optimizer or a schedule is the call that makes it: its class, and the arguments that it has kept under
their own names, which is the habit of this library that `repr` relies on too. Parameters and Buffers among the
arguments become arrays beside the JSON. So a layer needs no code of its own here. Whether a layer of somebody's own has
that habit is tried before it is written, and that no number was lost is looked at after everything that is built.
"""

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn, get_args, get_type_hints

import numpy as np

from .. import arrays, constraints, layers, losses, optimizers, random, signature
from ..constraints import Constraint
from ..layers import Graph, Sequential
from ..module import Buffer, Module, Parameter
from ..optimizers import Optimizer, Schedule
from ..optimizers.groups import OF_ALL, grouped

KNOWN: dict[str, type] = {
    name: thing
    for package in (layers, losses, optimizers)
    for name, thing in vars(package).items()
    if isinstance(thing, type) and issubclass(thing, Module | Optimizer | Schedule)
} | {
    f"constraints.{name}": thing  # with a dot, so that a layer of somebody's own may be a Mask
    for name, thing in vars(constraints).items()
    if isinstance(thing, type) and issubclass(thing, Constraint)
}
NAMES = {kind: name for name, kind in KNOWN.items()}

FROZEN = "frozen parameters"  # of a module; two words, which are no argument's name
OFF = {"maximize": False, "constraint": None, "groups": ()}  # arguments of optimizers that are written if they are set

MOST_NESTED = 100  # networks within networks: what is written here has to be read again, one call within another


def describe(model: Module) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A Module as a JSON-able description, and its parameters and buffers as arrays of NumPy's by dotted name.

    A parameter that is shared is one array, and a module that stands twice is described once.

    Raises TypeError for a module that keeps an argument of its constructor in no attribute of that name, or whose class
    bears the name of another; ValueError for networks that are nested too deeply.
    """
    writer = _Writer()
    description = writer.model(model)
    return description, writer.tensors


def describe_to_load(model: Module) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `describe` says, after a trial: from it comes a model with the same description and the same numbers.

    Only classes of somebody's own are tried; those of the library are known to come back.

    Raises TypeError for a class that does not come back as it was, and as `describe`.
    """
    writer = _Writer()
    description = writer.model(model)
    own = [kind for name, kind in writer.kinds.items() if KNOWN.get(name) is not kind]
    if own:
        _require_found(model)
        names = ", ".join(kind.__name__ for kind in own)
        try:
            with random.seeded(0), _numpy_goes_on():  # what the constructors draw is nobody's
                twin = build(description, writer.tensors, modules=own, where="a trial")
                again = _Writer()
                same = (again.model(twin), again.inside) == (description, writer.inside)
            problem = "" if same else "a trial: it would come back with other arguments"
        except (ValueError, TypeError) as failure:
            problem = str(failure)
        if problem:
            raise TypeError(
                f"{names}: cannot be saved, for it would not come back as it is ({problem}). Keep each argument of the "
                f"constructor as it came in an attribute of its name, and Parameters that an argument asks for under "
                f"other names; make every Parameter and Buffer in the constructor"
            )
    return description, writer.tensors


def parameter_names(model: Module) -> list[str]:
    """The names that `describe` gives to the parameters, in the order of `model.param()`."""
    writer = _Writer()
    try:
        writer.module(model, "")
    except TypeError:  # one that cannot be described has its parameters named all the same
        return [name for name, _ in model.named_parameters()]
    return [writer.parameters[id(parameter)] for parameter in model.param()]


def describe_rule(rule: Any, model: Module | None = None) -> dict[str, Any]:
    """An optimizer or a schedule as a JSON-able description; its groups name the parameters as the model does."""
    writer = _Writer()
    if model is not None:
        writer.parameters = dict(zip(map(id, model.param()), parameter_names(model), strict=True))
    description = writer.plain(rule)
    writer.name_groups()
    return description


def describe_value(value: Any) -> Any:
    """A plain value as JSON, or a constraint, or several of them: an option of an optimizer."""
    return _Writer().value(value, "an option")


def build(
    description: Any, tensors: Mapping[str, np.ndarray], *, modules: Iterable[type] = (), where: str = "build"
) -> Module:
    """The Module of a description, with copies of its arrays.

    Parameters
    ----------
    description, tensors : what `describe` gave.
    modules : classes of your own that may stand in it.
    where : what errors begin with.

    Raises ValueError for what does not belong together, is unknown, or is no description.
    """
    reader = _Reader(tensors, modules, where)
    with reader.shallow():
        model = reader.make(description, "")
        if not isinstance(model, Module):
            reader.fail(f"a Module was expected, got {type(model).__name__}")
        reader.fill(model)
        reader.make_groups()
        reader.compare(model)
    return model


def state_of(module: Module) -> dict[str, Any]:
    """What a module keeps besides arguments and arrays, with None for each Buffer that holds nothing now."""
    buffers = {name: value for name, value in vars(module).items() if isinstance(value, Buffer) and value.persistent}
    return {name: None for name, buffer in buffers.items() if buffer.value is None} | module.extra_state()


def load_state(module: Module, state: Mapping[str, Any]) -> None:
    """Go on from what `state_of` gave."""
    rest = dict(state)
    for name, value in state.items():
        place = vars(module).get(name)
        if value is None and isinstance(place, Buffer):
            place.value = rest.pop(name)
    if rest or not state:
        module.load_extra_state(rest)


def build_rule(description: Any, *, modules: Iterable[type] = (), where: str = "build") -> Any:
    """The optimizer or schedule of a description."""
    reader = _Reader({}, modules, where)
    with reader.shallow():
        made = reader.make(description, "optimizer")
        if reader.groups:
            reader.fail("groups of an optimizer are of the parameters of a network, which is not here")
        return made


def build_value(description: Any, *, where: str = "build") -> Any:
    """What `describe_value` described, but a tuple has become a list.

    Raises ValueError for a class that chainrule does not have.
    """
    reader = _Reader({}, (), where)
    with reader.shallow():
        return reader.value(description, "an option")


class _NoDescription(ValueError):
    """What was to be built is none of ours."""


class _Writer:
    def __init__(self) -> None:
        self.tensors: dict[str, np.ndarray] = {}
        self.modules: dict[int, str] = {}
        self.parameters: dict[int, str] = {}
        self.kinds: dict[str, type] = {}
        self.inside: dict[str, Any] = {}  # modules that their parents' constructors make, of which little is written
        self.groups: list[tuple[list[str], frozenset[Parameter]]] = []  # where the names of these are to stand

    def model(self, model: Module) -> dict[str, Any]:
        """The outermost Module."""
        found = self.module(model, "")
        self.name_groups()
        return found

    def module(self, module: Module, name: str) -> dict[str, Any]:
        """A Module at the place `name`."""
        if id(module) in self.modules:
            return {"same": self.modules[id(module)]}
        if name.count(".") > MOST_NESTED:
            raise ValueError(
                f"networks are nested too deeply to be described, more than {MOST_NESTED} in each other: "
                f"Sequential(*model.chain()) is one chain of the same layers"
            )
        self.modules[id(module)] = name
        found = self.plain(module, name)
        arguments, inside = set(found), {}
        if _is_container(type(module)):
            arguments |= dict(module.named_children()).keys()  # each of which is in an argument
        # Most children are attributes; those of a container are what it says.
        for attribute, value in {**vars(module), **dict(module.named_children())}.items():
            if attribute in arguments or (isinstance(value, Buffer) and not value.persistent):
                continue
            if isinstance(value, Parameter | Buffer):  # that no argument has brought in; its place is known by its name
                self.array(value, _joined(name, attribute))
            elif isinstance(value, Module):
                inner = self.inside[_joined(name, attribute)] = self.module(value, _joined(name, attribute))
                if kept := {key: inner[key] for key in ("state", "inside", FROZEN) if key in inner}:
                    inside[attribute] = kept
        parameters = {key: value for key, value in vars(module).items() if isinstance(value, Parameter)}
        if frozen := [key for key, parameter in parameters.items() if not parameter.trainable]:
            found[FROZEN] = frozen
        if state := {
            key: value for key, value in state_of(module).items() if key not in arguments or value is not None
        }:
            found["state"] = encode(state, _joined(name, "state"))
        if inside:
            found["inside"] = inside
        return found

    def kind(self, instance: Any) -> str:
        """The name of a class, by which it has to be found again."""
        kind = type(instance)
        name = NAMES.get(kind, kind.__name__)
        if self.kinds.setdefault(name, kind) is not kind or KNOWN.get(name, kind) is not kind:
            raise TypeError(f"{name} cannot be described: another class has that name; give yours one of its own")
        return name

    def plain(self, instance: Any, name: str = "") -> dict[str, Any]:
        """An instance by the arguments of its constructor."""
        kind = self.kind(instance)
        found: dict[str, Any] = {"class": kind}
        if isinstance(instance, Sequential) and _takes_in_a_row(type(instance)) and instance.optimizer is not None:
            found["optimizer"] = self.plain(instance.optimizer, _joined(name, "optimizer"))
        for rest in signature.rest(type(instance)):
            found |= self.rest(instance, rest, name)
        for argument in signature.parameters(type(instance)):
            if isinstance(instance, Optimizer) and argument.name in OFF and not getattr(instance, argument.name):
                continue
            if isinstance(instance, Optimizer) and argument.name == "groups":
                found["groups"] = [self.group(group) for group in instance.groups]
            elif hasattr(instance, argument.name):
                value = getattr(instance, argument.name)
                in_nodes = argument.name == "nodes" and _is_graph(type(instance))
                found[argument.name] = (
                    self.nodes(value, name) if in_nodes else self.value(value, _joined(name, argument.name))
                )
            elif argument.default is argument.empty:
                raise TypeError(
                    f"{kind} cannot be described: it keeps its argument {argument.name!r} in no attribute of that name"
                )
        return found

    def group(self, group: Optimizer) -> dict[str, Any]:
        """One of an optimizer's groups: the names of its parameters, which are known at the end, and its options."""
        names: list[str] = []
        self.groups.append((names, group.parameters))
        options = self.plain(group)
        known = [argument.name for argument in signature.parameters(type(group)) if argument.name not in OF_ALL]
        return {"parameters": names} | {key: options.get(key, OFF.get(key)) for key in known}

    def name_groups(self) -> None:
        """Write the names of the parameters into the groups. Those of other models are left out."""
        for names, parameters in self.groups:
            inside = set(map(id, parameters))
            names += sorted(name for parameter, name in self.parameters.items() if parameter in inside)
            if not names:
                raise TypeError("a group of an optimizer cannot be described: none of its Parameters is in the model")

    def nodes(self, nodes: Mapping[str, tuple[Module, Any]], name: str) -> dict[str, Any]:
        """Those of a Graph: each Module, and the names of what it reads."""
        return {
            node: [self.module(module, _joined(name, node)), encode(sources)]
            for node, (module, sources) in nodes.items()
        }

    def rest(self, instance: Any, argument: inspect.Parameter, name: str) -> dict[str, Any]:
        """What stands for any number of arguments: a tuple of that name, of Modules perhaps with names."""
        kept = getattr(instance, argument.name, True)
        if argument.kind is argument.VAR_POSITIONAL and isinstance(kept, tuple):
            names = _takes_in_a_row(type(instance)) and getattr(instance, "names", None)
            keys = names or map(str, range(len(kept)))
            items = [self.value(item, _joined(name, key)) for key, item in zip(keys, kept, strict=True)]
            return {**({"names": list(names)} if names else {}), argument.name: items}
        if kept:  # or nobody knows what they were
            raise TypeError(
                f"{type(instance).__name__} cannot be described: what its constructor takes as {argument} has no names "
                f"to be kept by"
            )
        return {}

    def value(self, value: Any, name: str) -> Any:
        """An argument."""
        if isinstance(value, Module):
            return self.module(value, name)
        if isinstance(value, Parameter | Buffer):
            return self.array(value, name)
        if isinstance(value, Optimizer | Schedule):
            return self.plain(value, name)
        if isinstance(value, Constraint):
            kept = {one.name: getattr(value, one.name) for one in signature.parameters(type(value))}
            plain = {key: one.tolist() if isinstance(one, np.ndarray) else one for key, one in kept.items()}
            return {"class": self.kind(value), **encode(plain, name)}
        if arrays.is_array(value) and getattr(value, "shape", ()) != ():
            self.tensors[name] = _numpy(value)
            return {"tensor": name}
        if isinstance(value, list | tuple):
            return [self.value(item, f"{name}.{i}") for i, item in enumerate(value)]
        return encode(value, name)

    def array(self, value: Parameter | Buffer, name: str) -> Any:
        """A Parameter or Buffer, whose array goes beside the JSON."""
        if isinstance(value, Buffer) and not arrays.is_array(value.value):
            return encode(value.value, name)
        name = self.parameters.setdefault(id(value), name)
        self.tensors[name] = _numpy(value.value)
        return {"tensor": name}


class _Reader:
    def __init__(self, tensors: Mapping[str, np.ndarray], modules: Iterable[type], where: str) -> None:
        self.tensors, self.where = tensors, where
        self.known = KNOWN | {kind.__name__: kind for kind in modules}
        self.made: dict[str, Module] = {}
        self.groups: list[tuple[Optimizer, Any]] = []  # which it is to have, as they are described
        self.parameters: dict[str, Parameter] = {}
        self.used: set[str] = set()

    def fail(self, message: str) -> NoReturn:
        """Say what is wrong with the description."""
        raise _NoDescription(f"{self.where}: {message}")

    @contextmanager
    def shallow(self) -> Iterator[None]:
        """Refuse what is nested more deeply than Python can follow."""
        try:
            yield
        except RecursionError:
            self.fail("networks are nested too deeply")

    def make(self, description: Any, name: str) -> Any:
        """The instance that a description describes, at the place `name`."""
        at = f"{name or 'the model'}"
        if not isinstance(description, dict) or not isinstance(description.get("class"), str):
            self.fail(f"{at} must be an object with a class, got {str(description)[:60]}")
        kind = self.known.get(description["class"])
        if kind is None:
            self.fail(
                f"{at} is of the class {description['class'][:60]!r}, which chainrule does not have; "
                f"if it is yours, hand it in: load(path, modules=[…])"
            )
        reserved = ("class", "state", "inside", FROZEN)
        arguments = {key: value for key, value in description.items() if key not in reserved}
        groups = arguments.pop("groups", None) if issubclass(kind, Optimizer) else None
        for key, may_be_null in _tensors(kind).items():
            value = arguments.get(key, "nothing")
            if not isinstance(value, dict) and not (may_be_null and value is None):
                self.fail(f"{at}: {key} must be a tensor of the file, got {str(value)[:60]}")
        try:
            made = self._call(kind, arguments, name)
            if isinstance(made, Module):
                self.go_on(made, description)
            if groups:
                self.groups.append((made, groups))
        except (_NoDescription, RecursionError):
            raise
        except Exception as problem:  # whatever a constructor makes of arguments that are none of its
            self.fail(f"{at}: {problem}")
        if isinstance(made, Module):
            inner = {} if _is_container(kind) else dict(made.named_modules(name))  # of those, all are here already
            self.made |= {name: made} | {place: module for place, module in inner.items() if place not in self.made}
        return made

    def go_on(self, module: Module, description: Mapping[str, Any]) -> None:
        """Give a module, and those inside it that no argument has brought in, what they keep besides."""
        if "state" in description:
            load_state(module, decode(description["state"]))
        for name in description.get(FROZEN, ()):
            if not isinstance(vars(module).get(name), Parameter):
                raise ValueError(f"{type(module).__name__} has no Parameter {str(name)[:60]!r} to be frozen")
            vars(module)[name].trainable = False
        children = dict(module.named_children())
        for child, inner in description.get("inside", {}).items():
            self.go_on(children[child], inner)

    def make_groups(self) -> None:
        """Give each optimizer its groups, now that all Parameters are there."""
        try:
            for rule, groups in self.groups:
                made = [{key: self.value(value, key) for key, value in group.items()} for group in groups]
                for group in made:
                    group["parameters"] = [self.parameters[name] for name in group["parameters"]]
                rule.groups = grouped(rule, made)
        except Exception as problem:  # whatever comes of groups that are none
            self.fail(f"the groups of an optimizer must name parameters of the model: {problem}")

    def _call(self, kind: type, arguments: dict[str, Any], name: str) -> Any:
        in_a_row = self._rest(kind, arguments, name)
        nodes = {"nodes": self._nodes(arguments.pop("nodes", None), name)} if _is_graph(kind) else {}
        flags = set() if kind in KNOWN.values() else _flags(kind)
        made = kind(
            *in_a_row,
            **nodes,
            **{
                key: value is not None if key in flags and _is_tensor(value) else self.value(value, _joined(name, key))
                for key, value in arguments.items()
            },
        )
        for key, value in arguments.items():
            if value is not None and _is_tensor(value):
                self._place(made, key, value["tensor"], _joined(name, key))
        return made

    def _rest(self, kind: type, arguments: dict[str, Any], name: str) -> list[Any]:
        """What stands for any number of arguments, which are taken out of the others."""
        found: list[Any] = []
        at, container = name or "the model", _takes_in_a_row(kind)
        if container and "optimizer" in arguments:
            found.append(self.make(arguments.pop("optimizer"), f"{name}.optimizer"))
        for argument in signature.rest(kind):
            if argument.kind is not argument.VAR_POSITIONAL or not (container or argument.name in arguments):
                continue
            items = arguments.pop(argument.name, None)
            if not isinstance(items, list):
                self.fail(f"{at} must have a list of {argument.name}, got {str(items)[:60]}")
            names = arguments.pop("names", None) if container else None
            keys = list(map(str, range(len(items)))) if names is None else names
            if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                self.fail(f"{at} must have names that are text, got {str(keys)[:60]}")
            if not len(set(keys)) == len(keys) == len(items):
                self.fail(f"{at} must have a name for each of its {argument.name}, got {str(keys)[:60]}")
            made = {}
            for key, item in zip(keys, items, strict=True):  # a loop, as networks may be nested almost too deeply
                made[key] = self.value(item, _joined(name, key))
            found += made.values() if names is None else [made]
        return found

    def _nodes(self, nodes: Any, name: str) -> dict[str, Any]:
        """Those of a Graph."""
        at = name or "the model"
        if not isinstance(nodes, dict):
            self.fail(f"{at} must have an object of nodes, got {str(nodes)[:60]}")
        found = {}
        for node, value in nodes.items():
            if not isinstance(value, list) or len(value) != 2:
                self.fail(f"{at} must have a module and its sources as node {node[:60]!r}, got {str(value)[:60]}")
            found[node] = self._inner(value[0], _joined(name, node)), value[1]
        return found

    def _place(self, made: Any, key: str, tensor: Any, name: str) -> None:
        """See that the Parameter in an attribute is the one of a tensor, whatever the constructor made of it."""
        if not isinstance(getattr(made, key, None), Parameter):
            return
        numbers = self._tensor(tensor, name)
        if tensor in self.parameters:
            setattr(made, key, self.parameters[tensor])
            return
        self.take(tensor, getattr(made, key))
        if not _same(_numpy(getattr(made, key).value), numbers):
            self._set(name, getattr(made, key), numbers)

    def _set(self, name: str, parameter: Parameter, numbers: np.ndarray) -> None:
        if not arrays.is_floating(numbers):
            self.fail(f"{name} must hold floating-point numbers, got {numbers.dtype}")
        if numbers.shape != parameter.shape:
            self.fail(f"{name} must be {parameter.shape}, got {numbers.shape}")
        parameter.value, parameter.grad = numbers.copy(), np.zeros_like(numbers)

    def _tensor(self, key: Any, name: str) -> np.ndarray:
        if not isinstance(key, str) or key not in self.tensors:
            self.fail(f"{name} is to be the tensor {str(key)[:60]!r}, which is not there")
        self.used.add(key)
        return self.tensors[key]

    def _inner(self, description: Any, name: str) -> Any:
        if isinstance(description, dict) and set(description) == {"same"}:
            if description["same"] not in self.made:
                self.fail(f"{name} is to be the same as {str(description['same'])[:60]!r}, which does not come before")
            return self.made[description["same"]]
        return self.make(description, name)

    def value(self, value: Any, name: str) -> Any:
        """An argument."""
        if isinstance(value, list):
            return [self.value(item, f"{name}.{i}") for i, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if set(value) == {"tensor"}:
            key, numbers = value["tensor"], self._tensor(value["tensor"], name)
            return self.parameters[key] if key in self.parameters else numbers.copy()
        if set(value) == {"float"}:
            return decode(value)
        if not value.keys() & {"class", "same"}:
            return {key: self.value(item, f"{name}.{key}") for key, item in value.items()}
        return self._inner(value, name)

    def take(self, name: str, parameter: Parameter) -> None:
        """Remember the Parameter that holds a tensor, for those who share it."""
        if self.tensors[name].dtype.kind != "f":
            self.fail(f"{name} must hold floating-point numbers, got {self.tensors[name].dtype}")
        self.parameters[name] = parameter

    def fill(self, model: Module) -> None:
        """Put the arrays that were no arguments where they belong, and see that none is left over or missing."""
        places: dict[str, Any] = {}
        for kind in (Parameter, Buffer):
            places |= dict(model._named(kind))
        held = {id(parameter) for parameter in self.parameters.values()}
        for name in self.tensors.keys() - self.used:
            place = places.get(name)
            if place is None:
                self.fail(f"the tensor {name[:60]!r} belongs to nothing in the model")
            if isinstance(place, Parameter):
                self.take(name, place)
                self._set(name, place, self.tensors[name])
                held.add(id(place))
            else:
                place.value = self.tensors[name].copy()
        for name, place in places.items():
            if isinstance(place, Parameter) and id(place) not in held:
                self.fail(f"{name} is missing among the tensors")

    def compare(self, model: Module) -> None:
        """See that the model holds every tensor, and no other: whatever a constructor has done, no number is lost."""
        writer = _Writer()
        try:
            writer.module(model, "")
        except TypeError as problem:
            self.fail(str(problem))
        for name in sorted(self.tensors.keys() | writer.tensors.keys()):
            if name not in self.tensors:
                self.fail(f"{name} is missing among the tensors")
            if name not in writer.tensors:
                self.fail(f"the tensor {name[:60]!r} has found no place in the model")
            if not _same(self.tensors[name], writer.tensors[name]):
                self.fail(
                    f"the tensor {name[:60]!r} is not what the model holds there: its class has made another of it"
                )


def encode(value: Any, name: str = "a value") -> Any:
    """A plain value as JSON; infinity and NaN, which JSON lacks, become {"float": "inf"}."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, list | tuple):
        return [encode(item, name) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: encode(item, f"{name}.{key}") for key, item in value.items()}
    instead = "; a class of your own that does the same can, see load(modules=…)" if inspect.isroutine(value) else ""
    raise TypeError(f"{name} cannot be described in JSON: it is a {type(value).__name__}{instead}")


def decode(value: Any) -> Any:
    """What `encode` encoded; tuples have become lists."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"float"} and value["float"] in ("inf", "-inf", "nan"):
            return float(value["float"])
        return {key: decode(item) for key, item in value.items()}
    return value


def _takes_in_a_row(kind: type) -> bool:
    """Whether a class takes any number of Modules, or one mapping of their names to them, which it keeps in `names`."""
    return hasattr(kind, "names") and any(rest.kind is rest.VAR_POSITIONAL for rest in signature.rest(kind))


def _is_graph(kind: type) -> bool:
    """Whether a class is made of nodes."""
    return issubclass(kind, Graph) and kind.__init__ is Graph.__init__


def _is_container(kind: type) -> bool:
    """Whether all modules inside are arguments."""
    return _is_graph(kind) or (_takes_in_a_row(kind) and kind in KNOWN.values())


@cache
def _tensors(kind: type) -> dict[str, bool]:
    """The arguments of a Module that have to be tensors, and whether null will do too.

    They are those of whose attributes the class says `weight: Parameter` or `bias: Parameter | None`. Without them the
    constructor would draw random numbers, as many as the file says.
    """
    try:
        hints = get_type_hints(kind)
    except Exception:  # of names that are there for a type checker only, in somebody's own class
        hints = {}
    kinds = {name: set(get_args(hint) or [hint]) for name, hint in hints.items()}
    names = {argument.name for argument in signature.parameters(kind)}
    return {
        name: type(None) in found
        for name, found in kinds.items()
        if name in names and Parameter in found and found <= {Parameter, type(None)}
    }


def _flags(kind: type) -> set[str]:
    """The arguments of a layer of somebody's own that are True or False.

    `self.bias = Parameter(…) if bias else None`: where the attribute is a Parameter or None, that says which it was.
    """
    return {argument.name for argument in signature.parameters(kind) if isinstance(argument.default, bool)}


def _require_found(model: Module) -> None:
    """Refuse Parameters and Modules in a list or a dict, where nobody finds them: their numbers would be lost."""
    modules = model.modules()
    seen = {id(value) for module in modules for value in (module, *vars(module).values()) if _holds_numbers(value)}
    ahead = [(module, name, value) for module in modules for name, value in vars(module).items()]
    while ahead:
        module, name, value = ahead.pop()
        if id(value) in seen:
            continue
        if _holds_numbers(value):
            raise TypeError(
                f"{type(module).__name__}: cannot be saved, for the {type(value).__name__} within its {name} is part "
                f"of no network: keep it in an attribute of its own, or have named_children and children say it"
            )
        if isinstance(value, list | tuple | dict):
            seen.add(id(value))
            ahead += [(module, name, item) for item in (value.values() if isinstance(value, dict) else value)]


def _holds_numbers(value: Any) -> bool:
    return isinstance(value, Module | Parameter | Buffer)


def _is_tensor(value: Any) -> bool:
    """Whether a described value is a tensor, or None where one might be."""
    return value is None or (isinstance(value, dict) and set(value) == {"tensor"})


@contextmanager
def _numpy_goes_on() -> Iterator[None]:
    """After the block, NumPy's own generator goes on as if there had been none."""
    before = np.random.get_state()  # noqa: NPY002 - which somebody's constructor may draw from
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _same(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether two arrays have the same dtype, shape and bits."""
    a, b = (np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (x, y))
    return x.dtype == y.dtype and x.shape == y.shape and np.array_equal(a, b)


def _numpy(value: Any) -> np.ndarray:
    return np.ascontiguousarray(arrays.to_numpy(value)).reshape(tuple(value.shape))


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
