import itertools
import warnings

import numpy as np
import onnx
import pytest
from onnx_graphs import model_of, node, run

import chainrule as cr


def drawn(model, seed=0):
    """The same network with parameters and statistics that are drawn."""
    rng = np.random.default_rng(seed)
    for parameter in model.param():
        parameter.value = rng.normal(size=parameter.shape).astype(parameter.value.dtype)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.value = rng.uniform(0.5, 2, buffer.value.shape).astype(buffer.value.dtype)
    return model


def ops(proto):
    return [node.op_type for node in proto.graph.node]


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_what_pytorch_exports_is_read(tmp_path, opset):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    cases = [
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), (3, 2, 5, 5)),
        (nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4)), (3, 3)),
        (nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 4, bias=False), nn.LayerNorm(4, bias=False)), (3, 3)),
        (nn.Sequential(nn.LayerNorm((4, 3), eps=0.1), nn.Flatten()), (3, 4, 3)),
        (nn.Sequential(nn.GroupNorm(2, 4), nn.ReLU()), (3, 4, 5, 5)),
        (nn.Sequential(nn.GroupNorm(4, 4, eps=0.1)), (3, 4, 5)),
        (nn.Sequential(nn.InstanceNorm2d(4, affine=True), nn.Dropout2d()), (3, 4, 5, 5)),
    ]
    for module, shape in cases:
        there = cr.to_torch(drawn(cr.from_torch(module))).eval()
        x = torch.randn(shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this exporter will go: the other one needs a package more
            options = {"dynamo": False, "opset_version": opset, "input_names": ["x"], "dynamic_axes": {"x": [0]}}
            torch.onnx.export(there, (x,), tmp_path / "a.onnx", **options)
        model = cr.from_onnx(tmp_path / "a.onnx")
        kinds = [type(layer).__name__ for layer in module if not isinstance(layer, nn.Dropout2d)]
        assert [type(layer).__name__ for layer in model] == kinds
        np.testing.assert_allclose(model(x.numpy()), there(x).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_layer_norm_in_float64_keeps_its_eps():
    for model in (cr.LayerNorm(3, dtype="float64"), cr.RMSNorm(3, eps=1e-5, dtype="float64")):
        drawn(model)
        for opset in (None, 17, 18, 23):
            proto = cr.to_onnx(cr.Sequential(model), sample_shape=(3,), opset=opset)
            x = np.random.default_rng(0).normal(size=(5, 3)) * 1e-3  # of which eps is a part that counts
            np.testing.assert_allclose(run(proto, x), model(x), rtol=1e-12)
            [back] = cr.from_onnx(proto)
            assert repr(back) == repr(model)
            np.testing.assert_array_equal(back(x), model(x))


@pytest.mark.parametrize(
    ("layer", "shape", "since", "op"),
    [
        (cr.LayerNorm((2, 3)), (2, 3), 17, "LayerNormalization"),
        (cr.GroupNorm(2, 4), (4, 3), 21, "GroupNormalization"),
        (cr.RMSNorm(3), (2, 3), 23, "RMSNormalization"),
    ],
    ids=repr,
)
def test_a_normalization_is_one_node_where_there_is_one(layer, shape, since, op):
    assert op not in ops(cr.to_onnx(layer, sample_shape=shape))
    assert op not in ops(cr.to_onnx(layer, sample_shape=shape, opset=since - 1))
    assert ops(cr.to_onnx(layer, sample_shape=shape, opset=since)) == [op]


def test_what_is_written_out_fits_the_opset_that_another_layer_needs():
    model = cr.Sequential(cr.LayerNorm((4, 6)), cr.Fold((3, 4), 2))
    proto = cr.to_onnx(model, sample_shape=(4, 6))
    assert proto.opset_import[0].version == 18
    x = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    np.testing.assert_allclose(run(proto, x), model(x), rtol=1e-5, atol=1e-5)


def test_batch_norm_folded_leaves_no_node():
    model = drawn(cr.Sequential(cr.Conv2d(2, 3, 2), cr.BatchNorm2d(3), cr.ReLU()))
    assert ops(cr.to_onnx(model, sample_shape=(2, 4, 4))) == ["Conv", "BatchNormalization", "Relu"]
    proto = cr.to_onnx(cr.fold_batch_norm(model), sample_shape=(2, 4, 4))
    assert ops(proto) == ["Conv", "Relu"]
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 4)).astype("float32")
    np.testing.assert_allclose(run(proto, x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "shape", "says"),
    [
        (cr.BatchNorm1d(3, track_running_stats=False), (3,), "0: BatchNorm1d has no running statistics to go by"),
        (cr.LocalResponseNorm(4), (3, 2), "0: LocalResponseNorm must have an odd size, as windows of 4 lie otherwise"),
        (cr.BatchNorm1d(3, dtype="float64"), (3,), "0: BatchNorm1d has eps=1e-05, which ONNX keeps in float32 only"),
    ],
)
def test_what_onnx_does_not_have_is_refused_by_its_place(model, shape, says):
    with pytest.raises(ValueError, match=f"to_onnx: {says}"):
        cr.to_onnx(cr.Sequential(model), sample_shape=shape)


PAIR = [("w", np.float32([2, 3, 4])), ("b", np.float32([0, 1, 2]))]


@pytest.mark.parametrize(
    ("nodes", "more", "says"),
    [
        (node("LayerNormalization", ["x", "w", "b"], ["y"], axis=0), {}, "must not normalize over the batch axis"),
        (node("BatchNormalization", ["x", "w", "b", "w", "m"], ["y"]), {"m": np.ones(2, "f")}, "must have statistics"),
        (node("LRN", ["x"], ["y"], size=4), {}, "must have an odd size"),
        (node("InstanceNormalization", ["x", "w", "b"], ["y"]), {}, "with 1 to 3 axes behind, and gets 2 axes"),
        (node("LayerNormalization", ["x", "x", "b"], ["y"]), {}, "must have constant weights"),
    ],
)
def test_nodes_that_are_no_layer_are_refused(nodes, more, says):
    shape = ("batch", 3, 4, 4) if nodes.op_type == "LRN" else ("batch", 3)
    with pytest.raises(ValueError, match=says):
        cr.from_onnx(model_of(nodes, numbers=[*PAIR, *more.items()], opset=21, rank=len(shape), shape=shape))


def written_out(**other):
    """LayerNorm in single nodes, some of them otherwise."""
    nodes = {
        "mean": node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        "d": node("Sub", ["x", "mean"], ["d"]),
        "square": node("Pow", ["d", "two"], ["square"]),
        "var": node("ReduceMean", ["square"], ["var"], axes=[-1]),
        "plus": node("Add", ["var", "eps"], ["plus"]),
        "root": node("Sqrt", ["plus"], ["root"]),
        "hat": node("Div", ["d", "root"], ["hat"]),
        "scaled": node("Mul", ["hat", "w"], ["scaled"]),
        "y": node("Add", ["scaled", "b"], ["y"]),
    }
    numbers = dict(PAIR) | {"two": np.float32(2), "eps": np.float32(0.25), "rows": np.ones((2, 1, 3), "f")}
    return model_of(*(nodes | other).values(), numbers=numbers.items(), opset=13, shape=("batch", 4, 3), rank=3)


def test_layer_norm_in_single_nodes_is_read():
    proto = written_out()
    model = cr.from_onnx(proto)
    assert repr(model[0]) == "LayerNorm((3,), eps=0.25, elementwise_affine=True, bias=True)"
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    np.testing.assert_allclose(model(x), run(proto, x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "other",
    [
        {"mean": node("ReduceMean", ["x"], ["mean"], axes=[1])},
        {"mean": node("ReduceMean", ["x"], ["mean"], axes=[0])},
        {"mean": node("ReduceMax", ["x"], ["mean"], axes=[-1])},
        {"d": node("Add", ["x", "mean"], ["d"])},
        {"d": node("Sub", ["mean", "x"], ["d"])},
        {"square": node("Pow", ["d", "eps"], ["square"])},
        {"square": node("Mul", ["d", "x"], ["square"])},
        {"square": node("Mul", ["d", "mean"], ["square"])},
        {"var": node("ReduceMean", ["square"], ["var"], axes=[1])},
        {"var": node("ReduceMean", ["square"], ["var"], axes=[1, 2])},
        {"plus": node("Add", ["var", "w"], ["plus"])},
        {"plus": node("Mul", ["var", "eps"], ["plus"])},
        {"root": node("Exp", ["plus"], ["root"])},
        {"hat": node("Div", ["x", "root"], ["hat"])},
        {"scaled": node("Mul", ["hat", "rows"], ["scaled"])},
        {"y": node("Add", ["scaled", "rows"], ["y"])},
    ],
    ids=lambda other: f"{next(iter(other))}: {next(iter(other.values())).op_type}",
)
def test_single_nodes_that_are_nearly_layer_norm_are_refused_or_right(other):
    proto = written_out(**other)
    try:
        model = cr.from_onnx(proto)
    except ValueError:
        return
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    np.testing.assert_allclose(model(x), run(proto, x), rtol=1e-5, atol=1e-6)


def test_groups_in_reshapes_that_are_others_are_refused_or_right():
    layer = drawn(cr.GroupNorm(2, 4))
    right = cr.to_onnx(layer, sample_shape=(4, 3))
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    assert [type(layer).__name__ for layer in cr.from_onnx(right)] == ["GroupNorm"]
    places = [tensor.name for tensor in right.graph.initializer]
    refused = 0
    for name, change in itertools.product(places, (lambda a: a * 2, lambda a: a[::-1].copy(), lambda a: a + 1)):
        proto = onnx.ModelProto()
        proto.CopyFrom(right)
        for tensor in proto.graph.initializer:
            if tensor.name == name:
                array = onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(change(array)), name))
        try:
            model = cr.from_onnx(proto)
        except ValueError:
            refused += 1
            continue
        np.testing.assert_allclose(model(x), run(proto, x), rtol=1e-5, atol=1e-5)
    assert refused > 3
