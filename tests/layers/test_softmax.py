import math
import re

import numpy as np
import pytest
from cases import LIBRARIES, array, numpy

import chainrule as cr

every_library = pytest.mark.parametrize("library", LIBRARIES)


def test_softmax_by_hand() -> None:
    y, saved = cr.Softmax().forward(np.log([[1.0, 3.0]]))
    np.testing.assert_allclose(y, [[0.25, 0.75]], rtol=1e-15)
    dx = cr.Softmax().backward(np.array([[1.0, 0.0]]), saved)  # y1 (1 - y1), -y1 y2
    np.testing.assert_allclose(dx, [[0.1875, -0.1875]], rtol=1e-15)


def test_log_softmax_by_hand() -> None:
    y, saved = cr.LogSoftmax().forward(np.log([[1.0, 3.0]]))
    np.testing.assert_allclose(y, np.log([[0.25, 0.75]]), rtol=1e-15)
    np.testing.assert_allclose(cr.LogSoftmax().backward(np.array([[1.0, 0.0]]), saved), [[0.75, -0.75]], rtol=1e-15)


@every_library
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_logits_neither_overflow_nor_warn(library: str, dtype: str) -> None:
    x = array([[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4]], library, dtype)
    for module in (cr.Softmax(), cr.LogSoftmax()):
        y, saved = module.forward(x)
        dx = module.backward(array(np.ones((2, 3)), library, dtype), saved)
        p = numpy(y) if isinstance(module, cr.Softmax) else np.exp(numpy(y))
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(p, [[0.5, 0.0, 0.5], [1 / 3, 1 / 3, 1 / 3]], rtol=4 * eps)
        assert np.isfinite(numpy(dx)).all()


@every_library
def test_a_logit_of_minus_infinity_is_a_probability_of_zero(library: str) -> None:
    x = array([[0.0, -math.inf, 0.0]], library)
    for module, impossible in ((cr.Softmax(), 0.0), (cr.LogSoftmax(), -math.inf)):
        y, saved = module.forward(x)
        assert numpy(y)[0, 1] == impossible
        assert np.isfinite(numpy(module.backward(array(np.ones((1, 3)), library), saved))).all()


@every_library
def test_nan_spoils_its_own_row_and_no_other(library: str) -> None:
    x = array([[0.0, math.nan], [0.0, 1.0]], library)
    for module in (cr.Softmax(), cr.LogSoftmax()):
        assert np.isnan(numpy(module(x))).all(axis=1).tolist() == [True, False]


@pytest.mark.parametrize("module", [cr.Softmax(dim=2), cr.LogSoftmax(dim=-3)], ids=repr)
def test_a_missing_axis_is_refused_by_name(module: cr.Module) -> None:
    message = f"{module!r}.forward: x must have an axis {module.dim}, got (4, 3)"
    with pytest.raises(ValueError, match=re.escape(message)):
        module.forward(np.ones((4, 3)))
    with pytest.raises(TypeError, match=re.escape("x must be an array (NumPy, PyTorch or CuPy), got a list")):
        module.forward([[1.0]])
