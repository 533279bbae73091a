"""PyTorch's own samples of its functions that pool, pad, upsample and shuffle, which nobody here wrote.

They come with the wheel of PyTorch: `op_db`, from which it tests every function. Each call is read as from_torch reads
it in a forward, and the layer says the same numbers, forth and back, or refuses for a reason. `python
tests/layers/pooling/test_torch_functions.py` tries all of them and prints how many there are.
"""

import re
import sys
import types
import unittest
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from chainrule.exchange.pytorch.pooling import FUNCTIONS

NAMES = sorted({name.removesuffix("_with_indices") for name in FUNCTIONS})
MANY = 24  # of one function; where there are hundreds, the test takes as many of them, evenly

# Why a sample is refused, by what is said of it.
REFUSED = {
    r"if it is one sample|x must be \(batch, channels": "PyTorch guesses whether there is a batch",
    r"must be an integer or have 2 entries, got \((\d,)?\)": "one entry or none in a tuple stand for two there",
    "y must have room for something": "an image without pixels comes out",
    'mode must be "nearest"': "mode area is AdaptiveAvgPool",
    "x must have something along each axis": "an image without pixels",
    "must be at most once x": "circular padding goes around once",
}


@cache
def infos() -> dict[str, list[Any]]:
    """PyTorch's list, by the names of functions. It asks for a package that only PyTorch's own tests need."""
    stand_in, typed = types.ModuleType("expecttest"), sys.argv
    stand_in.TestCase, stand_in.ACCEPT = unittest.TestCase, False  # type: ignore[attr-defined]
    sys.modules.setdefault("expecttest", stand_in)
    sys.argv = sys.argv[:1]
    try:
        from torch.testing._internal.common_methods_invocations import op_db
    finally:
        sys.argv = typed
    found: dict[str, list[Any]] = {}
    for info in op_db:
        found.setdefault(info.name.rpartition(".")[2], []).append(info)
    return found


def samples(name: str, most: int) -> Iterator[tuple[Any, Any]]:
    """Functions of this name, and what to call them with."""
    for info in infos().get(name, []):
        torch.manual_seed(0)
        every = list(info.sample_inputs("cpu", torch.float64, requires_grad=True))
        for sample in every[:: max(1, len(every) // most)]:
            yield info.op, sample


def outcome(name: str, op: Any, sample: Any) -> str:
    """What is wrong with our numbers, or the error with which we refuse; nothing if they are PyTorch's."""
    x, options = sample.input.detach(), {key: plain(value) for key, value in sample.kwargs.items()}
    size = {"output_size": options.pop("output_size", None)} if "unpool" in name else {}
    try:
        layer, read = FUNCTIONS[name](x.numpy(), *map(plain, sample.args), **options)
        y, saved = layer.forward(read, **size)
    except (ValueError, TypeError, KeyError) as refusal:
        return f"refused: {refusal}"
    tensor = x.clone().requires_grad_()
    expected = op(tensor, *sample.args, **sample.kwargs)
    y, expected = (y[0], expected[0]) if isinstance(y, tuple) else (y, expected)
    dy = np.random.default_rng(0).normal(size=expected.shape)
    expected.backward(torch.from_numpy(dy))
    dx = layer.backward((dy, None) if getattr(layer, "return_indices", False) else dy, saved)
    dx = dx[0] if isinstance(dx, tuple) else dx
    for what, found, right in (("y", y, expected.detach().numpy()), ("dx", dx, tensor.grad.numpy())):
        if found.shape != right.shape or not np.allclose(found, right, rtol=1e-9, atol=1e-9, equal_nan=True):
            return f"{what} is {found}, and not {right}"
    return ""


def plain(value: Any) -> Any:
    """A tensor as an array; everything else stays."""
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def counts(name: str, most: int) -> tuple[int, int]:
    """How many samples of a function agree, and how many are refused; fails for all others."""
    agreed = refused = 0
    for op, sample in samples(name, most):
        said = outcome(name, op, sample)
        known = not said or any(re.search(reason, said) for reason in REFUSED)
        assert known, f"{name} of {tuple(sample.input.shape)}, {sample.args}, {sample.kwargs}: {said}"
        agreed, refused = agreed + (not said), refused + bool(said)
    return agreed, refused


WITHOUT = {"lp_pool1d", "lp_pool2d", "lp_pool3d"}  # samples


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_pytorchs_own_samples_give_pytorchs_numbers_or_are_refused_for_a_reason(name: str) -> None:
    agreed, refused = counts(name, MANY)
    assert (agreed > 0) != (name in WITHOUT), f"{agreed} samples agree, {refused} are refused"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {name: counts(name, 10**6) for name in NAMES}
    for name, (agreed, refused) in found.items():
        print(f"{name:24} {agreed:5} agree {refused:5} refused")
    print(f"{'all':24} {sum(a for a, _ in found.values()):5} agree {sum(r for _, r in found.values()):5} refused")
