import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.tables import read_table
from chainrule.tables.target import ClassTarget, NumberTarget, choose_task, known_rows


def table(values):
    return read_table({"y": values, "x": list(range(len(values)))})


@pytest.mark.parametrize(
    ("values", "task", "reason"),
    [
        (["a", "b"] * 5, "classification", "`y` holds 2 different texts"),
        ([True, False] * 5, "classification", "`y` is true or false"),
        (["true", "False"] * 5, "classification", "`y` is true or false"),
        ([0, 1] * 5, "classification", "`y` holds 2 different whole numbers"),
        (["0", "1.0"] * 5, "classification", "`y` holds 2 different whole numbers"),
        (list(range(20)) * 5, "classification", "`y` holds 20 different whole numbers"),
        (list(range(21)) * 5, "regression", "`y` holds 21 different numbers"),
        (list(range(20)) * 4, "regression", "`y` holds 20 different numbers"),
        ([0, 0.5] * 20, "regression", "`y` holds 2 different numbers"),
        ([1.5, None, 2.5], "regression", "`y` holds 2 different numbers"),
    ],
)
def test_the_task_is_found_with_a_reason(values, task, reason):
    assert choose_task(table(values), "y") == (task, reason)
    other = {"classification": "regression", "regression": "classification"}[task]
    assert choose_task(table(values), "y", other) == (other, "you said so")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([None, "NA", ""], "the target `y` is missing in every row"),
        ([dt.date(2024, 1, 1)], "the target `y` must be a number or a class, got dates"),
        (["2024-01-01", "2024-01-02"], "the target `y` must be a number or a class, got dates"),
        (["1.5"] * 30 + ["x"], "column `y` holds numbers in 96.8% of its rows, but row 31 holds 'x'"),
        (["1,50,000", "2,5"], "column `y` holds numbers with commas in odd places, but row 1 holds '1,50,000'"),
        (["1,500", "2,500"], "column `y` can be read in two ways: row 1 holds '1,500', which is 1500 if"),
        (["01/31/2020"] * 3, "the target `y` must be a number or a class, got dates"),
    ],
)
def test_what_can_be_no_target_is_an_error(values, says):
    with pytest.raises(ValueError, match=f"^the table: {says}"):
        choose_task(table(values), "y")
    with pytest.raises(ValueError, match="the table: there is no column `Y`; there are `y`, `x`"):
        choose_task(table(values), "Y")


@pytest.mark.parametrize(
    ("values", "classes", "given_back"),
    [
        (["b", "a", " b "], ("a", "b"), ["b", "a", "b"]),
        ([10, 9, 10], ("9", "10"), [10, 9, 10]),
        (["10", "9", "10"], ("9", "10"), [10, 9, 10]),
        (["10", "9.0", "10"], ("9.0", "10"), ["10", "9.0", "10"]),
        (["02", "01", "10"], ("01", "02", "10"), ["02", "01", "10"]),
        ([2**60 + 1, 2**60, 2**60 + 1], (str(2**60), str(2**60 + 1)), [2**60 + 1, 2**60, 2**60 + 1]),
        ([2**63 + 1, 2**63, 2**63], (str(2**63), str(2**63 + 1)), [2**63 + 1, 2**63, 2**63]),
        ([0.5, -1, 0.5], ("-1", "0.5"), [0.5, -1, 0.5]),
        ([dt.date(2024, 1, 2), dt.date(2024, 1, 1)], ("2024-01-01", "2024-01-02"), ["2024-01-02", "2024-01-01"]),
        ([True, False, True], ("false", "true"), [True, False, True]),
        (["TRUE", "FALSE", "TRUE"], ("FALSE", "TRUE"), ["TRUE", "FALSE", "TRUE"]),
        (["TRUE", "false", "1", "TRUE"], ("false", "TRUE"), ["TRUE", "false", "TRUE", "TRUE"]),
    ],
)
def test_classes_come_back_as_they_stood_in_the_table(values, classes, given_back):
    target = ClassTarget.fit(table(values * 2), "y", "because")
    assert target.classes == classes
    numbers = target.encode(table(values))
    found = target.values(np.eye(len(classes))[numbers])
    assert found.tolist() == given_back
    assert found.dtype.kind == np.array(given_back).dtype.kind


@pytest.mark.parametrize(
    ("dtype", "values", "given_back"),
    [
        (pl.Categorical, ["2", "1", "2"], ["2", "1", "2"]),
        (pl.Decimal(10, 2), ["2.50", "1", "2.50"], [2.5, 1, 2.5]),
        (pl.String, ["\u22123", "2", "\u22123"], ["\u22123", "2", "\u22123"]),
    ],
)
def test_classes_of_other_types_come_back_as_texts_or_numbers(dtype, values, given_back):
    one = read_table({"y": pl.Series(values).cast(dtype)})
    target = ClassTarget.fit(read_table({"y": one.frame["y"].append(one.frame["y"])}), "y", "because")
    assert target.values(np.eye(2)[target.encode(one)]).tolist() == given_back


def test_a_class_that_is_written_in_another_way_elsewhere_is_the_same():
    codes = ClassTarget.fit(table(["01", "02", "01", "02"]), "y", "because")
    assert codes.encode(table([1, 2, 3])).tolist() == [0, 1, -1]
    assert codes.encode(table(["01", "02.0", "1"])).tolist() == [0, 1, -1]
    numbers = ClassTarget.fit(table([1, 2, 1, 2]), "y", "because")
    assert numbers.encode(table(["01", "2.0", "3"])).tolist() == [0, 1, -1]
    words = ClassTarget.fit(table(["TRUE", "FALSE"] * 2), "y", "because")
    assert words.encode(table([True, False])).tolist() == words.encode(table(["true", "0"])).tolist() == [1, 0]
    assert words.unknown(table(["TRUE", "maybe"])) == ["maybe"]


def test_a_class_that_is_not_known_is_told():
    target = ClassTarget.fit(table(["a", "b"] * 2), "y", "because")
    new = table(["a", "z", "b", "q"])
    assert target.encode(new).tolist() == [0, -1, 1, -1]
    assert target.unknown(new) == ["z", "q"]


def test_probabilities_are_the_softmax_whatever_the_size_of_the_logits():
    target = ClassTarget.fit(table(["a", "b"] * 2), "y", "because")
    p = target.probabilities(np.array([[0, np.log(3)], [1e30, -1e30]], np.float32))
    np.testing.assert_allclose(p, [[0.25, 0.75], [1, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["a"] * 5, "must hold at least two classes, got `a` alone"),
        ([f"t{i}" for i in range(9)], "holds 9 different values in 9 rows, too few rows .* two for each class$"),
        (["a", "a", "b"], "holds 2 different values in 3 rows, too few rows to learn classes from"),
        (
            [f"{i}" for i in range(9)],
            "holds 9 different values in 9 rows, .* say that the task is regression",
        ),
        ([f"t{i}" for i in range(1001)] * 3, "holds 1,001 different values in 3,003 rows, too many"),
    ],
)
def test_too_few_and_too_many_classes_are_an_error(values, says):
    with pytest.raises(ValueError, match=f"^the table: the target `y` {says}"):
        ClassTarget.fit(table(values), "y", "because")


@given(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=30).filter(lambda values: min(values) < max(values)))
def test_numbers_come_back_in_their_own_units(values):
    target = NumberTarget.fit(table(values), "y", "because")
    y = target.encode(table(values))
    assert y.shape == (len(values), 1)
    eps = 4 * np.finfo(float).eps * (np.abs(values).max() + np.abs(y).max() * target.scale)
    np.testing.assert_allclose(target.values(y), values, rtol=0, atol=eps)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([2.5] * 3, "the target `y` is 2.5 in every row: nothing is to be learned"),
        ([1.5, "inf", 2], "the target `y` must be finite, but row 2 holds inf"),
        ([1.5, None, 2], "the target `y` must be finite, but row 2 holds nan"),
        ([1.5, "x", 2], "column `y` is the target of a regression, but row 2 holds 'x'"),
    ],
)
def test_numbers_that_cannot_be_learned_are_an_error(values, says):
    with pytest.raises(ValueError, match=f"^the table: {says}"):
        NumberTarget.fit(table([str(value) if value is not None else None for value in values]), "y", "because")


def test_strata_are_classes_or_neighbours():
    assert ClassTarget.fit(table(["b", "a"] * 2), "y", "").strata(table(["b", "a"])).tolist() == [1, 0]
    values = np.random.default_rng(0).permutation(60).astype(float)
    strata = NumberTarget.fit(table(values), "y", "").strata(table(values))
    assert strata.tolist() == (values // 20).astype(int).tolist()


def test_the_loss_fits_the_task():
    classes, number = (
        ClassTarget("y", "classification", "", ("a", "b"), "text"),
        NumberTarget("y", "regression", "", 0, 1),
    )
    assert isinstance(classes.loss(None), cr.CrossEntropyLoss)
    kinds = {name: type(number.loss(name)) for name in (None, "mse", "huber", "mae")}
    assert kinds == {None: cr.MSELoss, "mse": cr.MSELoss, "huber": cr.HuberLoss, "mae": cr.L1Loss}
    with pytest.raises(ValueError, match="classes are learned by cross-entropy; the loss mae is for numbers"):
        classes.loss("mae")


def test_rows_without_a_target_are_found():
    assert known_rows(table(["a", None, "NA", "b"]), "y").tolist() == [True, False, False, True]


def test_whole_numbers_of_unsigned_64_bits_come_back_as_such():
    values = np.uint64(2**63 + 5) + np.arange(100, dtype=np.uint64)
    target = NumberTarget.fit(read_table({"t": values}), "t", "")
    found = target.values(target.encode(read_table({"t": values})))
    assert found.dtype == np.uint64
    assert (found == values).all()


def test_errors_of_a_target_say_what_can_be_done_about_a_target():
    with pytest.raises(ValueError, match="row 6 holds 'x'; mend that, or say that the task is classification"):
        choose_task(read_table({"t": ["x" if i == 5 else f"{i}.5" for i in range(100)]}), "t")
    with pytest.raises(ValueError, match="got dates; if they are classes, say that the task is classification"):
        choose_task(read_table({"t": ["2020-01-31", "2020-02-01"]}), "t")
