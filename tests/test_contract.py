"""The contract of a Module, held against every one that chainrule exports."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from cases import (
    BASES,
    CASES,
    DTYPES,
    LIBRARIES,
    Case,
    array,
    arrays,
    exported_modules,
    gradient_like,
    numpy,
    seeds,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.structures import each, is_several, leaves, names, rebuild

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_case_with_a_peer = pytest.mark.parametrize("case", [case for case in CASES if case.peer], ids=str)
every_case_with_rows = pytest.mark.parametrize("case", [case for case in CASES if case.row_by_row], ids=str)
every_library = pytest.mark.parametrize("library", LIBRARIES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def run(module: cr.Module, inputs: tuple[Any, ...], dy: Any = None) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """One pass forth and back from zero gradients: y, dx, and the gradient of each parameter."""
    module.zero_grad()
    y, saved = module.forward(*inputs)
    dx = module.backward(gradient_like(y) if dy is None else dy, saved)
    return y, dx, {name: numpy(parameter.grad).copy() for name, parameter in module.named_parameters()}


def assert_close(actual: Any, expected: Any, dtype: str = "float64") -> None:
    """Equal up to rounding: each number here comes from sums of at most 64 terms, each off by a few eps.

    Sums may cancel, so the bound is in terms of the largest number (at least 1, the size of the inputs).
    """
    assert names(actual) == names(expected)
    for found, right in zip(arrays(actual), arrays(expected), strict=True):
        assert found.shape == right.shape
        largest = max(1.0, np.abs(right).max(initial=0))
        assert np.abs(found - right).max(initial=0) <= 4 * 64 * np.finfo(dtype).eps * largest


def assert_equal(actual: Any, expected: Any, **tolerance: float) -> None:
    """The same form, and the same numbers or nearly so."""
    assert names(actual) == names(expected)
    for found, right in zip(arrays(actual), arrays(expected), strict=True):
        np.testing.assert_allclose(found, right, **{"rtol": 0, **tolerance})


def copied_numbers(value: Any) -> Any:
    """A copy of the numbers of an array or a structure, as NumPy's."""
    return each(lambda part: numpy(part).copy(), value)


def joined(values: list[Any]) -> Any:
    """Batches behind each other, part by part."""
    return rebuild(values[0], [np.concatenate(parts) for parts in zip(*map(arrays, values), strict=True)])


def rows(value: Any, i: int) -> Any:
    """One row of an array, or of each part of a structure."""
    return each(lambda part: part[i : i + 1], value)


def test_every_exported_module_has_a_case() -> None:
    without = set(exported_modules()) - {case.kind for case in CASES}
    assert not without, f"add to tests/cases.py: {sorted(kind.__name__ for kind in without)}"


def test_the_bases_compute_nothing_themselves() -> None:
    for base in BASES:
        with pytest.raises(NotImplementedError):
            base().forward(np.ones((1, 1)), np.ones((1, 1)))


@every_case
@every_library
@settings(max_examples=6)
@given(data=st.data(), seed=seeds())
def test_gradient_is_right(case: Case, library: str, data: st.DataObject, seed: int) -> None:
    shape = data.draw(case.shapes)
    for dtype in DTYPES:  # here, as hypothesis runs a test with at most some 950 parameters in one process
        module, inputs = case.example(shape, seed, library, dtype)
        report = cr.check_gradients(module, *inputs)
        assert report.ok, dtype
        x = [f"x{name}" for name in names(inputs[0])]
        assert list(report.errors) == [*x, *(name for name, _ in module.named_parameters())]


@every_case_with_a_peer
@every_library
@settings(max_examples=25)
@given(data=st.data(), seed=seeds())
def test_pytorch_agrees(case: Case, library: str, data: st.DataObject, seed: int) -> None:
    shape = data.draw(case.shapes)
    module, inputs = case.example(shape, seed, library)
    peer = case.torch_example(module, shape)
    y, dx, grads = run(module, inputs)
    x, *rest = (each(torch.from_numpy, copied_numbers(value)) for value in inputs)
    expected = peer(each(lambda part: part.requires_grad_(True), x), *rest)
    torch.autograd.backward(leaves(expected), [torch.from_numpy(part) for part in arrays(gradient_like(y))])
    equal = {"rtol": 1e-10, "atol": 1e-13}  # atol: rounding of sums that cancel, of at most 64 terms near 1
    assert_equal(y, expected, **equal)
    # PyTorch has no gradient by what was not read; here it is zero.
    assert_equal(dx, each(lambda part: torch.zeros_like(part) if part.grad is None else part.grad, x), **equal)
    theirs = dict(peer.named_parameters())
    assert list(grads) == list(theirs)
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, numpy(theirs[name].grad), **equal)


@every_case_with_rows
@settings(max_examples=15)
@given(data=st.data(), seed=seeds())
def test_a_batch_equals_its_rows_one_by_one(case: Case, data: st.DataObject, seed: int) -> None:
    module, inputs = case.example(data.draw(case.shapes), seed)
    y, dx, grads = run(module, inputs)
    dy, batch = gradient_like(y), len(leaves(inputs[0])[0])
    singles = [tuple(rows(value, i) for value in inputs) for i in range(batch)]
    weights = np.ones(batch)
    if isinstance(module, cr.Loss) and module.reduction == "mean":
        weights = np.array([module.total_weight(*row) for row in singles])
        total = module.total_weight(*inputs)
        assert_close(weights.sum(), total)
        weights = weights / total if total else weights * 0
    one_number = not is_several(y) and np.ndim(y) == 0
    parts = [run(module, row, dy if one_number else rows(dy, i)) for i, row in enumerate(singles)]
    if one_number:
        assert_close(sum(weight * part[0] for weight, part in zip(weights, parts, strict=True)), y)
    else:
        assert_close(joined([part[0] for part in parts]), y)
    weighed = [each(lambda dx, w=weight: w * dx, part[1]) for weight, part in zip(weights, parts, strict=True)]
    assert_close(joined(weighed), dx)
    for name, grad in grads.items():
        assert_close(sum(part[2][name] for part in parts), grad)


@every_case
@every_library
@every_dtype
def test_dtype_and_library_are_kept(case: Case, library: str, dtype: str) -> None:
    kinds = torch.Tensor if library == "torch" else (np.ndarray, np.generic)
    for shape in case.fixed:
        module, inputs = case.example(shape, library=library, dtype=dtype)
        y, dx, _ = run(module, inputs)
        results = {"y": y, "dx": dx, "y of a call": module(*inputs)}
        results |= {f"grad of {name}": parameter.grad for name, parameter in module.named_parameters()}
        for name, result in results.items():
            for part in leaves(result):
                assert isinstance(part, kinds), f"{name} is {type(part)}"
                assert numpy(part).dtype == dtype, f"{name} is {part.dtype}"
        assert [dx.shape for dx in leaves(dx)] == [x.shape for x in leaves(inputs[0])]
        assert names(dx) == names(inputs[0])


@every_case
@every_library
def test_inputs_are_not_changed(case: Case, library: str) -> None:
    for shape in case.fixed:
        module, inputs = case.example(shape, library=library)
        dy = gradient_like(module.forward(*inputs)[0])
        before = [copied_numbers(value) for value in (*inputs, dy)]
        if library == "numpy":
            for part in (part for value in (*inputs, dy) for part in leaves(value)):
                part.setflags(write=False)
        run(module, inputs, dy)
        for value, kept in zip((*inputs, dy), before, strict=True):
            assert_equal(value, kept)


@every_case
@every_library
def test_backward_adds_to_the_gradients_and_can_be_repeated(case: Case, library: str) -> None:
    for shape in case.fixed:
        module, inputs = case.example(shape, library=library)
        module.zero_grad()
        y, saved = module.forward(*inputs)
        arrays_of_grads = [parameter.grad for parameter in module.param()]
        first = copied_numbers(module.backward(gradient_like(y), saved))
        grads = [numpy(grad).copy() for grad in arrays_of_grads]
        second = module.backward(gradient_like(y), saved)
        assert_equal(second, first)
        for parameter, array_of_grad, grad in zip(module.param(), arrays_of_grads, grads, strict=True):
            assert parameter.grad is array_of_grad  # added in place: whoever holds the array sees it
            assert_close(parameter.grad, 2 * grad)


@every_case
@every_library
def test_nothing_of_a_pass_is_kept_on_the_module(case: Case, library: str) -> None:
    for shape in case.fixed:
        module, inputs = case.example(shape, 1, library)
        others = case.example(shape, 2, library)[1]
        twin = copy.deepcopy(module)
        (y, dx, grads), (other_y, other_dx, other_grads) = run(twin, inputs), run(twin, others)
        module.zero_grad()
        (found, saved), (other_found, other_saved) = module.forward(*inputs), module.forward(*others)
        assert_equal(module.backward(gradient_like(other_found), other_saved), other_dx)
        assert_equal(module.backward(gradient_like(found), saved), dx)
        assert_equal(found, y)
        assert_equal(other_found, other_y)
        for name, parameter in module.named_parameters():
            assert_close(parameter.grad, grads[name] + other_grads[name])


def fortran_order(x: np.ndarray) -> np.ndarray:
    return np.asfortranarray(x)


def every_second(x: np.ndarray) -> np.ndarray:
    return np.repeat(x, 2, axis=-1)[..., ::2]


def backwards(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x[::-1])[::-1]


@every_case
@pytest.mark.parametrize("layout", [fortran_order, every_second, backwards])
@every_library
def test_the_layout_in_memory_does_not_matter(
    case: Case, layout: Callable[[np.ndarray], np.ndarray], library: str
) -> None:
    if library == "torch" and layout is backwards:
        return  # PyTorch knows no negative strides
    shape = case.fixed[-1]
    module, inputs = case.example(shape, library=library)
    twin = copy.deepcopy(module)
    y, dx, grads = run(twin, inputs)
    arrange = (lambda x: torch.from_numpy(layout(numpy(x)))) if library == "torch" else layout
    dy = gradient_like(y)
    if is_several(y) or y.shape:
        dy = each(arrange, dy)
    found_y, found_dx, found_grads = run(module, tuple(each(arrange, value) for value in inputs), dy)
    assert_close(found_y, y)
    assert_close(found_dx, dx)
    for name, grad in grads.items():
        assert_close(found_grads[name], grad)


@every_case
def test_state_dict_has_the_names_and_shapes_of_pytorch(case: Case) -> None:
    for shape in case.fixed:
        module = case.build(shape)
        ours = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        if case.peer is not None:
            assert ours == {name: tuple(value.shape) for name, value in case.peer(shape).state_dict().items()}
        other = case.build(shape)
        for parameter in other.param():
            parameter.value[...] = 0
        other.load_state_dict(module.state_dict())
        for name, value in other.state_dict().items():
            np.testing.assert_array_equal(value, module.state_dict()[name])


@every_case
def test_repr_is_the_call_that_makes_the_module(case: Case) -> None:
    for shape in case.fixed:
        module = case.build(shape)
        text = repr(module)
        assert text.startswith(f"{case.kind.__name__}(")
        assert " at 0x" not in text
        if "\n" not in text and "<array" not in text:
            assert repr(eval(text, vars(cr))) == text


@every_case
@every_library
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_compute_the_same_and_share_nothing(
    case: Case, library: str, copied: Callable[[cr.Module], cr.Module]
) -> None:
    for shape in case.fixed:
        module, inputs = case.example(shape, library=library)
        other = copied(module)
        assert repr(other) == repr(module)
        y, dx, grads = run(module, inputs)
        found_y, found_dx, found_grads = run(other, inputs)
        assert_equal(found_y, y)
        assert_equal(found_dx, dx)
        assert len(found_grads) == len(grads)
        for parameter, mine in zip(other.param(), module.param(), strict=True):
            assert parameter is not mine
            kept = numpy(mine.value).copy()
            parameter.value[...] = 7
            np.testing.assert_array_equal(numpy(mine.value), kept)


@every_case
def test_a_call_leaves_training_flags_as_they_were(case: Case) -> None:
    module, inputs = case.example(case.fixed[-1])
    flags = [i % 2 == 0 for i in range(len(module.modules()))]
    for one, flag in zip(module.modules(), flags, strict=True):
        one.training = flag
    evaluated = copy.deepcopy(module).eval().forward(*inputs)[0]
    assert_equal(module(*inputs), evaluated)
    assert [one.training for one in module.modules()] == flags


@every_case
@every_library
def test_a_module_is_moved_as_a_whole(case: Case, library: str) -> None:
    module, inputs = case.example(case.fixed[-1])
    y, dx, grads = run(copy.deepcopy(module), inputs)
    for parameter in module.param():
        parameter.grad[...] = 1
    module.to(library, dtype="float32").to(dtype="float64", library=library)
    for parameter in module.param():
        np.testing.assert_array_equal(numpy(parameter.grad), np.ones(parameter.shape))
    found_y, found_dx, found_grads = run(module, tuple(array(copied_numbers(value), library) for value in inputs))
    # The weights were rounded to float32 on the way, so that is how near the results are.
    assert_close(found_y, y, "float32")
    assert_close(found_dx, dx, "float32")
    for name, grad in grads.items():
        assert_close(found_grads[name], grad, "float32")
