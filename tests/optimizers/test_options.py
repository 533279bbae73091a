"""Options of an optimizer that are set once it is made: looked at as the constructor looks at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optimizers, signature

KINDS: list[Any] = [kind for kind in map(vars(optimizers).get, optimizers.__all__) if isinstance(kind, type)]
KINDS = [kind for kind in KINDS if issubclass(kind, cr.Optimizer) and kind not in (cr.Optimizer, cr.Lookahead)]
VALUES = (-1.0, 0.0, 0.5, 2, 1000, "no", None, True, (0.9, 2.0), [0.5, 0.75], (0.5, 1.5), (1.0, 2.0, 3.0), float("nan"))
OPTIONS = [
    (kind, argument.name)
    for kind in KINDS
    for argument in signature.parameters(kind)
    if argument.name not in ("groups", "lr")
]


def outcome(call: Any) -> Any:
    """What a call gives, or what it says is wrong."""
    try:
        return call()
    except (TypeError, ValueError) as problem:
        return type(problem), str(problem)


@pytest.mark.parametrize(("kind", "name"), OPTIONS, ids=[f"{kind.__name__}.{name}" for kind, name in OPTIONS])
def test_an_option_that_is_set_is_what_the_constructor_makes_of_it(kind: Any, name: str) -> None:
    refused = 0
    for value in VALUES:
        expected = outcome(lambda value=value: getattr(kind(**{name: value}), name))
        optimizer = kind()
        before = getattr(optimizer, name)
        found = outcome(lambda one=optimizer, value=value: setattr(one, name, value) or getattr(one, name))
        assert found == expected
        assert type(found) is type(expected)
        if isinstance(expected, tuple) and isinstance(expected[0], type):
            refused += 1
            assert getattr(optimizer, name) == before
    assert refused


def test_options_that_go_together_are_looked_at_together() -> None:
    optimizer = cr.SGD(momentum=0.9, nesterov=True)
    with pytest.raises(ValueError, match="SGD: nesterov needs momentum above 0"):
        optimizer.momentum = 0
    optimizer.nesterov = False
    optimizer.momentum = 0
    assert not optimizer.keeps_momentum()


def test_the_options_of_a_group_are_looked_at_too_and_a_name_that_is_none_is_an_error() -> None:
    group: Any = cr.Adam(groups=[{"parameters": cr.Linear(2, 2)}]).groups[0]
    with pytest.raises(ValueError, match=r"Adam: betas\[1\] must be at least 0 and below 1, got 2"):
        group.betas = (0.9, 2.0)
    with pytest.raises(AttributeError, match="Adam: a group has no 'learning_rate'; there are lr, betas, eps"):
        group.learning_rate = 0.1
    group.betas = [0.5, 0.75]
    assert group.betas == (0.5, 0.75)


def test_a_name_that_is_no_option_is_an_error_that_names_the_one_that_is_meant() -> None:
    sgd: Any = cr.SGD(lr=0.1, momentum=0.9)
    before = dict(vars(sgd))
    with pytest.raises(AttributeError, match=r"SGD: there is no 'momentun'; is 'momentum' meant\? There are lr, m"):
        sgd.momentun = 0.5
    around: Any = cr.Lookahead(sgd)
    with pytest.raises(AttributeError, match=r"Lookahead: there is no 'alhpa'; is 'alpha' meant\? .* momentum"):
        around.alhpa = 0.5
    with pytest.raises(AttributeError, match="SGD: there is no 'rate_of_learning'; there are lr, momentum"):
        sgd.rate_of_learning = 0.5
    assert vars(sgd) == before
    with pytest.raises(AttributeError, match="Rprop: there is no 'weight_decay'"):
        cr.Rprop().weight_decay = 0.1


class Restless(cr.Adam):
    """A rule of somebody's own, made in a way of its own, which counts and keeps what it likes."""

    made = 0

    def __init__(self, how: str) -> None:
        super().__init__(lr=0.1)
        self.how = how
        Restless.made += 1

    def update(self, parameter: Any, state: dict[str, Any], lr: float) -> None:
        self.last = lr
        super().update(parameter, state, lr)


def test_a_rule_of_ones_own_is_asked_what_the_librarys_is_and_is_not_made_again() -> None:
    optimizer, layer = Restless("so"), cr.Linear(2, 2)
    made = Restless.made
    with pytest.raises(ValueError, match="eps must be at least 0"):
        optimizer.eps = -1.0
    optimizer.how, optimizer.eps = "otherwise", 1e-6
    optimizer.step(layer.param())
    assert (optimizer.last, optimizer.eps, optimizer.how, Restless.made) == (0.1, 1e-6, "otherwise", made)


def test_options_that_are_set_of_lookahead_are_those_of_the_other_optimizer() -> None:
    inner = cr.Adam()
    optimizer: Any = cr.Lookahead(inner)
    optimizer.clip_norm, optimizer.betas = 2, (0.5, 0.5)
    assert (inner.clip_norm, inner.betas, optimizer.clip_norm) == (2.0, (0.5, 0.5), 2.0)
    optimizer.groups = [{"parameters": cr.Linear(2, 2)}]
    assert optimizer.groups is inner.groups
    for name, value in (("k", 0), ("alpha", 2.0), ("eps", -1), ("optimizer", cr.Lookahead(inner))):
        with pytest.raises((TypeError, ValueError)):
            setattr(optimizer, name, value)
    assert (optimizer.k, optimizer.alpha, inner.eps) == (5, 0.5, 1e-8)
    assert optimizer.optimizer is inner
    of_alpha: Any = cr.Lookahead(cr.RMSprop())
    of_alpha.alpha = 0.25  # its own
    assert (of_alpha.alpha, of_alpha.optimizer.alpha) == (0.25, 0.99)


def test_setting_an_option_leaves_schedules_groups_and_what_is_remembered_alone() -> None:
    layer = cr.Linear(2, 2)
    optimizer = cr.Adam(lr=cr.StepLR(0.1, 1), groups=[{"parameters": layer.weight, "lr": cr.StepLR(0.2, 1)}])
    for _ in range(3):
        optimizer.step(layer.param())
        optimizer.end_epoch()
    groups, state = optimizer.groups, {p: dict(kept) for p, kept in optimizer.state.items()}
    optimizer.eps = 1e-3
    optimizer.groups[0].eps = 1e-4
    assert optimizer.groups is groups
    assert optimizer.current_lr == pytest.approx(1e-4)
    assert groups[0].current_lr == pytest.approx(2e-4)
    assert all(np.array_equal(kept[n], optimizer.state[p][n]) for p, kept in state.items() for n in kept)


def test_lookahead_looks_at_options_of_both_together() -> None:
    optimizer = cr.Lookahead(cr.SGD(momentum=0.9, nesterov=True))
    optimizer.set_options({"momentum": 0.0, "nesterov": False, "k": 3})
    assert repr(optimizer) == "Lookahead(SGD(lr=0.001), k=3)"
    for options in ({"momentum": 0.5, "alpha": 7}, {"k": 4, "momentum": -1.0}):
        with pytest.raises(ValueError, match="must be at least 0"):
            optimizer.set_options(options)
        assert repr(optimizer) == "Lookahead(SGD(lr=0.001), k=3)"


def test_options_that_are_set_together_are_looked_at_as_each_is() -> None:
    optimizer = cr.SGD(lr=0.1, groups=[{"parameters": cr.Linear(2, 2)}])
    with pytest.raises(ValueError, match="SGD: lr must be at least 0"):
        optimizer.set_options({"momentum": 0.5, "lr": -1.0})
    with pytest.raises(TypeError, match=r"SGD\.set_options: there is no 'momentun'; is 'momentum' meant"):
        optimizer.set_options({"momentum": 0.5, "momentun": 0.5})
    with pytest.raises(TypeError, match="there is no 'groups'"):
        optimizer.set_options({"groups": 3})
    with pytest.raises(TypeError, match="a group has no 'clip_norm'"):
        optimizer.groups[0].set_options({"clip_norm": 1.0})
    assert (optimizer.lr, optimizer.momentum, optimizer.groups[0].clip_norm) == (0.1, 0.0, None)
    with pytest.raises(ValueError, match="Adagrad: lr must leave the momentum alone"):
        cr.Adagrad().set_options({"lr": cr.OneCycleLR(0.1, total_steps=10)})
    schedule = cr.ReduceLROnPlateau(0.1)
    first, second = cr.SGD(), cr.SGD()
    for one in (first, second):
        one.set_options({"lr": schedule})
    assert first.lr is schedule
    assert second.lr is not schedule  # which would hear the losses of both


def test_a_class_of_ones_own_that_passes_options_on_has_those_of_its_parent() -> None:
    class Mine(cr.SGD):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)

    optimizer = Mine(lr=0.1)
    optimizer.set_options({"momentum": 0.5, "lr": 0.2})
    assert (optimizer.momentum, optimizer.lr) == (0.5, 0.2)
