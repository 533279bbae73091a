"""What print(plan) shows, counted by hand."""

import re

import numpy as np

import chainrule as cr
from chainrule.engine import lower
from chainrule.engine.native import compile_plan


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


def test_the_table_shows_shapes_parameters_operations_and_bytes():
    plan = _plan(batch=1000)
    rows = [line for line in str(plan).splitlines() if re.match(r"\d", line)]
    found = [re.split(r"\s{2,}", row.strip()) for row in rows]
    # A product of (1000, a) and (a, b) is 1000 · a · b multiplications and as many additions; float32 takes 4 bytes.
    assert found == [
        ["0", "Linear(2, 25)", "(1,000, 25)", f"{2 * 25 + 25}", f"{2 * 1000 * 2 * 25:,}", "100,000"],
        ["1", "Tanh()", "(1,000, 25)", "100,000"],
        ["2", "Linear(25, 25)", "(1,000, 25)", f"{25 * 25 + 25}", f"{2 * 1000 * 625:,}", "100,000"],
        ["3", "Dropout(p=0.25)", "(1,000, 25)", "100,000"],
        ["4", "Linear(25, 25)", "(1,000, 25)", "25", f"{2 * 1000 * 625:,}", "100,000"],  # the weight is known
        ["5", "Linear(25, 25)", "shared", "(1,000, 25)", f"{2 * 1000 * 625:,}", "100,000"],
        ["6", "Softmax()", "(1,000, 25)", "100,000"],
        ["7", "Linear(25, 3, bias=False)", "(1,000, 3)", "75", f"{2 * 1000 * 75:,}", "12,000"],
    ]
    last = str(plan).splitlines()[-1]
    assert last.startswith(f"float32, {75 + 650 + 25 + 75} parameters, no loss")


def test_columns_stand_under_their_titles():
    lines = str(_plan(batch=7)).splitlines()
    for title in ("output", "parameters", "operations", "bytes"):
        end = lines[0].index(title) + len(title)
        assert all(line[end - 1] != " " or not line[end - 3 : end].strip() for line in lines[1:9])
    assert len({len(line) for line in lines[:9]}) == 1
    assert len(lines[0]) <= 120


def test_operations_of_a_step_leave_out_the_gradient_by_the_data():
    """Forward once; backward the gradient of every weight, and of every input but the network's own."""
    plan = _plan(loss=cr.CrossEntropyLoss(label_smoothing=0.1), optimizer=cr.Adam(lr=0.1), batch=10, class_targets=True)
    products = 2 * 10 * np.array([2 * 25, 625, 625, 625, 75])
    assert plan.flops_per_step == 3 * products.sum() - products[0]
    assert f"{plan.flops_per_step:,} operations a step" in str(plan)
    assert "CrossEntropyLoss(label_smoothing=0.1)" in str(plan)
    assert "Adam(lr=0.1)" in str(plan)


def test_the_arena_is_counted_once_it_is_taken_and_holds_all_that_is_shown():
    plan = _plan(loss=cr.MSELoss(), optimizer=cr.Adam(), batch=64)
    assert plan.bytes is None
    assert "arena" not in str(plan)
    compiled = compile_plan(plan)
    assert plan.bytes == compiled.bytes
    assert str(plan).endswith(f", {plan.bytes:,} bytes in one arena")
    parameters = 825 * 4  # values, gradients, two moments, the best
    outputs = 64 * (7 * 25 + 3) * 4
    assert 5 * parameters + outputs / 2 < plan.bytes < 40 * (5 * parameters + outputs)


def test_a_plan_is_plain_data():
    plan = _plan(batch=3)
    assert [op.kind for op in plan.ops].count("linear") == 5
    assert plan.ops[0].text == "Linear(2, 25)"
    assert plan.ops[1].flops == 0
