from typing import Any

import numpy as np

import chainrule as cr
from chainrule import signature


class Recipe:
    """Something with every kind of argument."""

    def __init__(self, n: int, lr: float = 0.1, *extra: Any, size: Any = None, rng: Any = None, must: int) -> None:
        self.n, self.lr, self.size, self.must = n, lr, size, must


def test_arguments_without_defaults_come_first_and_the_others_by_name() -> None:
    assert signature.call(Recipe(3, size=(1, 2), must=4)) == "Recipe(3, lr=0.1, size=(1, 2), must=4)"


def test_arguments_that_equal_their_defaults_are_left_out() -> None:
    assert signature.arguments(Recipe(3, must=4), leave_out=("lr",)) == "3, must=4"


def test_nothing_without_a_name_follows_something_with_one() -> None:
    assert repr(cr.StepLR(0.1, 30, gamma=0.5)) == "StepLR(lr=0.1, step_size=30, gamma=0.5)"


def test_arrays_are_shown_by_their_shapes() -> None:
    assert signature.call(Recipe(3, size=np.ones((2, 5)), must=4)) == "Recipe(3, lr=0.1, size=<array (2, 5)>, must=4)"
    assert (
        repr(cr.CrossEntropyLoss([1.0, 2.0], reduction="sum"))
        == "CrossEntropyLoss(weight=<array (2,)>, reduction='sum')"
    )


def test_what_is_not_kept_is_not_shown() -> None:
    assert "rng" not in signature.call(Recipe(3, rng=1, must=4))


def test_the_calls_of_a_users_layer_are_shown_without_its_help() -> None:
    class Scale(cr.Module):
        def __init__(self, by: float, *, shift: float = 0.0) -> None:
            self.by, self.shift = by, shift

    assert repr(Scale(2.0)) == "Scale(2.0)"
    assert repr(Scale(2.0, shift=1.0)) == "Scale(2.0, shift=1.0)"
