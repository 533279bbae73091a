"""Files that PyTorch's exporter wrote of its classes and operators, as ONNX's wheel has them, weights and all.

What comes out has to be what PyTorch said, or the file is refused for a reason. They are of ONNX's opset 6, and ONNX's
own converter brings them to 9. `python tests/exchange/onnx/test_converted_cases.py` prints how many there are of each.
"""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, version_converter
from onnx.backend.test.loader import load_model_tests

import chainrule as cr

KINDS = ("pytorch-converted", "pytorch-operator")

# Why a case is refused, by what is said of it.
REFUSED = {
    r"is no layer that chainrule has": "arithmetic of single numbers, reductions, Gather, PReLU of many slopes",
    r"must take values of one shape": "samples do not depend on each other, nor on another's",
    r"must add what the network computes, or a bias": "nor is a constant a layer",
    r"must have constant weights": "a product of two inputs",
    r"must be read by its first output alone": "Split, which makes several values",
}
# Classes that are here, but were written as what is read otherwise or not at all.
OTHERWISE = {
    "AvgPool1d": "as AvgPool2d between Unsqueeze and Squeeze",
    "GLU": "as Split, Sigmoid and Mul",
    "Softsign": "as x / (1 + |x|)",
}


@cache
def cases():
    """(kind, class or operator, name, what comes of it), where nothing came of it but what should."""
    found = []
    for kind in KINDS:
        for case in sorted(load_model_tests(kind=kind), key=lambda case: case.name):
            name = case.name.removeprefix("test_").removeprefix("operator_")
            found.append((kind, name.partition("_")[0], name, outcome(Path(case.model_dir), case.rtol)))
    return found


def outcome(folder, rtol):
    """The error with which a file is refused; nothing if what comes out is right."""
    proto = onnx.load(folder / "model.onnx")
    if proto.opset_import[0].version < 9:
        proto = version_converter.convert_version(proto, 9)
    inputs, outputs = (
        [
            numpy_helper.to_array(onnx.load_tensor(path))
            for path in sorted((folder / "test_data_set_0").glob(f"{way}_*.pb"))
        ]
        for way in ("input", "output")
    )
    try:
        y = cr.from_onnx(proto)(inputs[0] if len(inputs) == 1 else tuple(inputs))
    except (ValueError, TypeError) as refusal:
        return str(refusal)
    np.testing.assert_allclose(y, outputs[0], rtol=rtol, atol=1e-6, err_msg=folder.name)
    return ""


OURS = sorted(
    {
        name
        for path in Path(onnx.__file__).parent.glob("backend/test/data/pytorch-converted/test_*")
        if hasattr(cr, name := path.name.removeprefix("test_").partition("_")[0])
    }
)


@pytest.mark.parametrize("name", OURS)
def test_a_class_that_pytorch_wrote_gives_its_numbers(name):
    said = [(case, refusal) for kind, of, case, refusal in cases() if kind == KINDS[0] and of == name]
    agree = [case for case, refusal in said if not refusal]
    assert bool(agree) == (name not in OTHERWISE), said


def test_what_is_refused_is_refused_for_a_reason():
    for _, _, name, refusal in cases():
        assert not refusal or any(re.search(reason, refusal) for reason in REFUSED), f"{name}: {refusal}"


@pytest.mark.parametrize(
    "name", ["concat2", "conv", "convtranspose", "flatten", "maxpool", "pad", "permute2", "symbolic_override", "view"]
)
def test_an_operator_that_pytorch_wrote_gives_its_numbers(name):
    assert [refusal for kind, _, case, refusal in cases() if kind == KINDS[1] and case == name] == [""]


if __name__ == "__main__":
    for kind in KINDS:
        found = Counter("refused" if refusal else "agree" for of, *_, refusal in cases() if of == kind)
        print(f"{kind:20} {found['agree']:4} agree {found['refused']:4} refused")
