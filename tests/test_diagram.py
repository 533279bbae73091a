"""A network as boxes and arrows, without drawing it."""

from itertools import pairwise

import numpy as np
from counting import instructions
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.diagram import ASIDE, arranged, boxes


def shown(model, x=None):
    """Each box: what it says, and what those say that it reads."""
    return [(box.text, [source.text for source in box.sources]) for box in boxes(model, x)]


def test_a_chain_is_its_layers():
    model = cr.Sequential(cr.Linear(2, 3), cr.Sequential(cr.Tanh()))
    assert shown(model) == [("x", []), ("Linear(2, 3)", ["x"]), ("Tanh()", ["Linear(2, 3)"]), ("y", ["Tanh()"])]
    assert [box.caption for box in boxes(model)] == ["", "0 · 9", "1.0", ""]


def test_networks_inside_are_opened_up():
    body, around = cr.Sequential(cr.Tanh(), cr.ReLU()), cr.Sigmoid()
    assert shown(cr.Residual(body))[1:] == [
        ("Tanh()", ["x"]),
        ("ReLU()", ["Tanh()"]),
        ("+", ["ReLU()", "x"]),
        ("y", ["+"]),
    ]
    assert shown(cr.Residual(body, around))[-2] == ("+", ["ReLU()", "Sigmoid()"])
    both = cr.Sequential(cr.Parallel({"a": cr.Tanh(), "b": cr.ReLU()}), cr.Multiply())
    assert shown(both)[1:4] == [("Tanh()", ["x"]), ("ReLU()", ["x"]), ("×", ["Tanh()", "ReLU()"])]
    assert shown(both, {"b": 0, "a": 0})[2:4] == [("Tanh()", ["a"]), ("ReLU()", ["b"])]
    assert shown(cr.Parallel(cr.Tanh(), cr.ReLU()))[-2:] == [("y[0]", ["Tanh()"]), ("y[1]", ["ReLU()"])]


def test_a_graph_is_its_nodes_and_their_sources():
    shared = cr.Linear(2, 2)
    model = cr.Graph(
        {
            "h": (shared, "a"),
            "two": (cr.Parallel(cr.Tanh(), cr.ReLU()), "h"),
            "left": (cr.Select(0), "two"),
            "again": (shared, "left"),
            "sum": (cr.Sum(), ("again", "b", "b")),
            "right": (cr.Select(1), "two"),
        },
        outputs=("sum", "right"),
    )
    assert shown(model) == [
        ("a", []),
        ("b", []),
        ("Linear(2, 2)", ["a"]),
        ("Tanh()", ["Linear(2, 2)"]),
        ("ReLU()", ["Linear(2, 2)"]),
        ("Linear(2, 2)", ["Tanh()"]),
        ("+", ["Linear(2, 2)", "b", "b"]),
        ("sum", ["+"]),
        ("right", ["ReLU()"]),
    ]
    assert [box.caption for box in boxes(model)][2:7] == ["h · 6", "two.0", "two.1", "again is h", "sum"]


class Changed(cr.Residual):
    """Whatever a subclass does, it may be something else."""


def test_a_network_of_another_kind_is_one_box():
    assert [text for text, _ in shown(Changed(cr.Tanh()))] == ["x", "Changed(", "y"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=3), min_size=1, max_size=20))
def test_nothing_stands_upon_anything_else(reads):
    nodes = {}
    for i, numbers in enumerate(reads):
        sources = tuple(dict.fromkeys(("x", *nodes)[n % (i + 1)] for n in numbers))
        nodes[f"n{i}"] = (cr.Sum(), sources) if len(sources) > 1 else (cr.Linear(3, 3), sources[0])
    idle = [name for name in nodes if not any(name in sources for _, sources in nodes.values())]
    found = boxes(cr.Graph(nodes, outputs=tuple(idle)))
    arrows = arranged(found)
    assert [(arrow[0], arrow[-1]) for arrow in arrows] == [(source, box) for box in found for source in box.sources]
    levels = {}
    for box in [*found, *(box for arrow in arrows for box in arrow[1:-1])]:
        levels.setdefault(box.level, []).append(box)
    for level in levels.values():
        level.sort(key=lambda box: box.x)
        for left, right in pairwise(level):
            assert right.x - left.x >= (left.width + right.width) / 2 + ASIDE - 1e-6
    for arrow in arrows:
        assert all(below.level == above.level + 1 for above, below in pairwise(arrow))


def test_what_is_alike_on_both_sides_is_drawn_so():
    model = cr.Sequential(cr.Linear(2, 4), cr.Parallel(cr.Tanh(), cr.Tanh()), cr.Sum())
    found = boxes(model)
    arranged(found)
    x, linear, left, right, add, y = (box.x for box in found)
    np.testing.assert_allclose([x, linear, add, y], (left + right) / 2, atol=0.01)


def test_many_branches_are_arranged_without_much_more_work_than_few():
    def work(n):
        return instructions(arranged, boxes(cr.Sequential(cr.Parallel(*(cr.Tanh() for _ in range(n))), cr.Sum())))

    assert work(32) < 16 * work(8)  # it grew by a power more, and eighty of them took half a minute
