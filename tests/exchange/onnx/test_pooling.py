"""Pooling, Upsample and the shuffles as ONNX, next to onnxruntime, and back: windows of every kind."""

import io
import math

import numpy as np
import onnx
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_graphs import model_of, node, run

import chainrule as cr

TIMES = settings(max_examples=40, deadline=None)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def drawn(data, axes, least=1):
    shape = (2, 2, *data.draw(st.tuples(*[st.integers(least, 8)] * axes)))
    return np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=shape).astype("float32")


def each(data, axes, least, most):
    return data.draw(st.tuples(*[st.integers(least, most)] * axes))


def goes_through(layer, x):
    """What onnxruntime says of a layer is what it gives, and what is read again gives it too."""
    expected = layer(x)
    proto = cr.to_onnx(layer, sample_shape=x.shape[1:])
    np.testing.assert_allclose(run(proto, x), expected, **CLOSE)
    np.testing.assert_allclose(cr.from_onnx(proto)(x), expected, **CLOSE)


def made(kind, axes, *arguments, **options):
    try:
        return getattr(cr, f"{kind}{axes}d")(*arguments, **options)
    except ValueError:  # more padding than half a window
        assume(False)


@pytest.mark.parametrize("axes", [1, 2, 3])
@TIMES
@given(data=st.data())
def test_max_pooling_goes_through(axes, data):
    x = drawn(data, axes)
    windows = each(data, axes, 1, 4), each(data, axes, 1, 4), each(data, axes, 0, 1), each(data, axes, 1, 2)
    layer = made("MaxPool", axes, *windows, ceil_mode=data.draw(st.booleans()))
    try:
        layer(x)
    except ValueError:  # too short
        assume(False)
    goes_through(layer, x)


@pytest.mark.parametrize("axes", [1, 2, 3])
@TIMES
@given(data=st.data())
def test_average_pooling_goes_through_whatever_counts(axes, data):
    x = drawn(data, axes)
    windows = each(data, axes, 1, 4), each(data, axes, 1, 4), each(data, axes, 0, 2)
    flags = {"ceil_mode": data.draw(st.booleans()), "count_include_pad": data.draw(st.booleans())}
    layer = made("AvgPool", axes, *windows, **flags)
    try:
        layer(x)
    except ValueError:
        assume(False)
    goes_through(layer, x)


@pytest.mark.parametrize("axes", [1, 2, 3])
@TIMES
@given(data=st.data())
def test_adaptive_pooling_goes_through_where_its_windows_are_of_one_length(axes, data):
    out, times = each(data, axes, 1, 3), each(data, axes, 1, 3)
    x = (
        np.random.default_rng(0)
        .normal(size=(2, 2, *(o * n for o, n in zip(out, times, strict=True))))
        .astype("float32")
    )
    for kind in ("AdaptiveAvgPool", "AdaptiveMaxPool"):
        goes_through(getattr(cr, f"{kind}{axes}d")(out), x)


@pytest.mark.parametrize(
    ("mode", "axes"),
    [
        ("nearest", 1),
        ("nearest", 2),
        ("nearest-exact", 2),
        ("linear", 1),
        ("bilinear", 2),
        ("bicubic", 2),
        ("trilinear", 3),
    ],
)
@TIMES
@given(data=st.data())
def test_upsample_goes_through(mode, axes, data):
    x = drawn(data, axes)
    options = {"mode": mode}
    if not mode.startswith("nearest"):
        options["align_corners"] = data.draw(st.booleans())
    if data.draw(st.booleans()):
        options["size"] = each(data, axes, 1, 12)
    else:
        options["scale_factor"] = data.draw(st.tuples(*[st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0])] * axes))
    layer = cr.Upsample(**options)
    try:
        y = layer(x)
    except ValueError:
        assume(False)
    goes_through(layer, x)
    assert y.shape[2:] == layer.out(x.shape[2:])


def test_the_shuffles_go_through():
    x = np.random.default_rng(0).normal(size=(2, 18, 6, 3)).astype("float32")
    for layer in (cr.PixelShuffle(3), cr.PixelUnshuffle(3), cr.ChannelShuffle(6)):
        goes_through(layer, x)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (cr.MaxPool2d(2, return_indices=True), "MaxPool2d that gives several values"),
        (cr.AvgPool2d(2, divisor_override=3), "AvgPool2d with a divisor_override"),
        (cr.LPPool2d(3, 2), "LPPool2d with norm_type=3, which must be even"),
        (cr.LPPool2d(math.inf, 2), "LPPool2d with norm_type=inf, which must be even"),
        (cr.LPPool2d(2, 3, ceil_mode=True), "LPPool2d with a window that hangs over the end"),
        (cr.AdaptiveAvgPool2d(3), r"AdaptiveAvgPool2d of \(4, 4\), which \(3, 3\) do not divide"),
        (cr.MaxUnpool2d(2), "MaxUnpool2d"),
        (cr.Upsample(scale_factor=math.pi / 2), "Upsample with a scale_factor that float32 does not hold"),
    ],
    ids=repr,
)
def test_what_onnx_has_no_words_for_is_refused(layer, says):
    with pytest.raises(ValueError, match=f"there is no ONNX for {says}"):
        cr.to_onnx(layer, sample_shape=(4, 4, 4))


# -- graphs of others


def read(*nodes, numbers=(), shape=("batch", 2, 5, 6), opset=17, dtype=TensorProto.FLOAT):
    proto = model_of(*nodes, numbers=numbers, opset=opset, shape=shape, rank=len(shape), dtype=dtype)
    onnx.checker.check_model(proto)
    return proto, cr.from_onnx(proto)


@pytest.mark.parametrize(
    ("op", "attributes", "expected"),
    [
        (
            "MaxPool",
            {"kernel_shape": [2, 2]},
            "MaxPool2d(kernel_size=2, stride=1, padding=0, dilation=1, ceil_mode=False)",
        ),
        ("MaxPool", {"kernel_shape": [3, 3], "pads": [0, 1, 2, 2]}, "ConstantPad2d(padding=(1, 2, 0, 2), value=-inf)"),
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 1, 0]}, "ceil_mode=True"),
        ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, "padding=(1, 0)"),
        ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "VALID"}, "padding=0"),
        (
            "AveragePool",
            {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1},
            "ZeroPad2d((0, 1, 0, 1))",
        ),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, "count_include_pad=False"),
        ("LpPool", {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}, "ZeroPad2d((0, 1, 1, 0))"),
    ],
)
def test_pools_of_others_are_read_as_onnxruntime_runs_them(op, attributes, expected):
    proto, model = read(node(op, ["x"], ["y"], **attributes), opset=18)
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 6)).astype("float32")
    np.testing.assert_allclose(model(x), run(proto, x), **CLOSE)
    assert expected in repr(model)


@pytest.mark.parametrize(
    ("op", "attributes", "says"),
    [
        (
            "AveragePool",
            {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]},
            "must count its padding or have as much on both",
        ),
        ("LpPool", {"kernel_shape": [2, 2], "p": 1}, "must have an even p"),
        ("MaxPool", {"kernel_shape": [2]}, "must go over one to three axes|is no valid ONNX"),
        ("Resize", {}, "must be told scales or sizes|is no valid ONNX"),
    ],
)
def test_what_no_layer_does_is_refused_by_its_node(op, attributes, says):
    with pytest.raises(ValueError, match=says):
        read(node(op, ["x"], ["y"], **attributes), opset=18)


def test_a_resize_by_sizes_that_the_graph_works_out_is_read():
    """As PyTorch's exporter writes it where the batch is free: the first two lengths of x, and two that it knows."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "zero", "two"], ["front"]),
        node("Concat", ["front", "size"], ["sizes"], axis=0),
        node(
            "Resize", ["x", "", "", "sizes"], ["y"], mode="linear", coordinate_transformation_mode="pytorch_half_pixel"
        ),
    ]
    numbers = [("zero", np.array([0])), ("two", np.array([2])), ("size", np.array([8, 9]))]
    proto, model = read(*nodes, numbers=numbers)
    assert repr(model[0]) == "Upsample(size=(8, 9), mode='bilinear')"
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 6)).astype("float32")
    np.testing.assert_allclose(model(x), run(proto, x), **CLOSE)


def test_the_nearest_pixel_is_read_by_other_rules_where_they_say_the_same():
    scales = [("scales", np.array([1, 1, 2, 3], "float32"))]
    proto, model = read(node("Resize", ["x", "", "scales"], ["y"]), numbers=scales)
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 6)).astype("float32")
    np.testing.assert_array_equal(model(x), run(proto, x))
    with pytest.raises(ValueError, match="must be one of Upsample's modes"):
        read(node("Resize", ["x", "", "scales"], ["y"], nearest_mode="ceil"), numbers=scales)
    with pytest.raises(ValueError, match="must leave the batch and the channels as they are"):
        read(node("Resize", ["x", "", "scales"], ["y"]), numbers=[("scales", np.array([1, 2, 2, 2], "float32"))])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the older of PyTorch's two exporters
def test_what_pytorch_exports_is_read():
    net = torch.nn.Sequential(
        torch.nn.MaxPool2d(3, 2, 1),
        torch.nn.Upsample(scale_factor=2, mode="bilinear"),
        torch.nn.AvgPool2d(3, 1, 1),
        torch.nn.PixelUnshuffle(2),
        torch.nn.PixelShuffle(2),
        torch.nn.Upsample(scale_factor=2),
        torch.nn.AdaptiveAvgPool2d(1),
    ).eval()
    x = torch.randn(2, 3, 12, 12)
    with io.BytesIO() as file:
        torch.onnx.export(
            net, (x,), file, dynamo=False, opset_version=17, input_names=["x"], dynamic_axes={"x": {0: "batch"}}
        )
        proto = onnx.load_model_from_string(file.getvalue())
    np.testing.assert_allclose(cr.from_onnx(proto)(x.numpy()), net(x).detach(), rtol=1e-5, atol=1e-5)
