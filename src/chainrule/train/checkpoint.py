"""A run on disk: killed at any moment, it goes on where its last checkpoint was, to the same bits."""

import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .. import arrays, signature
from ..arguments import number
from ..data.dataset import Dataset
from ..files import read_file, write_file
from ..files.description import KNOWN, build_rule, describe, describe_rule, parameter_names
from ..files.packing import pack, unpack
from ..module import Module
from ..optimizers import Optimizer, Schedule
from .history import History
from .loop import Loop, Memory, Place

FILE = "checkpoint.safetensors"
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
        **settings: Any,
    ) -> None:
        if not hasattr(optimizer, "state_dict") or not hasattr(optimizer, "load_state_dict"):
            raise TypeError(
                f"fit: checkpoint needs an optimizer with state_dict and load_state_dict, got {optimizer!r}"
            )
        self.checkpoint, self.model, self.optimizer = checkpoint, model, optimizer
        self.names = parameter_names(model)
        # Whatever the numbers of the run depend on: a run that goes on must be made of the same.
        self.made_of = settings | {
            "model": _description(model),
            "loss": _description(loss) or repr(loss),
            "optimizer": _rule(optimizer),
            "train": _fingerprint(data),
            "validation": None if held_out is None else _fingerprint(held_out),
        }
        self.written_s, self.took_s = (
            0.0,
            0.0,
        )  # when the last write ended, in seconds of this run, and how long it took
        self.best_epoch: int | None = None  # that the last write holds

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
            "best": self._numbers(memory.best),
            "optimizer": self.optimizer.state_dict(parameters),
            "lr": _rate(self.optimizer),
            "modules": [module.extra_state() for module in self.model.modules()],
            "place": asdict(memory.place),
            "steps": memory.steps,
            "best_epoch": memory.best_epoch,
            "best_loss": memory.best_loss,
            "history": {key: _lists_as_arrays(value) for key, value in record.items()},
        }
        tensors: dict[str, np.ndarray] = {}
        header: dict[str, Any] = {"kind": "checkpoint", "model": self.made_of["model"], "made_of": self.made_of}
        for name, value in state.items():
            header[name] = pack(value, name, tensors)
        self.checkpoint.folder.mkdir(parents=True, exist_ok=True)
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
        names = ("last", "optimizer", "modules", "place", "steps", "best_epoch", "best_loss", "history", "best")
        try:
            state = {name: unpack(header[name], tensors) for name in names}
            modules, parameters = self.model.modules(), self.model.param()
            best = [_like(state["best"][name], p.value) for name, p in zip(self.names, parameters, strict=True)]
            last = [_like(state["last"].pop(name), p.value) for name, p in zip(self.names, parameters, strict=True)]
            memory = Memory(
                Place(**state["place"]), int(state["steps"]), best, state["best_epoch"], float(state["best_loss"])
            )
            record = {key: _arrays_as_lists(value) for key, value in state["history"].items()}
            restored = History.from_dict(record)
            buffers = dict(self.model.named_buffers())
            kept = {name: (buffers[name], value) for name, value in state["last"].items()}
            extra = list(zip(modules, state["modules"], strict=True))
            rate = unpack(header["lr"], tensors) if "lr" in header else None  # older ones do not say
            if rate is not None and rate != _rate(self.optimizer):  # a callback has set another one meanwhile
                self.optimizer.lr = build_rule(rate) if isinstance(rate, Mapping) else rate
            self.optimizer.load_state_dict(parameters, state["optimizer"])
        except (KeyError, TypeError, ValueError) as problem:
            self._fail(f"is damaged: {problem}")
        for parameter, value in zip(parameters, last, strict=True):
            parameter.value[...] = value
        for buffer, value in kept.values():
            buffer.value = arrays.convert_like(value, buffer.value)
        for module, one in extra:
            module.load_extra_state(one)
        loop.remember(memory)
        history.take_over(restored)
        self.best_epoch = history.best_epoch

    def _numbers(self, values: list[Any]) -> dict[str, Any]:
        """The tensors of a model file, with these values for the parameters."""
        buffers = {n: b.value for n, b in self.model.named_buffers() if b.persistent and arrays.is_array(b.value)}
        return buffers | dict(zip(self.names, values, strict=True))

    def _require_same(self, before: Any) -> None:
        if not isinstance(before, Mapping):
            self._fail("is damaged: it does not say what it was made of")
        packed = pack(self.made_of, "", {})
        for name in [*packed, *(before.keys() - packed.keys())]:
            then, now = before.get(name), packed.get(name)
            if then != now:
                what = f"{name} was {then} there and is {now} here" if len(f"{then}{now}") < 200 else f"{name} differs"
                self._fail(f"is of another run: {what}")

    def _fail(self, message: str) -> Any:
        raise ValueError(f"fit: resume=True, but {self.checkpoint.path} {message}")


def _description(module: Module) -> dict[str, Any] | None:
    """The architecture, or None for one that cannot be described: its run can be resumed, but `load` makes no model."""
    try:
        return describe(module)[0]
    except TypeError:
        return None


def _rule(optimizer: Any) -> Any:
    try:
        return describe_rule(optimizer)
    except TypeError:  # without how far a schedule has come, which is no part of what it is
        return signature.call(optimizer) if isinstance(optimizer, Optimizer) else repr(optimizer)


def _rate(optimizer: Any) -> Any:
    """The learning rate as plain values, of a schedule the call that makes it; None if it cannot be written down."""
    rate = getattr(optimizer, "lr", None)
    if not isinstance(rate, Schedule):
        return rate if isinstance(rate, float) else None
    known = describe_rule(rate)
    return known if known["class"] in KNOWN else None


def _fingerprint(data: Dataset) -> list[Any]:
    """The shapes of the data and a checksum of all of them."""
    parts = [arrays.to_numpy(x) for x in (data.x, data.target, data.sample_weight) if x is not None]
    total = 0
    for part in parts:
        total = zlib.crc32(np.ascontiguousarray(part).data, total)
    return [*(list(part.shape) for part in parts), f"{total:08x}"]


def _like(value: np.ndarray, reference: Any) -> Any:
    in_files = arrays.to_numpy(reference).dtype  # which have no bfloat16: its numbers are kept in float32
    if value.shape != tuple(reference.shape) or value.dtype != in_files:
        raise ValueError(f"a parameter is {value.shape} {value.dtype} there and {tuple(reference.shape)} here")
    return arrays.convert_like(value, reference)


def _lists_as_arrays(value: Any) -> Any:
    """Lists of numbers as float64, which keeps their bits in little room."""
    if isinstance(value, dict):
        return {key: _lists_as_arrays(item) for key, item in value.items()}
    return np.array(value, dtype=np.float64) if isinstance(value, list) else value


def _arrays_as_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _arrays_as_lists(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
