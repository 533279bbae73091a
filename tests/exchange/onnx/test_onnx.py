"""Held against onnxruntime, ONNX's own checker and reference evaluator, and what PyTorch's exporter writes."""

import random
from itertools import pairwise

import numpy as np
import onnx
import pytest
from cases import BRANCHES, IN_ONNX, Case, elementwise, refused_in_onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnx_graphs import model_of, node, run

import chainrule as cr
from chainrule.layers import normalization
from chainrule.structures import each, leaves


def x_of(model, *shape, dtype="float32"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def without_dropout(model):
    """The layers that predict, in one chain."""
    if isinstance(model, cr.Sequential):
        return [layer for inner in model for layer in without_dropout(inner)]
    return [] if isinstance(model, cr.Dropout | cr.Identity) else [model]


def in_one_dtype(module, x, dtype):
    """The module behind a Linear for each part of x, which says in which dtype it is to compute; of rows alone."""
    linears = each(lambda part: cr.Linear(part.shape[-1], part.shape[-1], dtype=dtype, rng=0), x)
    if isinstance(x, dict):
        return cr.Sequential(cr.Parallel(linears), module)
    return cr.Sequential(cr.Parallel(*linears) if isinstance(x, tuple) else linears, module)


def feeds(proto, x):
    """x by the names of the inputs, those of a tuple in order."""
    names = [value.name for value in proto.graph.input]
    return dict(zip(names, leaves(x), strict=True)) if not isinstance(x, dict) else {name: x[name] for name in names}


def assert_close(said, y, **tolerance):
    """What onnxruntime says, an array or a dict, next to an array, a tuple in order or a dict."""
    said = said if isinstance(said, dict) else {"y": said}
    names = [name if name in said else f"y_{name}" for name in y] if isinstance(y, dict) else list(said)
    for name, part in zip(names, leaves(y), strict=True):
        np.testing.assert_allclose(said[name], part, **tolerance)


@pytest.mark.parametrize("case", IN_ONNX, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer_agrees_with_onnxruntime_and_comes_back(case: Case, dtype):
    for shape in case.fixed:
        module, (x, *_) = case.example(shape, dtype=dtype)
        if getattr(module, "start_dim", 1) == 0:
            x = np.resize(x, (4, 3))
            with pytest.raises(ValueError, match="changes the batch axis"):
                cr.to_onnx(module, sample_shape=x.shape[1:])
            continue
        refused = refused_in_onnx(module, dtype)
        if not module.param():
            module = in_one_dtype(module, x, dtype)
        if refused:
            with pytest.raises(ValueError, match=refused):
                cr.to_onnx(module, sample_shape=x.shape[1:])
            continue
        proto = cr.to_onnx(module, sample_shape=each(lambda part: part.shape[1:], x))
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(proto, strict_mode=True), full_check=True)
        back = cr.from_onnx(proto)
        tolerance = {"rtol": 1e-6, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-12}
        if dtype == "float64" and "GELU()" in repr(
            module
        ):  # onnxruntime has no erf of float64, and ONNX's is no better
            tolerance = {"rtol": 1e-7, "atol": 1e-8}
        for batch in (1, 3, 1000):
            rows = each(lambda part: np.resize(part, (batch, *part.shape[1:])), x)  # noqa: B023
            expected = module(rows)
            given = feeds(proto, rows)
            # onnxruntime has no LRN in float64, and of a GlobalMaxPool of series or volumes ONNX's evaluator is wrong.
            unknown = (cr.LocalResponseNorm, cr.AdaptiveMaxPool1d, cr.AdaptiveMaxPool3d)
            if dtype == "float32" or case.kind not in unknown:
                assert_close(run(proto, given), expected, **tolerance)
            said = back(given if len(given) > 1 else next(iter(given.values())))
            assert_close(said, expected, rtol=0, atol=0)
        others = (cr.Reshape, cr.Unflatten, cr.PixelUnshuffle, cr.ChannelShuffle)  # of which ONNX has one
        others += (cr.UpsamplingNearest2d, cr.UpsamplingBilinear2d)
        if (
            case.kind in others
            or case in BRANCHES
            or any(words in repr(module) for words in ("padding='same'", "(None", "None)"))
        ):
            continue  # nor knows it words for padding or for adaptive windows, and no networks within networks
        if case.kind.__name__ in normalization.__all__ and not is_one_node(module):
            continue
        if "padding_mode" in repr(module):
            assert [type(layer).__name__[-5:] for layer in back][:-1] in ([], ["Pad2d"], ["Pad3d"])
            continue  # a Pad that stands in front
        # Flatten(1, 2) of three axes says the same as Flatten().
        said, expected = (
            [repr(layer).replace("end_dim=2", "") for layer in m] for m in (back, without_dropout(module))
        )
        assert said == expected


def is_one_node(module):
    """Whether a normalization is what a node of ONNX is, which has both parameters, and a momentum."""
    if isinstance(module, cr.Sequential):  # in_one_dtype
        return False
    if isinstance(module, cr.LocalResponseNorm):
        return False  # of images only, and otherwise between two Reshapes
    if isinstance(module, cr.LayerNorm | cr.RMSNorm):
        return module.elementwise_affine
    of_samples = type(module).__name__.startswith("Instance") and module.running_mean is not None
    return module.bias is not None and getattr(module, "momentum", 0) is not None and not of_samples


widths = st.integers(1, 20)
activations = st.sampled_from(elementwise())


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(widths, min_size=2, max_size=6), data=st.data())
def test_networks_of_any_size_come_back_bit_by_bit(sizes, data):
    layers = []
    for n_in, n_out in pairwise(sizes):
        layers += [cr.Linear(n_in, n_out, bias=data.draw(st.booleans()), rng=0), data.draw(activations)]
    model = cr.Sequential(cr.Sequential(*layers), cr.LogSoftmax())
    proto = cr.to_onnx(model, opset=data.draw(st.sampled_from([None, 11, 13, 19, 20])))
    x = x_of(model, 7, sizes[0])
    np.testing.assert_allclose(run(proto, x), model(x), rtol=1e-5, atol=1e-5)
    back = cr.from_onnx(proto)
    np.testing.assert_array_equal(back(x), model(x))
    assert repr(back) == repr(cr.Sequential(*without_dropout(model)))


def test_a_file_is_written_and_read(tmp_path):
    model = cr.Sequential(cr.Linear(2, 3), cr.Tanh(), cr.Dropout(), cr.Linear(3, 1)).to("torch")
    proto = cr.to_onnx(model, tmp_path / "a.onnx")
    assert onnx.load(tmp_path / "a.onnx") == proto
    assert (proto.producer_name, proto.producer_version) == ("chainrule", cr.__version__)
    assert {tensor.name for tensor in proto.graph.initializer} == set(model.state_dict())
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert repr(cr.from_onnx(str(tmp_path / "a.onnx"))) == repr(cr.Sequential(model[0], model[1], model[3]))
    with pytest.raises(FileNotFoundError):
        cr.from_onnx(tmp_path / "b.onnx")


def test_weights_that_are_shared_stay_shared():
    first = cr.Linear(3, 3)
    model = cr.Sequential(first, cr.Tanh(), cr.Linear(3, 3, weight=first.weight, bias=False))
    proto = cr.to_onnx(model)
    assert sorted(tensor.name for tensor in proto.graph.initializer) == ["0.bias", "0.weight"]
    back = cr.from_onnx(proto)
    assert back[2].weight is back[0].weight
    assert len(back.param()) == 2


class Own(cr.Module):
    pass


def test_what_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no ONNX for this model: .*Own"):
        cr.to_onnx(cr.Sequential(cr.Linear(1, 1), Own()), tmp_path / "a")
    with pytest.raises(ValueError, match="0: MSELoss"):
        cr.to_onnx(cr.Sequential(cr.MSELoss(), cr.Linear(1, 1)), tmp_path / "a")
    with pytest.raises(ValueError, match="no Linear says what one sample is"):
        cr.to_onnx(cr.Tanh(), tmp_path / "a")
    with pytest.raises(ValueError, match=r"1: Linear does not take samples of shape \(3,\)"):
        cr.to_onnx(cr.Sequential(cr.Linear(2, 3), cr.Linear(2, 3)), tmp_path / "a")
    with pytest.raises(TypeError, match="must be a chainrule Module, got a int"):
        cr.to_onnx(3, tmp_path / "a")
    with pytest.raises(ValueError, match="must be in float32 or float64, got float16"):
        cr.to_onnx(cr.Linear(2, 3, dtype="float16"), tmp_path / "a")
    with pytest.raises(ValueError, match="must be in one dtype, got float32 and float64"):
        cr.to_onnx(cr.Sequential(cr.Linear(2, 3), cr.Linear(3, 2, dtype="float64")), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


# -- what others write


WEIGHT, BIAS = np.arange(6, dtype="float32").reshape(3, 2) / 3, np.array([0.5, -1.0], "float32")


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (
            model_of(node("Gemm", ["x", "w", "b"], ["y"], alpha=2.0, beta=0.5), numbers=[("w", WEIGHT), ("b", BIAS)]),
            "Linear(3, 2)",
        ),
        (model_of(node("Gemm", ["x", "w"], ["y"]), numbers=[("w", WEIGHT)]), "Linear(3, 2, bias=False)"),
        (
            model_of(
                node("MatMul", ["x", "w"], ["h"]),
                node("Add", ["b", "h"], ["y"]),
                numbers=[("w", WEIGHT), ("b", BIAS)],
            ),
            "Linear(3, 2)",
        ),
        (
            model_of(
                node("Constant", [], ["w"], value=numpy_helper.from_array(WEIGHT.T.copy())),
                node("Transpose", ["w"], ["wt"], perm=[1, 0]),
                node("MatMul", ["x", "wt"], ["y"]),
            ),
            "Linear(3, 2, bias=False)",
        ),
        (
            model_of(
                node("Gemm", ["x", "w", "b"], ["h"]),
                node("Div", ["h", "root"], ["h1"]),
                node("Erf", ["h1"], ["h2"]),
                node("Add", ["h2", "one"], ["h3"]),
                node("Mul", ["h", "h3"], ["h4"]),
                node("Mul", ["h4", "half"], ["y"]),
                numbers=[
                    ("w", WEIGHT),
                    ("b", BIAS),
                    ("root", np.float32(2**0.5)),
                    ("one", np.float32(1)),
                    ("half", np.float32(0.5)),
                ],
            ),
            "GELU()",
        ),
        (
            model_of(
                node("Reshape", ["x", "s"], ["h"]),
                node("Gemm", ["h", "w", "b"], ["y"]),
                numbers=[("s", np.array([-1, 3])), ("w", WEIGHT), ("b", BIAS)],
                shape=("batch", 1, 3),
            ),
            "Flatten()",
        ),
    ],
    ids=["gemm", "gemm without bias", "matmul and add", "constant", "gelu", "reshape"],
)
def test_what_others_write_is_read(proto, expected):
    model = cr.from_onnx(proto)
    assert expected in [repr(layer) for layer in model]
    x = x_of(model, 5, *(1, 3)[len(proto.graph.input[0].type.tensor_type.shape.dim) == 2 :])
    np.testing.assert_allclose(model(x), run(proto, x), rtol=1e-5, atol=1e-6)


def test_what_pytorch_exports_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(6, 5), torch.nn.GELU(), torch.nn.Linear(5, 4, bias=False), torch.nn.SiLU(),
        torch.nn.LeakyReLU(0.05), torch.nn.ELU(), torch.nn.Softmax(dim=1),
    )  # fmt: skip
    x = torch.randn(3, 2, 3)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter will go: the other one needs a package more
        torch.onnx.export(
            module, (x,), tmp_path / "a.onnx", dynamo=False, dynamic_axes={"input": [0]}, input_names=["input"]
        )
    model = cr.from_onnx(tmp_path / "a.onnx")
    assert [type(layer).__name__ for layer in model] == [type(layer).__name__ for layer in module]
    np.testing.assert_allclose(model(x.numpy()), module(x).detach().numpy(), rtol=1e-5, atol=1e-6)


LINEAR = node("Gemm", ["x", "w"], ["h"])
NUMBERS = [("w", WEIGHT), ("v", WEIGHT[:2])]


@pytest.mark.parametrize(
    ("proto", "says"),
    [
        (model_of(LINEAR, node("Sin", ["h"], ["y"], name="wave"), numbers=NUMBERS), "Sin 'wave' is no layer"),
        (model_of(LINEAR, node("Sin", ["h"], ["y"]), numbers=NUMBERS), r"Sin \(which makes 'y'\) is no layer"),
        (
            model_of(LINEAR, node("Relu", ["h"], ["r"]), node("Sub", ["h", "r"], ["y"]), numbers=NUMBERS),
            r"Sub \(which makes 'y'\) is no layer",
        ),
        (
            model_of(LINEAR, node("Add", ["h", "v"], ["y"]), numbers=NUMBERS),
            "Add .* must add what the network computes, or a bias to what a MatMul gives",
        ),
        (model_of(node("Gemm", ["x", "x"], ["y"], transB=1)), "must have constant weights"),
        (model_of(node("Gemm", ["x", "w"], ["y"], transA=1), numbers=NUMBERS), "must have transA=0"),
        (model_of(node("Flatten", ["x"], ["y"], axis=0)), "must have axis=1, got 0"),
        (model_of(node("Softmax", ["x"], ["y"]), opset=11, shape=("b", 3, 2)), "takes all axes from 1 on as one"),
        (model_of(node("Relu", ["y"], ["x2"]), node("Relu", ["x2"], ["y"])), "no valid ONNX"),
        (
            model_of(node("Gemm", ["x", "w"], ["y"]), numbers=[("w", WEIGHT[0])]),
            "no valid ONNX|must have a matrix",
        ),
        (
            model_of(node("Gemm", ["x", "w"], ["y"]), numbers=[("w", WEIGHT.astype("float16"))]),
            "no valid ONNX|in float32 or float64",
        ),
        (model_of(LINEAR, node("Mystery", ["h"], ["y"]), numbers=NUMBERS), "no valid ONNX"),
        (
            model_of(LINEAR, node("Odd", ["h"], ["y"], domain="mine"), numbers=NUMBERS),
            "no valid ONNX|domain 'mine'",
        ),
    ],
    ids=range(13),
)
def test_what_no_layer_does_is_an_error_that_names_the_node(proto, says):
    with pytest.raises(ValueError, match=f"from_onnx: .*({says})"):
        cr.from_onnx(proto)


def test_numbers_in_other_files_are_not_read():
    proto = model_of(node("Gemm", ["x", "w"], ["y"]), numbers=NUMBERS)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(ValueError, match="keeps its numbers in other files"):
        cr.from_onnx(proto)


def test_shapes_that_lie_are_an_error():
    for dims in ([2**40, 2**40], [2**62], [-3, -2], [3, 3]):
        proto = model_of(node("Gemm", ["x", "w"], ["y"]), numbers=NUMBERS)
        del proto.graph.initializer[0].dims[:]
        proto.graph.initializer[0].dims.extend(dims)
        with pytest.raises(ValueError, match="from_onnx"):
            cr.from_onnx(proto)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_an_error_or_a_network(tmp_path, seed):
    rng, path = random.Random(seed), tmp_path / "a.onnx"
    model = cr.Sequential(cr.Linear(2, 3, rng=0), cr.SiLU(), cr.Softplus(2.0), cr.Linear(3, 1, rng=0))
    data = cr.to_onnx(model, path).SerializeToString()
    refused = 0
    for _ in range(150):
        place = rng.randrange(len(data))
        damaged = [
            data[:place],
            data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :],
            data[:place] + rng.randbytes(4) + data[place + 4 :],
        ]
        path.write_bytes(rng.choice(damaged))
        try:
            assert isinstance(cr.from_onnx(path), cr.Module)
        except ValueError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 - that there is a ValueError is not demanded
            refused += 1
    assert refused > 50
