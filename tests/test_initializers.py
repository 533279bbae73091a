import math
from collections.abc import Callable

import numpy as np
import pytest

import chainrule as cr
from chainrule import initializers

SHAPE = (300, 200)  # n_out, n_in
NORMAL = [
    (initializers.lecun_normal, 1 / 200),
    (initializers.glorot_normal, 2 / 500),
    (initializers.he_normal, 2 / 200),
]
UNIFORM = [
    (initializers.lecun_uniform, 1 / 200),
    (initializers.glorot_uniform, 2 / 500),
    (initializers.he_uniform, 2 / 200),
    (initializers.torch_default, 1 / 200 / 3),
]
ALL = [*(function for function, _ in NORMAL + UNIFORM), initializers.orthogonal]


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize(("initializer", "variance"), NORMAL + UNIFORM)
def test_mean_and_variance_are_those_of_the_paper(initializer: Callable[..., np.ndarray], variance: float) -> None:
    w, n = initializer(SHAPE, rng()), 300 * 200
    assert abs(w.mean()) < 5 * math.sqrt(variance / n)
    # The variance of n normal numbers varies by √(2/n) of itself, that of uniform ones by less.
    assert w.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))


@pytest.mark.parametrize(("initializer", "variance"), UNIFORM)
def test_uniform_numbers_fill_their_bounds(initializer: Callable[..., np.ndarray], variance: float) -> None:
    w, bound = initializer(SHAPE, rng()), math.sqrt(3 * variance)
    assert np.abs(w).max() <= bound
    assert np.abs(w).max() > bound * 0.999  # 60,000 numbers all below this: probability e⁻⁶⁰


@pytest.mark.parametrize(("initializer", "variance"), NORMAL)
def test_normal_numbers_have_tails(initializer: Callable[..., np.ndarray], variance: float) -> None:
    w = initializer(SHAPE, rng()) / math.sqrt(variance)
    share = (np.abs(w) > 2).mean()
    expected = math.erfc(math.sqrt(2))
    assert abs(share - expected) < 5 * math.sqrt(expected / w.size)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4), (4, 1), (1, 1)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape: tuple[int, int]) -> None:
    w = initializers.orthogonal(shape, rng(), gain=2.0)
    assert w.shape == shape
    product = w @ w.T if shape[0] <= shape[1] else w.T @ w
    # Householder QR is orthogonal to about n eps, here four times as much through the gain squared.
    np.testing.assert_allclose(product, 4 * np.eye(min(shape)), atol=16 * max(shape) * np.finfo(float).eps)


def test_orthogonal_matrices_have_no_preferred_sign() -> None:
    generator = rng()
    signs = [initializers.orthogonal((2, 2), generator)[0, 0] > 0 for _ in range(1000)]
    assert abs(sum(signs) - 500) < 5 * math.sqrt(250)


@pytest.mark.parametrize("initializer", ALL)
def test_the_same_generator_gives_the_same_numbers(initializer: Callable[..., np.ndarray]) -> None:
    np.testing.assert_array_equal(initializer(SHAPE, rng()), initializer(SHAPE, rng()))


@pytest.mark.parametrize("initializer", [f for f in ALL if f is not initializers.torch_default])
def test_gain_multiplies(initializer: Callable[..., np.ndarray]) -> None:
    one, three = initializer((4, 5), rng(), gain=1.0), initializer((4, 5), rng(), gain=3.0)
    np.testing.assert_allclose(three, 3 * one, rtol=1e-14)


@pytest.mark.parametrize("initializer", ALL)
def test_a_layer_starts_from_them_in_its_own_dtype(initializer: Callable[..., np.ndarray]) -> None:
    layer = cr.Linear(6, 4, init=initializer, rng=1)
    np.testing.assert_array_equal(layer.weight.value, initializer((4, 6), rng()).astype("float32"))
