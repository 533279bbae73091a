"""A run on disk: killed at any moment, it goes on where its last checkpoint was, to the same bits."""

import math
import time
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from .. import arrays, signature
from ..arguments import number, whole
from ..data.dataset import Dataset
from ..files import read_file, write_file
from ..files.atomic import remove_leftovers
from ..files.description import (
    KNOWN,
    build_rule,
    describe,
    describe_rule,
    describe_to_load,
    load_state,
    parameter_names,
    state_of,
)
from ..files.lock import Lock
from ..files.packing import pack, tensors_of, unpack
from ..losses.multi import MultiLoss
from ..module import Buffer, Module, Parameter
from ..optimizers import Optimizer, Schedule
from ..structures import is_several, leaves, names
from .checkpoint_options import Layers, Options, groups_since, options_now, options_since, set_options, with_options
from .history import BY_NAME, History
from .in_files import is_in_files
from .loop import Loop, Memory, Place

NO_BUFFERS: Mapping[Buffer, Any] = MappingProxyType({})
FILE = "checkpoint.safetensors"
LOCK = "checkpoint.lock"  # there while a run is on, and after one that was killed
NOTHING = "nothing"  # what stands where there is none
BEST_S = 1.0  # how long after a write a new best epoch waits for the next one …
BEST_SHARE = 0.05  # … and the share of a run that goes into writing best epochs, at most


class Checkpoint:
    """Where and how often `fit` writes down how far it has come.

    Parameters
    ----------
    folder : for `checkpoint.safetensors`, which `chainrule.load` reads too; made if it is not there.
    every_s : seconds between two writes. A new best epoch is written without waiting for them, but at most once a
        second and only as long as writing takes no more than a twentieth of the time.

    `fit(checkpoint="run/")` means `fit(checkpoint=Checkpoint("run/"))`.
    """

    def __init__(self, folder: str | PathLike[str], *, every_s: float = 10.0) -> None:
        if not isinstance(folder, str | PathLike):
            raise TypeError(f"Checkpoint: folder must be a path, got {folder!r}")
        self.folder = Path(folder)
        self.every_s = number(self, "every_s", every_s, above=0, finite=False)

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.folder)!r}, every_s={self.every_s:g})"


class Keeping:
    """The checkpoints of one run.

    Parameters
    ----------
    checkpoint : where and how often.
    model, loss, optimizer, data, held_out : what the run is made of, prepared.
    settings : what else its numbers depend on.

    Raises TypeError for an optimizer whose state cannot be kept.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: Module,
        loss: Module,
        optimizer: Any,
        data: Dataset,
        held_out: Dataset | None,
        *,
        metrics: Collection[str] = (),
        **settings: Any,
    ) -> None:
        if not hasattr(optimizer, "state_dict") or not hasattr(optimizer, "load_state_dict"):
            raise TypeError(
                f"fit: checkpoint needs an optimizer with state_dict and load_state_dict, got {optimizer!r}"
            )
        self.checkpoint, self.model, self.loss, self.optimizer = checkpoint, model, loss, optimizer
        self.names = parameter_names(model)
        self.metrics, self.validates = set(metrics), held_out is not None
        self.heads = len(loss.losses) if type(loss) is MultiLoss else 1
        self.steps_per_epoch = -(-len(data) // (settings["batch_size"] * settings.get("accumulate", 1)))
        self.loads = _can_be_loaded(model)
        self.begun = self._options(), Layers(self._layers())
        # Whatever the numbers of the run depend on: a run that goes on must be made of the same.
        self.made_of = settings | {
            "model": _description(model),
            "loss": _description(loss) or repr(loss),
            "optimizer": _rule(optimizer, model),
            "train": _fingerprint(data),
            "validation": None if held_out is None else _fingerprint(held_out),
        }
        self.written_s = 0.0  # when the last write ended, in seconds of this run
        self.took_s = 0.0  # and how long it took
        self.best_epoch: int | None = None  # that the last write holds
        checkpoint.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.lock = Lock(checkpoint.folder / LOCK)
        except BlockingIOError as taken:
            raise BlockingIOError(
                taken.errno,
                f"fit: another run writes its checkpoints there ({taken.strerror}); wait for it, "
                f"or choose another folder",
                str(checkpoint.folder),
            ) from None
        remove_leftovers(checkpoint.path)  # nobody else writes there now

    def close(self) -> None:
        """Let another run have the folder."""
        self.lock.release()

    def found(self) -> bool:
        """Whether there is a checkpoint in the folder."""
        return self.checkpoint.path.exists()

    @property
    def due_s(self) -> float:
        """When the next write is due at the latest, in seconds of this run."""
        return self.written_s + self.checkpoint.every_s

    def due(self, best_epoch: int | None, now_s: float) -> bool:
        """Whether it is time to write."""
        since = now_s - self.written_s
        news = best_epoch != self.best_epoch and since >= max(BEST_S, self.took_s / BEST_SHARE)
        return news or now_s >= self.due_s

    def write(self, loop: Loop, history: History, now_s: float) -> None:
        """Write how far the run has come."""
        begin = time.perf_counter()
        memory = loop.memory()
        parameters = self.model.param()
        record = history.to_dict()
        state = {
            "last": self._numbers([parameter.value for parameter in parameters]),
            "best": self._numbers(memory.best, memory.buffers),
            "best values": self._others(memory.buffers),
            "optimizer": self.optimizer.state_dict(parameters),
            "lr": _rate(self.optimizer),
            "lr of groups": [_rate(rule) for rule in _rules(self.optimizer)[1:]],
            "options": self._options().since(self.begun[0]),
            "layers": Layers(self._layers()).since(self.begun[1]),
            "frozen": [name for name, parameter in self._named() if not parameter.trainable],
            "modules": [state_of(module) for module in self.model.modules()],
            "place": asdict(memory.place),
            "steps": memory.steps,
            "best_epoch": memory.best_epoch,
            "best_loss": memory.best_loss,
            "history": {key: _lists_as_arrays(value) for key, value in record.items()},
        }
        if memory.average is not None:
            state |= {"average": self._numbers(memory.average), "taken": memory.taken}
        tensors: dict[str, np.ndarray] = {}
        model = _description(self.model) if self.loads else None  # as it is now: what its layers keep goes on too
        header: dict[str, Any] = {"kind": "checkpoint", "model": model, "made_of": self.made_of}
        for name, value in state.items():
            header[name] = pack(value, name, tensors)
        write_file(self.checkpoint.path, tensors, header)
        self.took_s = time.perf_counter() - begin
        self.written_s, self.best_epoch = now_s + self.took_s, history.best_epoch

    def resume(self, loop: Loop, history: History) -> None:
        """Put the run where the checkpoint says: parameters, optimizer, history and all.

        Raises ValueError if the checkpoint is damaged or of another run, and changes nothing then.
        """
        tensors, header = read_file(self.checkpoint.path)
        if header.get("kind") != "checkpoint":
            self._fail("is no checkpoint")
        self._require_same(header.get("made_of"))
        try:
            found = self._found(header, tensors)
        except Exception as problem:  # whatever comes of it that something is not what it was
            self._fail(f"is damaged: {problem}")
        if found.history.epochs and set(found.history.metrics) != self.metrics:
            there, here = (", ".join(sorted(names)) or "none" for names in (found.history.metrics, self.metrics))
            self._fail(
                f"is of another run: its metrics were {there} and are {here} here, which would leave epochs without "
                f"them; give the same metrics, or begin anew in another folder"
            )
        before = self._now()
        try:
            self._go_on(found)
        except BaseException as problem:
            self._go_on(before)
            if isinstance(problem, Exception):
                self._fail(f"is damaged: {problem}")
            raise
        loop.remember(found.memory)
        history.take_over(found.history)
        self.best_epoch = history.best_epoch

    def _found(self, header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> "Found":
        """What a checkpoint holds, each thing checked to be what this run can go on from; nothing is changed."""
        names = ["last", "optimizer", "modules", "place", "steps", "best_epoch", "best_loss", "history", "best"]
        names += ["average", "taken"] * ("average" in self.made_of)
        state = {name: unpack(header[name], tensors) for name in names}
        over = tensors.keys() - set(tensors_of([header.get(name) for name in (*names, "best values")]))
        _require(not over, f"nothing speaks of {', '.join(over)}")
        parameters, modules = self.model.param(), self.model.modules()
        last, best = (
            [_like(state[which].pop(name), name, p.value) for name, p in zip(self.names, parameters, strict=True)]
            for which in ("last", "best")
        )
        history = _history(state["history"], validates=self.validates)
        place = _place(state["place"])
        steps = whole("it", "steps", state["steps"], least=0)
        if place.epoch != history.epochs or place.step >= self.steps_per_epoch:
            raise ValueError(f"it stands at step {place.step} of epoch {place.epoch}, which its history does not know")
        if steps != place.epoch * self.steps_per_epoch + place.step:
            raise ValueError(f"it has made {steps} steps and stands at step {place.step} of epoch {place.epoch}")
        sums = len(place.loss_sum)
        _require(sums == self.heads or sums == place.step == 0, f"it has {sums} sums of losses for {self.heads} heads")
        best_epoch, best_loss = state["best_epoch"], _real("best_loss", state["best_loss"])
        if best_epoch != history.best_epoch or math.isnan(best_loss):
            raise ValueError(f"its best epoch is {best_epoch} with the loss {best_loss}, and {history.best_epoch}")
        memory = Memory(place, steps, best, best_epoch, best_loss, buffers=self._best_buffers(header, tensors, state))
        if "average" in self.made_of:
            memory.average, memory.taken = self._average(state), whole("it", "taken", state["taken"], least=0)
        extra = list(zip(modules, state["modules"], strict=True))
        for _, one in extra:
            _require(isinstance(one, dict), "a module's state is no object")
        buffers = self._buffers(state["last"], extra)
        # Older checkpoints do not say what comes here.
        since = unpack(header.get("options", {}), tensors)
        groups = groups_since(self.optimizer, since, dict(self._named()))
        options = options_since(with_options(self.optimizer, groups), since.get("each", []))
        options += options_since(self._layers(), unpack(header.get("layers", []), tensors))
        rates = [unpack(header.get("lr"), tensors), *unpack(header.get("lr of groups", []), tensors)]
        rules = [_rules(self.optimizer)[0], *(_rules(self.optimizer)[1:] if groups is None else groups)]
        rates = [(rule, _other_rate(rule, rate)) for rule, rate in zip(rules, rates, strict=True)]
        frozen = set(unpack(header["frozen"], tensors)) if "frozen" in header else None
        _require(frozen is None or frozen <= set(self.names), f"the model has no {', '.join(frozen or ())}")
        trainable = [p.trainable if frozen is None else name not in frozen for name, p in self._named()]
        return Found(last, trainable, buffers, extra, state["optimizer"], groups, options, rates, memory, history)

    def _average(self, state: Mapping[str, Any]) -> list[Any]:
        """The average of each parameter, which may be kept in more digits than the parameter itself."""
        found = [state["average"].pop(name) for name in self.names]
        for name, value, parameter in zip(self.names, found, self.model.param(), strict=True):
            _require(isinstance(value, np.ndarray) and value.dtype.kind == "f", f"the average of {name} is no array")
            _require(value.shape == parameter.shape, f"the average of {name} is {value.shape}")
        return found

    def _best_buffers(self, header: Any, tensors: Any, state: Mapping[str, Any]) -> dict[Buffer, Any]:
        """What Buffers held in the best epoch; older checkpoints do not say it of plain values."""
        named = {name: buffer for buffer, name in self.model.persistent_buffers().items()}
        found = state["best"] | unpack(header.get("best values", {}), tensors)
        like = self.model.param()[0].value if self.model.param() else np.zeros(())
        return {
            named[name]: _array(value, name, named[name].value, like) if isinstance(value, np.ndarray) else value
            for name, value in found.items()
            if name in named
        }

    def _buffers(self, found: Mapping[str, Any], extra: list[tuple[Module, Any]]) -> list[tuple[Buffer, Any]]:
        """Which Buffer gets what array; each that holds one has to."""
        named = {name: buffer for name, buffer in self.model.named_buffers() if buffer.persistent}
        _require(found.keys() <= named.keys(), f"the model has no {', '.join(found.keys() - named.keys())}")
        emptied = {id(vars(module).get(name)) for module, one in extra for name in one}
        given = {id(named[name]) for name in found}
        for name, buffer in named.items():
            if arrays.is_array(buffer.value) and id(buffer) not in given | emptied:
                raise ValueError(f"{name} is missing")
        like = self.model.param()[0].value if self.model.param() else np.zeros(())
        return [(named[name], _array(value, name, named[name].value, like)) for name, value in found.items()]

    def _now(self) -> "Now":
        """Copies of what a resume changes."""
        parameters, modules = self.model.param(), self.model.modules()
        return Now(
            [arrays.convert(parameter.value) for parameter in parameters],
            [parameter.trainable for parameter in parameters],
            [(buffer, buffer.value) for _, buffer in self.model.named_buffers()],
            [(module, state_of(module)) for module in modules],
            self.optimizer.state_dict(parameters),
            getattr(self.optimizer, "groups", None),
            options_now([*with_options(self.optimizer), *self._layers()]),
            [(rule, getattr(rule, "lr", None)) for rule in _rules(self.optimizer)],
        )

    def _go_on(self, now: "Now") -> None:
        """Make model and optimizer what they were."""
        parameters = self.model.param()
        for module, one in now.modules:
            if one:
                load_state(module, one)
        if now.groups is not None and now.groups is not self.optimizer.groups:
            self.optimizer.groups = now.groups
        set_options(now.options)
        for rule, rate in now.rates:
            if rate is not None and rate is not rule.lr:
                rule.lr = rate
        self.optimizer.load_state_dict(parameters, now.optimizer)
        for parameter, value, trainable in zip(parameters, now.parameters, now.trainable, strict=True):
            parameter.value[...] = value
            if parameter.trainable != trainable:  # else nobody need hear of it
                parameter.trainable = trainable
        for buffer, value in now.buffers:
            buffer.value = value

    def _options(self) -> Options:
        return Options(self.optimizer, {parameter: name for name, parameter in self._named()})

    def _layers(self) -> list[Module]:
        return [*self.model.modules(), *self.loss.modules()]

    def _named(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters with the names that files give them."""
        return zip(self.names, self.model.param(), strict=True)

    def _numbers(self, values: list[Any], held: Mapping[Buffer, Any] = NO_BUFFERS) -> dict[str, Any]:
        """The tensors of a model file, with these values for the parameters and these for Buffers, or those of now."""
        buffers = [(name, buffer) for name, buffer in self.model.named_buffers() if buffer.persistent]
        named = [(name, held[b] if b in held and _are_arrays(held[b], b.value) else b.value) for name, b in buffers]
        # A number of NumPy's, such as a sum, is an array without axes here, as it is in a model's file.
        found = {n: np.asarray(x) if isinstance(x, np.generic) else x for n, x in named if arrays.is_array(x)}
        return found | dict(zip(self.names, values, strict=True))

    def _others(self, held: Mapping[Buffer, Any]) -> dict[str, Any]:
        """What Buffers held that the tensors of the model do not say: plain values, or nothing, then or now."""
        names = self.model.persistent_buffers()
        return {names[b]: x for b, x in held.items() if b in names and not _are_arrays(x, b.value)}

    def _require_same(self, before: Any) -> None:
        if not isinstance(before, Mapping):
            self._fail("is damaged: it does not say what it was made of")
        packed = pack(self.made_of, "", {})
        for name in [*packed, *(before.keys() - packed.keys())]:
            now = _bare(packed.get(name))
            then = _with_new_options(_bare(before.get(name)), now)
            if then != now:
                place, then, now = _difference(name, then, now)
                may_be = name in ("model", "loss", "optimizer")  # the same object, which callbacks have changed since
                hint = "; a run goes on with a model, a loss and an optimizer that are as when it began" * may_be
                self._fail(f"is of another run: {place} was {then} there and is {now} here{hint}")

    def _fail(self, message: str) -> Any:
        raise ValueError(f"fit: resume=True, but {self.checkpoint.path} {message}")


@dataclass
class Now:
    """What model and optimizer are at a moment, each array and state with what it is of."""

    parameters: list[Any]
    trainable: list[bool]  # of each parameter
    buffers: list[tuple[Buffer, Any]]
    modules: list[tuple[Module, Any]]
    optimizer: Any
    groups: Any  # of the optimizer; None: those that it has
    options: list[tuple[Any, dict[str, Any]]]  # of the optimizer, of each of its groups, of layers and losses
    rates: list[tuple[Any, Any]]  # the lr of each of them; None: that which it has


@dataclass
class Found(Now):
    """What a checkpoint holds: also where the loop stood, and the record."""

    memory: Memory
    history: History


def _can_be_loaded(model: Module) -> bool:
    """Whether `load` will be able to make the model; if not, its run can be resumed all the same."""
    try:
        describe_to_load(model)
    except TypeError:
        return False
    return True


def _description(module: Module) -> dict[str, Any] | None:
    """The architecture, or None for one that cannot be described."""
    try:
        return describe(module)[0]
    except TypeError:
        return None


def _bare(described: Any) -> Any:
    """A description without what changes while a model is trained."""
    if isinstance(described, dict):
        return {key: _bare(value) for key, value in described.items() if key not in ("state", "inside")}
    return [_bare(value) for value in described] if isinstance(described, list) else described


def _with_new_options(then: Any, now: Any) -> Any:
    """A description from a checkpoint, with the options that are newer than it, where they are the default now."""
    if isinstance(then, dict) and isinstance(now, dict):
        kind = KNOWN.get(now.get("class", ""))
        known = () if kind is None or then.get("class") != now["class"] else signature.parameters(kind)
        names = [one.name for one in known if now.get(one.name, known) == _plain(one.default) and one.name not in then]
        new = {name: now[name] for name in names}
        return new | {name: _with_new_options(value, now.get(name)) for name, value in then.items()}
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [_with_new_options(*pair) for pair in zip(then, now, strict=True)]
    return then


def _plain(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def _difference(name: str, then: Any, now: Any) -> tuple[str, str, str]:
    """Where two descriptions differ first, and what stands there."""
    if isinstance(then, dict) and isinstance(now, dict) and then.get("class") == now.get("class"):
        key = next(key for key in [*then, *now] if then.get(key, NOTHING) != now.get(key, NOTHING))
        return _difference(f"{name}.{key}", then.get(key, NOTHING), now.get(key, NOTHING))
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        i = next(i for i, pair in enumerate(zip(then, now, strict=True)) if pair[0] != pair[1])
        return _difference(f"{name}[{i}]", then[i], now[i])
    return name, _told(then), _told(now)


def _told(value: Any) -> str:
    """A part of a description in few words."""
    if isinstance(value, dict) and "class" in value:
        return f"a {value['class']}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return f"a list of {len(value)}"
    words = str(value)
    return words if len(words) < 150 else f"{words[:100]}…"


def _rules(optimizer: Any) -> Sequence[Any]:
    """The optimizer and its groups."""
    rules: Sequence[Any] = optimizer.rules if isinstance(optimizer, Optimizer) else [optimizer]
    return rules


def _rule(optimizer: Any, model: Module) -> Any:
    try:
        return describe_rule(optimizer, model)
    except TypeError:  # without how far a schedule has come, which is no part of what it is
        return signature.call(optimizer) if isinstance(optimizer, Optimizer) else repr(optimizer)


def _rate(optimizer: Any) -> Any:
    """The learning rate as plain values, of a schedule the call that makes it; None if it cannot be written down."""
    rate = getattr(optimizer, "lr", None)
    if not isinstance(rate, Schedule):
        return rate if isinstance(rate, float) else None
    try:
        known = describe_rule(rate)
    except TypeError:  # of a function, say
        return None
    return known if known["class"] in KNOWN else None


def _other_rate(rule: Any, rate: Any) -> Any:
    """The learning rate that a checkpoint holds, where it is another than the rule's: a callback had set it by then."""
    if rate is None or rate == _rate(rule):
        return None
    return build_rule(rate) if isinstance(rate, Mapping) else number("it", "lr", rate, least=0)


def _fingerprint(data: Dataset) -> list[Any]:
    """The shapes of the data and a checksum of all of them; of those in files, of the first and the last block."""
    if is_in_files(data):
        ends = (data.take(slice(0, int(data.sizes[0]))), data.take(slice(-int(data.sizes[-1]), None)))
        told = [data.window, zlib.crc32(np.ascontiguousarray(data.sizes).data)]  # which the order depends on
        return [len(data), *told, *(_fingerprint(end.read()) for end in ends)]
    kept = [part for part in (data.x, data.target, data.sample_weight, data.extra or None) if part is not None]
    parts = [arrays.to_numpy(array) for part in kept for array in leaves(part)]
    total = 0
    for part in parts:
        total = zlib.crc32(np.ascontiguousarray(part).data, total)
    forms = [names(part) for part in kept if is_several(part)]  # none for arrays, as before there were any others
    return [*forms, *(list(part.shape) for part in parts), f"{total:08x}"]


def _place(value: Any) -> Place:
    _require(value.keys() == {field.name for field in fields(Place)}, f"its place holds {', '.join(value)}")
    place = Place(**value)
    epoch, step = (whole("it", name, getattr(place, name), least=0) for name in ("epoch", "step"))
    sums, denominators = (_each_head(name, getattr(place, name)) for name in ("loss_sum", "loss_denominator"))
    _require(len(sums) == len(denominators), f"it has {len(sums)} sums and {len(denominators)} denominators")
    return Place(epoch, step, sums, denominators, _real("learning_rate", place.learning_rate))


def _each_head(name: str, value: Any) -> tuple[float, ...]:
    """A number for each head; older checkpoints hold one number, as there was one head."""
    return tuple(number("it", name, one) for one in (value if isinstance(value, list | tuple) else [value]))


def _history(value: Any, *, validates: bool) -> History:
    """The record, whose columns are all of one length."""
    before: dict[str, Any] = {"average": ""} | {name: {} for name in BY_NAME}  # what older ones do not say
    record = before | {key: _arrays_as_lists(item) for key, item in value.items()}
    _require(record.keys() == {field.name for field in fields(History)}, f"its history holds {', '.join(record)}")
    history = History.from_dict(record)
    columns = {name: getattr(history, name) for name in ("losses", "learning_rates", "epoch_s")}
    for by_name in BY_NAME:
        columns |= {f"{by_name}[{name!r}]": column for name, column in getattr(history, by_name).items()}
    _require(isinstance(history.validation_losses, list), "its validation_losses are no list")
    if validates or history.validation_losses:
        columns["validation_losses"] = history.validation_losses
    for name, column in columns.items():
        _require(isinstance(column, list) and all(type(x) is float for x in column), f"its {name} are no numbers")
        _require(len(column) == history.epochs, f"its {name} are {len(column)} and its losses {history.epochs}")
    _require(validates or not history.validation_losses, "it has validation losses")
    whole("its history", "steps", history.steps, least=0)
    number("its history", "total_s", history.total_s, least=0)
    best = history.best_epoch
    if best is not None:
        _require(whole("its history", "best_epoch", best, least=0) < history.epochs, f"its best epoch is {best}")
    words = (history.stopped, history.engine, history.average)
    _require(all(isinstance(word, str) for word in words), "its history holds no words")
    return history


def _real(name: str, value: Any) -> float:
    """A number, infinity or NaN."""
    _require(isinstance(value, float | int) and not isinstance(value, bool), f"{name} is {str(value)[:60]}")
    return float(value)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _like(value: Any, name: str, reference: Any) -> Any:
    _require(isinstance(value, np.ndarray), f"{name} is no array")
    in_files = arrays.to_numpy(reference).dtype  # which have no bfloat16: its numbers are kept in float32
    if value.shape != tuple(reference.shape) or value.dtype != in_files:
        raise ValueError(f"{name} is {value.shape} {value.dtype} there and {tuple(reference.shape)} here")
    return arrays.convert_like(value, reference)


def _array(value: Any, name: str, now: Any, like: Any) -> Any:
    """What a Buffer held, in its own dtype, where it is now, or where the parameters are if it holds no array yet."""
    _require(isinstance(value, np.ndarray), f"{name} is no array")
    like = now if arrays.is_array(now) else like
    if arrays.is_array(now) and value.shape != tuple(now.shape):
        raise ValueError(f"{name} is {value.shape} there and {tuple(now.shape)} here")
    return arrays.convert(value, xp=arrays.namespace(like), device=getattr(like, "device", None))


def _are_arrays(*values: Any) -> bool:
    return all(map(arrays.is_array, values))


def _lists_as_arrays(value: Any) -> Any:
    """Lists of numbers as float64, which keeps their bits in little room."""
    if isinstance(value, dict):
        return {key: _lists_as_arrays(item) for key, item in value.items()}
    return np.array(value, dtype=np.float64) if isinstance(value, list) else value


def _arrays_as_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _arrays_as_lists(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
