"""Running statistics are state: they go where the parameters go."""

import functools

import numpy as np
import pytest
import torch
from networks import bits

import chainrule as cr
from chainrule.files import read_file, write_file


def network(*optimizer, seed=0, dtype="float64", momentum=0.1):
    rng = np.random.default_rng(seed)
    linear = functools.partial(cr.Linear, dtype=dtype, rng=rng)
    norm = cr.BatchNorm1d(6, momentum=momentum, dtype=dtype)
    return cr.Sequential(*optimizer, linear(3, 6), norm, cr.Tanh(), cr.Dropout(0.1), linear(6, 1))


def data(n=50, seed=0):
    x = np.random.default_rng(seed).normal(2, 3, size=(n, 3))
    return x, np.sin(x[:, :1])


def statistics(model):
    return {
        name: value for name, value in bits(model).items() if name.rpartition(".")[2].startswith(("running", "num"))
    }


def test_the_best_epoch_brings_its_statistics_along():
    held_out, seen = data(20, seed=1), []

    def look(run):
        seen.append((bits(run.model), cr.evaluate(run.model, cr.MSELoss(), held_out).loss))

    model = network(cr.SGD(lr=0.3))
    history = cr.fit(
        model, cr.MSELoss(), data(), epochs=8, batch_size=10, validation=held_out, callbacks=[look], seed=0
    )
    assert history.best_epoch < 7  # else this says nothing
    assert bits(model) == seen[history.best_epoch][0] != seen[-1][0]
    assert statistics(model) != {name: seen[-1][0][name] for name in statistics(model)}
    assert cr.evaluate(model, cr.MSELoss(), held_out).loss == pytest.approx(history.best_loss, rel=1e-12)
    last = network(cr.SGD(lr=0.3))
    cr.fit(last, cr.MSELoss(), data(), epochs=8, batch_size=10, validation=held_out, keep="last", seed=0)
    assert bits(last) == seen[-1][0]


def test_a_diverged_run_is_left_at_the_statistics_of_its_best_epoch():
    model = network(cr.SGD(lr=0.3))
    before = statistics(model)
    with pytest.raises(FloatingPointError):
        cr.fit(model, cr.MSELoss(), data(), epochs=1, batch_size=10, optimizer=cr.SGD(lr=1e200))
    assert statistics(model) == before


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("average", [None, cr.EMA(0.9)])
def test_a_run_that_goes_on_gives_the_same_bits(tmp_path, keep, average):
    how = {"validation": data(20, seed=1), "batch_size": 10, "seed": 0, "keep": keep, "average": average}
    whole, parts = network(cr.Adam(lr=0.1)), network(cr.Adam(lr=0.1))
    expected = cr.fit(whole, cr.MSELoss(), data(), epochs=8, **how)

    def stop(run):
        if run.history.epochs == 5:
            run.stop()

    cr.fit(parts, cr.MSELoss(), data(), epochs=8, callbacks=[stop], checkpoint=tmp_path, **how)
    parts = network(cr.Adam(lr=0.1))
    history = cr.fit(parts, cr.MSELoss(), data(), epochs=8, checkpoint=tmp_path, resume=True, **how)
    assert history.losses == expected.losses
    assert history.validation_losses == expected.validation_losses
    assert bits(parts) == bits(whole)
    assert bits(cr.load(tmp_path / "checkpoint.safetensors")) == bits(whole)


class Mean(cr.Module):
    """A layer whose running mean is a plain number."""

    def __init__(self):
        self.mean = cr.Buffer(0.0)

    def forward(self, x):
        if self.training:
            self.mean.value = 0.9 * self.mean.value + 0.1 * float(x.mean())
        return x - self.mean.value, None

    def backward(self, dy, saved):
        return dy


def test_statistics_that_are_plain_numbers_are_kept_too(tmp_path):
    def make():
        return cr.Sequential(cr.SGD(lr=0.3), cr.Linear(3, 4, rng=0), Mean(), cr.Tanh(), cr.Linear(4, 1, rng=1))

    seen, how = [], {"validation": data(20, seed=1), "batch_size": 10, "seed": 0}
    model = make()
    history = cr.fit(
        model, cr.MSELoss(), data(), epochs=6, callbacks=[lambda run: seen.append(run.model[1].mean.value)], **how
    )
    assert model[1].mean.value == seen[history.best_epoch] != seen[-1]
    cr.fit(make(), cr.MSELoss(), data(), epochs=6, checkpoint=tmp_path, **how)
    resumed = make()
    cr.fit(resumed, cr.MSELoss(), data(), epochs=6, checkpoint=tmp_path, resume=True, **how)
    loaded = cr.load(tmp_path / "checkpoint.safetensors", modules=[Mean])
    assert resumed[1].mean.value == loaded[1].mean.value == model[1].mean.value


def test_an_older_checkpoint_goes_on_with_the_plain_numbers_that_are_there(tmp_path):
    def make():
        return cr.Sequential(cr.SGD(lr=0.3), cr.Linear(3, 4, rng=0), Mean(), cr.BatchNorm1d(4), cr.Linear(4, 1, rng=1))

    how = {"batch_size": 10, "seed": 0, "keep": "last", "checkpoint": tmp_path}
    cr.fit(make(), cr.MSELoss(), data(), epochs=3, **how)
    path = tmp_path / "checkpoint.safetensors"
    tensors, header = read_file(path)
    assert list(header.pop("best values")) == ["1.mean"]
    write_file(path, tensors, header)
    whole, parts = make(), make()
    cr.fit(whole, cr.MSELoss(), data(), epochs=6, batch_size=10, seed=0, keep="last")
    cr.fit(parts, cr.MSELoss(), data(), epochs=6, resume=True, **how)
    assert bits(parts) == bits(whole)


def test_a_checkpoint_whose_best_statistics_are_others_is_refused(tmp_path):
    how = {"epochs": 3, "batch_size": 10, "checkpoint": tmp_path}
    cr.fit(network(cr.SGD(lr=0.3)), cr.MSELoss(), data(), **how)
    path = tmp_path / "checkpoint.safetensors"
    tensors, header = read_file(path)
    name = header["best"]["1.running_mean"]["tensor"]
    write_file(path, tensors | {name: np.zeros(7)}, header)
    model = network(cr.SGD(lr=0.3))
    before = bits(model)
    with pytest.raises(ValueError, match=r"is damaged: 1.running_mean is \(7,\) there and \(6,\) here"):
        cr.fit(model, cr.MSELoss(), data(), resume=True, **how)
    assert bits(model) == before


def test_batches_in_parts_have_statistics_of_their_parts():
    rows = network(cr.SGD(lr=0.1))
    cr.fit(rows, cr.MSELoss(), data(40), epochs=1, batch_size=10, accumulate=2, shuffle=False, keep="last", seed=0)
    assert rows[1].num_batches_tracked.value == 4
    peer = cr.to_torch(network()).train()
    dropout, mask = cr.Dropout(0.1), []
    dropout.reseed(0, 0)
    x, target = map(torch.from_numpy, data(40))
    optimizer = torch.optim.SGD(peer.parameters(), lr=0.1)
    peer[3] = torch.nn.Identity()
    for start in range(0, 40, 10):
        mask = torch.from_numpy(dropout.forward(np.ones((10, 6)))[0])
        hidden = peer[:3](x[start : start + 10]) * mask
        (torch.nn.functional.mse_loss(peer[4](hidden), target[start : start + 10]) / 2).backward()
        if start % 20:
            optimizer.step()
            optimizer.zero_grad()
    np.testing.assert_allclose(rows[1].running_var.value, peer[1].running_var.numpy(), rtol=1e-10)
    np.testing.assert_allclose(rows[0].weight.value, peer[0].weight.detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize(("samples", "batch_size", "accumulate"), [(41, 10, 1), (41, 10, 3), (10, 1, 1), (1, 32, 1)])
def test_a_batch_of_one_is_refused_before_anything_is_changed(samples, batch_size, accumulate):
    model = network(cr.SGD(lr=0.1))
    before = bits(model)
    message = rf"fit: {samples} samples in batches of {batch_size} leave a batch of one; choose another batch_size: .*"
    with pytest.raises(ValueError, match=message + r"BatchNorm1d\(6, .*must have more than one value per channel"):
        cr.fit(model, cr.MSELoss(), data(samples), epochs=1, batch_size=batch_size, accumulate=accumulate)
    assert bits(model) == before


def test_one_image_is_batch_enough():
    model = cr.Sequential(cr.SGD(lr=0.1), cr.BatchNorm2d(2), cr.Flatten(), cr.Linear(8, 1, rng=0))
    x = np.random.default_rng(0).normal(size=(3, 2, 2, 2)).astype("float32")
    history = cr.fit(model, cr.MSELoss(), (x, x[:, 0, 0, :1]), epochs=2, batch_size=1)
    assert history.epochs == 2


def test_a_network_without_running_statistics_trains_too():
    model = cr.Sequential(cr.SGD(lr=0.1), cr.Linear(3, 4, rng=0), cr.BatchNorm1d(4, track_running_stats=False))
    x, target = data(20)
    history = cr.fit(model, cr.MSELoss(), (x, np.repeat(target, 4, axis=1)), epochs=3, batch_size=10)
    assert history.losses[-1] < history.losses[0]


def test_networks_of_fit_many_are_those_that_fit_trains_alone():
    def build(momentum):
        return network(cr.SGD(lr=0.1), seed=int(cr.random.generator().integers(100)), momentum=momentum)

    how = {"epochs": 3, "batch_size": 10, "validation": data(20, seed=1)}
    results = cr.fit_many(build, cr.MSELoss(), data(), grid={"momentum": [0.1, None]}, seeds=2, **how)
    assert [result.error for result in results] == [""] * 4
    for result in results:
        cr.seed(result.seed)
        alone = build(**result.configuration)
        cr.fit(alone, cr.MSELoss(), data(), seed=result.seed, **how)
        assert bits(alone) == bits(result.model)


def test_a_file_keeps_them(tmp_path):
    model = network(cr.SGD(lr=0.1))
    cr.fit(model, cr.MSELoss(), data(), epochs=2, batch_size=10)
    model.save(tmp_path / "model.safetensors")
    assert bits(cr.load(tmp_path / "model.safetensors")) == bits(model)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_train_torch_writes_them_back(dtype):
    def made():
        torch.manual_seed(0)
        layers = torch.nn.Linear(3, 6), torch.nn.BatchNorm1d(6), torch.nn.Tanh(), torch.nn.Linear(6, 1)
        return torch.nn.Sequential(*layers).to(getattr(torch, dtype))

    module, ours = made(), cr.from_torch(made())
    kept = module[1].running_mean
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    how = {"epochs": 3, "batch_size": 10, "seed": 0, "validation": data(20, seed=1)}
    cr.train_torch(module, torch.nn.MSELoss(), data(), optimizer=optimizer, **how)
    cr.fit(ours, cr.MSELoss(), data(), optimizer=cr.SGD(lr=0.1), **how)
    assert module[1].running_mean is kept
    assert {name: value.numpy().tobytes() for name, value in module.state_dict().items()} == {
        name: value.tobytes() for name, value in ours.state_dict().items()
    }


def test_statistics_go_to_pytorch_and_back_with_their_counts():
    model = network(cr.SGD(lr=0.1))
    cr.fit(model, cr.MSELoss(), data(), epochs=2, batch_size=10)
    there = cr.to_torch(model)
    assert there[1].num_batches_tracked.item() == 10
    assert there[1].num_batches_tracked.dtype == torch.int64
    assert bits(cr.from_torch(there)) == bits(model)
    assert cr.to_torch(model, dtype=torch.float32)[1].running_var.dtype == torch.float32
