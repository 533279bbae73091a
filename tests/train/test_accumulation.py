"""`fit(accumulate=k)`: the numbers of a batch k times as large, to rounding."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from networks import bits, branched_data, branched_loss, branched_network, small_network, values

import chainrule as cr

ENGINES = ["native", "python"]
every_engine = pytest.mark.parametrize("engine", ENGINES)
RTOL = 1e-10  # of float64 after some tens of steps

LOSSES = {
    "mse": cr.MSELoss(),
    "mse sum": cr.MSELoss(reduction="sum"),
    "l1": cr.L1Loss(),
    "cross entropy": cr.CrossEntropyLoss(),
    "cross entropy sum": cr.CrossEntropyLoss(reduction="sum"),
    "classes": cr.CrossEntropyLoss([0.2, 1.0, 2.0], ignore_index=1, label_smoothing=0.1),
    "classes that weigh nothing": cr.CrossEntropyLoss([0.0, 1.0, 0.5], label_smoothing=0.2),
    "logits": cr.BCEWithLogitsLoss(),
}


RULES = {
    "plain": lambda: cr.SGD(lr=0.05),
    "momentum": lambda: cr.SGD(lr=0.05, momentum=0.5),
    "adam": lambda: cr.Adam(lr=0.02, eps=1e-4, clip_norm=0.1),
}


class Cubic(cr.Module):
    """A user's own loss that derives only from Module: the mean of |y - target|³."""

    def forward(self, y, target):
        error = y - target
        return abs(error**3).mean(), error

    def backward(self, dvalue, error):
        return dvalue * 3 * error * abs(error) / error.size


class Batches(cr.Module):
    """A layer that hands on what comes, and writes down how many rows came in training."""

    def __init__(self):
        self.rows = []

    def forward(self, x):
        if self.training:
            self.rows.append(len(x))
        return x, None

    def backward(self, dy, saved):
        return dy


def samples(n, loss, seed=0, weights=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    if isinstance(loss, cr.CrossEntropyLoss):
        target = rng.integers(0, 3, size=n)
    elif isinstance(loss, cr.BCEWithLogitsLoss):
        target = rng.integers(0, 2, size=(n, 3)).astype(float)
    else:
        target = rng.normal(size=(n, 3))
    return cr.Dataset(x, target, weights)


def train(data, loss, *, optimizer=None, **options):
    model = small_network(cr.SGD(lr=0.05, momentum=0.5) if optimizer is None else optimizer, n_out=3)
    how = {"epochs": 3, "seed": 4, "validation": data} | options
    return model, cr.fit(model, loss, data, **how)


def assert_same(found, expected):
    (model, history), (twin, record) = found, expected
    assert history.steps == record.steps
    np.testing.assert_allclose(history.losses, record.losses, rtol=RTOL, atol=1e-13)
    np.testing.assert_allclose(history.validation_losses, record.validation_losses, rtol=RTOL, atol=1e-13)
    for name, column in history.head_losses.items():
        np.testing.assert_allclose(column, record.head_losses[name], rtol=RTOL, atol=1e-13)
    for name, value in values(twin).items():
        np.testing.assert_allclose(values(model)[name], value, rtol=RTOL, atol=1e-12, err_msg=name)


@every_engine
@pytest.mark.parametrize("name", LOSSES)
@given(
    n=st.integers(1, 40),
    batch=st.integers(1, 9),
    k=st.integers(2, 6),
    weights=st.sampled_from(["none", "drawn", "many are 0"]),
    shuffle=st.booleans(),
    rule=st.sampled_from(["plain", "momentum", "adam"]),
)
def test_it_is_a_batch_so_many_times_as_large(name, n, batch, k, weights, shuffle, rule, engine):
    rng, loss = np.random.default_rng(n), LOSSES[name]
    weight = None if weights == "none" else rng.uniform(0, 2, size=n)
    if weights == "many are 0":
        weight = weight * (rng.uniform(size=n) < 0.3)
    data = samples(n, loss, weights=weight)
    assume(weight is None or weight.any())
    assume(loss.total_weight(np.zeros((n, 3)), data.target, data.sample_weight) > 0)
    how = {"batch_size": batch, "accumulate": k, "engine": engine}, {"batch_size": batch * k, "engine": "python"}
    assert_same(*(train(data, loss, optimizer=RULES[rule](), shuffle=shuffle, **one) for one in how))


@every_engine
@given(n=st.integers(1, 40), batch=st.integers(1, 9), k=st.integers(2, 6), weighted=st.booleans())
def test_each_head_of_several_has_shares_of_its_own(n, batch, k, weighted, engine):
    data = branched_data(n)
    data.target["kind"][::3] = -100  # which that head ignores, so that it divides by less than the other
    assume((data.target["kind"] != -100).any())
    if weighted:
        data.sample_weight = np.random.default_rng(n).uniform(0.1, 2, size=n)
    losses = [
        branched_loss(),
        cr.MultiLoss(
            {"kind": cr.CrossEntropyLoss([0.5, 1, 2]), "size": cr.MSELoss(reduction="sum")},
            weights={"kind": 1.0, "size": 0.05},
        ),
    ]
    for loss in losses:
        found = []
        for how in ({"batch_size": batch, "accumulate": k, "engine": engine}, {"batch_size": batch * k}):
            model = branched_network(cr.Adam(lr=0.02))
            how = {"engine": "python"} | how
            found.append((model, cr.fit(model, loss, data, epochs=3, validation=data, **how)))
        assert_same(*found)


def test_heads_in_a_tuple_have_them_too():
    x, rng = np.random.default_rng(0).normal(size=(23, 2)), np.random.default_rng(1)
    targets = (rng.integers(-1, 3, size=23), rng.normal(size=(23, 2)))
    loss = cr.MultiLoss(cr.CrossEntropyLoss(ignore_index=-1), cr.MSELoss(), weights=[0.5, 2.0])
    found = []
    for how in ({"batch_size": 3, "accumulate": 4}, {"batch_size": 12}):
        heads = cr.Parallel(cr.Linear(2, 3, rng=0, dtype="float64"), cr.Linear(2, 2, rng=1, dtype="float64"))
        model = cr.Sequential(cr.SGD(lr=0.1), heads)
        found.append(
            (model, cr.fit(model, loss, (x, targets), epochs=3, validation=(x, targets), engine="python", **how))
        )
    assert_same(*found)


def test_a_loss_of_ones_own_counts_its_samples():
    data = samples(25, cr.MSELoss())
    found = train(data, Cubic(), batch_size=4, accumulate=3)
    assert_same(found, train(data, Cubic(), batch_size=12, engine="python"))


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_group_is_so_many_batches_and_the_last_one_what_is_left(library):
    data, spy = samples(23, cr.MSELoss()), Batches()
    model = cr.Sequential(cr.SGD(lr=0.1), spy, cr.Linear(2, 3, rng=0, dtype="float64")).to(library)
    history = cr.fit(model, cr.MSELoss(), data, epochs=2, batch_size=4, accumulate=3)
    assert spy.rows == [4, 4, 4, 4, 4, 3] * 2
    assert history.steps == model.optimizer.steps == 4


def test_gradients_are_clipped_once_and_schedules_count_updates():
    data = samples(40, cr.MSELoss())
    found = []
    for how in ({"batch_size": 4, "accumulate": 3}, {"batch_size": 12}):
        rate = cr.StepLR(0.5, step_size=3, gamma=0.7, every="step")
        model = small_network(cr.Adam(lr=rate, clip_norm=0.01, clip_value=0.004), n_out=3)
        found.append((model, cr.fit(model, cr.MSELoss(), data, epochs=4, validation=data, engine="python", **how)))
    assert_same(*found)
    assert found[0][1].learning_rates == found[1][1].learning_rates


@every_engine
def test_each_batch_is_a_pass_with_a_dropout_mask_of_its_own(engine):
    data, loss = samples(24, cr.MSELoss()), cr.MSELoss()

    def make():
        return cr.Sequential(
            cr.SGD(lr=0.1),
            cr.Linear(2, 8, rng=0, dtype="float64"),
            cr.Dropout(0.4),
            cr.Linear(8, 3, rng=1, dtype="float64"),
        )

    model, twin = make(), make()
    history = cr.fit(model, loss, data, epochs=2, batch_size=4, accumulate=3, shuffle=False, seed=7, engine=engine)
    twin[1].reseed(7, 0)
    losses = []
    for _ in range(2):
        total = 0.0
        for start in (0, 12):
            twin.zero_grad()
            for batch in range(start, start + 12, 4):
                y, saved = twin.forward(data.x[batch : batch + 4])
                value, saved_loss = loss.forward(y, data.target[batch : batch + 4])
                twin.backward(loss.backward(1 / 3, saved_loss), saved)
                total += float(value) / 6
            twin.optimizer.step(twin.param())
        losses.append(total)
    np.testing.assert_allclose(history.losses, losses, rtol=RTOL)
    assert model[1].passes.value == twin[1].passes.value == 12
    for name, value in values(twin).items():
        np.testing.assert_allclose(values(model)[name], value, rtol=RTOL, atol=1e-12)


@every_engine
@pytest.mark.parametrize("average", [None, cr.EMA(0.9), cr.SWA(1, 2, "step")], ids=repr)
def test_an_average_counts_updates_and_a_run_goes_on_to_the_same_bits(tmp_path, average, engine):
    data = samples(31, cr.MSELoss())
    how = {"batch_size": 3, "accumulate": 4, "average": average, "keep": "last", "engine": engine}
    whole, history = train(data, cr.MSELoss(), epochs=4, **how)
    assert_same(
        (whole, history),
        train(data, cr.MSELoss(), epochs=4, batch_size=12, average=average, keep="last", engine="python"),
    )
    for epochs in (1, 2, 3, 4):
        model, resumed = train(data, cr.MSELoss(), epochs=epochs, checkpoint=tmp_path, resume=True, **how)
    assert (bits(model), resumed.losses) == (bits(whole), history.losses)
    with pytest.raises(ValueError, match="accumulate was 4 there and is 2 here"):
        train(data, cr.MSELoss(), checkpoint=tmp_path, resume=True, **how | {"accumulate": 2})


def test_a_loss_that_is_not_finite_ends_the_run_before_the_update():
    data = samples(24, cr.MSELoss())
    model = small_network(cr.SGD(lr=1e200), n_out=3)
    before = bits(model)
    with pytest.raises(FloatingPointError, match="in epoch 0"):
        cr.fit(model, cr.MSELoss(), data, epochs=3, batch_size=4, accumulate=2)
    assert bits(model) == before


def test_many_networks_accumulate_too():
    data = samples(24, cr.MSELoss())
    results = cr.fit_many(
        lambda: small_network(cr.SGD(lr=0.05, momentum=0.5), n_out=3),
        cr.MSELoss(),
        data,
        grid={"accumulate": [1, 2, 3]},
        seeds=[4],
        epochs=3,
        batch_size=4,
    )
    for result in results:
        how = {"batch_size": 4 * result.configuration["accumulate"], "validation": None}
        assert result.error == ""
        assert_same((result.model, result.history), train(data, cr.MSELoss(), **how))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2"])
def test_it_must_be_a_number_of_batches(wrong):
    with pytest.raises(ValueError, match="fit: accumulate must be a positive integer, got"):
        train(samples(8, cr.MSELoss()), cr.MSELoss(), accumulate=wrong)
