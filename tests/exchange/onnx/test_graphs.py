"""Networks with branches: names of what goes in and comes out, and of nodes."""

import numpy as np
import pytest
from onnx_graphs import model_of, node, run

import chainrule as cr

SQUARE = np.array([[1.0, -2.0, 0.5], [0.5, 3.0, 1.0], [0.25, -1.0, 2.0]], "float32")
X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")


def names(values):
    return [value.name for value in values]


def two_heads():
    cr.seed(0)
    return cr.Graph(
        {
            "h": (cr.Linear(3, 4), "left"),
            "gate": (cr.Sequential(cr.Linear(2, 4), cr.Sigmoid()), "right"),
            "mixed": (cr.Multiply(), ("h", "gate")),
            "skip": (cr.Residual(cr.Sequential(cr.Linear(4, 4), cr.SiLU())), "mixed"),
            "price": (cr.Linear(4, 1), "skip"),
            "kind": (cr.LogSoftmax(), "skip"),
        },
        inputs=("left", "right"),
        outputs=("kind", "price"),
    )


def test_inputs_and_outputs_have_their_names_and_initializers_those_of_state_dict():
    model = two_heads()
    proto = cr.to_onnx(model, sample_shape={"left": (3,), "right": (2,)})
    assert (names(proto.graph.input), names(proto.graph.output)) == (["left", "right"], ["kind", "price"])
    assert {tensor.name for tensor in proto.graph.initializer} == set(model.state_dict())
    x = {"left": X, "right": X[:, :2]}
    said, back = run(proto, x), cr.from_onnx(proto)
    assert (back.inputs, back.outputs) == (("left", "right"), ("kind", "price"))
    assert list(back.nodes) == ["h", "gate_0", "sigmoid", "multiply", "skip_body_0", "silu", "sum", "price", "kind"]
    for name, y in model(x).items():
        np.testing.assert_allclose(said[name], y, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(back(x)[name], y)
    again = cr.to_onnx(back, sample_shape={"left": (3,), "right": (2,)})
    assert [n.op_type for n in again.graph.node] == [n.op_type for n in proto.graph.node]


def test_the_shapes_are_those_that_the_linears_say():
    proto = cr.to_onnx(two_heads())
    lengths = [[d.dim_value for d in value.type.tensor_type.shape.dim][1:] for value in proto.graph.input]
    assert (names(proto.graph.input), lengths) == (["left", "right"], [[3], [2]])
    with pytest.raises(ValueError, match="to_onnx: no Linear says what one sample is; sample_shape=… does"):
        cr.to_onnx(cr.Graph({"y": (cr.Sum(), ("a", "b"))}))


def test_a_tuple_of_shapes_is_in_the_order_of_the_inputs():
    proto = cr.to_onnx(two_heads(), sample_shape=((3,), (2,)))
    assert names(proto.graph.input) == ["left", "right"]
    proto = cr.to_onnx(cr.Sequential(cr.Parallel(cr.Linear(3, 2), cr.Tanh()), cr.Sum()), sample_shape=((3,), (2,)))
    assert (names(proto.graph.input), names(proto.graph.output)) == (["x_0", "x_1"], ["y"])
    proto = cr.to_onnx(cr.Parallel(cr.Linear(3, 2), cr.Tanh()))
    assert (names(proto.graph.input), names(proto.graph.output)) == (["x"], ["y_0", "y_1"])


def test_outputs_that_are_inputs_or_come_twice_or_are_called_alike():
    """And values within have other names than what comes out."""
    tanh = cr.Tanh()
    model = cr.Graph(
        {"v1": (tanh, "v2"), "v0": (tanh, "v1"), "same": (cr.Identity(), "v1")}, outputs=("same", "v0", "v1")
    )
    proto = cr.to_onnx(model, sample_shape=(3,))
    for name, y in run(proto, X).items():
        np.testing.assert_allclose(y, model(X)[name], rtol=1e-6)
        np.testing.assert_array_equal(cr.from_onnx(proto)(X)[name], model(X)[name])
    model = cr.Parallel({"a": cr.Tanh(), "b": cr.Identity()})
    proto = cr.to_onnx(model, sample_shape={"b": (3,), "a": (3,)})
    assert (names(proto.graph.input), names(proto.graph.output)) == (["b", "a"], ["y_a", "y_b"])
    said = run(proto, {"a": X, "b": 2 * X})
    np.testing.assert_allclose(said["y_a"], np.tanh(X), rtol=1e-6)
    np.testing.assert_array_equal(said["y_b"], 2 * X)
    back = cr.from_onnx(proto)
    np.testing.assert_array_equal(back({"a": X, "b": 2 * X})["y_b"], 2 * X)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (
            {"sample_shape": (3,)},
            ValueError,
            "Graph does not take samples of shape .*must be a dict of 'left', 'right'",
        ),
        ({"sample_shape": {"left": (3,)}}, ValueError, "Graph does not take samples of shape"),
        ({"sample_shape": {"left": (3,), 2: (2,)}}, TypeError, "must name the inputs by words"),
        ({"sample_shape": {"left": (3,), "right": (5,)}}, ValueError, "does not take samples of shape"),
        ({"sample_shape": {"left": (3,), "right": (0,)}}, ValueError, "sample_shape must be a positive integer, got 0"),
        ({"sample_shape": ((3,), (2,), (2,))}, ValueError, "one shape for each of left, right"),
    ],
    ids=str,
)
def test_shapes_that_do_not_fit_the_inputs_are_an_error(options, error, says, tmp_path):
    with pytest.raises(error, match=f"to_onnx: .*{says}"):
        cr.to_onnx(two_heads(), tmp_path / "a.onnx", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_fork_is_a_graph_and_a_chain_a_sequential():
    fork = model_of(node("MatMul", ["x", "w"], ["h"]), node("Tanh", ["h"], ["t"]), node("Add", ["t", "h"], ["y"]),
                    numbers=[("w", SQUARE)])  # fmt: skip
    model = cr.from_onnx(fork)
    assert list(model.nodes.items())[1:] == [
        ("tanh", (model["tanh"], "linear")),
        ("sum", (model["sum"], ("tanh", "linear"))),
    ]
    np.testing.assert_allclose(model(X), run(fork, X), rtol=1e-6)
    chain = model_of(node("MatMul", ["x", "w"], ["h"]), node("Tanh", ["h"], ["y"]), numbers=[("w", SQUARE)])
    assert [repr(layer) for layer in cr.from_onnx(chain)] == ["Linear(3, 3, bias=False)", "Tanh()"]


def test_groups_of_nodes_are_one_layer_in_a_fork_too():
    """The sigmoid of SiLU may be read by others, and its input too."""
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", ["s", "x"], ["silu"]), node("Add", ["silu", "x"], ["a"])]
    proto = model_of(*nodes, node("Add", ["a", "s"], ["y"]))
    model = cr.from_onnx(proto)
    assert sorted(repr(module) for module, _ in model.nodes.values()) == ["SiLU()", "Sigmoid()", "Sum()", "Sum()"]
    np.testing.assert_allclose(model(X), run(proto, X), rtol=1e-6)


def test_a_bias_after_a_product_that_others_read_is_one_layer_and_the_weights_are_shared():
    proto = model_of(
        node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["z"]), node("Mul", ["z", "h"], ["y"]),
        numbers=[("w", SQUARE), ("b", SQUARE[0])],
    )  # fmt: skip
    model = cr.from_onnx(proto)
    assert len(model.param()) == 2
    np.testing.assert_allclose(model(X), run(proto, X), rtol=1e-5)


@pytest.mark.parametrize(
    ("proto", "says"),
    [
        (model_of(node("Add", ["x", "b"], ["y"]), numbers=[("b", SQUARE[0])]), "Add .* must add what the network"),
        (model_of(node("Mul", ["x", "b"], ["y"]), numbers=[("b", SQUARE[0])]), "Mul .* its input 'b' is not that"),
        (model_of(node("Concat", ["x", "x"], ["y"], axis=0)), "must not lay samples behind each other, got axis=0"),
        (model_of(node("Concat", ["x", "x"], ["y"], axis=-2)), "must not lay samples behind each other, got axis=-2"),
        (model_of(node("Transpose", ["x"], ["y"])), r"Transpose .* must keep the batch axis, got perm=\[1, 0\]"),
        (model_of(node("Transpose", ["x"], ["y"], perm=[1, 0])), "Transpose .* must keep the batch axis"),
        (
            model_of(node("Reshape", ["x", "s"], ["h"]), node("Add", ["h", "x"], ["y"]),
                     numbers=[("s", np.array([-1, 1, 3]))], rank=3),
            r"Add .* must take values of one shape, got \[free, 1, 3\] and \[free, 3\]",
        ),
        (model_of(node("Split", ["x"], ["h", "y"], axis=1, num_outputs=2), opset=18), "read by its first output"),
        (model_of(node("Constant", [], ["y"], value_float=1.0)), "'y' does not depend on the input"),
        (model_of(node("Shape", ["x"], ["y"]), rank=1), "no valid ONNX|'y' does not depend on the input"),
    ],
    ids=range(10),
)  # fmt: skip
def test_what_branches_cannot_do_here_is_an_error_that_names_the_node(proto, says):
    with pytest.raises(ValueError, match=f"from_onnx: .*({says})"):
        cr.from_onnx(proto)


def test_a_batch_of_one_is_not_repeated():
    """Which is known only when the network is called: an error, and never other numbers."""
    proto = model_of(node("Tanh", ["x"], ["h"]), node("Sum", ["h", "x"], ["y"]))
    model = cr.from_onnx(proto)
    with pytest.raises(ValueError, match="Sum"):
        model.nodes["sum"][0].forward((X, X[:1]))
