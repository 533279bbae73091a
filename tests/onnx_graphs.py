"""ONNX graphs by hand, and what onnxruntime says of them."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

onnxruntime.set_default_logger_severity(4)

node = helper.make_node


def run(proto, x):
    """What onnxruntime says of x, which may be a dict; ONNX's reference where it has no kernel for float64.

    Returns   the one output, or a dict of all
    """
    feeds = x if isinstance(x, dict) else {proto.graph.input[0].name: x}
    options = onnxruntime.SessionOptions()
    double = any(array.dtype == np.float64 for array in feeds.values())
    if double:  # it would find the formula of Gelu, and compute that with constants in float32
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    except Exception:
        assert double
        session = ReferenceEvaluator(proto)
    found = dict(zip([value.name for value in proto.graph.output], session.run(None, feeds), strict=True))
    return next(iter(found.values())) if len(found) == 1 else found


def model_of(*nodes, numbers=(), opset=17, outputs=("y",), shape=("batch", 3), rank=2, dtype=TensorProto.FLOAT):
    """A model from "x" to "y"; `numbers` are pairs of a name and an array."""
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(name, dtype, [None] * rank) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in numbers],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
