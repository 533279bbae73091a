"""PyTorch's own cases of its modules, which nobody here wrote: the same numbers, forth and back, or a refusal by name.

They come with the wheel of PyTorch: `module_db`, from which it tests every class on every device, and the older list in
`common_nn`. Every class that chainrule has under the same name is found here by itself. `python
tests/layers/test_torch_cases.py` prints how many there are of each.
"""

import re
import sys
import types
import unittest
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr

# Why a case is refused, or differs, by what is said of it.
REFUSED = {
    r"if it is one sample|y must be \(batch, classes\)": "PyTorch guesses whether there is a batch; here is always one",
    r"more than one value per channel in training, got \(0, ": "no samples have no mean",
    r"must be \(batch, …\)": "nor is a single number a batch",
    r"^y is 0\.0, and not nan$": "where all targets are ignored, PyTorch divides nothing by nothing",
    r"weight must hold finite numbers that are not negative": "a negative weight would turn the loss around",
}


@dataclass(frozen=True)
class Case:
    """One way to make one module of PyTorch's, and what to show it."""

    name: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    inputs: tuple[torch.Tensor, ...]
    training: bool

    def __str__(self) -> str:
        told = [*map(str, self.args), *(f"{key}={value}" for key, value in self.options.items())]
        shapes = [tuple(x.shape) for x in self.inputs]
        return f"{self.name}({', '.join(told)}) on {shapes}{', training' if self.training else ''}"


@cache
def lists() -> tuple[list[Any], list[Any]]:
    """PyTorch's two lists. They ask for a package that only PyTorch's own tests need, and read the command line."""
    stand_in, typed = types.ModuleType("expecttest"), sys.argv
    stand_in.TestCase, stand_in.ACCEPT = unittest.TestCase, False  # type: ignore[attr-defined]
    sys.modules.setdefault("expecttest", stand_in)
    sys.argv = sys.argv[:1]
    try:
        from torch.testing._internal.common_modules import module_db
        from torch.testing._internal.common_nn import get_new_module_tests, module_tests
    finally:
        sys.argv = typed
    return module_db, [*module_tests, *get_new_module_tests()]


def cases(name: str) -> Iterator[Case]:
    """All cases of PyTorch's class of this name."""
    modules, older = lists()
    double = {"device": "cpu", "dtype": torch.float64, "requires_grad": True}
    for info in modules:
        if info.module_cls is not getattr(torch.nn, name):
            continue
        for training in (True, False) if info.train_and_eval_differ else (False,):
            for one in info.module_inputs_func(info, **double, training=training):
                if one.forward_input is not None and one.forward_input.args:
                    made = one.constructor_input
                    yield Case(name, made.args, made.kwargs, one.forward_input.args, training)
    for one in older:
        if one.get("module_name") == name:
            x = one["input_fn"]() if "input_fn" in one else torch.randn(one["input_size"])
            yield Case(name, one.get("constructor_args", ()), {}, (x.double().requires_grad_(),), False)


def outcome(case: Case) -> str:
    """What is wrong with our numbers, or the error with which we refuse; nothing if they are PyTorch's."""
    theirs = getattr(torch.nn, case.name)(*case.args, **case.options).double().train(case.training)
    options = {key: plain(value) for key, value in case.options.items() if key not in ("device", "dtype")}
    try:
        ours = getattr(cr, case.name)(*map(plain, case.args), **options).to(dtype="float64").train(case.training)
        ours.load_state_dict({name: plain(value) for name, value in theirs.state_dict().items()})
        y, saved = ours.forward(*map(plain, case.inputs))
    except (ValueError, TypeError) as refusal:
        return f"refused: {refusal}"
    inputs = [x.detach().requires_grad_(x.requires_grad) for x in case.inputs]
    expected = theirs(*inputs)
    several = isinstance(expected, tuple)  # numbers, and where they were found
    if several:
        places, expected = (y[1], expected[1]), expected[0]
        y = y[0]
    dy = torch.randn(expected.shape, dtype=expected.dtype)
    expected.backward(dy)
    dx = ours.backward((plain(dy), None) if several else plain(dy), saved)
    pairs = {"y": (y, expected), "dx": (dx, inputs[0].grad)} | ({"places": places} if several else {})
    pairs |= {f"grad of {n}": (dict(ours.named_parameters())[n].grad, p.grad) for n, p in theirs.named_parameters()}
    pairs |= {n: (ours.state_dict()[n], value) for n, value in theirs.state_dict().items()}
    for name, (found, right) in pairs.items():
        right = np.asarray(plain(right))
        largest = max(1.0, np.abs(right).max(initial=0))
        if np.shape(found) != right.shape or not np.allclose(found, right, rtol=0, atol=1e-9 * largest, equal_nan=True):
            return f"{name} is {found}, and not {right}"
    return ""


def plain(value: Any) -> Any:
    """A tensor as an array; everything else stays."""
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def shared() -> list[str]:
    """The names of the classes that both libraries have."""
    kinds = {name: kind for name, kind in vars(cr).items() if isinstance(kind, type) and issubclass(kind, cr.Module)}
    return sorted(name for name in kinds if isinstance(getattr(torch.nn, name, None), type))


def counts(name: str) -> tuple[int, int]:
    """How many cases of a class agree, and how many are refused; fails for all others."""
    agreed = refused = 0
    for case in cases(name):
        said = outcome(case)
        assert not said or any(re.search(reason, said) for reason in REFUSED), f"{case}: {said}"
        agreed, refused = agreed + (not said), refused + bool(said)
    return agreed, refused


# Classes of which PyTorch has no cases in these lists.
WITHOUT = {
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    *("ChannelShuffle", "Dropout", "Fold", "Identity", "Module", "Sequential", "Unfold"),
    *("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"),
}


@pytest.mark.parametrize("name", shared())
@pytest.mark.filterwarnings("ignore")
def test_pytorchs_own_cases_give_pytorchs_numbers_or_are_refused_for_a_reason(name: str) -> None:
    torch.manual_seed(0)
    agreed, refused = counts(name)
    assert (agreed > 0) != (name in WITHOUT), f"{agreed} cases agree, {refused} are refused"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {name: counts(name) for name in shared()}
    for name, (agreed, refused) in found.items():
        print(f"{name:20} {agreed:4} agree {refused:4} refused")
    print(f"{'all':20} {sum(a for a, _ in found.values()):4} agree {sum(r for _, r in found.values()):4} refused")
