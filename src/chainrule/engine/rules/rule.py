"""What a rule is: how a Module becomes ops on values; and what it works on, a network on its way into a plan.

    @rule(layers.Identity)
    def identity(lowering, layer, x):
        return x

A rule gets a layer and what the layer reads, one Handle, or a tuple or dict of them (structures.py), and gives what the
layer writes in the same terms. It holds for exactly its class: a subclass may have changed anything.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from ... import signature
from ...module import Module, Parameter
from ...structures import Structure
from ..plan import CannotLower as CannotLower
from ..plan import Op, Value
from ..statistics import Statistics

PASSES = frozenset(("forward", "backward", "_infer"))  # methods that a rule is about


class Unknown:
    """The shape of an input's samples, until a layer says what it takes."""

    found: tuple[int, ...] | None = None


class Handle:
    """A value of the plan, as layers see it: what shape its samples have to them, however the engine lays them out.

    number : of the value.
    shape : a tuple of lengths, or Unknown.
    is_image : whether the first of these lengths counts channels, which are the value's columns, with a row for each
        place; else the numbers lie in Python's order, row by row.
    """

    __slots__ = ("is_image", "number", "shape")

    def __init__(self, number: int, shape: Any, is_image: bool = False) -> None:
        self.number, self.shape, self.is_image = number, shape, is_image

    def seen_as(self, shape: tuple[int, ...]) -> "Handle":
        """The same numbers in the same order, as samples of another shape."""
        return Handle(self.number, shape)


class Source:
    """What a network is shown, before anybody has said whether it is an array or several: its first reader does."""

    def __init__(self, lowering: "Lowering") -> None:
        self.lowering = lowering
        self.form: Structure | None = None  # of Handles

    def one(self) -> Structure:
        """It is an array, unless it is known to be several."""
        if self.form is None:
            self.form = self.lowering.input(Unknown())
        return self.form

    def parts(self, keys: Sequence[str] | int) -> Structure:
        """It is a dict with these names, or a tuple of so many, unless it is known to be something else."""
        if self.form is None:
            if isinstance(keys, int):
                self.form = tuple(self.lowering.input(Unknown()) for _ in range(keys))
            else:
                self.form = {name: self.lowering.input(Unknown()) for name in keys}
        return self.form


class Lowering:
    """A network on its way into a plan: the values, ops and parameters so far.

    Parameters
    ----------
    model : the network; its Dropouts are numbered as `fit` numbers them.
    in_mode : whether a step leaves out what layers in evaluation mode leave out.
    others : rules that somebody else has, whose ops the engine does not know; they come before the engine's own.
    """

    def __init__(self, model: Module, in_mode: bool = False, others: "Mapping[type, Rule] | None" = None) -> None:
        self.in_mode, self.others = in_mode, others or {}
        self.values: list[Value] = []
        self.ops: list[Op] = []
        self.parameters: dict[Parameter, int] = {}  # with their places in the plan's list
        self.rows_of_numbers: set[Parameter] = set()  # which are no matrices, whatever their axes
        self.statistics: dict[Statistics, int] = {}  # with their places in the plan's list
        self.modules = model.modules()
        self.drawn: list[Module] = []
        self._laid_out: dict[tuple[int, Value], int] = {}

    def lower(self, layer: Module, x: Structure) -> Structure:
        """What `layer` makes of x."""
        known = self.others.get(type(layer)) or _rules.get(type(layer))
        if known is None:
            raise CannotLower(name_of(layer))
        if not PASSES.isdisjoint(vars(layer)):
            raise CannotLower(f"{name_of(layer)} with a pass of its own, set on this object")
        return known(self, layer, x)

    def input(self, shape: Any) -> Handle:
        """A value that comes from outside."""
        self.values.append(Value(0 if isinstance(shape, Unknown) else prod(shape)))
        return Handle(len(self.values) - 1, shape)

    def add(
        self,
        kind: str,
        layer: Module,
        inputs: Sequence[Handle],
        value: Value,
        shape: Any,
        parameters: Sequence[Parameter] = (),
        is_image: bool = False,
        statistics: Any = None,  # a Statistics; with this type mypy would ask for one in `settings`
        **settings: Any,
    ) -> Handle:
        """An op, and what it writes: a matrix `value`, whose samples have this shape to the layers."""
        number = len(self.values)
        self.values.append(value)
        read = tuple([x.number for x in inputs])
        places = tuple([self.parameters.setdefault(parameter, len(self.parameters)) for parameter in parameters])
        follows = None if statistics is None else self.statistics.setdefault(statistics, len(self.statistics))
        self.ops.append(Op(kind, layer, read, number, places, settings, follows))
        return Handle(number, shape, is_image)

    def alike(self, kind: str, layer: Module, x: Structure, *, any_order: bool = False, **settings: Any) -> Handle:
        """An op whose output is like its input."""
        only = self.one(layer, x, any_order=any_order)
        value = self.values[only.number]
        return self.add(kind, layer, [only], value, only.shape, is_image=only.is_image, **settings)

    def stream(self, layer: Module) -> int:
        """The number of `layer` among those that draw random numbers, as `fit` counts them."""
        drawing = [module for module in self.modules if hasattr(module, "reseed")]
        return next(i for i, module in enumerate(drawing) if module is layer)

    # -- what a layer reads

    def one(self, layer: Module, x: Structure, *, any_order: bool = False) -> Handle:
        """x, where `layer` takes one array; in Python's order, unless any is good enough."""
        if isinstance(x, Source):
            x = x.one()
        if not isinstance(x, Handle):
            raise CannotLower(f"{name_of(layer)} on several arrays")
        return x if any_order or not x.is_image else self._in_order(layer, x)

    def parts(self, layer: Module, x: Structure, keys: Sequence[str] | int) -> list[Handle]:
        """The arrays of a tuple of so many, or of a tuple or dict with these names, in the order of the names."""
        found = None
        if isinstance(x, dict) and not isinstance(keys, int) and set(x) == set(keys):
            found = [x[name] for name in keys]
        elif isinstance(x, tuple) and len(x) == (keys if isinstance(keys, int) else len(keys)):
            found = list(x)
        if found is None:
            raise CannotLower(f"{name_of(layer)} on what is not {keys} arrays")
        return [self.one(layer, part) for part in found]

    def is_unknown(self, x: Handle) -> bool:
        """Whether nobody has said what shape the samples of x have."""
        return isinstance(x.shape, Unknown) and x.shape.found is None

    def shape(self, layer: Module, x: Handle) -> tuple[int, ...]:
        """The shape of a sample of x, where `layer` has to know it."""
        shape = x.shape.found if isinstance(x.shape, Unknown) else x.shape
        if shape is None:
            raise CannotLower(f"the shape of the samples that {name_of(layer)} gets; sample_shape=… says it")
        known: tuple[int, ...] = shape
        return known

    def expect(self, x: Handle, shape: tuple[int, ...]) -> None:
        """Say what shape x has, if nobody has said so before."""
        if self.is_unknown(x):
            x.shape.found = shape

    def rows(self, layer: Module, x: Handle) -> Handle:
        """x laid out by the last axis of its samples: a row for each position, such as a pixel, a column a channel."""
        shape = self.shape(layer, x)
        columns = shape[-1] if shape else 1
        return self.laid_out(layer, x, Value(columns, prod(shape[:-1])))

    def flat(self, layer: Module, x: Handle) -> Handle:
        """x laid out with a row for each sample."""
        return self.laid_out(layer, x, Value(prod(self.shape(layer, x))))

    def like(self, layer: Module, x: Handle, other: Handle) -> Handle:
        """x laid out as another value is."""
        return self.laid_out(layer, x, self.values[other.number])

    def image(self, layer: Module, x: Handle) -> Handle:
        """x laid out by the first axis of its samples: a row for each place, a column for each channel."""
        if x.is_image:
            return x
        channels, *lengths = self.shape(layer, x)
        return self._laid(layer, "ChannelsLast", self.flat(layer, x), Value(channels, prod(lengths)), is_image=True)

    def _in_order(self, layer: Module, x: Handle) -> Handle:
        """The way back from `image`."""
        return self._laid(layer, "ChannelsFirst", x, Value(self.values[x.number].size))

    def _laid(self, layer: Module, kind: str, x: Handle, value: Value, is_image: bool = False) -> Handle:
        if self.values[x.number] == value:  # of one place only
            return Handle(x.number, x.shape, is_image)
        if (x.number, value) not in self._laid_out:
            self._laid_out[x.number, value] = self.add(kind, layer, [x], value, x.shape).number
        return Handle(self._laid_out[x.number, value], x.shape, is_image)

    def laid_out(self, layer: Module, x: Handle, value: Value) -> Handle:
        """x as another matrix, with the same numbers in the same order."""
        if self.values[x.number] == value:
            return x
        if (x.number, value) not in self._laid_out:
            self._laid_out[x.number, value] = self.add("Reshape", layer, [x], value, x.shape).number
        return Handle(self._laid_out[x.number, value], x.shape)


Rule = Callable[[Lowering, Any, Structure], Structure]
_rules: dict[type, Rule] = {}


def rule(*kinds: type) -> Callable[[Rule], Rule]:
    """Register a function as the rule for Modules of exactly these classes."""

    def register(function: Rule) -> Rule:
        _rules.update(dict.fromkeys(kinds, function))
        return function

    return register


def elementwise(*kinds: type) -> None:
    """Declare Modules that work on each element by itself, to the engine as to Python under their classes' names."""

    @rule(*kinds)
    def _elementwise(lowering: Lowering, layer: Module, x: Structure) -> Handle:
        return lowering.alike(type(layer).__name__, layer, x, any_order=True, **options(layer))


def known_kinds() -> frozenset[type]:
    """The Modules that have a rule."""
    return frozenset(_rules)


def options(thing: object) -> dict[str, Any]:
    """What travels of an object: the arguments of its constructor, which it keeps under their own names.

    Read past properties and class attributes: what the instance itself has is what its forward uses.
    """
    own = vars(thing)
    found = {}
    for parameter in signature.parameters(type(thing)):
        if parameter.name not in own:
            raise CannotLower(f"{name_of(thing)} without its {parameter.name}")
        found[parameter.name] = own[parameter.name]
        if not isinstance(own[parameter.name], bool | int | float | str):
            raise CannotLower(f"{name_of(thing)} with {parameter.name}={own[parameter.name]!r}")
    return found


def name_of(thing: object) -> str:
    """How errors call it."""
    return type(thing).__name__
