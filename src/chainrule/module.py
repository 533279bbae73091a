"""Parameter and Module: the contract that everything else keeps. Read this file first.

A Module says how to go forward and how the gradient comes back:

    y, saved = module.forward(x)         the output, and whatever backward will need
    dx = module.backward(dy, saved)      the gradient of the loss by x, given its gradient by y

`backward` also adds the gradient of each parameter to `Parameter.grad`. Nothing about a pass is kept on the module
itself, so one layer may stand twice in a network, or in two networks at once.
"""

import copy
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain, repeat
from operator import setitem
from os import PathLike
from types import ModuleType
from typing import Any, NoReturn, Protocol, TypeGuard, TypeVar
from weakref import ref

import numpy as np

from . import arrays, signature
from .arguments import as_array, as_input, flag
from .arrays import Array

FREEZING = ("trainable", "requires_grad")  # what others have to freeze a module by

AnyModule = TypeVar("AnyModule", bound="Module")


class Home(Protocol):
    """A compiled network whose memory holds a Parameter's newest numbers; native/src/python/home.h says the rules."""

    def show(self, parameter: "Parameter") -> None:
        """Bring the newest value into the Parameter's array, which both sides see from here on."""

    def show_gradient(self, parameter: "Parameter") -> None:
        """The same for the gradient."""

    def assign(self, parameter: "Parameter", array: Array) -> None:
        """Make another array the Parameter's own."""

    def assign_gradient(self, parameter: "Parameter", array: Array) -> None:
        """The same for the gradient."""

    def copy_values(self, parameters: list["Parameter"], arrays: list[Array]) -> bool:
        """Copy the newest values of some Parameters, all of one moment; False if one of them is not here."""


class Parameter:
    """An array that training changes, and the gradient of the loss by it, which has the same shape.

    Parameters
    ----------
    value : array of floating-point numbers; a copy is kept, and integers become float32 (docs/arrays.md).
    trainable : whether training changes it; False for one that is frozen.
    """

    __slots__ = ("__weakref__", "_grad", "_trainable", "_value", "home", "watchers")

    def __init__(self, value: Array, trainable: bool = True) -> None:
        self.home: Home | None = None  # the network whose memory has the newest numbers; None: they are here
        self.watchers: dict[ref[Any], None] = {}
        self._trainable = flag(self, "trainable", trainable)
        value = as_array("Parameter", "value", value)
        self._value: Array = arrays.convert(value, dtype=None if arrays.is_floating(value) else "float32")
        self._grad: Array = arrays.namespace(self._value).zeros_like(self._value)

    @property
    def value(self) -> Array:
        """The array itself: writing into it, or setting another, is seen by the next step.

        So does whoever holds it see what steps write, in Python and natively. (While an array of a compiled network is
        held, or a view of it, each of its calls copies it both ways; what nobody holds costs nothing.)
        """
        if self.home is not None:
            self.home.show(self)
        return self._value

    @value.setter
    def value(self, value: Array) -> None:
        if not arrays.is_array(value) or not arrays.is_floating(value):
            raise TypeError(
                f"Parameter.value: must be an array of floating-point numbers, got {arrays.describe_kind(value)}; "
                f'convert it first, with .astype("float32") for example'
            )
        if isinstance(value, np.ndarray) and not value.dtype.isnative:
            raise TypeError(
                f"Parameter.value: must be in this machine's order of bytes, got {value.dtype.str}; "
                f'convert it first, with .astype("{arrays.dtype_name(value.dtype.newbyteorder("="))}")'
            )
        if self.home is None:
            self._value = value
        if self.home is not None:  # looked at again: a step in another thread may have come between
            self.home.assign(self, value)

    @property
    def grad(self) -> Array:
        """The gradient that `backward` has gathered since `zero_grad`."""
        if self.home is not None:
            self.home.show_gradient(self)
        return self._grad

    @grad.setter
    def grad(self, grad: Array) -> None:
        if self.home is None:
            self._grad = grad
        if self.home is not None:
            self.home.assign_gradient(self, grad)

    @property
    def trainable(self) -> bool:
        """Whether training changes it. One that is frozen gets no gradient, no update, no decay, no share in clipping.

        It may be set at any time: `fit` goes by it from the next epoch on, and a compiled network asks to be compiled
        again.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        self._trainable = flag(self, "trainable", trainable)
        tell(self.watchers, "trainable")

    def watch(self, network: Any) -> None:
        """Call `network.changed("trainable")` from here on, whenever that is set."""
        enter(self.watchers, network)

    def __getstate__(self) -> tuple[Any, ...]:
        return self.value, self.grad, self.trainable  # nobody watches a copy

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        value, grad, *rest = state  # older ones hold no more than these two
        self.home, self.watchers, self._trainable = None, {}, rest[0] if rest else True
        self._value, self._grad = arrays.own(value), arrays.own(grad)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return tuple(self._value.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        n = 1
        for length in self.shape:
            n *= length
        return n

    def __repr__(self) -> str:
        return f"Parameter{self.shape} {arrays.dtype_name(self._value.dtype)}{', frozen' * (not self.trainable)}"


def newest_values(parameters: Sequence[Parameter]) -> list[Array]:
    """Copies of the values. Those of one compiled network are of one moment, also while another thread trains it."""
    places = list(parameters)
    homes = {id(parameter.home): parameter.home for parameter in places}
    copies: dict[int, Array] = {}
    for home in homes.values():
        there = [parameter for parameter in places if home is not None and parameter.home is home]
        made = [np.empty_like(parameter._value, order="C") for parameter in there]
        if home is not None and home.copy_values(there, made):
            copies |= {id(parameter): copy for parameter, copy in zip(there, made, strict=True)}
    return [copies.get(id(p)) if id(p) in copies else arrays.convert(p.value) for p in places]


def set_values(
    parameters: Sequence[Parameter], values: Sequence[Array], buffers: "Mapping[Buffer, Any] | None" = None
) -> None:
    """Write values into the Parameters' arrays, which they must fit: all of them or, if interrupted before, none.

    buffers : what Buffers are to hold from then on, too.

    Raises ValueError, and changes nothing, if one of the arrays is read-only.
    """
    places = [parameter.value for parameter in parameters]
    for parameter, place in zip(parameters, places, strict=True):
        if isinstance(place, np.ndarray) and not place.flags.writeable:
            raise ValueError(f"the array of {parameter!r} is read-only; set its value to a copy to have it changed")
    held = {} if buffers is None else {buffer: held_copy(value) for buffer, value in buffers.items()}
    fill(places, values, map(setattr, held, repeat("value"), held.values()))


def fill(places: Sequence[Array], values: Sequence[Array], more: Iterable[None] = ()) -> None:
    """Write values into arrays that they fit: into all of them or, if interrupted before, none.

    The loop runs within one call, where Python handles no signal; `more` is what else is to happen in it.
    """
    deque(chain(map(setitem, places, repeat(...), values), more), maxlen=0)


class Buffer:
    """State that no optimizer changes: a running mean, class weights, a count of passes.

    A layer that changes anything for good must keep it in a Buffer: that is how it is listed, moved and saved.

    Parameters
    ----------
    value : an array, or a plain number.
    persistent : whether `state_dict` holds it (as in PyTorch).
    """

    __slots__ = ("persistent", "value")

    def __init__(self, value: Any, *, persistent: bool = True) -> None:
        self.value = value
        self.persistent = persistent

    def __repr__(self) -> str:
        return f"Buffer({self.value!r})"


def held_copy(value: Any) -> Any:
    """What a Buffer holds, so that nobody who writes into it changes this."""
    return arrays.convert(value) if arrays.is_array(value) else value


class UpdateRule(Protocol):
    """What a Module asks of an optimizer, which is all it knows about one."""

    def step(self, parameters: Sequence[Parameter]) -> None:
        """Update every parameter by its gradient."""


def is_update_rule(thing: object) -> TypeGuard[UpdateRule]:
    """Whether thing is an optimizer; a class of optimizers is none."""
    return not isinstance(thing, type) and callable(getattr(thing, "step", None))


def first_value(modules: Iterable["Module"]) -> Array | None:
    """An array that shows where and in which dtype modules compute; None if they have no parameters."""
    for module in modules:
        for value in list(vars(module).values()):
            if isinstance(value, Parameter):
                return value.value
    return None


def parameters_of(modules: Iterable["Module"]) -> list[Parameter]:
    """The Parameters that these modules have themselves, in order; a shared one is listed once."""
    # Lists of the values are copies, as `fit` in another thread may set `training` meanwhile.
    found = {value: None for module in modules for value in list(vars(module).values()) if isinstance(value, Parameter)}
    return list(found)


_inferring: ContextVar[bool] = ContextVar("inferring", default=False)  # whether this pass is that of a `model(x)`


@contextmanager
def outside_inference() -> Iterator[None]:
    """Training mode is what modules say again: a `fit` that somebody calls in a forward is no part of that pass."""
    before = _inferring.set(False)
    try:
        yield
    finally:
        _inferring.reset(before)


SOME = 8  # watchers that may be gone: each `fit` puts itself among those of each layer


def enter(watchers: dict[ref[Any], None], network: Any) -> None:
    """Put a network among those that are told of changes, and take out those that are gone, once they are some.

    It is one dict, which grows in place: of two threads that watch at once, neither takes out what the other put in.
    """
    if len(watchers) > SOME:
        for known in list(watchers):
            if known() is None:
                watchers.pop(known, None)
    watchers[ref(network)] = None


def tell(watchers: Collection[ref[Any]], name: str) -> None:
    """Call `network.changed(name)` for each of these that is still there."""
    for watcher in tuple(watchers):
        if (network := watcher()) is not None:
            network.changed(name)


class Watched:
    """Something that networks are compiled from, and that tells them when one of its attributes is set or deleted."""

    watchers: Collection[ref[Any]] = ()

    def watch(self, network: Any) -> None:
        """Call `network.changed(name)` from here on, after each attribute that is set or deleted."""
        enter(vars(self).setdefault("watchers", {}), network)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        tell(self.watchers, name)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        tell(self.watchers, name)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "watchers"}  # nobody watches a copy


class Module(Watched):
    """Something with a forward and a backward pass: a layer, an activation, a loss, or a network of them.

    Subclasses write `forward` and `backward` and keep their Parameters, Buffers and inner Modules as attributes; the
    rest of this class finds them there.
    """

    @property
    def training(self) -> bool:
        """Whether a layer such as Dropout behaves as in training: the user's switch, and False in any `model(x)`.

        So nothing is set and set back, and a call in one thread changes nothing for a training in another.
        """
        return vars(self).get("training", True) and not _inferring.get()

    @training.setter
    def training(self, mode: bool) -> None:
        vars(self)["training"] = bool(mode)

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """The output, and what `backward` will need: `y, saved = module.forward(x)`."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, *args: Any, **kwargs: Any) -> Any:
        """The gradient by the input: `dx = module.backward(dy, saved)`; adds to the gradients of the parameters.

        Those that are frozen (`Parameter.trainable` is False) get none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def backward_parameters(self, dy: Any, saved: Any) -> None:
        """`backward` for who does not ask for dx, as a training loop: it may leave out what only dx needs."""
        self.backward(dy, saved)

    def __init_subclass__(cls, **options: Any) -> None:
        """A class that says anew what `backward` is means that way to be gone in training, too."""
        super().__init_subclass__(**options)
        if "backward" in vars(cls) and "backward_parameters" not in vars(cls):
            cls.backward_parameters = Module.backward_parameters  # type: ignore[method-assign]

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Inference: the output alone, in evaluation mode, with nothing saved.

        The first input is read as `fit` and `predict` read theirs: a module with parameters takes anything that NumPy
        can read as an array, or a tuple or dict of them, and computes in its own library and dtype. One without takes
        arrays as they come.
        """
        if inputs and (like := first_value(self.walk())) is not None:
            inputs = (as_input(type(self).__name__, "x", inputs[0], like), *inputs[1:])
        before = _inferring.set(True)
        try:
            return self._infer(*inputs, **options)
        finally:
            _inferring.reset(before)

    def _infer(self, *inputs: Any, **options: Any) -> Any:
        """The output alone, within a pass that is inference, once the input is read."""
        return self.forward(*inputs, **options)[0]

    # -- what is inside

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The Modules directly inside this one, with their names."""
        for name, value in list(vars(self).items()):
            if isinstance(value, Module):
                yield name, value

    def children(self) -> list["Module"]:
        """The Modules directly inside this one."""
        return [value for value in list(vars(self).values()) if isinstance(value, Module)]

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """This module and all below it, each place once, with dotted names; a module that stands twice comes twice."""
        # A stack and no recursion: networks may be nested deeper than Python's calls.
        ahead: list[tuple[str, Module, int]] = [(prefix, self, 0)]
        inside: list[Module] = []  # those that the module stands in
        while ahead:
            prefix, module, depth = ahead.pop()
            del inside[depth:]
            if any(module is outer for outer in inside):
                raise ValueError(f"{type(module).__name__} {prefix!r} contains itself")
            inside.append(module)
            yield prefix, module
            start = f"{prefix}." if prefix else ""
            below = [(start + name, child, depth + 1) for name, child in module.named_children()]
            ahead.extend(reversed(below))

    def modules(self) -> list["Module"]:
        """This module and all below it, each once, in the order of `named_modules`."""
        return list(self.walk())

    def walk(self) -> Iterator["Module"]:
        """The same one by one, for who looks for the first of a kind."""
        seen: set[int] = set()
        ahead: list[Module] = [self]
        while ahead:
            module = ahead.pop()
            if id(module) not in seen:
                seen.add(id(module))
                yield module
                ahead += module.children()[::-1]

    def _named(self, kind: type) -> Iterator[tuple[str, Any]]:
        for prefix, module in self.named_modules():
            for name, value in list(vars(module).items()):
                if isinstance(value, kind):
                    yield f"{prefix}.{name}" if prefix else name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names, each once; a shared one bears the name of its first place."""
        seen: set[int] = set()
        for name, parameter in self._named(Parameter):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """The buffers with their dotted names."""
        yield from self._named(Buffer)

    def persistent_buffers(self) -> dict[Buffer, str]:
        """The Buffers that `state_dict` holds, each once, with its dotted name."""
        found: dict[Buffer, str] = {}
        for name, buffer in self._named(Buffer):
            if buffer.persistent:
                found.setdefault(buffer, name)
        return found

    def param(self) -> list[Parameter]:
        """The parameters, each with `value` and `grad`; a shared one is listed once."""
        return parameters_of(self.walk())

    @property
    def num_parameters(self) -> int:
        """How many numbers the parameters hold, frozen ones too; shared ones count once."""
        return sum(parameter.size for parameter in self.param())

    # -- training

    def freeze(self: AnyModule) -> AnyModule:
        """Have training leave the parameters here and below as they are; returns the module."""
        return self._train_parameters(False)

    def unfreeze(self: AnyModule) -> AnyModule:
        """Have training change the parameters here and below, again; returns the module."""
        return self._train_parameters(True)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in FREEZING and not hasattr(type(self), name):  # which a class of somebody's own may have
            raise AttributeError(
                f"{type(self).__name__}.{name}: a module has freeze() and unfreeze(), for all parameters here and "
                f"below; Parameter.trainable is of one: module.weight.trainable = False"
            )
        super().__setattr__(name, value)

    def _train_parameters(self: AnyModule, trainable: bool) -> AnyModule:
        for parameter in self.param():
            parameter.trainable = trainable
        return self

    def has_trainable(self) -> bool:
        """Whether training changes a parameter here or below."""
        return any(
            isinstance(value, Parameter) and value.trainable
            for module in self.walk()
            for value in list(vars(module).values())
        )

    def zero_grad(self) -> None:
        """Set every gradient to zero, in place."""
        for parameter in self.param():
            parameter.grad[...] = 0

    def optimize(self, optimizer: UpdateRule) -> None:
        """Update the parameters by the rule of `optimizer` and the gradients that `backward` has gathered."""
        optimizer.step(self.param())

    def __deepcopy__(self: AnyModule, memo: dict[int, Any]) -> AnyModule:
        copied = memo[id(self)] = type(self).__new__(type(self))
        for module in reversed(self.modules()):  # from the inside out, so that copying never has to go deep
            copy.deepcopy(module, memo)
        state = copy.deepcopy(self.__getstate__(), memo)
        getattr(copied, "__setstate__", vars(copied).update)(state)
        return copied

    def train(self: AnyModule, mode: bool = True) -> AnyModule:
        """Set training mode (or evaluation mode) here and below; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: AnyModule) -> AnyModule:
        """Set evaluation mode here and below; returns the module."""
        return self.train(False)

    # -- state

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and persistent buffers by dotted name, with PyTorch's names and shapes.

        Note      PyTorch hands out the arrays themselves; these are copies, so a kept state stays as it was.
        """
        named = dict(self._named(Parameter))
        state = dict(zip(named, newest_values(list(named.values())), strict=True))
        for name, buffer in self._named(Buffer):
            if buffer.persistent:
                state[name] = arrays.convert(buffer.value) if arrays.is_array(buffer.value) else buffer.value
        return state

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Set parameters and persistent buffers to those of `state`, converted to this module's dtype and library.

        Raises ValueError, and changes nothing, if a name is missing or unknown or a shape differs.
        """
        places: dict[str, Any] = dict(self._named(Parameter))
        places |= {name: buffer for name, buffer in self._named(Buffer) if buffer.persistent}
        missing, unknown = sorted(places.keys() - state.keys()), sorted(state.keys() - places.keys())
        if missing or unknown:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the names differ; missing: {missing}, unknown: {unknown}"
            )
        converted = {}
        for name, place in places.items():
            value = state[name]
            if arrays.is_array(place.value):
                value = as_array(f"{type(self).__name__}.load_state_dict", name, value)
                value = arrays.convert_like(value, place.value)
                if tuple(value.shape) != tuple(place.value.shape):
                    raise ValueError(
                        f"{type(self).__name__}.load_state_dict: {name} must be {tuple(place.value.shape)}, "
                        f"got {tuple(value.shape)}"
                    )
            converted[name] = value
        parameters = [name for name, place in places.items() if isinstance(place, Parameter)]
        set_values([places[name] for name in parameters], [converted[name] for name in parameters])
        for name, place in places.items():
            if not isinstance(place, Parameter):
                place.value = converted[name]

    def extra_state(self) -> dict[str, Any]:
        """What a file keeps of this very module besides its arguments and arrays: its Buffers that are plain values."""
        buffers = {name: value for name, value in vars(self).items() if isinstance(value, Buffer) and value.persistent}
        return {name: b.value for name, b in buffers.items() if b.value is not None and not arrays.is_array(b.value)}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `extra_state` gave."""
        for name, value in state.items():
            place = vars(self).get(name)
            if not isinstance(place, Buffer):
                raise ValueError(f"{type(self).__name__}: there is no Buffer {name!r}")
            place.value = value

    def save(self, path: str | PathLike[str], *, history: Any = None, optimizer: bool = True) -> None:
        """Write architecture and numbers to one file, whole or not at all; `chainrule.load(path)` reads it.

        Parameters
        ----------
        path : of a safetensors file, with the architecture as JSON in its header.
        history : what `fit` returned, to keep with the model.
        optimizer : keep what the model's own optimizer remembers too, so that training goes on after `load` as if the
            model had not been away. Adam's moments take twice the room of the parameters; False leaves them out, and
            the optimizer then begins anew.

        Raises TypeError, and writes nothing, for a module of yours that would not come back as it is: each argument of
        its constructor has to be in an attribute of that name, and every Parameter has to be made there.
        """
        from .files import save  # here, because files stand above modules

        save(self, path, history=history, optimizer=optimizer)

    def to(
        self: AnyModule, library: str | ModuleType | None = None, *, dtype: Any = None, device: Any = None
    ) -> AnyModule:
        """Move parameters and buffers to another array library, dtype or device, in place; returns the module.

        Parameters
        ----------
        library : "numpy", "torch" or "cupy", or the imported library itself.
        dtype : float16, float32, float64, or on PyTorch bfloat16, by name or of any library; integer state keeps its
            dtype.
        device : what the library understands, such as "cuda".
        """
        xp = None if library is None else arrays.library(library)
        if dtype is not None and arrays.dtype_name(dtype) not in arrays.FLOATING:
            known = f"{', '.join(arrays.FLOATING[:-1])} or {arrays.FLOATING[-1]}"
            raise TypeError(f"{type(self).__name__}.to: dtype must be {known}, got {arrays.dtype_name(dtype)}")

        def moved(x: Array) -> Array:
            return arrays.convert(x, xp=xp, dtype=dtype if arrays.is_floating(x) else None, device=device)

        # All is computed before anything is set, so that a failure (a missing device, say) leaves the module whole.
        parameters = [(p, moved(p.value), moved(p.grad)) for p in self.param()]
        buffers = [(b, moved(b.value)) for _, b in self._named(Buffer) if arrays.is_array(b.value)]
        for parameter, value, grad in parameters:
            parameter.value, parameter.grad = value, grad
        for buffer, value in buffers:
            buffer.value = value
        return self

    def float(self: AnyModule) -> AnyModule:
        """Compute in float32 from here on; returns the module."""
        return self.to(dtype="float32")

    def double(self: AnyModule) -> AnyModule:
        """Compute in float64 from here on; returns the module."""
        return self.to(dtype="float64")

    # -- words

    def extra_repr(self) -> str:
        """The arguments that `repr` shows; by default those of the constructor that differ from their defaults."""
        return signature.arguments(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def namespace(self, x: Array) -> Any:
        """The array-API namespace of the input x; refuses what is no array."""
        try:
            return arrays.namespace(x)
        except TypeError:
            self.refuse("forward", "x must be an array (NumPy, PyTorch or CuPy)", arrays.describe_kind(x), TypeError)

    def refuse(self, method: str, expected: str, got: object, error: type[Exception] = ValueError) -> NoReturn:
        """Raise an error that says who, what was expected, and what came."""
        raise error(f"{type(self).__name__}({self.extra_repr()}).{method}: {expected}, got {got}")

    def refuse_shape(self, expected: str, x: Array, *, one_sample: bool, name: str = "x") -> NoReturn:
        """Refuse an input for its shape, and say what to do if it may be one sample without the axis of the batch.

        The first axis counts samples everywhere; PyTorch guesses from the number of axes whether there is one.
        """
        hint = f"; if it is one sample, {name}[None] gives it the axis of the batch" if one_sample else ""
        self.refuse("forward", f"{name} {expected}", f"{tuple(x.shape)}{hint}")
