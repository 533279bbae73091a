import pytest

from chainrule.studies.comparison import Study, errors

SECONDS = ("seconds", "train_s", "test_s")


def plain(rows):
    """What does not depend on the clock, as text: NaN is then equal to itself."""
    return sorted(str({k: v for k, v in row.items() if k not in SECONDS}) for row in rows)


def test_everything_is_measured_once(measured, plan):
    store, cells = measured.store, plan.cells()
    assert not measured.left()
    assert len(store.errors.rows) == 2 * plan.seeds * (2 * len(cells) + len(plan.tuned()))
    assert len(store.times.rows) == plan.rounds * 4 * len(cells)
    assert {(row["disk"], row["dtype"]) for row in store.courses.rows} == {
        (disk, dtype) for disk in ("report", "balanced") for dtype in ("float32", "float64")
    }
    assert all(row["train_s"] > 0 and row["test_s"] > 0 for row in store.times.rows)
    assert not any(row["failed"] for row in store.errors.rows)


def test_both_learn_the_same_from_the_same_numbers(measured):
    by_framework = {
        who: {
            str({k: v for k, v in row.items() if k in ("disk", "seed", *vars(measured.plan.cells()[0]))}): row
            for row in measured.store.errors.rows
            if row["framework"] == who
        }
        for who in ("chainrule", "torch")
    }
    assert len(by_framework["torch"]) > 20
    short = [row for row in by_framework["torch"].values() if row["epochs"] <= 2]
    assert len(short) == 8
    for key, theirs in by_framework["torch"].items():
        ours = by_framework["chainrule"][key]
        if theirs in short:  # later rounding has gone its own way
            assert theirs["train_loss"] == pytest.approx(ours["train_loss"], rel=1e-4)
            assert theirs["test_loss"] == pytest.approx(ours["test_loss"], rel=1e-3)


def test_the_parameters_stay_together_in_float64(measured):
    rows = [row for row in measured.store.courses.rows if row["dtype"] == "float64"]
    assert max(row["difference"] for row in rows) < 1e-10
    assert max(abs(row["chainrule"] / row["torch"] - 1) for row in rows) < 1e-6
    first = [row for row in measured.store.courses.rows if row["dtype"] == "float32" and row["epoch"] == 1]
    assert max(row["difference"] for row in first) < 1e-5


def test_a_study_that_was_stopped_goes_on_and_ends_with_the_same_figures(measured, plan, tmp_path, monkeypatch):
    train, calls = errors.train_ours, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(errors, "train_ours", stopped)
    first = Study(plan, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        first.run(first.left(), progress=False)
    again = Study(plan, tmp_path)
    left = again.left()
    assert [(who, disk, seed) for who, disk, seed in left.errors] == [
        ("chainrule", "report", 1),
        ("torch", "report", 1),
        ("chainrule", "balanced", 1),
        ("torch", "balanced", 1),
    ]
    assert not left.rounds
    assert not left.courses
    again.run(left, progress=False)
    assert not Study(plan, tmp_path).left()
    for name in ("errors", "times"):
        assert plain(getattr(again.store, name).rows) == plain(getattr(measured.store, name).rows)


def test_the_estimate_falls_with_what_is_left(measured, plan, tmp_path):
    study = Study(plan, tmp_path)
    assert study.estimate(study.left()) > study.estimate(measured.left()) > 0


def test_without_torch_chainrule_is_studied_alone(plan, tmp_path):
    study = Study(plan, tmp_path, peer=False)
    study.run(study.left(), progress=False)
    assert not study.left()
    assert {row["framework"] for row in study.store.errors.rows + study.store.times.rows} == {"chainrule"}
    assert not study.store.courses.rows
