import numpy as np
import polars as pl
import pytest
from frames import houses

from chainrule.tables import train_table
from chainrule.tables.report import grid, report_text, schema_text, score_text
from chainrule.tables.scores import ClassScore, NumberScore


@pytest.fixture(scope="module")
def model():
    frame = houses().with_columns(price=pl.when(pl.col("id") < 6).then(None).otherwise("price"))
    return train_table(frame, "price", epochs=2, hidden=(6,), progress=False)


def test_the_report_says_what_was_found_and_done(model):
    text = report_text(model)
    assert text.startswith("the table: 200 rows; regression, because `price` holds 195 different numbers\n")
    for line in (
        "id ignored it numbers the rows: 1 to 200, each once",
        "town categorical 3 different texts 3 inputs: Aachen, Bonn, Celle",
        "network 8-6-1, GELU, dropout 0.1; 61 parameters",
        "mse, AdamW(lr=0.002), batches of 16",
        "ended: all epochs done",
        "notes 5 rows left out: no `price`",
    ):
        assert line in [" ".join(line.split()) for line in text.splitlines()]
    rows = model.report["rows"]
    learned = f"{rows['training']} rows to learn from, {rows['validation']} to stop by, {rows['test']} to test; seed 0"
    assert f"training      {learned}" in text
    assert f"2 epochs in {model.history.total_s:.3g} s, engine native" in text
    assert f"test          R² {model.score.r2:.3f} on {rows['test']} rows" in text


def test_a_score_of_classes_shows_who_was_taken_for_whom():
    score = ClassScore(("a", "long name"), np.array([[8, 2], [0, 10]]), 0.25).to_dict()
    assert score_text(score, "test") == (
        "test          18 of 20 rows right, 90.0% (95% interval 69.9% to 97.2%)\n"
        "              always saying a, the most frequent of them: 50.0%\n"
        "              cross-entropy 0.25\n"
        "\n"
        "true, and said  a  long name  right\n"
        "a               8          2    80%\n"
        "long name       .         10   100%"
    )


def test_of_many_classes_the_most_frequent_errors_are_shown():
    confusion = np.diag(np.full(20, 5))
    confusion[3, 4], confusion[7, 1] = 2, 3
    score = ClassScore(tuple(f"c{i}" for i in range(20)), confusion, float("nan")).to_dict()
    lines = score_text(score, "test").splitlines()
    assert lines[3:] == ["the most frequent errors", "true  said  times", "c7    c1        3", "c3    c4        2"]


def test_few_rows_are_said_to_say_little():
    text = score_text(ClassScore(("a", "b"), np.array([[1, 0], [0, 0]]), 0.1).to_dict(), "test")
    assert "1 of 1 row right, 100.0% (95% interval 20.7% to 100.0%)" in text
    assert "1 row is too few to judge by" in text
    text = score_text(NumberScore(np.array([1.0, 1.2]), np.array([1.9, 0.4]), 5.0).to_dict(), "test")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "test R² -71.500 on 2 rows: always saying their mean would be better"
    assert lines[2] == "always saying the mean of these rows: root mean square 0.1, R² 0"
    assert lines[3] == "2 rows are too few to judge by: other rows may say the opposite"
    text = score_text(NumberScore(np.full(20, 0.1), np.full(20, 0.3), 5.0).to_dict(), "test")
    assert "20 rows of one value, of which there is no R²" in text


def test_a_report_of_an_older_model_is_still_told():
    new = NumberScore(np.arange(20.0), np.arange(20.0) + 1, 5.0).to_dict()
    old = {name: new[name] for name in ("rows", "r2", "rmse", "mae", "rmse_of_the_mean", "residual_quantiles")}
    assert score_text(old, "test").startswith(
        "test          R² 0.970 on 20 rows: that share of the variance is explained"
    )
    new = ClassScore(("a", "b"), np.array([[9, 0], [1, 9]]), 0.1).to_dict()
    del new["accuracy_interval"]
    assert "18 of 19 rows right, 94.7%\n" in score_text(new, "test")


def test_of_many_columns_the_first_are_shown_and_the_others_counted():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({f"x{i}": rng.normal(size=60) if i % 10 else ["same"] * 60 for i in range(60)})
    model = train_table(frame.with_columns(y=rng.normal(size=60)), "y", epochs=1, progress=False)
    assert schema_text(model).splitlines()[-1] == "… and 20 more: 2 ignored, 18 numeric"


def test_cells_that_are_long_or_have_line_ends_are_one_short_line():
    text = grid([("a\nb", "x" * 100), ("c", "1")], right=[1])
    assert text.splitlines() == ["a b  " + "x" * 59 + "…", "c    " + " " * 59 + "1"]
