"""Which opset a network is written in."""

import numpy as np
import onnx
import onnxruntime
import pytest
from cases import BRANCHES, IN_ONNX, Case, refused_in_onnx
from onnx.helper import OP_SET_ID_VERSION_MAP
from onnx.reference import ReferenceEvaluator

import chainrule as cr

NEWEST = max(version for domain, version in OP_SET_ID_VERSION_MAP if domain == "ai.onnx")
OF_ONNXRUNTIME = 22  # the newest that every onnxruntime runs which the tests allow


def versions(proto):
    [opset] = proto.opset_import
    return opset.version, proto.ir_version


WRONG_THERE = ("ZeroPad2d((1, -1, 0, 2))", "AdaptiveMaxPool1d(1)", "AdaptiveMaxPool3d(1)")


@pytest.mark.parametrize("case", [case for case in IN_ONNX if case not in BRANCHES], ids=str)
def test_every_layer_is_written_in_every_opset_from_the_one_that_it_needs(case: Case):
    module, (x,) = case.example(case.fixed[-1], dtype="float32")
    if refused_in_onnx(module):
        return
    expected, shape = module(x), x.shape[1:]
    needed, _ = versions(cr.to_onnx(module, sample_shape=shape))
    for opset in range(9, NEWEST + 1):
        if opset < needed:
            with pytest.raises(ValueError, match=f"needs opset {needed}, and opset={opset} is asked for"):
                cr.to_onnx(module, sample_shape=shape, opset=opset)
            continue
        proto = cr.to_onnx(module, sample_shape=shape, opset=opset)
        assert versions(proto) == (opset, OP_SET_ID_VERSION_MAP["ai.onnx", opset])
        onnx.checker.check_model(proto, full_check=True)
        ops = {node.op_type for node in proto.graph.node}
        # In ONNX's evaluator LRN sums over as many channels as there are samples, BatchNormalization takes the
        # statistics of its batch before opset 14, Pad does not cut off, and GlobalMaxPool is for images.
        wrong = "LRN" in ops or ("BatchNormalization" in ops and opset < 14) or str(case) in WRONG_THERE
        if not wrong:
            said = ReferenceEvaluator(proto).run(None, {"x": x})[0]
            np.testing.assert_allclose(said, expected, rtol=2e-6, atol=1e-6)
        if opset <= OF_ONNXRUNTIME:
            session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
            np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=2e-6, atol=1e-6)
        np.testing.assert_array_equal(cr.from_onnx(proto)(x), expected)


@pytest.mark.parametrize(
    ("layer", "needed"),
    [
        (cr.ReLU(), (9, 4)),
        (cr.GELU(), (9, 4)),
        (cr.Softplus(2.0), (9, 4)),
        (cr.Softmax(dim=1), (9, 4)),
        (cr.Softmax(), (11, 6)),
        (cr.LogSoftmax(dim=0), (13, 7)),
        (cr.Linear(3, 3, bias=False), (11, 6)),
    ],
    ids=repr,
)
def test_the_default_is_the_lowest_opset_that_the_network_needs(layer, needed):
    assert versions(cr.to_onnx(cr.Sequential(cr.Linear(2, 3), layer, cr.Linear(3, 1)))) == needed


def test_gelu_is_one_node_where_there_is_one():
    model = cr.Sequential(cr.Linear(2, 2), cr.GELU())
    for opset, nodes in ((None, 6), (19, 6), (20, 2)):
        assert len(cr.to_onnx(model, opset=opset).graph.node) == nodes


def test_an_opset_that_cannot_be_is_an_error_that_names_the_layer(tmp_path):
    model = cr.Sequential(cr.Sequential(cr.Linear(2, 3), cr.Linear(3, 2, bias=False)), cr.Softmax(dim=0))
    with pytest.raises(ValueError, match=r"to_onnx: 0.1: Linear needs opset 11, and opset=10 is asked for"):
        cr.to_onnx(model, tmp_path / "a.onnx", opset=10)
    with pytest.raises(ValueError, match=r"to_onnx: 1: Softmax needs opset 13, and opset=12 is asked for"):
        cr.to_onnx(model, tmp_path / "a.onnx", opset=12)
    for opset in (8, NEWEST + 1):
        with pytest.raises(ValueError, match=f"to_onnx: opset must be 9 to {NEWEST}, got {opset}"):
            cr.to_onnx(model, tmp_path / "a.onnx", opset=opset)
    with pytest.raises(TypeError, match=r"to_onnx: opset must be an integer, got '20'"):
        cr.to_onnx(model, tmp_path / "a.onnx", opset="20")
    assert list(tmp_path.iterdir()) == []
