"""What print(plan) shows, counted by hand."""

import dataclasses
import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import lower
from chainrule.engine.native import compile_plan, measured


def _plan(**options):
    shared = cr.Linear(25, 25, rng=1)
    model = cr.Sequential(
        cr.Flatten(),
        cr.Linear(2, 25, rng=0),
        cr.Tanh(),
        shared,
        cr.Dropout(0.25, rng=0),
        cr.Linear(25, 25, weight=shared.weight, rng=2),
        shared,
        cr.Softmax(),
        cr.Linear(25, 3, bias=False, rng=3),
    )
    return lower(model, sample_shape=(1, 2), **options)


def _graph(**options):
    model = cr.Graph(
        {
            "h": (cr.Sequential(cr.Linear(4, 8, rng=0), cr.Tanh()), "image"),
            "r": (cr.Residual(cr.Linear(8, 8, rng=1)), "h"),
            "both": (cr.Concat(), ("r", "age")),
            "price": (cr.Linear(9, 1, rng=2), "both"),
            "kind": (cr.Linear(8, 3, rng=3), "h"),
        },
        outputs=("price", "kind"),
    )
    loss = cr.MultiLoss({"price": cr.MSELoss(), "kind": cr.CrossEntropyLoss()}, weights={"price": 0.5, "kind": 1.0})
    shapes, classes = {"image": (4,), "age": (1,)}, {"price": False, "kind": True}
    return lower(model, loss, cr.SGD(lr=0.1), sample_shape=shapes, class_targets=classes, batch=32, **options)


def test_the_table_shows_shapes_parameters_operations_and_bytes():
    plan = _plan(batch=1000)
    rows = [line for line in str(plan).splitlines() if re.match(r" *\d", line)]
    found = [re.split(r"\s{2,}", row.strip()) for row in rows]
    # A product of (1000, a) and (a, b) is 1000 · a · b multiplications and as many additions; float32 takes 4 bytes.
    assert found == [
        ["0", "Linear(2, 25)", "0 → 1", "(1,000, 25)", f"{2 * 25 + 25}", f"{2 * 1000 * 2 * 25:,}", "100,000"],
        ["1", "Tanh()", "1 → 2", "(1,000, 25)", "100,000"],
        ["2", "Linear(25, 25)", "2 → 3", "(1,000, 25)", f"{25 * 25 + 25}", f"{2 * 1000 * 625:,}", "100,000"],
        ["3", "Dropout(p=0.25)", "3 → 4", "(1,000, 25)", "100,000"],
        ["4", "Linear(25, 25)", "4 → 5", "(1,000, 25)", "25", f"{2 * 1000 * 625:,}", "100,000"],  # a known weight
        ["5", "Linear(25, 25)", "5 → 6", "(1,000, 25)", "shared", f"{2 * 1000 * 625:,}", "100,000"],
        ["6", "Softmax()", "6 → 7", "(1,000, 25)", "100,000"],
        ["7", "Linear(25, 3, bias=False)", "7 → 8", "(1,000, 3)", "75", f"{2 * 1000 * 75:,}", "12,000"],
    ]
    last = str(plan).splitlines()[-1]
    assert last.startswith(f"float32, {75 + 650 + 25 + 75} parameters, no loss")


def test_a_graph_shows_what_reads_what_and_the_loss_of_each_head():
    assert str(_graph()).splitlines() == [
        "op  layer            values     output  parameters  operations  bytes",
        "    x['image']            → 0  (32, 4)                            512",
        "    x['age']              → 1  (32, 1)                            128",
        " 0  Linear(4, 8)        0 → 2  (32, 8)          40       2,048  1,024",
        " 1  Tanh()              2 → 3  (32, 8)                          1,024",
        " 2  Linear(8, 8)        3 → 4  (32, 8)          72       4,096  1,024",
        " 3  Sum of Residual  3, 4 → 5  (32, 8)                          1,024",
        " 4  Concat()         5, 1 → 6  (32, 9)                          1,152",
        " 5  Linear(9, 1)        6 → 7  (32, 1)          10         576    128",
        " 6  Linear(8, 3)        3 → 8  (32, 3)          27       1,536    384",
        "    y['price']  value 7  0.5 · MSELoss()",
        "    y['kind']   value 8  CrossEntropyLoss(), class indices",
        "    SGD(lr=0.1)",
        "float32, 149 parameters, 22,720 operations a step",
    ]


def test_rows_of_a_sample_are_shown_as_positions():
    plan = lower(cr.Linear(3, 4, rng=0), sample_shape=(2, 3), batch=5)
    lines = str(plan).splitlines()
    assert re.split(r"\s{2,}", lines[3].strip()) == ["1", "Linear(3, 4)", "1 → 2", "(5 · 2, 4)", "16", "240", "160"]


def test_columns_stand_under_their_titles():
    lines = str(_plan(batch=7)).splitlines()
    for title in ("output", "parameters", "operations", "bytes"):
        end = lines[0].index(title) + len(title)
        assert all(line[end - 1] != " " or not line[end - 3 : end].strip() for line in lines[1:10])
    assert len({len(line) for line in lines[:10]}) == 1
    assert len(lines[0]) <= 120


def test_operations_of_a_step_leave_out_the_gradient_by_the_data():
    """Forward once; backward the gradient of every weight, and of every input but the network's own."""
    plan = _plan(loss=cr.CrossEntropyLoss(label_smoothing=0.1), optimizer=cr.Adam(lr=0.1), batch=10, class_targets=True)
    products = 2 * 10 * np.array([2 * 25, 625, 625, 625, 75])
    assert plan.flops_per_step == 3 * products.sum() - products[0]
    assert f"{plan.flops_per_step:,} operations a step" in str(plan)
    assert "CrossEntropyLoss(label_smoothing=0.1)" in str(plan)
    assert "Adam(lr=0.1)" in str(plan)


def test_what_is_known_once_it_is_compiled_comes_with_a_new_plan():
    plan = _plan(loss=cr.MSELoss(), optimizer=cr.Adam(), batch=64)
    compiled = compile_plan(plan)
    assert plan.bytes is None
    assert plan.notes is None
    assert "arena" not in str(plan)
    plan = measured(plan, compiled)
    assert plan.bytes == compiled.bytes
    assert str(plan).endswith(f", {plan.bytes:,} bytes in one arena")
    parameters = 825 * 4  # values, gradients, two moments, the best
    outputs = 64 * (7 * 25 + 3) * 4
    assert 5 * parameters + outputs / 2 < plan.bytes < 40 * (5 * parameters + outputs)
    assert len(plan.notes) == len(plan.ops)
    for op, line in zip(plan.ops, str(plan).splitlines()[2:], strict=False):
        assert line.rstrip().endswith(plan.notes[op.output - 1])


def test_what_became_of_an_op_is_said_beside_it():
    model = cr.Sequential(cr.Linear(2, 8, rng=0), cr.ReLU(), cr.Linear(8, 1, rng=0))
    assert "rides on op 0" in next(line for line in str(cr.compile(model).plan).splitlines() if "ReLU" in line)


def test_a_plan_is_plain_data_that_nobody_changes():
    plan = _plan(batch=3)
    assert [op.kind for op in plan.ops].count("Linear") == 5
    assert plan.ops[0].text == "Linear(2, 25)"
    assert plan.flops(plan.ops[1]) == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.batch = 4
