import math

import numpy as np
import pytest

import chainrule as cr


def test_glu_by_hand() -> None:
    x = np.array([[3.0, 4.0, 0.0, math.log(3.0)]])  # the gates are 1/2 and 3/4
    y, saved = cr.GLU().forward(x)
    np.testing.assert_allclose(y, [[1.5, 3.0]], rtol=1e-15)
    dx = cr.GLU().backward(np.array([[1.0, 2.0]]), saved)
    np.testing.assert_allclose(dx, [[0.5, 1.5, 3 / 4, 2 * 4 * 3 / 16]], rtol=1e-15)


@pytest.mark.parametrize(("dim", "shape"), [(-1, (2, 3)), (1, (2, 5, 4)), (2, (2, 4)), (-3, (2, 4))])
def test_an_axis_without_halves_is_refused_by_name(dim: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"GLU\(.*\).forward: x must have an axis {dim} of even length"):
        cr.GLU(dim)(np.zeros(shape))


@pytest.mark.parametrize("width", [1, 4, 8, 9, 16, 33])  # halves that begin within a panel of the engine's, and at one
def test_both_engines_learn_the_same(width: int) -> None:
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(33, 5)), rng.normal(size=(33, 2))
    found = []
    for engine in ("native", "python"):
        layers = cr.Linear(5, 2 * width, dtype="float64", rng=1), cr.GLU(), cr.Linear(width, 2, dtype="float64", rng=2)
        model = cr.Sequential(cr.SGD(lr=0.1), *layers)
        cr.fit(model, cr.MSELoss(), (x, target), epochs=3, batch_size=10, keep="last", engine=engine)
        found.append(np.concatenate([parameter.value.ravel() for parameter in model.param()]))
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-13)
