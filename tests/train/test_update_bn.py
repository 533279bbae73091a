import numpy as np
import pytest
import torch
from networks import bits

import chainrule as cr


def network(**options):
    rng = np.random.default_rng(0)
    norm = cr.BatchNorm1d(6, dtype="float64", **options)
    return cr.Sequential(cr.Linear(3, 6, dtype="float64", rng=rng), norm, cr.Tanh(), cr.Linear(6, 1, rng=rng).double())


def data(n=50):
    x = np.random.default_rng(0).normal(2, 3, size=(n, 3))
    return x, np.sin(x[:, :1])


@pytest.mark.parametrize("momentum", [0.1, None])
def test_the_statistics_are_those_of_pytorch(momentum):
    model, (x, target) = network(momentum=momentum), data()
    cr.fit(model, cr.MSELoss(), (x, target), epochs=2, batch_size=10, optimizer=cr.SGD(lr=0.1), average=cr.EMA(0.5))
    peer = cr.to_torch(model)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(x)), batch_size=8)
    torch.optim.swa_utils.update_bn(loader, peer)
    before = model[0].weight.value.copy()
    cr.update_bn(model, x, batch_size=8)
    for name, value in peer.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], value.numpy(), rtol=1e-12, err_msg=name)
    np.testing.assert_array_equal(model[0].weight.value, before)
    assert model[1].momentum == momentum
    assert model[1].num_batches_tracked.value == 7


def test_an_average_is_left_with_the_statistics_of_what_was_trained_as_in_pytorch():
    x, target = data(40)
    model, trained = network(), network()
    how = {"epochs": 3, "batch_size": 10, "optimizer": cr.SGD(lr=0.1), "keep": "last", "seed": 0}
    cr.fit(model, cr.MSELoss(), (x, target), average=cr.SWA(0), **how)
    cr.fit(trained, cr.MSELoss(), (x, target), **how)
    averaged = torch.optim.swa_utils.AveragedModel(cr.to_torch(network()))
    averaged.update_parameters(cr.to_torch(trained))
    averaged.update_parameters(cr.to_torch(trained))
    for name, value in averaged.module.named_buffers():
        np.testing.assert_array_equal(model.state_dict()[name], value.numpy())
    assert bits(model)["0.weight"] != bits(trained)["0.weight"]


@pytest.mark.parametrize("training", [True, False])
def test_modes_are_kept_and_a_batch_of_one_leaves_all_as_it_was(training):
    model, (x, _) = network().train(training), data(21)
    cr.update_bn(model, x, batch_size=8)
    assert [module.training for module in model.modules()] == [training] * 5
    before = bits(model)
    with pytest.raises(ValueError, match="x must have more than one value per channel in training"):
        cr.update_bn(model, x, batch_size=10)
    assert bits(model) == before
    assert model[1].momentum == 0.1
    assert [module.training for module in model.modules()] == [training] * 5


def test_networks_without_running_statistics_stay_as_they_are():
    for model in (network(track_running_stats=False), cr.Sequential(cr.Linear(3, 1).double())):
        before = bits(model)
        cr.update_bn(model, data()[0])
        assert bits(model) == before


def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match="update_bn: model must be"):
        cr.update_bn("model", data()[0])
    with pytest.raises(ValueError, match="update_bn: x must be finite"):
        cr.update_bn(network(), data()[0] * np.inf)
    with pytest.raises(ValueError, match="update_bn: x must have at least one row"):
        cr.update_bn(network(), data(0)[0])
    with pytest.raises(ValueError, match="update_bn: batch_size must be a positive integer, got 0"):
        cr.update_bn(network(), data()[0], batch_size=0)
