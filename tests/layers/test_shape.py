import re

import numpy as np
import pytest
from cases import LIBRARIES, array

import chainrule as cr


def test_identity_hands_on_what_comes() -> None:
    x = np.ones((2, 3))
    assert cr.Identity().forward(x) == (x, None)
    assert cr.Identity().backward(x) is x


@pytest.mark.parametrize("library", LIBRARIES)
def test_flatten_makes_rows_of_images(library: str) -> None:
    x = array(np.arange(24.0).reshape(2, 3, 4), library)
    y, saved = cr.Flatten().forward(x)
    assert y.tolist() == [list(map(float, range(12))), list(map(float, range(12, 24)))]
    assert cr.Flatten().backward(y, saved).tolist() == x.tolist()


@pytest.mark.parametrize(
    ("dims", "shape", "flat"),
    [((1, -1), (5,), (5, 1)), ((0, -1), (2, 3), (6,)), ((-2, -1), (2, 3, 4), (2, 12)), ((1, 1), (2, 3), (2, 3))],
)
def test_flatten_lays_out_the_axes_that_it_is_told(
    dims: tuple[int, int], shape: tuple[int, ...], flat: tuple[int, ...]
) -> None:
    y, saved = cr.Flatten(*dims).forward(np.ones(shape))
    assert y.shape == flat
    assert cr.Flatten(*dims).backward(y, saved).shape == shape


def test_flatten_keeps_an_empty_batch() -> None:
    assert cr.Flatten()(np.ones((0, 3, 4))).shape == (0, 12)


def test_flatten_refuses_axes_that_are_not_there() -> None:
    message = "Flatten(start_dim=2, end_dim=3).forward: x must have axes 2 to 3, got (5, 4)"
    with pytest.raises(ValueError, match=re.escape(message)):
        cr.Flatten(2, 3).forward(np.ones((5, 4)))


def test_flatten_refuses_a_list() -> None:
    with pytest.raises(TypeError, match=re.escape("Flatten().forward: x must be an array")):
        cr.Flatten().forward([[1.0]])
