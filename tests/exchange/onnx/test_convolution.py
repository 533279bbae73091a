"""Convolutions as others write them: every attribute, as onnxruntime reads it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_graphs import model_of, node, run
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, RuntimeException

import chainrule as cr


def tuples(axes, least, most):
    return st.lists(st.integers(least, most), min_size=axes, max_size=axes)


@st.composite
def nodes(draw, op):
    """A node with filters, the shape of its weight, and one of x."""
    axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kernel = draw(tuples(axes, 1, 3))
    first, second = (groups * draw(st.integers(1, 2)) for _ in range(2))
    channels, outputs = (second, first) if op == "Conv" else (first, second)
    attributes = {"group": groups, "kernel_shape": kernel}
    for name, least, most in (("strides", 1, 3), ("dilations", 1, 2)):
        if draw(st.booleans()):
            attributes[name] = draw(tuples(axes, least, most))
    told = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if told != "NOTSET":
        attributes["auto_pad"] = told
    else:
        attributes["pads"] = draw(tuples(2 * axes, 0, 2))
    strides = attributes.get("strides", [1] * axes)
    if op == "ConvTranspose":
        attributes["output_padding"] = [draw(st.integers(0, s - 1)) for s in strides]
    lengths = draw(tuples(axes, 3, 6))
    bias = draw(st.booleans())
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    shapes = {"w": (first, second // groups, *kernel), "b": (outputs,)}
    return node(op, inputs, ["y"], **attributes), {n: shapes[n] for n in inputs[1:]}, (channels, *lengths)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_what_is_read_gives_the_numbers_of_onnxruntime_or_there_is_an_error(op):
    count = {"read": 0, "beside a ZeroPad": 0}

    @settings(max_examples=150)
    @given(drawn=nodes(op), seed=st.integers(0, 99))
    def check(drawn, seed):
        made, shapes, sample = drawn
        rng = np.random.default_rng(seed)
        numbers = [(name, rng.normal(size=shape).astype("float32")) for name, shape in shapes.items()]
        x = rng.normal(size=(2, *sample)).astype("float32")
        proto = model_of(made, numbers=numbers, shape=("n", *sample), rank=len(sample) + 1)
        try:
            expected = run(proto, x)
        except (InvalidArgument, RuntimeException, AssertionError):  # a kernel without room, among others
            return
        if not expected.size:
            return
        try:
            model = cr.from_onnx(proto)
        except ValueError as refusal:
            assert "must cut off of what it makes" in str(refusal)  # noqa: PT017  a stride larger than the kernel
            return
        np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)
        count["read"] += 1
        count["beside a ZeroPad"] += isinstance(model[0], cr.Sequential)

    check()
    assert count["read"] > 60, count
    assert count["beside a ZeroPad"] > 10, count


def test_a_padding_that_depends_on_an_unknown_length_is_refused():
    made = node("Conv", ["x", "w"], ["y"], strides=[2], auto_pad="SAME_UPPER")
    proto = model_of(made, numbers=[("w", np.ones((1, 1, 3), "float32"))], shape=("n", 1, "length"), rank=3)
    with pytest.raises(ValueError, match=r"Conv .* works out its padding from the length of what comes, which is not"):
        cr.from_onnx(proto)


def test_a_weight_that_is_computed_or_of_no_axes_is_refused():
    for x, shape in (("x", (1, 1)), ("x", (1, 1, 1, 1, 1, 1))):
        proto = model_of(node("Conv", [x, "w"], ["y"]), numbers=[("w", np.ones(shape, "float32"))], shape=("n", 1, 3))
        with pytest.raises(ValueError, match="from_onnx: "):
            cr.from_onnx(proto)
    with pytest.raises(ValueError, match="must have constant weights, but its input 'x' is computed"):
        cr.from_onnx(model_of(node("Conv", ["x", "x"], ["y"]), shape=(1, 1, 3), rank=3))


def test_a_network_of_images_from_pytorch_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, groups=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(36, 3),
    )  # fmt: skip
    x = torch.randn(3, 1, 8, 8)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter will go: the other one needs a package more
        options = {"dynamo": False, "opset_version": 13, "input_names": ["x"], "dynamic_axes": {"x": [0]}}
        torch.onnx.export(module, (x,), tmp_path / "a.onnx", **options)
    model = cr.from_onnx(tmp_path / "a.onnx")
    assert [type(layer).__name__ for layer in model] == [type(layer).__name__ for layer in module]
    np.testing.assert_allclose(model(x.numpy()), module(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert list(model.state_dict()) == list(module.state_dict())
