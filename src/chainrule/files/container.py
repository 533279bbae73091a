"""The container of all our files: safetensors, with one JSON object in its header.

    {"__metadata__": {"chainrule": "<JSON>"}, "0.weight": {"dtype": "F32", "shape": [25, 2], …}, …} and then the numbers

docs/files.md says what the JSON holds. Nothing in such a file is code, and nothing is ever unpickled.
"""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import write_bytes

KEY = "chainrule"  # of the JSON among the metadata
VERSION = 1


def write_file(path: str | PathLike[str], tensors: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write arrays and a JSON-able header to a file that afterwards is whole, or what it was before.

    Raises TypeError for arrays of dtypes that safetensors does not know, ValueError for what is no JSON.
    """
    from safetensors.numpy import save

    # safetensors writes wrong numbers for arrays that are not contiguous or in another byte order, without a word.
    ready = {name: np.asarray(x, dtype=x.dtype.newbyteorder("="), order="C") for name, x in tensors.items()}
    for name, x in ready.items():
        if x.dtype.kind not in "fiub" or x.dtype.itemsize > 8:
            raise TypeError(f"write_file: {name} must hold numbers of at most 64 bits, got dtype {x.dtype}")
    text = json.dumps({"version": VERSION, **header}, allow_nan=False, separators=(",", ":"))
    write_bytes(Path(path), save(ready, metadata={KEY: text}))


def read_file(path: str | PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a file that `write_file` wrote, and its header.

    Raises ValueError for whatever is no such file: damaged, cut off, of another program, or of a later version;
    OSError if it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(path)
    data = path.read_bytes()  # not mapped: whoever changes a mapped file changes the arrays, or ends the program
    try:
        tensors = load(data)
    except SafetensorError as problem:
        raise ValueError(f"{path}: damaged, or no safetensors file: {problem}") from None
    except (KeyError, ValueError) as problem:  # a dtype that NumPy lacks, such as bfloat16
        raise ValueError(f"{path}: a dtype or shape that NumPy does not have: {problem}") from None
    # load has checked what is read here: eight bytes say how long the JSON is that follows them.
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    return tensors, _header(path, metadata.get(KEY))


def _header(path: Path, text: str | None) -> dict[str, Any]:
    """Our JSON, checked to be an object of a version that is known."""
    if text is None:
        raise ValueError(f"{path}: holds tensors, but no description of a model: chainrule did not write it")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path}: its description is no JSON: {problem}") from None
    if not isinstance(header, dict) or not isinstance(header.get("version"), int):
        raise ValueError(f"{path}: its description must be a JSON object with a version, got {text[:60]!r}")
    if header["version"] > VERSION:
        raise ValueError(
            f"{path}: written by a later chainrule (format {header['version']}, known is {VERSION}); update it"
        )
    return header
