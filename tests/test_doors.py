"""Every exported Module goes through every door and comes back, or is refused there in words that cases.py knows.

A class that is new has to do the one or the other; the failure says where to say which.
"""

import numpy as np
import pytest
from cases import CASES, REFUSED, WHERE, Case, arrays, exported_modules, refused_in_onnx

import chainrule as cr
from chainrule.files import build, describe
from chainrule.structures import each

DOORS = list(REFUSED)


def through_files(module, inputs):
    return build(*describe(module))(*inputs)


def through_pytorch(module, inputs):
    return cr.from_torch(cr.to_torch(module))(*inputs)


def through_onnx(module, inputs):
    x = inputs[0]
    proto = cr.to_onnx(module.to(dtype="float32"), sample_shape=each(lambda part: part.shape[1:], x))
    x = each(lambda part: part.astype("float32"), x)
    back = cr.from_onnx(proto)
    y = back(x) if not isinstance(x, dict) else back({value.name: x[value.name] for value in proto.graph.input})
    if isinstance(y, dict) and all(name.startswith("y_") for name in y):  # a tuple, or names that inputs have too
        expected = module(x)
        order = expected if isinstance(expected, dict) else range(len(y))
        return {name: y[f"y_{name}"] for name in order}
    return y


THROUGH = dict(zip(DOORS, (through_files, through_pytorch, through_onnx), strict=True))


def example(case: Case):
    shape = case.fixed[-1]
    module, inputs = case.example(shape)
    return module, inputs[:2]  # without weights of samples


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", exported_modules(), ids=lambda kind: kind.__name__)
def test_every_module_goes_through_every_door_or_is_refused_by_name(kind, door):
    cases = [case for case in CASES if case.kind is kind]
    assert cases, f"add a case for {kind.__name__} to tests/cases.py"
    came_back = 0
    for case in cases:
        module, inputs = example(case)
        says = REFUSED[door].get(kind)
        if says is not None:
            with pytest.raises((TypeError, ValueError), match=says):
                THROUGH[door](module, inputs)
            continue
        if door == "ONNX" and refused_in_onnx(module):  # an argument that is refused, and not the class
            with pytest.raises(ValueError, match=refused_in_onnx(module)):
                THROUGH[door](module, inputs)
            continue
        try:
            said = THROUGH[door](module, inputs)
        except (TypeError, ValueError) as reason:
            pytest.fail(
                f"{kind.__name__} does not go through the door {door!r}: {reason}\n"
                f"Either {WHERE[door]}; or say in REFUSED of tests/cases.py that it is refused, and in which words."
            )
        expected = module(*inputs) if door != "ONNX" else module(each(lambda part: part.astype("float32"), inputs[0]))
        for one, other in zip(arrays(said), arrays(expected), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=f"{case} through the door {door!r}")
        came_back += 1
    assert came_back or says


def test_a_class_without_a_way_out_is_told_where_to_say_it(monkeypatch):
    class New(cr.Module):
        def forward(self, x):
            return x, None

    case = next(case for case in CASES if case.kind is cr.Identity)
    monkeypatch.setitem(globals(), "CASES", [Case(New, "New()", lambda shape: New(), None, case.inputs, case.shapes)])
    for door, where in (("PyTorch", "networks.py"), ("ONNX", "patterns.py")):
        with pytest.raises(pytest.fail.Exception, match=rf"New does not go through the door '{door}'.*\n.*{where}"):
            test_every_module_goes_through_every_door_or_is_refused_by_name(New, door)
