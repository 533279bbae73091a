"""Losses of somebody's own that ask for more than y and target, through everything that calls a loss."""

import numpy as np
import pytest
import torch
from networks import bits, small_network

import chainrule as cr
from chainrule.arrays import namespace, to_numpy


class Bounded(cr.Loss):
    """(y - target)², and ten times (y - low)² where y lies below its bound; each group may count otherwise."""

    def forward(self, y, target, sample_weight=None, *, low, group=None):
        self.check(y, target, sample_weight)
        share, error = self.share(y, sample_weight), y - target
        below = namespace(y).where(y < low, y - low, 0)
        if group is not None:
            share = share * (1 + group[:, None])
        return self.reduce((error * error + 10 * below * below) * share), (error, below, share)

    def backward(self, dvalue, saved):
        error, below, share = saved
        return dvalue * 2 * (error + 10 * below) * share


class WorstGroup(cr.Module):
    """The largest of the mean squared errors of the groups. It takes no weights, and is no Loss."""

    def forward(self, y, target, *, group):
        errors = (y - target) ** 2
        means = {g: float(errors[group == g].mean()) for g in np.unique(group)}
        worst = max(means, key=means.get)
        mask = (group == worst)[:, None]
        return np.float64(means[worst]), (2 * (y - target) * mask / (mask.sum() * y.shape[1]))

    def backward(self, dvalue, dy):
        return dvalue * dy


def data(n=60, seed=0, weights=False, **left_out):
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(2, n, 2))
    extra = {"low": rng.normal(size=(n, 1)) - 1, "group": rng.integers(3, size=n)}
    extra["low"][::7] = -np.inf
    extra = {name: array for name, array in extra.items() if name not in left_out}
    return cr.Dataset(x, target, rng.uniform(0.5, 2, n) if weights else None, extra=extra)


def by_hand(model, loss, samples, *, epochs, batch_size):
    """fit, written out."""
    losses = []
    for epoch in range(epochs):
        total, n = 0.0, 0
        for x, target, *weight, extra in samples.batches(batch_size, seed=0, epoch=epoch):
            y, saved = model.forward(x)
            value, saved_loss = loss.forward(y, target, *weight, **extra)
            model.zero_grad()
            model.backward(loss.backward(1.0, saved_loss), saved)
            model.optimize()
            divides = weight[0].sum() if weight else len(x)
            total, n = total + float(value) * divides, n + divides
        losses.append(total / n)
    return losses


@pytest.mark.parametrize("weights", [False, True], ids=["plain", "weighted"])
def test_fit_is_the_loop_by_hand_and_says_which_loop_ran(weights):
    samples, held_out = data(weights=weights), data(seed=1)
    model, twin = (small_network(cr.Adam(lr=0.01)) for _ in range(2))
    history = cr.fit(model, Bounded(), samples, epochs=4, batch_size=16, validation=held_out, keep="last")
    np.testing.assert_allclose(history.losses, by_hand(twin, Bounded(), samples, epochs=4, batch_size=16), rtol=1e-12)
    assert bits(model) == bits(twin)
    assert history.engine == "python, as the engine does not know Bounded"
    result = cr.evaluate(model, Bounded(), held_out)
    assert history.validation_losses[-1] == result.loss
    assert result.loss == float(Bounded()(model(held_out.x), held_out.target, **held_out.extra))
    assert result.r2 == cr.evaluate(model, cr.MSELoss(), (held_out.x, held_out.target)).r2


def test_a_loss_is_the_one_of_pytorch_with_the_same_arrays():
    samples, model = data(), small_network()
    y, saved = model.forward(samples.x)
    value, saved_loss = Bounded().forward(y, samples.target, **samples.extra)
    model.backward(Bounded().backward(1.0, saved_loss), saved)
    twin = cr.to_torch(model).double()
    said = twin(torch.from_numpy(samples.x))
    low = torch.from_numpy(samples.extra["low"])
    below = torch.where(said < low, said - low, torch.zeros_like(said))
    each = (said - torch.from_numpy(samples.target)) ** 2 + 10 * below**2
    expected = (each * (1 + torch.from_numpy(samples.extra["group"])[:, None])).mean()
    expected.backward()
    assert float(value) == pytest.approx(expected.item(), rel=1e-12)
    for ours, theirs in zip(model.param(), twin.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_a_module_without_weights_that_asks_for_a_group():
    samples = data(low=None)
    model, twin = (small_network(cr.SGD(lr=0.1)) for _ in range(2))
    history = cr.fit(model, WorstGroup(), samples, epochs=3, batch_size=20, keep="last")
    np.testing.assert_allclose(
        history.losses, by_hand(twin, WorstGroup(), samples, epochs=3, batch_size=20), rtol=1e-12
    )
    assert bits(model) == bits(twin)
    says = r"^fit: train has a sample_weight, which the forward of .*WorstGroup\(\).* does not take"
    for loss, target in ((WorstGroup(), samples.target), (cr.MultiLoss(WorstGroup()), (samples.target,))):
        weighed = cr.Dataset(samples.x, target, np.ones(60), extra=samples.extra)
        with pytest.raises(TypeError, match=says):
            cr.fit(model, loss, weighed, epochs=1)


@pytest.mark.parametrize(
    ("loss", "left_out", "message"),
    [
        (
            Bounded(),
            ["low"],
            r"Bounded asks for low, which {}.extra must hold \(it holds group\): Dataset\(x, target, ext",
        ),
        (Bounded(), ["low", "group"], r"Bounded asks for low, which {}.extra must hold \(there is none\)"),
        (
            cr.MSELoss(),
            [],
            r"{}.extra must hold what MSELoss asks for, got low, group; it takes nothing beside y, targ",
        ),
        (
            cr.CrossEntropyLoss(),
            ["group"],
            r"{}.extra must hold what CrossEntropyLoss asks for, got low; it takes noth",
        ),
        (WorstGroup(), [], r"{}.extra must hold what WorstGroup asks for, got low; it asks for group"),
        (cr.MultiLoss(Bounded(), cr.MSELoss()), ["low"], r"MultiLoss asks for low, which {}.extra must hold"),
        (
            cr.MultiLoss(cr.MSELoss()),
            ["low"],
            r"{}.extra must hold what MultiLoss asks for, got group; it takes nothing",
        ),
    ],
)
def test_what_is_missing_or_not_asked_for_is_named(loss, left_out, message):
    model, samples, right = small_network(cr.SGD()), data(**dict.fromkeys(left_out)), data()
    before = bits(model)
    with pytest.raises(ValueError, match=f"^fit: {message.format('train')}"):
        cr.fit(model, loss, samples, epochs=1)
    with pytest.raises(ValueError, match=f"^evaluate: {message.format('data')}"):
        cr.evaluate(model, loss, samples)
    if type(loss) is Bounded:
        with pytest.raises(ValueError, match=f"^fit: {message.format('validation')}"):
            cr.fit(model, loss, right, validation=samples, epochs=1)
    assert bits(model) == before
    assert model.optimizer.steps == 0


def test_what_may_be_left_out_is_not_given():
    samples, model = data(group=None), small_network()
    result = cr.evaluate(model, Bounded(), samples)
    assert result.loss == float(Bounded()(model(samples.x), samples.target, low=samples.extra["low"]))


def test_the_engine_refuses_and_a_loss_of_its_own_is_asked_as_before():
    with pytest.raises(ValueError, match='engine="native" cannot run this: Bounded'):
        cr.fit(small_network(cr.SGD()), Bounded(), data(), epochs=1, engine="native")
    samples = data()
    bare, empty = cr.Dataset(samples.x, samples.target), cr.Dataset(samples.x, samples.target, extra={})
    one, other = small_network(cr.SGD()), small_network(cr.SGD())
    assert cr.fit(one, cr.MSELoss(), bare, epochs=1).engine == cr.fit(other, cr.MSELoss(), empty, epochs=1).engine
    assert bits(one) == bits(other)


def test_each_head_is_given_what_it_asks_for():
    samples = data()
    rng = np.random.default_rng(3)
    target = {"a": samples.target, "b": rng.integers(2, size=60), "c": rng.normal(size=(60, 2))}
    loss = cr.MultiLoss(
        {"a": Bounded(), "b": cr.CrossEntropyLoss(), "c": WorstGroup()}, weights={"a": 2.0, "b": 1, "c": 0.5}
    )
    cr.seed(0)
    heads = cr.Parallel({name: cr.Linear(4, 2) for name in target})
    model = cr.Sequential(cr.SGD(lr=0.05), cr.Linear(2, 4), cr.Tanh(), heads).to(dtype="float64")
    several = cr.Dataset(samples.x, target, extra=samples.extra)
    history = cr.fit(model, loss, several, epochs=2, validation=several, keep="last", metrics={"a": [cr.metrics.mae]})
    result = cr.evaluate(model, loss, several)
    y = model(samples.x)
    assert result.losses["a"] == float(Bounded()(y["a"], target["a"], **samples.extra))
    assert result.losses["c"] == WorstGroup()(y["c"], target["c"], group=samples.extra["group"])
    assert history.validation_head_losses["a"][-1] == result.losses["a"]
    assert result.loss == pytest.approx(2 * result.losses["a"] + result.losses["b"] + 0.5 * result.losses["c"])
    value, _ = loss.forward(y, target, **samples.extra)
    assert float(value) == pytest.approx(result.loss)
    with pytest.raises(TypeError, match=r"forward: what is given by name must be asked for by a head, got high"):
        loss.forward(y, target, **samples.extra, high=1)


@pytest.mark.parametrize("how", [{"grid": {"train_size": [20, 40]}}, {"seeds": 2}], ids=str)
def test_fit_many_gives_each_network_its_own_part(how):
    samples = data()
    results = cr.fit_many(lambda: small_network(cr.SGD(lr=0.1)), Bounded(), samples, epochs=2, progress=False, **how)
    assert not results.failed
    for result in results:
        alone, own = small_network(cr.SGD(lr=0.1)), samples.take(slice(0, result.configuration.get("train_size", 60)))
        cr.fit(alone, Bounded(), own, epochs=2, seed=result.seed)
        assert bits(result.model) == bits(alone)


def test_folds_of_ones_own_carry_the_arrays_along():
    samples = data()
    folds = [(np.arange(20, 60), np.arange(20)), (np.arange(40), np.arange(40, 60))]
    results = cr.fit_many(
        lambda: small_network(cr.SGD(lr=0.1)), Bounded(), samples, folds=folds, epochs=2, progress=False
    )
    for result, (train, out) in zip(results, folds, strict=True):
        alone = small_network(cr.SGD(lr=0.1))
        history = cr.fit(alone, Bounded(), samples.take(train), validation=samples.take(out), epochs=2)
        assert result.history.validation_losses == history.validation_losses
        assert bits(result.model) == bits(alone)


def test_a_checkpoint_is_of_these_arrays(tmp_path):
    samples = data()
    whole, parts = small_network(cr.Adam(lr=0.01)), small_network(cr.Adam(lr=0.01))
    expected = cr.fit(whole, Bounded(), samples, epochs=4)
    cr.fit(parts, Bounded(), samples, epochs=2, checkpoint=tmp_path)
    for change in ("low", "group"):
        moved = samples.extra | {change: samples.extra[change] + 1}
        other = cr.Dataset(samples.x, samples.target, extra=moved)
        with pytest.raises(ValueError, match="is of another run: train"):
            cr.fit(small_network(cr.Adam(lr=0.01)), Bounded(), other, epochs=4, checkpoint=tmp_path, resume=True)
    parts = small_network(cr.Adam(lr=0.01))
    history = cr.fit(parts, Bounded(), samples, epochs=4, checkpoint=tmp_path, resume=True)
    assert history.losses == expected.losses
    assert bits(parts) == bits(whole)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_arrays_come_in_the_library_and_dtype_of_the_network(library):
    seen = []

    class Looks(Bounded):
        def forward(self, y, target, sample_weight=None, *, low, group, sure):
            seen.append((low, group, sure))
            return super().forward(y, target, sample_weight, low=low)

    rng = np.random.default_rng(0)
    extra = {"low": list(rng.normal(size=(9, 1))), "group": np.arange(9, dtype="int8"), "sure": np.arange(9) % 2 == 0}
    samples = cr.Dataset(rng.normal(size=(9, 2)), rng.normal(size=(9, 2)), extra=extra)
    model = small_network(cr.SGD(lr=0.1), dtype="float32").to(library)
    history = cr.fit(model, Looks(), samples, epochs=1, batch_size=4, shuffle=False, keep="last")
    assert np.isfinite(history.losses).all()
    low, group, sure = seen[-1] if len(seen[-1][0]) == 1 else seen[-2]
    kind = torch.Tensor if library == "torch" else np.ndarray
    for array, dtype, expected in ((low, "float32", 8), (group, "int64", [8]), (sure, "bool", [True])):
        assert isinstance(array, kind)
        assert str(array.dtype).removeprefix("torch.") == dtype
        if dtype != "float32":
            assert to_numpy(array).tolist() == expected
