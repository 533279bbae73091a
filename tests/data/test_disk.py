import math

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import RADII, disk


def test_radii_are_the_reports_and_the_one_that_halves_the_square():
    assert RADII["report"] == 1 / (2 * math.pi)
    assert math.pi * RADII["balanced"] ** 2 == pytest.approx(0.5, rel=1e-15)


@pytest.mark.parametrize("radius", ["report", "balanced", 0.3])
def test_share_of_points_inside_is_the_area_of_the_disk(radius):
    n = 20_000
    area = math.pi * (RADII[radius] if isinstance(radius, str) else radius) ** 2
    inside = disk(n, seed=0, radius=radius, classes=True).target.mean()
    assert abs(inside - area) < 5 * math.sqrt(area * (1 - area) / n)  # five standard deviations of a binomial share


def test_default_radius_is_the_reports():
    np.testing.assert_array_equal(disk(100, seed=3).target, disk(100, seed=3, radius=RADII["report"]).target)


def test_points_are_in_the_unit_square_and_targets_follow_from_the_distance():
    data = disk(500, seed=4, center=(0.3, 0.6), radius=0.25)
    assert data.x.shape == (500, 2)
    assert data.x.dtype == data.target.dtype == np.float32
    assert data.x.min() >= 0
    assert data.x.max() <= 1
    for point, target in zip(data.x, data.target, strict=True):
        inside = math.dist(map(float, point), (0.3, 0.6)) <= 0.25
        assert target.tolist() == ([0, 1] if inside else [1, 0])


def test_classes_are_the_same_answer_as_indices():
    one_hot, classes = disk(200, seed=5), disk(200, seed=5, classes=True)
    np.testing.assert_array_equal(one_hot.x, classes.x)
    assert classes.target.dtype == np.int64
    np.testing.assert_array_equal(one_hot.target.argmax(axis=1), classes.target)


def test_edge_is_inside():
    x, y = (float(number) for number in disk(1, seed=6).x[0])
    # A quarter further to the right in float64 is exact, and so are its square and that of the radius.
    assert disk(1, seed=6, center=(x + 0.25, y), radius=0.25, classes=True).target.tolist() == [1]
    assert disk(1, seed=6, center=(x + 0.25, y), radius=np.nextafter(0.25, 0), classes=True).target.tolist() == [0]


def test_same_seed_gives_the_same_points_and_another_seed_others():
    assert disk(50, seed=1).x.tobytes() == disk(50, seed=1).x.tobytes()
    assert disk(50, seed=np.random.default_rng(1)).x.tobytes() == disk(50, seed=1).x.tobytes()
    assert disk(50, seed=1).x.tobytes() != disk(50, seed=2).x.tobytes()


def test_without_a_seed_the_default_generator_draws():
    cr.seed(7)
    first = disk(10)
    cr.seed(7)
    np.testing.assert_array_equal(first.x, disk(10).x)


@pytest.mark.parametrize("n", [0, -1, 2.5, "10", None, True])
def test_number_of_points_must_be_a_positive_integer(n):
    with pytest.raises(ValueError, match=r"disk: n must be a positive integer, got"):
        disk(n, seed=0)


def test_unknown_radius_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"one of \['balanced', 'report'\], got 'huge'"):
        disk(10, seed=0, radius="huge")


@pytest.mark.parametrize("radius", [0, -0.1, math.nan, math.inf])
def test_radius_must_be_positive(radius):
    with pytest.raises(ValueError, match="disk: radius must be positive, got"):
        disk(10, seed=0, radius=radius)


def test_wrong_seed_is_refused():
    with pytest.raises(TypeError, match="got str"):
        disk(10, seed="zero")
