import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr

every_library = pytest.mark.parametrize("library", LIBRARIES)


def trained_alike(ours: cr.Module, theirs: torch.nn.Module, batches: list[np.ndarray]) -> None:
    """Both see the batches in training, and then hold the same statistics and predict the same."""
    for x in batches:
        y = ours.forward(array(x, "torch"))[0] if first_is_torch(ours) else ours.forward(x)[0]
        np.testing.assert_allclose(numpy(y), numpy(theirs(torch.from_numpy(x))), rtol=1e-10, atol=1e-12)
    mine, state = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(state)
    for name, value in state.items():
        assert numpy(mine[name]).shape == tuple(value.shape)
        np.testing.assert_allclose(numpy(mine[name]), numpy(value), rtol=1e-12)
    x = batches[0]
    x = array(x, "torch") if first_is_torch(ours) else x
    np.testing.assert_allclose(numpy(ours(x)), numpy(theirs.eval()(torch.from_numpy(batches[0]))), rtol=1e-10)


def first_is_torch(module: cr.Module) -> bool:
    return any(isinstance(buffer.value, torch.Tensor) for _, buffer in module.named_buffers())


@every_library
@pytest.mark.parametrize("momentum", [0.1, 0.9, 0.0, 1.0, None])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("BatchNorm1d", (5, 3)),
        ("BatchNorm1d", (2, 3, 4)),
        ("BatchNorm2d", (2, 3, 4, 1)),
        ("BatchNorm3d", (1, 3, 2, 1, 2)),
        ("InstanceNorm1d", (2, 3, 4)),
        ("InstanceNorm2d", (2, 3, 1, 4)),
        ("InstanceNorm3d", (1, 3, 2, 1, 2)),
    ],
)
def test_running_statistics_are_those_of_pytorch(
    name: str, shape: tuple[int, ...], momentum: float | None, library: str
) -> None:
    rng, options = np.random.default_rng(0), {"momentum": momentum, "affine": True, "track_running_stats": True}
    ours = getattr(cr, name)(3, **options, dtype="float64").to(library)
    theirs = getattr(torch.nn, name)(3, **options).double()
    trained_alike(ours, theirs, [rng.normal(2, 3, shape) for _ in range(3)])


@every_library
@settings(max_examples=40)
@given(data=st.data())
def test_a_batch_that_pytorch_refuses_is_refused_and_no_other(library: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["BatchNorm1d", "BatchNorm2d", "InstanceNorm1d", "InstanceNorm2d", "GroupNorm"]))
    axes = int(name[-2]) if name[-1] == "d" else data.draw(st.integers(0, 2))
    lengths = data.draw(st.lists(st.integers(1, 2), min_size=axes, max_size=axes))
    if name == "BatchNorm1d" and data.draw(st.booleans()):
        lengths = []
    shape = (data.draw(st.integers(1, 2)), 2, *lengths)
    arguments = (data.draw(st.integers(1, 2)), 2) if name == "GroupNorm" else (2,)
    x = array(np.random.default_rng(0).normal(size=shape), library)
    module = getattr(cr, name)(*arguments, dtype="float64").to(library)
    try:
        expected = getattr(torch.nn, name)(*arguments).double()(torch.from_numpy(numpy(x)))
    except ValueError as refused:
        assert "Expected more than 1" in str(refused)  # noqa: PT017
        before = module.state_dict()
        with pytest.raises(ValueError, match=r"forward: x must have more than one value per (channel|group)"):
            module.forward(x)
        for key, value in module.state_dict().items():
            np.testing.assert_array_equal(numpy(value), numpy(before[key]))
    else:
        np.testing.assert_allclose(numpy(module.forward(x)[0]), numpy(expected), rtol=1e-9, atol=1e-12)


def test_a_call_and_evaluation_go_by_the_running_statistics_and_leave_them() -> None:
    layer = cr.BatchNorm1d(2, eps=0.0, weight=[2.0, 1.0], bias=[0.0, 1.0])
    layer.running_mean.value, layer.running_var.value = np.float32([1, 0]), np.float32([4, 1])
    x = np.float32([[3.0, 5.0]])
    np.testing.assert_array_equal(layer(x), [[2.0, 6.0]])
    y, kept = layer.eval().forward(x)
    np.testing.assert_array_equal(y, [[2.0, 6.0]])
    np.testing.assert_array_equal(layer.backward(np.float32([[1.0, 1.0]]), kept), [[1.0, 1.0]])
    assert layer.num_batches_tracked.value == 0
    np.testing.assert_array_equal(layer.running_mean.value, [1, 0])


def test_an_example_worked_by_hand() -> None:
    layer = cr.BatchNorm1d(1, eps=3.0, momentum=0.5, weight=[2.0], bias=[1.0])  # of 1, 3: mean 2, var 1, s = 1/2
    y, kept = layer.forward(np.float32([[1.0], [3.0]]))
    np.testing.assert_array_equal(y, [[0.0], [2.0]])
    assert isinstance(layer.num_batches_tracked.value, np.ndarray)
    assert layer.running_mean.value == 1.0  # half of 0 and half of 2
    assert layer.running_var.value == 1.5  # half of 1 and half of 2, which is 1 · 2 / (2 - 1)
    # dx̂ = 2, 0; its mean is 1, and that of dx̂ x̂ = -1, 0 is -1/2: dx = 1/2 (2 - 1 - 1/4), 1/2 (0 - 1 + 1/4)
    np.testing.assert_array_equal(layer.backward(np.float32([[1.0], [0.0]]), kept), [[0.375], [-0.375]])
    assert (float(layer.weight.grad[0]), float(layer.bias.grad[0])) == (-0.5, 1.0)


FROZEN = [
    (lambda: cr.BatchNorm1d(3), (4, 3)),
    (lambda: cr.InstanceNorm1d(3, affine=True), (2, 3, 4)),
    (lambda: cr.LayerNorm(3), (4, 3)),
    (lambda: cr.GroupNorm(1, 3), (4, 3)),
    (lambda: cr.RMSNorm(3), (4, 3)),
]


@pytest.mark.parametrize(("make", "shape"), FROZEN)
def test_frozen_parameters_get_no_gradient(make: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer, free = make(), make()
    layer.weight.trainable = False
    dx = []
    for one in (layer, free):
        y, kept = one.forward(x)
        dx.append(one.backward(y, kept))
    np.testing.assert_array_equal(*dx)
    assert not layer.weight.grad.any()
    assert free.weight.grad.any()
    if layer.bias is not None:
        np.testing.assert_array_equal(layer.bias.grad, free.bias.grad)
    twin = make()
    y, kept = twin.forward(x)
    twin.backward_parameters(y, kept)
    np.testing.assert_array_equal(twin.weight.grad, free.weight.grad)


@pytest.mark.parametrize(
    "text",
    [
        "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)",
        "BatchNorm1d(3, eps=0.1, momentum=None, affine=True, bias=False, track_running_stats=False)",
        "InstanceNorm3d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)",
        "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True, bias=False)",
        "GroupNorm(3, 6, eps=1e-05, affine=False, bias=False)",
        "RMSNorm((3,), eps=None, elementwise_affine=True)",
        "LocalResponseNorm(2, alpha=0.0001, beta=0.75, k=1.0)",
    ],
)
def test_repr_is_that_of_pytorch(text: str) -> None:
    assert repr(eval(text, vars(cr))) == repr(eval(text, vars(torch.nn))) == text


@pytest.mark.parametrize(
    ("module", "x", "error", "message"),
    [
        ("BatchNorm1d(3)", np.zeros(3, "f"), ValueError, "x must be (batch, channels, length), got (3,)"),
        ("BatchNorm1d(3)", np.zeros((4, 2), "f"), ValueError, "x must be (batch, 3) or (batch, 3, length), got (4, 2)"),
        ("BatchNorm2d(3)", np.zeros((3, 4, 5), "f"), ValueError, "x must be (batch, channels, height, width), got"),
        ("BatchNorm2d(3)", np.zeros((3, 4, 5), "f"), ValueError, "if it is one sample, x[None] gives it the axis"),
        ("BatchNorm2d(3)", np.zeros((1, 2, 4, 5), "f"), ValueError, "x must be (batch, 3, height, width), got"),
        ("BatchNorm1d(3)", np.zeros((2, 3)), TypeError, "x must be a numpy float32 array like the weight, got"),
        ("BatchNorm1d(3, eps=0)", np.zeros((2, 3), "f"), ValueError, "eps must be above 0 in training, got 0.0"),
        ("InstanceNorm1d(3)", np.zeros((2, 3, 4), int), TypeError, "x must be a floating-point array, got a numpy int"),
        ("InstanceNorm1d(3)", [[[1.0]]], TypeError, "x must be an array (NumPy, PyTorch or CuPy), got a list"),
        (
            "LayerNorm((2, 3))",
            np.zeros((2, 3), "f"),
            ValueError,
            "x must be (batch, …, 2, 3), got (2, 3); if it is one",
        ),
        ("LayerNorm(3)", np.zeros((2, 4), "f"), ValueError, "x must be (batch, …, 3), got (2, 4)"),
        ("RMSNorm(3)", np.zeros((2, 3)), TypeError, "x must be a numpy float32 array like the weight, got"),
        ("GroupNorm(2, 4)", np.zeros((4, 5), "f"), ValueError, "x must be (batch, 4, …), got (4, 5); if it is one"),
        ("LocalResponseNorm(2)", np.zeros((4, 5)), ValueError, "x must be (batch, channels, length, …), got (4, 5)"),
        ("LocalResponseNorm(2)", np.zeros((4, 5, 1), int), TypeError, "x must be a floating-point array, got a numpy"),
        ("Dropout2d()", np.zeros((4, 5, 1)), ValueError, "x must be (batch, channels, height, width), got (4, 5, 1)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(module: str, x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(f".forward: {message}") if "axis" not in message else re.escape(message)):
        eval(module, vars(cr)).forward(x)


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        ("BatchNorm1d(0)", ValueError, "BatchNorm1d: num_features must be a positive integer, got 0"),
        ("BatchNorm1d(3, eps=-1)", ValueError, "BatchNorm1d: eps must be at least 0 and finite, got -1"),
        ("BatchNorm1d(3, momentum=2)", ValueError, "BatchNorm1d: momentum must be at least 0 and at most 1, got 2"),
        ("BatchNorm1d(3, affine=2)", TypeError, "BatchNorm1d: affine must be True or False, got 2"),
        ("BatchNorm1d(3, weight=[1.0])", ValueError, "BatchNorm1d: weight must be (3,), got (1,)"),
        (
            "BatchNorm1d(3, affine=False, bias=[0.0])",
            ValueError,
            "BatchNorm1d: bias must not be given to a layer without parameters, got [0.0]",
        ),
        ("LayerNorm(())", ValueError, "LayerNorm: normalized_shape must have at least one length, got ()"),
        ("LayerNorm((3, 0))", ValueError, "LayerNorm: normalized_shape must be a positive integer, got 0"),
        ("GroupNorm(2, 3)", ValueError, "GroupNorm: num_channels must be divisible by num_groups=2, got 3"),
        ("RMSNorm(2, dtype='int8')", TypeError, "RMSNorm: dtype must be float16, float32 or float64, got 'int8'"),
        ("LocalResponseNorm(0)", ValueError, "LocalResponseNorm: size must be a positive integer, got 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(module: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        eval(module, vars(cr))


@pytest.mark.parametrize(("make", "shape"), FROZEN)
def test_a_gradient_of_another_shape_or_dtype_is_refused_and_adds_nothing(make: Any, shape: tuple[int, ...]) -> None:
    layer = make()
    kept = layer.forward(np.random.default_rng(0).normal(size=shape).astype("float32"))[1]
    with pytest.raises(ValueError, match=r"backward: dy must be \(.*\) like x, got \(1,"):
        layer.backward(np.ones((1, *shape[1:]), "float32"), kept)
    with pytest.raises(TypeError, match="backward: dy must be a numpy float32 array like the weight"):
        layer.backward(np.ones(shape), kept)
    assert not layer.weight.grad.any()


def test_weights_can_be_shared_and_their_gradients_add_up() -> None:
    first = cr.LayerNorm(3)
    model = cr.Sequential(first, cr.LayerNorm(3, weight=first.weight, bias=first.bias))
    assert model.num_parameters == 6
    assert cr.check_gradients(model, np.random.default_rng(0).normal(size=(4, 3))).ok


def test_a_dtype_is_that_of_parameters_and_statistics() -> None:
    layer = cr.BatchNorm1d(2, dtype="float64")
    assert {str(value.dtype) for value in layer.state_dict().values()} == {"float64", "int64"}
    layer = cr.BatchNorm1d(2, weight=np.ones(2))
    assert {str(value.dtype) for value in layer.state_dict().values()} == {"float64", "int64"}
    assert cr.BatchNorm1d(2, affine=False).running_mean.value.dtype == "float32"


# -- odd numbers


ODD = [
    *(("BatchNorm1d", (2,)), ("InstanceNorm1d", (2,)), ("GroupNorm", (2, 2)), ("GroupNorm", (1, 2))),
    *(("LayerNorm", (3,)), ("RMSNorm", (3,)), ("LocalResponseNorm", (2,))),
]


def both(name: str, arguments: tuple[int, ...], x: np.ndarray, **options: Any) -> tuple[list[np.ndarray], ...]:
    """y and dx, for a gradient of 1, 2, 3, …: ours and PyTorch's."""
    module, peer = getattr(cr, name)(*arguments, **options), getattr(torch.nn, name)(*arguments, **options)
    peer = peer.to(torch.from_numpy(x).dtype)
    module.to(dtype=str(x.dtype))
    dy = np.arange(1, x.size + 1, dtype=x.dtype).reshape(x.shape)
    with np.errstate(all="ignore"):
        y, kept = module.forward(x)
        ours = [y, module.backward(dy, kept)]
    leaf = torch.from_numpy(x).requires_grad_()
    theirs = peer(leaf)
    theirs.backward(torch.from_numpy(dy))
    return ours, [numpy(theirs), numpy(leaf.grad)]


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-20, 1e-8, 1e8, 1e100])
@pytest.mark.parametrize(("name", "arguments"), ODD)
def test_huge_and_tiny_numbers_are_those_of_pytorch(name: str, arguments: tuple[int, ...], scale: float) -> None:
    x = scale * np.random.default_rng(0).normal(size=(4, 2, 3))
    for found, expected in zip(*both(name, arguments, x), strict=True):
        size = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * size)


@pytest.mark.parametrize(("name", "arguments"), ODD)
@pytest.mark.parametrize("eps", [None, 0.0])
def test_channels_of_equal_numbers_are_as_in_pytorch(name: str, arguments: tuple[int, ...], eps: float | None) -> None:
    options = {} if eps is None or name == "LocalResponseNorm" else {"eps": eps}
    if name == "BatchNorm1d" and options:
        return  # refused by both
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    x[:, 0], x[1, 1] = 0.5, 0.0
    for found, expected in zip(*both(name, arguments, x, **options), strict=True):
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(found), finite)
        # Where mean and mean square cancel, what is left are rounding errors of numbers near s = 1/√eps.
        np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("BatchNorm1d", (1,), (2, 1)),
        ("BatchNorm2d", (1,), (1, 1, 1, 2)),
        ("BatchNorm2d", (3,), (1, 3, 2, 2)),
        ("InstanceNorm2d", (1,), (1, 1, 1, 2)),
        ("GroupNorm", (1, 1), (1, 1, 2)),
        ("GroupNorm", (2, 2), (2, 2)),
        ("LayerNorm", (1,), (3, 1)),
        ("RMSNorm", (1,), (3, 1)),
        ("LocalResponseNorm", (5,), (1, 1, 1)),
    ],
)
def test_batches_of_one_and_single_channels_are_as_in_pytorch(name: str, arguments: Any, shape: Any) -> None:
    x = np.random.default_rng(1).normal(size=shape)
    for found, expected in zip(*both(name, arguments, x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@every_library
@pytest.mark.parametrize("mean", [1e3, 1e5, -1e6])
@pytest.mark.parametrize(
    ("name", "arguments"), [case for case in ODD if case[0] not in ("RMSNorm", "LocalResponseNorm")]
)
def test_a_large_mean_in_float32_costs_no_digits(name: str, arguments: Any, mean: float, library: str) -> None:
    x = np.random.default_rng(0).normal(mean, 1, size=(64, 2, 3)).astype("float32")
    module = getattr(cr, name)(*arguments).to(library)
    y = numpy(module.forward(array(x, library, "float32"))[0])
    exact = numpy(getattr(torch.nn, name)(*arguments).double()(torch.from_numpy(x.astype("float64"))))
    # x itself is exact; of the mean that is taken away twice no more than a few eps of the differences is left.
    np.testing.assert_allclose(y, exact, rtol=0, atol=64 * np.finfo("float32").eps)
    theirs = numpy(getattr(torch.nn, name)(*arguments)(torch.from_numpy(x)))
    assert np.abs(y - exact).max() <= np.abs(theirs - exact).max() + 4 * np.finfo("float32").eps


@pytest.mark.parametrize(("name", "arguments"), ODD)
def test_float32_is_as_near_as_pytorch_in_float32(name: str, arguments: Any) -> None:
    x = np.random.default_rng(0).normal(size=(16, 2, 3))
    (y, dx), _ = both(name, arguments, x)
    for found, exact in zip(both(name, arguments, x.astype("float32"))[0], (y, dx), strict=True):
        # Sums of at most 48 terms, times gradients up to 96.
        np.testing.assert_allclose(found, exact, rtol=0, atol=64 * np.finfo("float32").eps * np.abs(exact).max())


def test_float16_and_bfloat16_are_computed_in_their_own_dtype() -> None:
    x = np.random.default_rng(0).normal(size=(8, 4))
    exact = cr.LayerNorm(4, dtype="float64")(x)
    for dtype, eps in (("float16", 2**-10), ("bfloat16", 2**-7)):
        y = cr.LayerNorm(4).to("torch", dtype=dtype)(torch.from_numpy(x))
        assert str(y.dtype) == f"torch.{dtype}"
        np.testing.assert_allclose(y.double().detach().numpy(), exact, atol=8 * eps)


# -- dropout of channels


@every_library
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_dropout_takes_whole_channels_by_the_mask_that_dropout_has_for_them(axes: int, library: str) -> None:
    x = np.random.default_rng(0).normal(size=(6, 5, *(2, 3, 1)[:axes]))
    layer = getattr(cr, f"Dropout{axes}d")(0.4, rng=0)
    layer.reseed(7, 1)
    y, mask = layer.forward(array(x, library))
    plain = cr.Dropout(0.4)
    plain.reseed(7, 1)
    expected = plain.forward(np.ones((6, 5)))[0].reshape((6, 5, *(1,) * axes))
    np.testing.assert_array_equal(numpy(mask), expected)
    np.testing.assert_array_equal(numpy(y), x * expected)
    assert {0.0} < set(np.unique(expected))
    dx = layer.backward(array(np.ones_like(x), library), mask)
    np.testing.assert_array_equal(numpy(dx), np.broadcast_to(expected, x.shape))


def test_no_warning_comes_of_ordinary_numbers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, arguments in ODD:
            module = getattr(cr, name)(*arguments)
            y, kept = module.forward(np.zeros((4, 2, 3), "float32"))
            module.backward(y, kept)
