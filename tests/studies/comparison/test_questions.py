import pytest
import torch

import chainrule as cr
from chainrule.studies.comparison import full, quick
from chainrule.studies.comparison.questions import BASE, LOSSES, OPTIMIZERS


@pytest.mark.parametrize("plan", [full(), quick()], ids=lambda plan: plan.name)
def test_every_question_has_the_base_beside_cells_that_differ_from_it_in_its_field(plan):
    cells = plan.cells()
    assert BASE in cells
    assert len(set(cells)) == len(cells)
    for question in plan.questions:
        made = [question.cell(value) for value in question.values]
        assert len(set(made)) == len(question.values)
        assert set(made) <= set(cells)
        assert BASE in made or question.name == "lr"
        for value, cell in zip(question.values, made, strict=True):
            differing = {name for name in vars(BASE) if getattr(cell, name) != getattr(BASE, name)}
            assert differing <= {question.name, *(["lr"] if question.name == "optimizer" else [])}
            assert getattr(cell, question.name) == value
    assert not set(plan.tuned()) & set(cells)
    assert [cell.steps for cell in cells] == sorted((cell.steps for cell in cells), reverse=True)


def test_the_full_study_asks_what_the_report_asked():
    asked = {question.name: question.values for question in full().questions}
    assert (asked["points"][0], asked["points"][-1]) == (100, 100_000)
    assert (asked["batch_size"][0], asked["batch_size"][-1]) == (1, 1000)
    assert set(asked["optimizer"]) == {"SGD", "momentum", "Nesterov", "RMSprop", "Adam", "AdamW"}
    assert set(asked["loss"]) == {"MSE", "cross-entropy", "L1"}
    assert {"lr", "epochs", "activation", "width", "depth"} < set(asked)
    assert full().seeds == 20


def test_both_libraries_know_every_name():
    activations = next(question.values for question in full().questions if question.name == "activation")
    for name in (*activations, *LOSSES.values()):
        assert hasattr(cr, name)
        assert hasattr(torch.nn, name)
    for kind, _, _ in OPTIMIZERS.values():
        assert hasattr(cr, kind)
        assert hasattr(torch.optim, kind)
    assert {question.scale for question in full().questions} == {"log", "names", "linear"}
