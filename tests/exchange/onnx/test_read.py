"""What others write: read as onnxruntime reads it, or refused."""

import numpy as np
import onnx
import pytest
from counting import instructions
from onnx import TensorProto, helper
from onnx_graphs import model_of, node, run

import chainrule as cr

SQUARE, ROW = np.array([[1.0, -2.0], [0.5, 3.0]], "float32"), np.array([0.5, -1.0], "float32")
ONE = np.float32(1)


def same(proto, *shape, dtype="float32"):
    """The network that is read, which says what onnxruntime says of as many rows as you like."""
    model = cr.from_onnx(proto)
    for batch in (shape[0], 5):
        x = np.random.default_rng(0).normal(size=(batch, *shape[1:])).astype(dtype)
        np.testing.assert_allclose(model(x), run(proto, x), rtol=2e-6, atol=1e-6)
    return model


# -- what an operator means depends on the opset


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [7, 11, 12])
@pytest.mark.parametrize(
    ("axis", "shape", "is_read"),
    [
        (1, (2,), True),
        (None, (2,), True),
        (0, (2,), False),
        (-2, (2,), False),
        (-1, (2,), True),
        (-1, (3, 2), True),
        (2, (3, 2), True),
        (1, (3, 2), False),
        (None, (3, 2), False),
        (1, (3, 1), True),
    ],
)
def test_before_opset_13_softmax_takes_all_axes_from_its_own_on_as_one(op, opset, axis, shape, is_read):
    attributes = {} if axis is None else {"axis": axis}
    proto = model_of(node(op, ["x"], ["y"], **attributes), opset=opset, shape=("n", *shape), rank=1 + len(shape))
    if is_read:
        same(proto, 2, *shape)
    else:
        with pytest.raises(ValueError, match=rf"{op} .* of opset {opset} takes all axes from .* on as one"):
            cr.from_onnx(proto)


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_since_opset_13_softmax_takes_one_axis(axis):
    same(model_of(node("Softmax", ["x"], ["y"], axis=axis), opset=13, shape=("n", 3)), 2, 3)


def test_opsets_that_are_not_known_are_refused():
    for opset in (6, onnx.defs.onnx_opset_version() + 1):
        with pytest.raises(ValueError, match=f"from_onnx: is of opset {opset}, must be of 7 to"):
            cr.from_onnx(model_of(node("Relu", ["x"], ["y"]), opset=opset))


def test_a_dropout_that_trains_is_refused():
    told = [("ratio", np.float32(0.5)), ("no", np.array(False)), ("yes", np.array(True))]
    assert len(same(model_of(node("Dropout", ["x", "ratio", "no"], ["y"]), numbers=told), 2, 3)) == 0
    with pytest.raises(ValueError, match=r"Dropout .* must have training_mode=False"):
        cr.from_onnx(model_of(node("Dropout", ["x", "ratio", "yes"], ["y"]), numbers=told))


# -- what is added to every row alike


@pytest.mark.parametrize("op", ["Gemm", "x + b", "b + x"])
@pytest.mark.parametrize(
    ("shape", "is_read"),
    [((), True), ((1,), True), ((2,), True), ((1, 1), True), ((1, 2), True), ((2, 1), False), ((2, 2), False)],
)
def test_a_bias_is_the_same_for_every_row(op, shape, is_read):
    bias = np.arange(1, 1 + np.prod(shape, dtype=int), dtype="float32").reshape(shape)
    if op == "Gemm":
        nodes = [node("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=2.0)]
    else:
        nodes = [node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"] if op == "x + b" else ["b", "h"], ["y"])]
    proto = model_of(*nodes, numbers=[("w", SQUARE), ("b", bias)], shape=(2, 2))
    if is_read:
        model = cr.from_onnx(proto)
        x = np.array([[1.0, 2.0], [3.0, -1.0]], "float32")
        np.testing.assert_allclose(model(x), run(proto, x), rtol=1e-6)
        assert len(model) == 1
    else:
        with pytest.raises(ValueError, match=r"must add the same 2 numbers to every row, got \(2, "):
            cr.from_onnx(proto)


def test_a_bias_must_not_give_rows_more_axes():
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])]
    numbers = [("w", SQUARE), ("b", ROW.reshape(1, 1, 2))]
    same(model_of(*nodes, numbers=numbers, shape=("n", 4, 2), rank=3), 3, 4, 2)
    with pytest.raises(ValueError, match=r"must add the same 2 numbers to every row, got \(1, 1, 2\)"):
        cr.from_onnx(model_of(*nodes, numbers=numbers, shape=("n", 2), rank=3))


def test_floats_without_a_dtype_are_float32():
    bias = node("Constant", [], ["b"], value_floats=[0.1, 0.2])
    proto = model_of(bias, node("Gemm", ["x", "w", "b"], ["y"]), numbers=[("w", SQUARE)], shape=("n", 2))
    assert [p.value.dtype for p in same(proto, 3, 2).param()] == [np.float32] * 2


def test_an_attribute_is_what_it_is_in_float64():
    proto = model_of(node("LeakyRelu", ["x"], ["y"], alpha=0.1), dtype=TensorProto.DOUBLE)
    x = np.array([[-1.0, 0.5, 2.0]])
    assert cr.from_onnx(proto)[0].negative_slope == np.float32(0.1)
    np.testing.assert_array_equal(cr.from_onnx(proto)(x), [[-float(np.float32(0.1)), 0.5, 2.0]])
    assert cr.from_onnx(model_of(node("LeakyRelu", ["x"], ["y"], alpha=0.1)))[0].negative_slope == 0.1


# -- shapes


@pytest.mark.parametrize(
    ("before", "told", "layers"),
    [
        (("n", 3, 4), [-1, 12], "Flatten()"),
        (("n", 3, 4), [0, 12], "Flatten()"),
        (("n", 3, 4), [0, -1], "Flatten()"),
        ((2, 3, 4), [2, 12], "Flatten()"),
        (("n", 3, 4), [-1, 4], None),
        (("n", "n", 4), [-1, 4], None),
        (("n", 3, 4), [3, -1], None),
        (("n", "n", 4), [0, -1], "Flatten()"),
        (("n", "m", 4), [-1, 0, 4], ""),
        (("n", "n", 4), [-1, 3, 4], None),
        (("n", 3, 4), [-1, 3, 4], ""),
        (("n", 3, 4), [-1, 4, 3], "Reshape(4, 3)"),
        (("n", 3, 4), [0, 0, 0], ""),
        (("n", 3, 4), [0, 0, 2, 2], "Reshape(3, 2, 2)"),
        (("n", 3, 4), [-1], None),
        (("n", 3, 4, 2), [-1, 12, 2], "Flatten(end_dim=2)"),
        (("n", 3, 4, 2), [0, 0, -1], "Flatten(start_dim=2, end_dim=3)"),
        (("n", 3, 4, 2), [-1, 2, 12], "Reshape(2, 12)"),
        (("n", 3, "m", 2), [0, 0, -1], "Flatten(start_dim=2, end_dim=3)"),
        (("n", 3, "m", 2), [0, -1, 2], "Flatten(end_dim=2)"),
        (("n", 3, "m", 2), [0, -1, 6], "Reshape(-1, 6)"),
        (("n", 1), [-1, 1], ""),
        (("n", 2), [-1, 1], None),
    ],
    ids=str,
)
def test_a_reshape_keeps_the_batch_axis_whatever_its_length(before, told, layers):
    proto = model_of(
        node("Reshape", ["x", "told"], ["y"]), numbers=[("told", np.array(told))], shape=before, rank=len(told)
    )
    if layers is None:
        with pytest.raises(ValueError, match=r"Reshape .* must keep the batch axis and give each sample one shape"):
            cr.from_onnx(proto)
        return
    model = cr.from_onnx(proto)
    assert ", ".join(map(repr, model)) == layers
    for lengths in ({"n": 2, "m": 3}, {"n": 5, "m": 1}):
        x = np.random.default_rng(0).normal(size=[lengths.get(length, length) for length in before]).astype("float32")
        if before[0] in (len(x), "n"):
            np.testing.assert_array_equal(model(x), run(proto, x))


def test_a_zero_that_is_meant_is_refused():
    proto = model_of(
        node("Reshape", ["x", "told"], ["y"], allowzero=1), numbers=[("told", np.array([0, 3]))], shape=("n", 3)
    )
    with pytest.raises(ValueError, match="must keep the batch axis"):
        cr.from_onnx(proto)


def test_shapes_follow_from_the_input_and_not_from_what_the_file_claims():
    proto = model_of(
        node("Relu", ["x"], ["h"]),
        node("Reshape", ["h", "told"], ["y"]),
        numbers=[("told", np.array([-1, 4]))],
        shape=("n", 3, 4),
    )
    proto.graph.value_info.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, ["n", 2, 2]))
    with pytest.raises(ValueError, match=r"it makes \[-1, 4\] of \[free, 3, 4\]"):
        cr.from_onnx(proto)


@pytest.mark.parametrize(("axis", "rank", "is_read"), [(1, 3, True), (-2, 3, True), (0, 1, False), (2, 3, False)])
def test_a_flatten_keeps_the_batch_axis(axis, rank, is_read):
    proto = model_of(node("Flatten", ["x"], ["y"], axis=axis), shape=("n", 3, 4)[:rank])
    if is_read:
        assert repr(same(proto, 2, 3, 4)[0]) == "Flatten()"
    else:
        with pytest.raises(ValueError, match=rf"Flatten .* must have axis=1, got {axis}"):
            cr.from_onnx(proto)


# -- what exporters write


def double(*names):
    """The numbers of these names that are constants, as others keep them."""
    return [(name, np.float32(value)) for name, value in names]


ERF = [node("Div", ["x", "root"], ["a"]), node("Erf", ["a"], ["b"]), node("Add", ["b", "one"], ["c"])]
ERF_NUMBERS = double(("root", 2**0.5), ("one", 1), ("half", 0.5))
TANH_NUMBERS = double(("three", 3), ("k", 0.044715), ("root", (2 / np.pi) ** 0.5), ("one", 1), ("half", 0.5))
TANH = [
    node("Mul", ["k", "cube"], ["a"]),
    node("Add", ["x", "a"], ["b"]),
    node("Mul", ["root", "b"], ["c"]),
    node("Tanh", ["c"], ["d"]),
]

# Of PyTorch: the exporter through TorchScript, and the one through torch.export with onnxscript.
EXPORTED = {
    "Softplus(), torchscript": ([node("Softplus", ["x"], ["y"])], [], "Softplus()"),
    "Softplus(), dynamo": (
        [
            node("Softplus", ["x"], ["a"]),
            node("Greater", ["x", "threshold"], ["b"]),
            node("Where", ["b", "x", "a"], ["y"]),
        ],
        double(("threshold", 20)),
        "Softplus()",
    ),
    "Softplus(0.1, 5), torchscript": (
        [
            node("Mul", ["x", "beta"], ["a"]),
            node("Softplus", ["a"], ["b"]),
            node("Div", ["b", "again"], ["y"]),
        ],
        double(("beta", 0.1), ("again", 0.1)),
        "Softplus(beta=0.1)",  # that exporter leaves the threshold out
    ),
    "Softplus(2, 5), dynamo": (
        [
            node("Mul", ["x", "beta"], ["a"]),
            node("Softplus", ["a"], ["b"]),
            node("Div", ["b", "beta"], ["c"]),
            node("Greater", ["a", "threshold"], ["d"]),
            node("Where", ["d", "x", "c"], ["y"]),
        ],
        double(("beta", 2), ("threshold", 5)),
        "Softplus(beta=2.0, threshold=5.0)",
    ),
    "GELU(), torchscript": (
        [*ERF, node("Mul", ["x", "c"], ["d"]), node("Mul", ["d", "half"], ["y"])],
        ERF_NUMBERS,
        "GELU()",
    ),
    "GELU(), dynamo": (
        [*ERF, node("Mul", ["half", "c"], ["d"]), node("Mul", ["x", "d"], ["y"])],
        ERF_NUMBERS,
        "GELU()",
    ),
    "GELU('tanh'), torchscript": (
        [
            node("Mul", ["x", "x"], ["square"]),
            node("Mul", ["x", "square"], ["cube"]),
            *TANH,
            node("Add", ["one", "d"], ["e"]),
            node("Mul", ["x", "e"], ["f"]),
            node("Mul", ["half", "f"], ["y"]),
        ],
        TANH_NUMBERS,
        "GELU(approximate='tanh')",
    ),
    "GELU('tanh'), dynamo": (
        [
            node("Pow", ["x", "three"], ["cube"]),
            *TANH,
            node("Add", ["d", "one"], ["e"]),
            node("Mul", ["half", "e"], ["f"]),
            node("Mul", ["x", "f"], ["y"]),
        ],
        TANH_NUMBERS,
        "GELU(approximate='tanh')",
    ),
}


@pytest.mark.parametrize(("nodes", "numbers", "layer"), EXPORTED.values(), ids=EXPORTED)
def test_what_pytorchs_exporters_make_of_a_layer_is_that_layer(nodes, numbers, layer):
    assert repr(same(model_of(*nodes, numbers=numbers, opset=18), 4, 3)[0]) == layer


@pytest.mark.parametrize("name", ["beta", "threshold", "three", "k", "root", "one", "half"])
def test_a_number_that_is_another_makes_another_layer_or_none(name):
    for nodes, numbers, layer in EXPORTED.values():
        found = dict(numbers)
        if any(name in one.input for one in nodes):
            proto = model_of(*nodes, numbers=(found | {name: found[name] * np.float32(1.00001)}).items(), opset=18)
            try:
                model = cr.from_onnx(proto)
            except ValueError:
                continue
            assert name in ("beta", "threshold")
            assert repr(model[0]) != layer
            x = np.linspace(-30, 30, 99, dtype="float32").reshape(33, 3)
            np.testing.assert_allclose(model(x), run(proto, x), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_what_pytorch_exports_with_a_free_batch_is_read(tmp_path, opset):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    module = nn.Sequential(
        nn.Flatten(1, 2), nn.Linear(3, 4), nn.Softplus(2.0), nn.GELU("tanh"), nn.Flatten(), nn.Linear(16, 3), nn.GELU()
    )
    x = torch.randn(3, 2, 2, 3)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter will go: the other one needs a package more
        options = {"dynamo": False, "opset_version": opset, "input_names": ["x"], "dynamic_axes": {"x": [0]}}
        torch.onnx.export(module, (x,), tmp_path / "a.onnx", **options)
    model = cr.from_onnx(tmp_path / "a.onnx")
    assert [type(layer).__name__ for layer in model] == [type(layer).__name__ for layer in module]
    np.testing.assert_allclose(model(x.numpy()), module(x).detach().numpy(), rtol=1e-5, atol=1e-6)


def cast(value, name, to=TensorProto.FLOAT):
    return node("Cast", [value], [name], to=to)


def test_what_keras_exports_is_read():
    proto = model_of(
        cast("x", "a"),
        cast("a", "b"),
        node("Shape", ["b"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"], axis=0),
        node("Unsqueeze", ["batch", "first"], ["batches"]),
        node("Concat", ["batches", "rest"], ["told"], axis=0),
        cast("b", "c"),
        node("Reshape", ["c", "told"], ["d"], allowzero=0),
        cast("d", "e"),
        node("MatMul", ["e", "w"], ["f"]),
        cast("f", "g"),
        node("Add", ["g", "bias"], ["h"]),
        cast("h", "i"),
        node("Relu", ["i"], ["j"]),
        cast("j", "y"),
        numbers=[
            ("zero", np.array(0)),
            ("first", np.array([0])),
            ("rest", np.array([-1])),
            ("w", np.arange(12, dtype="float32").reshape(6, 2) - 5),
            ("bias", ROW),
        ],
        opset=20,
        shape=("batch", 2, 3),
    )
    assert [repr(layer) for layer in same(proto, 4, 2, 3)] == ["Flatten()", "Linear(6, 2)", "ReLU()"]
    proto.graph.node[3].input[1] = "rest"  # the last axis instead of the batch
    proto.graph.node[4].CopyFrom(node("Identity", ["batch"], ["batches"]))
    with pytest.raises(ValueError, match=r"must keep the batch axis .* it makes \[3, -1\] of \[free, 2, 3\]"):
        cr.from_onnx(proto)


def test_shapes_that_grow_without_end_are_refused():
    nodes = [node("Shape", ["x"], ["s0"])]
    nodes += [node("Concat", [f"s{i}", f"s{i}"], [f"s{i + 1}"], axis=0) for i in range(60)]
    proto = model_of(*nodes, node("Reshape", ["x", "s60"], ["y"]), shape=("n", 2))
    with pytest.raises(ValueError, match="from_onnx: "):
        cr.from_onnx(proto)


def test_what_scikit_learns_converter_writes_of_a_regressor_is_read():
    def proto(outputs):
        return model_of(
            cast("x", "a"),
            node("MatMul", ["a", "w"], ["b"]),
            node("Add", ["b", "bias"], ["c"]),
            node("Relu", ["c"], ["d"]),
            node("MatMul", ["d", "v"], ["e"]),
            node("Add", ["e", "last"], ["f"]),
            node("Reshape", ["f", "told"], ["y"]),
            numbers=[
                ("w", SQUARE),
                ("bias", ROW.reshape(1, 2)),
                ("v", SQUARE[:, :outputs]),
                ("last", ROW[:outputs].reshape(1, outputs)),
                ("told", np.array([-1, 1])),
            ],
            shape=(None, 2),
        )

    assert [repr(layer) for layer in same(proto(1), 4, 2)] == ["Linear(2, 2)", "ReLU()", "Linear(2, 1)"]
    with pytest.raises(ValueError, match=r"it makes \[-1, 1\] of \[free, 2\]"):
        cr.from_onnx(proto(2))


def test_a_cast_that_changes_something_is_refused():
    proto = model_of(
        cast("x", "a", TensorProto.DOUBLE), node("Relu", ["a"], ["b"]), cast("b", "y"), shape=("n", 2), opset=20
    )
    with pytest.raises(ValueError, match=r"Cast .* changes the dtype"):
        cr.from_onnx(proto)


def test_functions_of_the_file_are_read_as_what_they_do():
    proto = model_of(node("Twice", ["x"], ["y"], domain="mine"), shape=("n", 2))
    proto.functions.append(
        helper.make_function(
            "mine",
            "Twice",
            ["a"],
            ["c"],
            [node("Tanh", ["a"], ["b"]), node("Relu", ["b"], ["c"])],
            [helper.make_opsetid("", 17)],
        )
    )
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    assert [repr(layer) for layer in same(proto, 3, 2)] == ["Tanh()", "ReLU()"]


def test_weights_that_are_shared_by_way_of_an_identity_stay_shared():
    proto = model_of(
        node("Identity", ["w"], ["v"]),
        node("MatMul", ["x", "w"], ["h"]),
        node("MatMul", ["h", "v"], ["y"]),
        numbers=[("w", SQUARE)],
        shape=("n", 2),
    )
    assert len(same(proto, 3, 2).param()) == 1


# -- how long it takes


def test_the_work_grows_as_the_number_of_layers():
    def work(n):
        layers = [layer for _ in range(n) for layer in (cr.Linear(2, 2, rng=0), cr.SiLU(), cr.Softplus(2.0))]
        proto = cr.to_onnx(cr.Sequential(*layers))
        return instructions(cr.from_onnx, proto), instructions(cr.to_onnx, cr.Sequential(*layers))

    for few, many in zip(work(10), work(80), strict=True):
        assert many < 9 * few


def test_a_value_that_goes_into_many_nodes_takes_no_longer_than_they_are_many():
    def work(n):
        nodes = [node("Relu", ["x"], [f"y{i}"]) for i in range(n)]
        proto = model_of(*nodes, node("Concat", [f"y{i}" for i in range(n)], ["y"], axis=1))
        return instructions(cr.from_onnx, proto)

    assert work(160) < 9 * work(20)


def test_what_no_output_needs_is_not_looked_at():
    proto = model_of(node("Sin", ["x"], ["wave"]), node("Relu", ["x"], ["y"]), node("Relu", ["wave"], ["z"]))
    assert [repr(layer) for layer in same(proto, 2, 3)] == ["ReLU()"]
