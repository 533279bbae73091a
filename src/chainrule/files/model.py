"""A model as one file."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..module import Module
from .container import read_file, write_file
from .description import build, describe_to_load


def save(model: Module, path: str | PathLike[str], *, history: Any = None) -> None:
    """Write a model to a file; this is `model.save(path)`."""
    description, tensors = describe_to_load(model)
    header: dict[str, Any] = {"kind": "model", "model": description}
    if history is not None:
        header["history"] = history.to_dict()
    write_file(Path(path), tensors, header)


def load(path: str | PathLike[str], *, modules: Iterable[type] = ()) -> Any:
    """The model in a file that `model.save`, `fit(checkpoint=…)` or `chainrule train` wrote.

    Parameters
    ----------
    path : of the file. Of a checkpoint it is the model at its best parameters, or its last
        with keep="last".
    modules : classes of your own that the model is made of.

    Returns   the Module, on NumPy arrays of the dtype that it was saved in; of a file that `chainrule train` wrote, a
              TableModel

    Raises ValueError for a file that is damaged, not ours, or holds what chainrule does not know; OSError if it cannot
    be read. Nothing in the file is run or unpickled.
    """
    tensors, header = read_file(path)
    kind = header.get("kind")
    if kind == "checkpoint":
        made_of = header.get("made_of")
        last = isinstance(made_of, dict) and made_of.get("keep") == "last"
        tensors = part(tensors, "last" if last else "best")
        if header.get("model") is None:
            raise ValueError(
                f"{path}: the run of a model that cannot be described; build it, and go on by fit(resume=True)"
            )
    elif kind == "table":
        from ..tables import TableModel  # here, because tables stand above files

        return TableModel.of_file(path, tensors, header)
    elif kind != "model":
        raise ValueError(f"{path}: must hold a model or a checkpoint, got {str(kind)[:60]!r}")
    return build(header.get("model"), tensors, modules=modules, where=str(path))


def part(tensors: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The tensors whose names begin with `name.`, without that."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
