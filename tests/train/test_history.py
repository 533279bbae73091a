import numpy as np
import pytest

import chainrule as cr
from chainrule import History


def recorded(losses, validation_losses=None, steps=0):
    history = History()
    for epoch, loss in enumerate(losses):
        validation = None if validation_losses is None else validation_losses[epoch]
        history.record(loss, validation, {"errors": 10.0 - epoch}, learning_rate=0.1, seconds=epoch + 1.0)
    history.steps = steps
    return history


def test_a_new_history_has_nothing():
    history = History()
    assert history.epochs == 0
    assert history.best_epoch is None
    assert history.best_loss is None
    assert "0 epochs, 0 steps" in repr(history)
    assert "not yet" in repr(history)


def test_record_says_whether_the_epoch_is_the_best_so_far():
    history = History()
    said = [history.record(loss, None, {}, learning_rate=0.1, seconds=0.0) for loss in (3.0, 2.0, 2.0, 4.0, 1.0)]
    assert said == [True, True, False, False, True]  # an equal loss is not better
    assert (history.best_epoch, history.best_loss, history.epochs) == (4, 1.0, 5)


def test_validation_losses_decide_where_there_are_any():
    history = recorded([3.0, 2.0, 1.0], [1.0, 0.5, 2.0])
    assert history.monitored == [1.0, 0.5, 2.0]
    assert (history.best_epoch, history.best_loss) == (1, 0.5)


def test_lists_hold_one_entry_per_epoch():
    history = recorded([3.0, 2.0])
    assert history.metrics == {"errors": [10.0, 9.0]}
    assert history.learning_rates == [0.1, 0.1]
    assert history.epoch_s == [1.0, 2.0]
    assert history.validation_losses == []


def test_repr_reads_like_a_report():
    history = recorded([0.5, 0.25], [0.75, 0.125], steps=2000)
    history.total_s, history.stopped = 1.5, "all epochs done"
    assert repr(history).split("\n") == [
        "History: 2 epochs, 2,000 steps, 1.5 s, engine python",
        "  loss             0.5 → 0.25   best epoch 0.25",
        "  validation loss  0.75 → 0.125   best epoch 0.125",
        "  errors           10 → 9   best epoch 9",
        "  best epoch       1, counted from 0",
        "  stopped          all epochs done",
    ]


def test_one_of_anything_is_singular():
    assert repr(recorded([1.0], steps=1)).startswith("History: 1 epoch, 1 step, ")


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_rates_of_groups_are_written_down_too(engine, accumulate):
    model = cr.Sequential(cr.Linear(2, 3, rng=0), cr.Tanh(), cr.Linear(3, 1, rng=1))
    groups = [
        {"parameters": model[0], "lr": cr.StepLR(0.1, 5, 0.5, every="step")},
        {"parameters": model[2].bias, "lr": cr.StepLR(0.2, 2)},
    ]
    optimizer = cr.Adam(0.01, groups=groups)
    x = np.random.default_rng(0).normal(size=(40, 2))
    options = {"batch_size": 10, "optimizer": optimizer, "engine": engine, "accumulate": accumulate}
    history = cr.fit(model, cr.MSELoss(), (x, x[:, :1]), epochs=4, **options)
    by_step = [0.1 * 0.5 ** (epoch * (4 // accumulate) // 5) for epoch in range(4)]
    assert history.group_learning_rates["0"] == pytest.approx(by_step)
    assert history.group_learning_rates["1"] == pytest.approx([0.2, 0.2, 0.02, 0.02])
    assert list(history.row(3)) == ["epoch", "loss", "learning_rate", "learning_rate[0]", "learning_rate[1]", "seconds"]
    assert history.row(3)["learning_rate[1]"] == pytest.approx(0.02)
    assert cr.History.from_dict(history.to_dict()) == history
    history = cr.fit(model, cr.MSELoss(), (x, x[:, :1]), epochs=2, **options)  # where the schedules were left
    assert history.group_learning_rates["1"] == pytest.approx([0.002, 0.002])


def test_groups_that_a_callback_makes_have_rates_from_then_on(tmp_path):
    def regroup(run):
        if run.history.epochs == 2:
            run.optimizer.groups = [{"parameters": run.model, "lr": 0.5}]
        if run.history.epochs == 3:
            run.optimizer.groups = ()

    x = np.random.default_rng(0).normal(size=(40, 2))
    options = {"epochs": 4, "optimizer": cr.SGD(0.01), "callbacks": [regroup], "checkpoint": tmp_path}
    history = cr.fit(cr.Linear(2, 1, rng=0), cr.MSELoss(), (x, x[:, :1]), **options)
    np.testing.assert_array_equal(history.group_learning_rates["0"], [np.nan, np.nan, 0.5, np.nan])
