"""A model as one file."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..module import Module
from ..optimizers import Optimizer
from .container import read_file, write_file
from .description import build, describe_to_load, parameter_names
from .packing import pack, tensors_of, unpack


def save(model: Module, path: str | PathLike[str], *, history: Any = None, optimizer: bool = True) -> None:
    """Write a model to a file; this is `model.save(path)`."""
    description, tensors = describe_to_load(model)
    header: dict[str, Any] = {"kind": "model", "model": description}
    if optimizer and (state := _remembered(model)):
        moments: dict[str, np.ndarray] = {}
        try:
            header["optimizer"] = pack(state, "optimizer", moments)
        except TypeError as problem:  # of somebody's own rule
            raise TypeError(f"{problem}; save(path, optimizer=False) leaves out what an optimizer keeps") from None
        if tensors.keys() & moments.keys():
            raise TypeError(f"{type(model).__name__}: parameters must not be named like what an optimizer keeps")
        tensors |= moments
    if history is not None:
        header["history"] = history.to_dict()
    write_file(Path(path), tensors, header)


def _remembered(model: Module) -> dict[str, Any]:
    """What the model's own optimizer remembers, with the names of the parameters; nothing before its first step."""
    rule: Any = getattr(model, "optimizer", None)
    if not (hasattr(rule, "state_dict") and hasattr(rule, "load_state_dict")):
        return {}
    state: dict[str, Any] = rule.state_dict(model.param())
    if not isinstance(rule, Optimizer):  # somebody's own, which keeps what it likes
        return state
    if not (state["steps"] or state["epochs"] or any(state["parameters"])):
        return {}
    return state | {"parameters": dict(zip(parameter_names(model), state["parameters"], strict=True))}


def load(path: str | PathLike[str], *, modules: Iterable[type] = ()) -> Any:
    """The model in a file that `model.save`, `fit(checkpoint=…)` or `chainrule train` wrote.

    Parameters
    ----------
    path : of the file. Of a checkpoint it is the model at its best parameters, or its last
        with keep="last"; with an average of the weights at that.
    modules : classes of your own that the model is made of.

    Returns   the Module, on NumPy arrays of the dtype that it was saved in, with its optimizer as it was, if the file
              has its state: training goes on as if the model had not been away; of a file that `chainrule train` wrote,
              a TableModel

    Raises ValueError for a file that is damaged, not ours, or holds what chainrule does not know; OSError if it cannot
    be read. Nothing in the file is run or unpickled.
    """
    tensors, header = read_file(path)
    kind, state = header.get("kind"), header.get("optimizer")
    if kind == "checkpoint":
        found = header.get("made_of")
        made_of: dict[str, Any] = found if isinstance(found, dict) else {}
        described = header.get("model")
        if described is None:
            raise ValueError(
                f"{path}: the run of a model that cannot be described; build it, and go on by fit(resume=True)"
            )
        numbers = part(tensors, "last" if made_of.get("keep") == "last" else "best")
        if made_of.get("keep") == "last" and header.get("taken"):  # weights in an average, which may have more digits
            averages = part(tensors, "average")
            numbers |= {name: averages[name].astype(numbers[name].dtype) for name in numbers.keys() & averages.keys()}
        model = build(described, numbers, modules=modules, where=str(path))
        if made_of.get("keep") != "last":  # what is no array stands in the description as it was last
            values = unpack(header.get("best values", {}), tensors)
            for name, buffer in model.named_buffers():
                buffer.value = values.get(name, buffer.value)
        # The run may have been made by another optimizer than the model's own.
        if "optimizer" in described and described["optimizer"] == made_of.get("optimizer"):
            _remember(model, state, tensors, str(path))
        return model
    if kind == "table":
        from ..tables import TableModel  # here, because tables stand above files

        return TableModel.of_file(path, tensors, header)
    if kind != "model":
        raise ValueError(f"{path}: must hold a model or a checkpoint, got {str(kind)[:60]!r}")
    moments = {name for name in tensors_of(state) if isinstance(name, str)}
    numbers = {name: array for name, array in tensors.items() if name not in moments}
    model = build(header.get("model"), numbers, modules=modules, where=str(path))
    if state is not None:
        _remember(model, state, tensors, str(path))
    return model


def _remember(model: Any, packed: Any, tensors: dict[str, np.ndarray], where: str) -> None:
    """Let the model's optimizer go on from a state."""
    try:
        state = unpack(packed, tensors)
        # By name in a model's file, by place in a checkpoint.
        if isinstance(model.optimizer, Optimizer) and isinstance(each := state["parameters"], dict):
            names = parameter_names(model)
            if each.keys() - set(names):
                raise ValueError(f"the model has no {', '.join(each.keys() - set(names))}")
            state["parameters"] = [each.get(name, {}) for name in names]
        model.optimizer.load_state_dict(model.param(), state)
    except Exception as problem:  # whatever comes of a state that is damaged, or of another optimizer
        raise ValueError(f"{where}: its optimizer cannot go on from the state in the file: {problem}") from None


def part(tensors: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The tensors whose names begin with `name.`, without that."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
