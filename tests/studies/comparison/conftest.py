import pytest

from chainrule.studies.comparison import Study
from chainrule.studies.comparison.questions import Plan, Question

TINY = Plan(
    questions=(
        Question("points", "Number of training points", (40, 1000)),
        Question("epochs", "Epochs", (1, 2)),
        Question("batch_size", "Batch size", (250, 1000)),
        Question("optimizer", "Optimizer", ("SGD", "Adam")),
        Question("depth", "Number of hidden layers", (1, 2)),
    ),
    tuning=(0.002, 0.2),
    seeds=2,
    rounds=2,
    timed_steps=8,
    test_points=100,
    name="tiny",
)


@pytest.fixture(scope="session")
def plan():
    return TINY


@pytest.fixture(scope="session")
def measured(plan, tmp_path_factory):
    """A study whose every figure is there; not to be changed."""
    study = Study(plan, tmp_path_factory.mktemp("measured"))
    study.run(study.left(), progress=False)
    return study
