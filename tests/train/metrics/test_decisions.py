import functools

import numpy as np
import pytest
import torch

from chainrule import metrics


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_a_single_output_says_class_one_above_the_threshold(shape):
    y = np.array([-1.0, 0.3, 0.5, 0.7]).reshape(shape)
    assert metrics.classes(y).tolist() == [0, 0, 0, 1]  # at the threshold it is still class 0
    assert metrics.classes(y, 0.0).tolist() == [0, 1, 1, 1]
    assert metrics.errors(y, np.array([0, 1, 1, 1])) == 2
    assert functools.partial(metrics.errors, threshold=0.0)(y, np.array([0, 1, 1, 1])) == 0


def test_class_indices_and_booleans_are_classes():
    assert metrics.classes(np.array([2, 0, 1])).tolist() == [2, 0, 1]
    assert metrics.classes(np.array([True, False])).tolist() == [1, 0]


def test_first_of_equal_outputs_wins_as_in_numpy():
    assert metrics.classes(np.array([[1.0, 1.0]])).tolist() == [0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int64"])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_labels_are_classes_in_any_dtype(dtype, shape):
    target = np.array([0, 2, 1]).astype(dtype).reshape(shape)
    assert metrics.accuracy(np.eye(3), target) == 1 / 3
    assert metrics.accuracy(np.eye(3)[[0, 2, 1]], target) == 1
    assert metrics.accuracy(torch.eye(3)[[0, 2, 1]], torch.from_numpy(target)) == 1
    assert metrics.accuracy(np.array([0, 2, 1]), target) == 1  # class indices on both sides


def test_a_target_may_be_a_probability_of_the_one_output():
    y = np.array([0.2, 0.6, 0.9])
    assert metrics.errors(y, np.array([0.1, 0.4, 0.7])) == 1
    assert metrics.errors(y, np.array([True, False, True])) == 2


@pytest.mark.parametrize(
    ("y", "target", "message"),
    [
        (np.eye(3), np.array([0.0, 1.0, 3.0]), r"accuracy: target must be in 0 … 2, got 3 in row 2"),
        (np.eye(3), np.array([0, -100, 1]), r"accuracy: target must be in 0 … 2, got -100 in row 1"),
        (np.eye(3), np.array([0.0, 1.5, 2.0]), r"accuracy: target must hold classes \(whole .* got 1.5"),
        (np.eye(3), np.array([0.1, 0.2, 0.9]), r"accuracy: target must hold classes \(whole numbers\), got 0.1"),
        (np.eye(3), np.array([0.0, 1.0, 1e30]), r"accuracy: target must hold classes \(whole .* got 1e\+30"),
        (np.eye(3), np.array([0.0, np.nan, 2.0]), r"accuracy: target must not hold NaN"),
        (np.zeros(3), np.array([0.0, 1.0, 2.0]), r"accuracy: target must be in 0 … 1, got 2 in row 2"),
        (np.zeros(3), np.array([-1.0, 1.0, 1.0]), r"accuracy: target must be in 0 … 1, got -1 in row 0"),
        (np.zeros((3, 1)), np.eye(3), r"accuracy: target must be class indices or rows like y \(3, 1\)"),
        (np.zeros((3, 2)), np.eye(3), r"accuracy: target must be class indices or rows like y \(3, 2\)"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "accuracy: there are no samples"),
        (np.zeros(()), np.zeros(()), r"accuracy: y must have a row for each sample, \(batch, …\), got a single number"),
        (np.zeros((3, 2, 2)), np.zeros(3), r"accuracy: y must be \(batch, classes\) or \(batch,\), got \(3, 2, 2\)"),
    ],
)
def test_targets_that_name_no_class_are_refused(y, target, message):
    with pytest.raises(ValueError, match=message):
        metrics.accuracy(y, target)


def test_names_of_classes_are_refused_by_what_to_do_about_them():
    with pytest.raises(TypeError, match=r"accuracy: target must hold real numbers, .*; number the classes: .*unique"):
        metrics.accuracy(np.eye(2), np.array(["no", "yes"]))
