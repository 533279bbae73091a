"""What from_onnx reads, it reads as onnxruntime does, and else it says that it does not: graphs that are drawn, and the
examples that ONNX ships."""

import importlib
import math
import warnings
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import _NodeTestCases
from onnx.reference import ReferenceEvaluator

import chainrule as cr
from chainrule.structures import leaves

onnxruntime.set_default_logger_severity(4)

TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def oracle(proto, feeds):
    """What onnxruntime says, or ONNX's own evaluator where it has no kernel; None where both refuse."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
        return session.run(None, feeds)
    except Exception:
        try:
            return ReferenceEvaluator(proto).run(None, feeds)
        except Exception:
            return None


class Drawn:
    """A graph that grows node by node; `value` is what came out last, of the shape `shape`.

    known : other values that nodes may read, with their shapes.
    """

    def __init__(self, data, opset, dtype, shape):
        self.data, self.opset, self.dtype, self.shape = data, opset, dtype, shape
        self.nodes, self.numbers, self.value = [], [], "x"
        self.known, self.inputs = [("x", shape)], {"x": shape}
        self.rng = np.random.default_rng(data.draw(st.integers(0, 9)))

    def draw(self, choices):
        return self.data.draw(st.sampled_from(list(choices)))

    def add(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        self.value = name
        return name

    def constant(self, array):
        """A constant, as an initializer or as a node, perhaps by way of an Identity."""
        name = f"c{len(self.numbers) + len(self.nodes)}"
        array = np.asarray(array)
        if self.draw([True, True, False]):
            self.numbers.append(numpy_helper.from_array(array, name))
        else:
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
        return name

    def normal(self, *shape):
        return self.constant(self.rng.normal(size=shape).astype(self.dtype))

    def number(self, value):
        """One number, with as many axes as fit, or one too many."""
        return self.constant(np.full((1,) * self.draw([0, 0, 0, 1, len(self.shape) + 1]), value, self.dtype))

    def broadcasting(self):
        """A shape that broadcasts to `self.shape`."""
        kept = [length if self.draw([True, False]) else 1 for length in self.shape]
        return tuple(kept[self.draw(range(len(kept) + 1)) :])

    def axis(self, op, lowest, highest, **more):
        axis = self.draw([None, *range(lowest, highest)])
        self.add(op, self.value, **({} if axis is None else {"axis": axis}), **more)
        return axis

    # -- the nodes

    def gemm(self):
        if len(self.shape) != 2:
            return
        turned, width, x = self.draw([0, 1]), self.draw([1, 2, 3]), self.value
        weight = self.normal(*((width, self.shape[1]) if turned else (self.shape[1], width)))
        self.shape = (self.shape[0], width)
        bias = [self.normal(*self.broadcasting())] if self.draw([True, True, False]) else []
        options = {key: self.draw([0.0, 0.5, 1.0]) for key in ("alpha", "beta") if self.draw([True, False])}
        self.add("Gemm", x, weight, *bias, transB=turned, **options)

    def matmul(self):
        width = self.draw([1, 2, 3])
        self.add("MatMul", self.value, self.normal(self.shape[-1], width))
        self.shape = (*self.shape[:-1], width)
        if self.draw([True, True, False]):
            if self.draw([True, False]):
                self.nothing()
            both = [self.value, self.normal(*self.broadcasting())]
            self.add("Add", *both[:: self.draw([1, -1])])

    def nothing(self):
        op = self.draw(["Identity", "Cast", "Dropout"])
        options = {}
        if op == "Cast":
            options = {"to": TYPES[self.dtype]}
        elif op == "Dropout" and self.opset < 12:
            options = {"ratio": 0.5}
        more = []
        if op == "Dropout" and self.opset >= 12 and self.draw([True, False]):
            more = [self.constant(np.float32(0.5)), self.constant(np.array(False))]
        self.add(op, self.value, *more, **options)

    def softmax(self):
        rank = len(self.shape)
        self.axis(self.draw(["Softmax", "LogSoftmax"]), -rank if self.opset >= 11 else 0, rank)

    def flatten(self):
        rank = len(self.shape)
        axis = self.axis("Flatten", -rank if self.opset >= 11 else 0, rank + 1)
        axis = 1 if axis is None else axis % rank if axis < 0 else axis
        self.shape = (math.prod(self.shape[:axis]), math.prod(self.shape[axis:]))

    def reshape(self):
        lengths = list(self.shape)
        if self.draw([True, False]):  # lay out some axes as one
            start = self.draw(range(len(lengths)))
            end = self.draw(range(start, len(lengths))) + 1
            lengths[start:end] = [math.prod(lengths[start:end])]
        elif self.draw([True, False]):  # or take them in another order
            lengths.reverse()
        told = [
            0 if i < len(self.shape) and n == self.shape[i] and self.draw([1, 0]) else n for i, n in enumerate(lengths)
        ]
        if self.draw([True, True, False]):
            told[self.draw(range(len(told)))] = -1
        options = {"allowzero": self.draw([0, 1])} if self.opset >= 14 else {}
        self.add("Reshape", self.value, self.constant(np.array(told)), **options)
        self.shape = tuple(lengths)

    def activation(self):
        op = self.draw(["Relu", "Tanh", "Sigmoid", "Softplus", "LeakyRelu", "Elu", "PRelu", "Gelu"])
        if op == "PRelu":
            return self.add(op, self.value, self.normal(*self.broadcasting()))
        if op == "Gelu" and self.opset >= 20:
            return self.add(op, self.value, approximate=self.draw(["none", "tanh"]))
        options = {"alpha": self.draw([0.3, 1.0])} if op in ("LeakyRelu", "Elu") and self.draw([True, False]) else {}
        return self.add(op if op != "Gelu" else "Relu", self.value, **options)

    def group(self):
        x, n, two = self.value, self.number, lambda *pair: pair[:: self.draw([1, -1])]
        kind = self.draw(["silu", "softplus", "threshold", "scaled", "both", "gelu", "elu"])
        if kind == "silu":
            return self.add("Mul", *two(x, self.add("Sigmoid", x)))
        if kind == "elu":
            bent = self.add("Mul", *two(n(0.3), self.add("Elu", x, alpha=self.draw([1.0, 0.5]))))
            return self.add("Where", self.add("Greater", x, n(self.draw([0.0, 0.1]))), x, bent)
        if kind == "gelu":
            twice = self.add("Add", *two(self.add("Erf", self.add("Div", x, n(2**0.5))), n(1.0)))
            half = n(self.draw([0.5, 0.5, 0.4]))
            if self.draw([True, False]):
                return self.add("Mul", *two(x, self.add("Mul", *two(half, twice))))
            return self.add("Mul", *two(half, self.add("Mul", *two(x, twice))))
        beta = self.draw([0.5, 2.0])
        scaled = self.add("Mul", *two(x, n(beta))) if kind in ("scaled", "both") else x
        bent = self.add("Softplus", scaled)
        if kind in ("scaled", "both"):
            bent = self.add("Div", bent, n(self.draw([beta, beta, 1.0])))
        if kind in ("threshold", "both"):
            bent = self.add("Where", self.add("Greater", scaled, n(1.0)), x, bent)
        return bent

    def transpose(self):
        order = list(range(len(self.shape)))
        if self.draw([True, False]):
            order = [0, *self.data.draw(st.permutations(order[1:]))]
        elif self.draw([True, False]):
            order = self.data.draw(st.permutations(order))
        else:
            self.add("Transpose", self.value)
            self.shape = self.shape[::-1]
            return
        self.add("Transpose", self.value, perm=order)
        self.shape = tuple(self.shape[i] for i in order)

    def fork(self):
        """Go on from another value."""
        self.value, self.shape = self.draw(self.known)

    def another_input(self):
        if len(self.inputs) < 3:
            self.value = f"x{len(self.inputs)}"
            self.inputs[self.value] = self.shape

    def join(self):
        """With a value of the same shape, or perhaps of another that broadcasts."""
        fitting = [(name, shape) for name, shape in self.known if shape == self.shape]
        other, shape = self.draw(fitting if fitting and self.draw([True, True, True, False]) else self.known)
        op = self.draw(["Add", "Mul", "Sum", "Concat"])
        names = [self.value, other][:: self.draw([1, -1])] + [self.value] * (op == "Sum")
        if op == "Concat":
            axis = self.draw(range(-len(self.shape) if self.opset >= 11 else 0, len(self.shape)))
            here = axis % len(self.shape)
            if (
                len(shape) != len(self.shape)
                or shape[:here] + shape[here + 1 :] != self.shape[:here] + self.shape[here + 1 :]
            ):
                return
            self.add(op, *names, axis=axis)
            self.shape = (*shape[:here], shape[here] + self.shape[here], *shape[here + 1 :])
            return
        try:
            self.shape = np.broadcast_shapes(shape, self.shape)
        except ValueError:
            return
        self.add(op, *names)

    def any(self):
        chain = ["gemm", "matmul", "nothing", "softmax", "flatten", "reshape", "activation", "group", "transpose"]
        getattr(self, self.draw([*chain, *["fork", "join", "join", "join", "another_input"] * self.branches]))()
        self.known.append((self.value, self.shape))

    def proto(self, axes):
        kind, outputs = TYPES[self.dtype], {self.value: self.shape}
        if self.branches and self.draw([True, False]):
            outputs |= dict([self.draw(self.known)])
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [helper.make_tensor_value_info(name, kind, axes(shape)) for name, shape in self.inputs.items()],
            [helper.make_tensor_value_info(name, kind, [None] * len(shape)) for name, shape in outputs.items()],
            self.numbers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


@pytest.mark.parametrize("branches", [False, True])
def test_drawn_graphs_are_read_as_onnxruntime_reads_them_or_refused(branches):
    count = Counter()

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(data=st.data())
    def check(data):
        opset = data.draw(st.integers(7 if branches else 1, 25))
        dtype = data.draw(st.sampled_from(list(TYPES)))
        shape = tuple(data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
        free = [
            data.draw(st.booleans()) if i else data.draw(st.sampled_from([True, True, False]))
            for i in range(len(shape))
        ]
        name = data.draw(st.sampled_from(["n", ""]))  # the same for all of them, or none
        drawn = Drawn(data, opset, dtype, shape)
        drawn.branches = branches
        for _ in range(data.draw(st.integers(2, 8) if branches else st.integers(1, 4))):
            drawn.any()
        if not drawn.nodes or drawn.value in drawn.inputs:
            return

        def axes(lengths):
            kept = lengths == shape  # another input may have another shape, with a free batch
            is_free = free if kept else [free[0]] + [False] * (len(lengths) - 1)
            return [name or None if one else n for n, one in zip(lengths, is_free, strict=True)]

        proto = drawn.proto(axes)
        try:
            model = cr.from_onnx(proto)
        except ValueError as refusal:
            assert str(refusal).startswith("from_onnx: ")  # noqa: PT017 - that there is one is not demanded
            count["refused"] += 1
            return
        for batch in {shape[0], 2} if free[0] else {shape[0]}:
            rng = np.random.default_rng(0)
            feeds = {
                name: rng.normal(size=(batch if lengths[0] == shape[0] else lengths[0], *lengths[1:])).astype(dtype)
                for name, lengths in drawn.inputs.items()
            }
            expected = oracle(proto, feeds)
            if expected is None:
                count["for nobody"] += 1
                continue
            tolerance = 2e-6 if dtype == "float32" else 1e-7  # ONNX's erf and Elu compute in float32 here and there
            try:
                said = model(feeds if len(feeds) > 1 else feeds["x"])
            except ValueError:
                # A layer that takes rows refuses one axis when it is called, and Sum does not repeat a batch of one.
                assert len(shape) == 1 or branches
                count["refused when called"] += 1
                continue
            assert isinstance(said, dict) == (len(expected) > 1)
            for found, one in zip(leaves(said), expected, strict=True):
                assert found.shape == one.shape
                np.testing.assert_allclose(found, one, rtol=tolerance, atol=tolerance)
            count["read"] += 1
            count["graphs"] += isinstance(model, cr.Graph)

    check()
    assert count["read"] > 100, count
    assert count["refused"] > 100, count
    assert count["refused when called"] < count["read"] / 4, count
    assert (count["graphs"] > 50) == branches, count


OPERATORS = [
    *("Gemm", "MatMul", "Add", "Flatten", "Reshape", "Identity", "Dropout", "Relu", "LeakyRelu", "PRelu", "Elu"),
    *("Tanh", "Sigmoid", "Softplus", "Gelu", "Softmax", "LogSoftmax", "Transpose"),
]
JOINS = ["Concat", "Mul", "Sum"]


def examples():
    """ONNX's own examples for the operators that are read; all inputs but the first as constants, unless it joins."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of arithmetic, when the examples are made
        for operator in OPERATORS + JOINS:  # not all two thousand at once, which takes many seconds
            importlib.import_module(f"onnx.backend.test.case.node.{operator.lower()}")
    wanted = tuple(f"test_{operator.lower()}" for operator in OPERATORS + JOINS)
    for case in _NodeTestCases:
        if not case.name.startswith(wanted):
            continue  # which another test has asked for
        inputs, outputs = case.data_sets[0]
        if not all(isinstance(array, np.ndarray) for array in (*inputs, *outputs)):
            continue  # sequences and optional values
        proto = onnx.ModelProto()
        proto.CopyFrom(case.model)
        if proto.graph.node[0].op_type in (*JOINS, "Add"):
            yield case.name.removeprefix("test_"), proto, inputs, outputs[0]
            continue
        for value, array in zip(proto.graph.input[1:], inputs[1:], strict=True):
            proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
        del proto.graph.input[1:]
        yield case.name.removeprefix("test_"), proto, inputs[:1], outputs[0]


def test_the_examples_of_onnx_are_read_rightly_or_refused():
    read, refused = set(), set()
    for name, proto, inputs, expected in examples():
        try:
            model = cr.from_onnx(proto)
        except ValueError as refusal:
            assert str(refusal).startswith("from_onnx: ")  # noqa: PT017 - that there is one is not demanded
            refused.add(name)
            continue
        try:
            said = model(tuple(inputs) if len(inputs) > 1 else inputs[0])
        except (ValueError, TypeError):  # of a batch of one that is to be repeated, or of integers, which layers refuse
            assert name.endswith(("_bcast", "edge_pad", "reflect_pad", "wrap_pad"))
            continue
        np.testing.assert_allclose(said, expected, rtol=1e-5, atol=1e-6, err_msg=name)
        read.add(name)
    softmax = {f"softmax_{axis}" for axis in ("axis_0", "axis_1", "axis_2", "default_axis", "negative_axis")}
    gemm = {f"gemm_{kind}" for kind in ("alpha", "beta", "transposeB", "default_vector_bias", "default_no_bias")}
    plain = {"relu", "tanh", "sigmoid", "softplus", "elu", "leakyrelu", "gelu_default_1", "gelu_tanh_1", "matmul_2d"}
    shape = {"flatten_axis1", "flatten_default_axis", "dropout_default", "identity", "reshape_reduced_dims"}
    joins = {
        "add",
        "mul",
        "sum_example",
        "sum_two_inputs",
        "concat_2d_axis_1",
        "concat_3d_axis_2",
        "concat_3d_axis_negative_1",
    }
    moved = {"transpose_all_permutations_0", "transpose_all_permutations_1", "reshape_reordered_last_dims"}
    assert softmax | {f"log{name}" for name in softmax} | gemm | plain | shape | joins | moved <= read
    assert {"gemm_transposeA", "gemm_default_matrix_bias", "prelu_broadcast", "flatten_axis0"} <= refused
