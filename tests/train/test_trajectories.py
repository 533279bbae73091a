"""The same network, trained 200 steps from the same weights on the same batches, by chainrule and by PyTorch."""

import numpy as np
import pytest
import torch
from networks import report_network, values

import chainrule as cr

pytestmark = pytest.mark.usefixtures("float64_by_default")

STEPS, BATCH_SIZE, POINTS = 200, 100, 1000
EPOCHS = STEPS * BATCH_SIZE // POINTS

OPTIMIZERS = {
    "SGD": (cr.SGD, torch.optim.SGD, {"lr": 0.1}),
    "SGD momentum": (cr.SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "SGD dampening": (cr.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    "SGD nesterov": (cr.SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "SGD weight decay": (cr.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.5, "weight_decay": 1e-2}),
    "Adam": (cr.Adam, torch.optim.Adam, {"lr": 1e-2}),
    "Adam weight decay": (cr.Adam, torch.optim.Adam, {"lr": 1e-2, "betas": (0.8, 0.95), "weight_decay": 1e-4}),
    "Adam amsgrad": (cr.Adam, torch.optim.Adam, {"lr": 1e-2, "amsgrad": True}),
    "AdamW": (cr.AdamW, torch.optim.AdamW, {"lr": 1e-2}),
    "AdamW amsgrad": (cr.AdamW, torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1, "amsgrad": True}),
    "RMSprop": (cr.RMSprop, torch.optim.RMSprop, {"lr": 1e-3}),
    "RMSprop centered": (cr.RMSprop, torch.optim.RMSprop, {"lr": 1e-3, "centered": True}),
    "RMSprop momentum": (cr.RMSprop, torch.optim.RMSprop, {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-2}),
    "NAdam": (cr.NAdam, torch.optim.NAdam, {"lr": 5e-3, "momentum_decay": 0.1}),
    "RAdam": (cr.RAdam, torch.optim.RAdam, {"lr": 1e-2}),
    "Adamax": (cr.Adamax, torch.optim.Adamax, {"lr": 1e-2, "betas": (0.8, 0.95)}),
    "Adadelta": (cr.Adadelta, torch.optim.Adadelta, {"eps": 1e-4}),
    "Rprop": (cr.Rprop, torch.optim.Rprop, {"lr": 1e-3, "step_sizes": (1e-6, 1e-2)}),
    "ASGD": (cr.ASGD, torch.optim.ASGD, {"lr": 0.1, "lambd": 1e-2, "t0": 50}),
    "Adafactor": (cr.Adafactor, torch.optim.Adafactor, {}),
    "Adagrad": (cr.Adagrad, torch.optim.Adagrad, {"lr": 1e-2}),
    "Adagrad lr_decay": (
        cr.Adagrad,
        torch.optim.Adagrad,
        {"lr": 5e-2, "lr_decay": 1e-2, "weight_decay": 1e-3, "initial_accumulator_value": 0.1},
    ),
}
ACTIVATIONS = {"Tanh": (cr.Tanh, torch.nn.Tanh), "ReLU": (cr.ReLU, torch.nn.ReLU)}
LOSSES = {"MSE": (cr.MSELoss, torch.nn.MSELoss), "CrossEntropy": (cr.CrossEntropyLoss, torch.nn.CrossEntropyLoss)}


def _data(loss):
    data = cr.data.disk(POINTS, seed=0, radius="balanced", classes=loss == "CrossEntropy")
    target = data.target if loss == "CrossEntropy" else data.target.astype(np.float64)
    return cr.Dataset(data.x.astype(np.float64), target)


def _train_chainrule(model, loss, optimizer, data):
    course = []
    for epoch in range(EPOCHS):
        for x, target in data.batches(BATCH_SIZE, seed=7, epoch=epoch):
            y, saved = model.forward(x)
            value, saved_loss = loss.forward(y, target)
            model.zero_grad()
            model.backward(loss.backward(1.0, saved_loss), saved)
            optimizer.step(model.param())
            course.append(float(value))
    return course


def _train_torch(model, loss, optimizer, data):
    course = []
    for epoch in range(EPOCHS):
        for x, target in data.batches(BATCH_SIZE, seed=7, epoch=epoch):
            value = loss(model(torch.from_numpy(x)), torch.from_numpy(target))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            course.append(value.item())
    return course


def _torch_network(model, activation):
    """PyTorch's network of the same layers, with the same weights."""
    layers = [
        torch.nn.Linear(layer.in_features, layer.out_features, dtype=torch.float64)
        if isinstance(layer, cr.Linear)
        else activation()
        for layer in model
    ]
    twin = torch.nn.Sequential(*layers)
    twin.load_state_dict({name: torch.from_numpy(value) for name, value in values(model).items()})
    return twin


def assert_same_numbers(got, expected):
    """Equal to 1e-10, with a floor for numbers near zero.

    A parameter is a sum of STEPS updates, each a sum over BATCH_SIZE rows whose terms are as large as the tensor, so
    below STEPS · BATCH_SIZE · eps (4e-12) of the largest number of the tensor there is only rounding.
    """
    assert got.keys() == expected.keys()
    for name in got:
        floor = STEPS * BATCH_SIZE * np.finfo(np.float64).eps * np.abs(expected[name]).max()
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-10, atol=floor, err_msg=name)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_200_steps_end_where_pytorch_ends(optimizer, activation, loss):
    ours, theirs, options = OPTIMIZERS[optimizer]
    data = _data(loss)
    model = report_network(ACTIVATIONS[activation][0], seed=1)
    twin = _torch_network(model, ACTIVATIONS[activation][1])
    start = values(model)

    course = _train_chainrule(model, LOSSES[loss][0](), ours(**options), data)
    course_of_torch = _train_torch(twin, LOSSES[loss][1](), theirs(twin.parameters(), **options), data)

    assert len(course) == STEPS
    assert np.mean(course[-10:]) < np.mean(course[:10])  # it has learned something
    assert all((values(model)[name] != start[name]).any() for name in start)
    assert_same_numbers(values(model), {name: p.detach().numpy() for name, p in twin.named_parameters()})
    np.testing.assert_allclose(course, course_of_torch, rtol=1e-10, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_tensors_and_arrays_end_at_the_same_numbers(optimizer, loss):
    ours, _, options = OPTIMIZERS[optimizer]
    histories, parameters = [], []
    for library in ("numpy", "torch"):
        model = report_network(seed=2).to(library)
        history = cr.fit(
            model,
            LOSSES[loss][0](),
            _data(loss),
            epochs=EPOCHS,
            batch_size=BATCH_SIZE,
            optimizer=ours(**options),
            seed=7,
            keep="last",
        )
        histories.append(history.losses)
        parameters.append(values(model))
        assert type(model[0].weight.value) is (np.ndarray if library == "numpy" else torch.Tensor)
    assert_same_numbers(parameters[1], parameters[0])
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-10, atol=0)


def test_fit_is_the_loop_written_by_hand_bit_for_bit():
    data = _data("MSE")
    by_hand, by_fit = report_network(seed=3), report_network(seed=3)
    course = _train_chainrule(by_hand, cr.MSELoss(), cr.Adam(lr=1e-2), data)
    history = cr.fit(
        by_fit,
        cr.MSELoss(),
        data,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        optimizer=cr.Adam(lr=1e-2),
        seed=7,
        keep="last",
        engine="python",
    )
    for name, value in values(by_hand).items():
        assert value.tobytes() == values(by_fit)[name].tobytes(), name
    means = np.reshape(course, (EPOCHS, -1)).mean(axis=1)
    np.testing.assert_allclose(history.losses, means, rtol=20 * np.finfo(np.float64).eps)  # ten terms, added twice


def test_weights_that_are_shared_learn_as_in_pytorch():
    rng = np.random.default_rng(4)
    first = cr.Linear(5, 5, dtype="float64", rng=rng)
    again = cr.Linear(5, 5, weight=first.weight, bias=first.bias)
    model = cr.Sequential(first, cr.Tanh(), again, cr.Tanh(), cr.Linear(5, 1, dtype="float64", rng=rng))
    one = torch.nn.Linear(5, 5, dtype=torch.float64)
    twin = torch.nn.Sequential(one, torch.nn.Tanh(), one, torch.nn.Tanh(), torch.nn.Linear(5, 1, dtype=torch.float64))
    twin.load_state_dict({name: torch.from_numpy(value) for name, value in values(model).items()})
    data = cr.Dataset(rng.normal(size=(POINTS, 5)), rng.normal(size=(POINTS, 1)))
    _train_chainrule(model, cr.MSELoss(), cr.Adam(lr=1e-2), data)
    _train_torch(twin, torch.nn.MSELoss(), torch.optim.Adam(twin.parameters(), lr=1e-2), data)
    assert_same_numbers(values(model), {name: value.numpy() for name, value in twin.state_dict().items()})
    assert model[2].weight is model[0].weight
