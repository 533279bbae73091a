"""ONNX's own cases of its operators, which nobody here wrote: the same numbers, or a refusal for a reason.

They come with the wheel, one node each, with what goes in and what has to come out. What goes in besides x is taken to
be weights, as it is in a network. `python tests/exchange/onnx/test_node_cases.py` prints how many there are of each.
"""

import re
import warnings
from collections import Counter
from functools import cache

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import chainrule as cr
from chainrule.exchange.onnx.read import READERS

# Why a case is refused, by what is said of it.
REFUSED = {
    r"must not normalize over the batch axis": "samples do not depend on each other",
    r"must normalize channels by the statistics that it holds": "nor do they in BatchNormalization, but in training",
    r"windows of \d+ lie otherwise": "an even number of neighbours begins with another one in PyTorch",
    r"must make images whose size is known": "Fold is of images, and not of volumes",
    r"x must be a floating-point array": "layers compute in floating-point numbers",
    r"must take floating-point numbers": "as above",
    r"must count its padding or have as much on both sides|must have no dilations": "nor has PyTorch's AvgPool them",
    r"must have an even p, no dilations and ceil_mode=0": "PyTorch takes an odd power of negative numbers",
    r"must be one of Upsample's modes": "Resize has dozens",
    r"but that is computed|must leave the batch and the channels as they are": "nor pads the batch",
}


@cache
def cases():
    """All cases of one node, by its operator."""
    from onnx.backend.test.case.node import collect_testcases

    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        every = collect_testcases(None)
    for case in every:
        if len(case.model.graph.node) == 1 and case.model.graph.node[0].domain == "":
            found.setdefault(case.model.graph.node[0].op_type, []).append(case)
    return found


def outcome(case):
    """The error with which a case is refused; nothing if what comes out is right."""
    [(inputs, outputs)] = case.data_sets
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    names = [value.name for value in proto.graph.input]
    for name, value in zip(names[1:], inputs[1:], strict=True):
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    del proto.graph.input[1:], proto.graph.output[1:]  # such as the mean that a LayerNormalization took away
    try:
        y = cr.from_onnx(proto)(inputs[0])
    except (ValueError, TypeError) as refusal:
        return str(refusal)
    np.testing.assert_allclose(y, outputs[0], rtol=case.rtol, atol=max(case.atol, 1e-6), err_msg=case.name)
    return ""


def counts(operator):
    """How many cases of an operator agree, and how many are refused; fails for all others."""
    said = [(case.name, outcome(case)) for case in cases()[operator]]
    for name, refusal in said:
        assert not refusal or any(re.search(reason, refusal) for reason in REFUSED), f"{name}: {refusal}"
    return Counter("refused" if refusal else "agree" for _, refusal in said)


@pytest.mark.parametrize("operator", sorted(READERS))
def test_the_cases_of_onnx_give_its_numbers_or_are_refused_for_a_reason(operator):
    assert counts(operator)["agree"] > 0


if __name__ == "__main__":
    found = {operator: counts(operator) for operator in sorted(READERS)}
    for operator, number in found.items():
        print(f"{operator:24} {number['agree']:4} agree {number['refused']:4} refused")
    both = sum(found.values(), Counter())
    print(f"{'all':24} {both['agree']:4} agree {both['refused']:4} refused")
