import numpy as np
import pytest
import torch
from networks import bits, small_network

import chainrule as cr
from chainrule.train.prepare import as_dataset, inputs, prepare, reference, rehearse

X = np.arange(12.0).reshape(6, 2)
TARGET = np.array([0, 1, 0, 1, 0, 1])


def test_a_dataset_or_a_pair_or_a_triple_will_do():
    data = cr.Dataset(X, TARGET)
    assert as_dataset("fit", "train", data) is data
    assert as_dataset("fit", "train", [X, TARGET]).target is TARGET
    assert as_dataset("fit", "train", (X, TARGET, np.ones(6))).sample_weight.shape == (6,)


@pytest.mark.parametrize("data", [X, (X,), (X, X, X, X), "data", None, cr.MSELoss(), {"x": X}])
def test_anything_else_is_refused_by_its_type(data):
    with pytest.raises(TypeError, match=rf"fit: train must be a Dataset or a pair .* got {type(data).__name__}"):
        as_dataset("fit", "train", data)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_come_to_the_models_library_and_dtype(library, dtype):
    model = small_network(dtype=dtype).to(library)
    kind = np.ndarray if library == "numpy" else torch.Tensor
    for x, target in ((X, TARGET), (torch.from_numpy(X), torch.from_numpy(TARGET)), (X.astype(int), TARGET > 0)):
        data = prepare("fit", "train", (x, target, np.arange(6)), model, cr.MSELoss())
        for array in (data.x, data.target, data.sample_weight):
            assert isinstance(array, kind)
            assert str(array.dtype).removeprefix("torch.") == dtype


def test_integers_stay_class_indices_only_for_a_loss_that_knows_classes():
    class Own(cr.Module):
        pass

    model = small_network()
    narrow = TARGET.astype(np.uint8)
    assert prepare("fit", "train", (X, narrow), model, cr.CrossEntropyLoss()).target.dtype == np.int64
    assert prepare("fit", "train", (X, narrow), model, Own()).target.dtype == np.int64
    assert prepare("fit", "train", (X, narrow), model, cr.MSELoss()).target.dtype == np.float64
    assert prepare("fit", "train", (X, TARGET > 0), model, cr.CrossEntropyLoss()).target.dtype == np.bool_


def test_arrays_that_fit_are_not_copied():
    data = prepare("fit", "train", (X, TARGET), small_network(), cr.CrossEntropyLoss())
    assert data.x is X
    assert data.target is TARGET


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_rows_lie_one_after_the_other(library):
    model = small_network().to(library)
    x = prepare("fit", "train", (np.asfortranarray(X), X), model, cr.MSELoss()).x
    assert x.flags.c_contiguous if library == "numpy" else x.is_contiguous()
    x = inputs("predict", "x", torch.from_numpy(X).T.contiguous().T, reference(model))
    assert x.flags.c_contiguous if library == "numpy" else x.is_contiguous()


def test_without_parameters_floating_numbers_keep_their_dtype_and_integers_become_float32():
    assert reference(cr.Tanh()) is None
    assert inputs("predict", "x", X, None).dtype == np.float64
    assert inputs("predict", "x", X.astype(int), None).dtype == np.float32


def test_numbers_too_large_for_the_models_dtype_are_refused_without_a_warning():
    x = X.copy()
    x[4, 1] = 1e300
    with pytest.raises(ValueError, match=r"fit: train\.x must be finite in float32, got inf in row 4"):
        prepare("fit", "train", (x, TARGET), small_network(dtype="float32"), cr.CrossEntropyLoss())


def test_rehearsal_checks_all_targets_and_changes_nothing():
    model, loss = small_network(), cr.CrossEntropyLoss()
    before = bits(model)
    rehearse(model, loss, prepare("fit", "train", (X, TARGET), model, loss))
    target = TARGET.copy()
    target[5] = 9
    with pytest.raises(ValueError, match="got 9 at position 5"):
        rehearse(model, loss, prepare("fit", "train", (X, target), model, loss))
    assert bits(model) == before
    assert not any(parameter.grad.any() for parameter in model.param())


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("size", [1e-45, 1e-38, 1e-32, 1e31, 3e38])
def test_weights_by_which_losses_cannot_be_weighed_are_refused(engine, size):
    """In float32 their products with losses, or their sum, would be 0 or infinite."""
    weight = np.full(6, size, "float32")
    with pytest.raises(ValueError, match=r"fit: train\.sample_weight must be of a size by which float32 can weigh"):
        cr.fit(
            small_network(cr.SGD(lr=0.1)).float(), cr.CrossEntropyLoss(), (X, TARGET, weight), epochs=1, engine=engine
        )


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("size", [2e-31, 1e-20, 1e20, 5e30])
def test_weights_of_any_other_size_are_those_of_1(engine, size):
    found = []
    for weight in (size, 1.0):
        model = small_network(cr.SGD(lr=0.1)).float()
        weights = np.full(6, weight) * [1, 1, 1, 1, 1, 1e-12]
        history = cr.fit(model, cr.CrossEntropyLoss(), (X, TARGET, weights), epochs=2, engine=engine, batch_size=3)
        found.append(history.losses)
    assert found[0] == pytest.approx(found[1], rel=1e-5)
