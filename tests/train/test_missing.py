"""Targets that are missing, through everything that trains and judges: the numbers are those of what is there."""

import re

import numpy as np
import pytest
import sklearn.metrics
import torch
from networks import bits, small_network

import chainrule as cr
from chainrule.files.description import build, describe

ENGINES = ("python", "native")
every_engine = pytest.mark.parametrize("engine", ENGINES)


def data(n=60, outputs=3, seed=0):
    """Targets of which a third is missing, some rows as a whole; of one batch of ten, in order, nothing is there."""
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(n, 2)), rng.normal(size=(n, outputs))
    target[rng.uniform(size=(n, outputs)) < 0.2] = np.nan
    target[rng.uniform(size=n) < 0.2] = np.nan
    target[20:30] = np.nan
    return cr.Dataset(x, target, rng.uniform(0.5, 2, n) * (rng.uniform(size=n) < 0.9))


def without_weights(samples):
    return cr.Dataset(samples.x, samples.target)


def network(outputs=3):
    return small_network(cr.SGD(lr=0.1), n_out=outputs)


def by_torch(model, element, samples, held_out, *, epochs, batch_size, shuffle):
    """The same training written out in PyTorch: losses by epoch, validation losses, and the network."""
    twin = cr.to_torch(model).double()
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)

    def sums(x, target, weight=None):
        there = torch.from_numpy(~np.isnan(target))
        each = element(twin(torch.from_numpy(x))[there], torch.from_numpy(target)[there])
        weights = np.ones(len(x)) if weight is None else weight
        of_each = torch.from_numpy(np.broadcast_to(weights[:, None], target.shape).copy())[there]
        return (of_each * each).sum(), float(of_each.sum())

    losses, looked = [], []
    for epoch in range(epochs):
        total, divides = 0.0, 0.0
        for batch in samples.batches(batch_size, seed=0, epoch=epoch, shuffle=shuffle):
            value, weight = sums(*batch)
            optimizer.zero_grad()
            if weight:
                (value / weight).backward()
            optimizer.step()
            total, divides = total + value.item(), divides + weight
        losses.append(total / divides)
        with torch.no_grad():
            value, weight = sums(*next(held_out.batches(len(held_out), shuffle=False)))
        looked.append(value.item() / weight)
    return losses, looked, cr.from_torch(twin)


@every_engine
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
@pytest.mark.parametrize(
    ("loss", "element"),
    [
        (cr.MSELoss(missing="ignore"), lambda y, t: (y - t) ** 2),
        (cr.HuberLoss(delta=0.5, missing="ignore"), torch.nn.HuberLoss(delta=0.5, reduction="none")),
        (cr.PoissonNLLLoss(missing="ignore"), torch.nn.PoissonNLLLoss(reduction="none")),
        (cr.SoftMarginLoss(missing="ignore"), torch.nn.SoftMarginLoss(reduction="none")),
        (cr.BCEWithLogitsLoss(missing="ignore"), torch.nn.BCEWithLogitsLoss(reduction="none")),
    ],
    ids=lambda one: getattr(type(one), "__name__", ""),
)
def test_epochs_of_several_batches_are_those_of_pytorch(engine, weighted, shuffle, loss, element):
    samples, held_out = data(), data(n=37, seed=1)
    if not weighted:
        samples, held_out = without_weights(samples), without_weights(held_out)
    model = network()
    how = {"epochs": 3, "batch_size": 10, "shuffle": shuffle}
    losses, looked, twin = by_torch(model, element, samples, held_out, **how)
    history = cr.fit(model, loss, samples, **how, validation=held_out, keep="last", engine=engine)
    assert history.engine.startswith(engine)
    np.testing.assert_allclose(history.losses, losses, rtol=1e-12)
    np.testing.assert_allclose(history.validation_losses, looked, rtol=1e-12)
    for ours, theirs in zip(model.param(), twin.param(), strict=True):
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-10, atol=1e-13)


@every_engine
@pytest.mark.parametrize("columns", [1, 7, 8, 9, 17, 40])
def test_rows_and_columns_of_all_widths_leave_what_is_there(engine, columns):
    """Of a single output a missing number is a missing row: what trains is the same with those rows left out."""
    rng = np.random.default_rng(columns)
    x, target = rng.normal(size=(33, 2)), rng.normal(size=(33, columns))
    target[rng.uniform(size=33) < 0.4] = np.nan
    there = ~np.isnan(target[:, 0])
    one, other = network(columns), network(columns)
    how = {"epochs": 4, "batch_size": 33, "shuffle": False, "keep": "last", "engine": engine}
    found = cr.fit(one, cr.MSELoss(missing="ignore"), (x, target), **how)
    expected = cr.fit(other, cr.MSELoss(), (x[there], target[there]), **how)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-12)
    for a, b in zip(one.param(), other.param(), strict=True):
        np.testing.assert_allclose(a.value, b.value, rtol=1e-11, atol=1e-13)


@every_engine
def test_distributions_with_a_gap_are_rows_that_are_not_there(engine):
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(50, 2)), rng.dirichlet(np.ones(3), size=50)
    target[rng.uniform(size=50) < 0.4, 1] = np.nan
    there = ~np.isnan(target).any(axis=1)
    weight = rng.uniform(0.5, 2, 50)
    one, other = network(), network()
    how = {"epochs": 4, "batch_size": 50, "shuffle": False, "keep": "last", "engine": engine}
    loss = {"weight": [1.0, 2.0, 0.5], "label_smoothing": 0.1}
    found = cr.fit(one, cr.CrossEntropyLoss(**loss, missing="ignore"), (x, target, weight), **how)
    expected = cr.fit(other, cr.CrossEntropyLoss(**loss), (x[there], target[there], weight[there]), **how)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-12)
    for a, b in zip(one.param(), other.param(), strict=True):
        np.testing.assert_allclose(a.value, b.value, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 3, 20])
def test_where_nothing_is_missing_training_gives_the_bits_of_a_loss_that_does_not_ask(dtype, columns):
    """The network is too wide for the function that makes whole steps of tiny ones, whose sums run in another order."""
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(70, 2)).astype(dtype), rng.normal(size=(70, columns)).astype(dtype)
    models = []
    for loss in (cr.MSELoss(), cr.MSELoss(missing="ignore")):
        model = small_network(cr.Adam(lr=0.01), n_out=columns, hidden=20, dtype=dtype)
        cr.fit(model, loss, (x, target), epochs=3, batch_size=16, engine="native")
        models.append(bits(model))
    assert models[0] == models[1]


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("loss", [cr.MSELoss(missing="ignore"), cr.CrossEntropyLoss(missing="ignore")], ids=repr)
def test_any_number_of_threads_gives_the_same_bits(loss, weighted):
    rng = np.random.default_rng(0)
    x, target, weight = rng.normal(size=(600, 30)), rng.dirichlet(np.ones(40), size=600), rng.uniform(size=600)
    target[rng.uniform(size=target.shape) < (0.4 if isinstance(loss, cr.MSELoss) else 0.02)] = np.nan
    models = []
    for threads in (1, 2, 4):
        model = small_network(cr.Adam(lr=0.01), n_in=30, n_out=40, hidden=300)
        samples = cr.Dataset(x, target, weight if weighted else None)
        history = cr.fit(model, loss, samples, epochs=3, batch_size=250, threads=threads, engine="native")
        models.append((bits(model), history.losses))
    assert models[0] == models[1] == models[2]
    twin = small_network(cr.Adam(lr=0.01), n_in=30, n_out=40, hidden=300)
    truth = cr.fit(twin, loss, samples, epochs=3, batch_size=250, engine="python")
    np.testing.assert_allclose(models[0][1], truth.losses, rtol=1e-10)


@every_engine
def test_a_batch_of_which_nothing_is_there_moves_nothing(engine):
    samples = without_weights(data()).take(slice(15, 35))
    model = network()
    cr.fit(
        model, cr.MSELoss(missing="ignore"), samples, epochs=1, batch_size=5, shuffle=False, keep="last", engine=engine
    )
    first = network()
    whole = samples.take(np.r_[0:5, 15:20])
    cr.fit(
        first, cr.MSELoss(missing="ignore"), whole, epochs=1, batch_size=5, shuffle=False, keep="last", engine=engine
    )
    for a, b in zip(model.param(), first.param(), strict=True):
        np.testing.assert_allclose(a.value, b.value, rtol=1e-13)


@every_engine
@pytest.mark.parametrize(
    ("loss", "value", "message"),
    [
        (cr.MSELoss(), np.nan, r"train.target must be finite in float64, got nan in row 3 \(not finite in all: 2\)"),
        (cr.MSELoss(missing="ignore"), np.inf, r"train.target must be finite or NaN in float64, got inf in row 3"),
        (cr.CrossEntropyLoss(), np.nan, r"train.target must be finite in float64, got nan in row 3"),
    ],
)
def test_what_is_not_to_be_ignored_is_an_error_before_anything_is_changed(engine, loss, value, message):
    x, target = np.random.default_rng(0).normal(size=(2, 9, 2))
    target[[3, 5], 1] = value
    target[7, 0] = np.nan if value == np.inf else target[7, 0]
    model = network(2)
    before = bits(model)
    with pytest.raises(ValueError, match=f"^fit: {message}"):
        cr.fit(model, loss, (x, target), epochs=1, engine=engine)
    with pytest.raises(ValueError, match=f"^evaluate: {message.replace('train', 'data')}"):
        cr.evaluate(model, loss, (x, target))
    assert bits(model) == before


@every_engine
@pytest.mark.parametrize("which", ["train", "validation"])
def test_data_of_which_nothing_is_there_are_an_error(engine, which):
    good, model = data(), network()
    empty = cr.Dataset(good.x, good.target * np.nan)
    parts = {"train": good, "validation": good} | {which: empty}
    with pytest.raises(ValueError, match=f"no sample of {which} counts for MSELoss"):
        cr.fit(
            model, cr.MSELoss(missing="ignore"), parts["train"], validation=parts["validation"], epochs=1, engine=engine
        )
    assert model.optimizer.steps == 0
    with pytest.raises(ValueError, match="no sample of data counts for MSELoss"):
        cr.evaluate(model, cr.MSELoss(missing="ignore"), empty)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_evaluate_and_its_metrics_speak_of_what_is_there(weighted):
    samples, model = data(), network()
    samples = samples if weighted else without_weights(samples)
    result = cr.evaluate(model, cr.MSELoss(missing="ignore"), samples)
    y, there = model(samples.x), ~np.isnan(samples.target)
    weight = np.broadcast_to((samples.sample_weight if weighted else np.ones(len(samples)))[:, None], there.shape)
    flat = {"y_true": samples.target[there], "y_pred": y[there], "sample_weight": weight[there]}
    assert result.loss == pytest.approx(sklearn.metrics.mean_squared_error(**flat), rel=1e-12)
    assert result.mae == pytest.approx(sklearn.metrics.mean_absolute_error(**flat), rel=1e-12)
    assert result.rmse == pytest.approx(sklearn.metrics.root_mean_squared_error(**flat), rel=1e-12)
    of_columns = [
        sklearn.metrics.r2_score(samples.target[at, c], y[at, c], sample_weight=weight[at, c])
        for c, at in enumerate(there.T)
    ]
    assert result.r2 == pytest.approx(np.mean(of_columns), rel=1e-12)


@every_engine
def test_metrics_of_an_epoch_speak_of_what_is_there(engine):
    """A metric of the user's own gets the rows of which something is there, with NaN where nothing is."""
    samples, seen = data(), []

    def own(y, target, sample_weight=None):
        seen.append((len(y), np.isnan(target).all(axis=1).any(), np.isnan(target).any(), sample_weight.min() > 0))
        return 0.0

    model = network()
    metrics = [cr.metrics.mae, cr.metrics.r2, own]
    history = cr.fit(
        model, cr.MSELoss(missing="ignore"), samples, epochs=2, metrics=metrics, keep="last", engine=engine
    )
    result = cr.evaluate(model, cr.MSELoss(missing="ignore"), samples)
    assert history.metrics["mae"][-1] == pytest.approx(result.mae, rel=1e-12)
    assert history.metrics["r2"][-1] == pytest.approx(result.r2, rel=1e-12)
    count = ((~np.isnan(samples.target)).any(axis=1) & (samples.sample_weight > 0)).sum()
    assert seen == [(32, False, True, True)] + [(count, False, True, True)] * 2  # of a few rows before the first epoch


def test_numbers_of_which_one_output_is_never_there_have_the_metrics_of_the_others():
    rng = np.random.default_rng(0)
    y, target = rng.normal(size=(2, 20, 3))
    target[:, 1], target[3, 0] = np.nan, np.nan
    model = cr.Sequential(cr.Linear(3, 3, weight=np.eye(3), bias=np.zeros(3)))
    result = cr.evaluate(model, cr.MSELoss(missing="ignore"), (y, target))
    there = np.arange(20) != 3
    found = [sklearn.metrics.r2_score(target[there, 0], y[there, 0]), sklearn.metrics.r2_score(target[:, 2], y[:, 2])]
    assert result.r2 == pytest.approx(np.mean(found))
    assert np.isfinite([result.mae, result.rmse]).all()


@every_engine
def test_each_head_counts_what_is_there_for_itself(engine):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    target = {"a": rng.normal(size=(40, 2)), "b": rng.normal(size=(40, 1)), "kind": rng.integers(3, size=40)}
    target["a"][rng.uniform(size=(40, 2)) < 0.5] = np.nan
    target["b"][rng.uniform(size=40) < 0.7] = np.nan

    def model():
        cr.seed(0)
        layers = {"a": cr.Linear(4, 2), "b": cr.Linear(4, 1), "kind": cr.Linear(4, 3)}
        return cr.Sequential(cr.SGD(lr=0.05), cr.Linear(2, 4), cr.Tanh(), cr.Parallel(layers)).to(dtype="float64")

    def loss(**a):
        heads = {"a": cr.MSELoss(**a), "b": cr.L1Loss(missing="ignore"), "kind": cr.CrossEntropyLoss()}
        return cr.MultiLoss(heads, weights={"a": 0.5, "b": 2.0, "kind": 1.0})

    one = model()
    history = cr.fit(one, loss(missing="ignore"), (x, target), epochs=3, batch_size=7, keep="last", engine=engine)
    truth = cr.fit(model(), loss(missing="ignore"), (x, target), epochs=3, batch_size=7, keep="last", engine="python")
    assert history.engine.startswith(engine)
    np.testing.assert_allclose(history.losses, truth.losses, rtol=1e-12)
    for head, losses in truth.head_losses.items():
        np.testing.assert_allclose(history.head_losses[head], losses, rtol=1e-12)
    result = cr.evaluate(one, loss(missing="ignore"), (x, target))
    y, there = one(x), ~np.isnan(target["a"])
    assert result.losses["a"] == pytest.approx(((y["a"] - target["a"])[there] ** 2).mean(), rel=1e-12)
    assert result.heads["a"].mae == pytest.approx(abs((y["a"] - target["a"])[there]).mean(), rel=1e-12)
    assert result.losses["b"] == pytest.approx(np.nanmean(abs(y["b"] - target["b"])), rel=1e-12)
    with pytest.raises(ValueError, match=r"^fit: train.target\['a'\] must be finite in float64, got nan"):
        cr.fit(model(), loss(), (x, target), epochs=1, engine=engine)
    nothing = target | {"b": target["b"] * np.nan}
    with pytest.raises(ValueError, match="head 'b': fit: no sample of train counts"):
        cr.fit(model(), loss(missing="ignore"), (x, nothing), epochs=1, engine=engine)


def test_fit_many_gives_the_bits_of_fit_and_refuses_where_nan_is_an_error():
    samples = without_weights(data())
    losses = [cr.MSELoss(missing="ignore"), cr.MSELoss(), cr.L1Loss(missing="ignore")]
    how = {"epochs": 3, "batch_size": 10, "optimizer": cr.SGD(lr=0.1)}
    results = cr.fit_many(
        lambda: small_network(n_out=3), losses[0], samples, grid={"loss": losses}, progress=False, **how
    )
    assert [bool(result.error) for result in results] == [False, True, False]
    assert "train.target must be finite in float64, got nan" in results[1].error
    for result, loss in ((results[0], losses[0]), (results[2], losses[2])):
        alone = small_network(n_out=3)
        cr.fit(alone, loss, samples, **how)
        assert bits(result.model) == bits(alone)


@pytest.mark.parametrize("then", ENGINES)
@every_engine
def test_a_run_that_is_cut_goes_on_to_the_same_numbers(engine, then, tmp_path):
    samples, loss = data(), cr.MSELoss(missing="ignore")
    how = {"batch_size": 10, "validation": data(n=30, seed=1), "keep": "last"}
    whole, parts = network(), network()
    expected = cr.fit(whole, loss, samples, epochs=4, engine=engine, **how)
    cr.fit(parts, loss, samples, epochs=2, engine=engine, checkpoint=tmp_path, **how)
    parts = network()
    history = cr.fit(parts, loss, samples, epochs=4, engine=then, checkpoint=tmp_path, resume=True, **how)
    np.testing.assert_allclose(history.losses, expected.losses, rtol=1e-12)
    if then == engine:
        assert history.losses == expected.losses
        assert bits(parts) == bits(whole)
    else:
        for a, b in zip(parts.param(), whole.param(), strict=True):
            np.testing.assert_allclose(a.value, b.value, rtol=1e-11)


def test_a_step_of_a_compiled_network_is_that_of_the_modules():
    samples = data()
    model, twin = network(), network()
    loss = cr.MSELoss(missing="ignore")
    compiled = cr.compile(model, loss)
    for batch in samples.batches(10, shuffle=False):
        y, saved = twin.forward(batch[0])
        value, saved_loss = loss.forward(y, *batch[1:])
        twin.zero_grad()
        twin.backward(loss.backward(1.0, saved_loss), saved)
        twin.optimize()
        assert compiled.step(*batch) == pytest.approx(float(value), rel=1e-12)
    for a, b in zip(model.param(), twin.param(), strict=True):
        np.testing.assert_allclose(a.value, b.value, rtol=1e-11)
    loss.missing = "error"
    with pytest.raises(ValueError, match=r"MSELoss\(mean=True, missing=ignore\) when .* compile it again"):
        compiled.step(*batch)


def test_what_a_callback_sets_is_obeyed_by_both_loops():
    """From the second epoch on the loss is that of targets with gaps; the first has none to ignore."""
    x, target = np.random.default_rng(0).normal(size=(2, 20, 2))
    found = []
    for engine in ENGINES:
        model, loss = network(2), cr.MSELoss(missing="ignore")
        history = cr.fit(
            model,
            loss,
            (x, target),
            epochs=3,
            engine=engine,
            callbacks=[lambda run, loss=loss: setattr(loss, "missing", "error")],
        )
        found.append(history.losses)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_files_know_it_and_the_other_doors_refuse_it_by_name(tmp_path):
    loss = cr.MultiLoss({"a": cr.HuberLoss(delta=2.0, missing="ignore")})
    assert repr(build(*describe(loss))) == repr(loss)
    for refused in (cr.MSELoss(missing="ignore"), cr.CrossEntropyLoss(missing="ignore")):
        with pytest.raises(ValueError, match="has missing='ignore', which PyTorch does not have"):
            cr.to_torch(refused)
        with pytest.raises(
            ValueError, match=re.escape(f'to_c: there is no C for {type(refused).__name__} with missing="ig')
        ):
            cr.to_c(network(), tmp_path, loss=refused, optimizer=cr.SGD())
    assert cr.from_torch(torch.nn.MSELoss()).missing == "error"
    assert list(tmp_path.iterdir()) == []


def test_train_torch_takes_tensors_with_gaps():
    samples = without_weights(data())
    module = cr.to_torch(network()).double()
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(samples.x), torch.from_numpy(samples.target))
    model = network()
    how = {"epochs": 3, "batch_size": 10}
    expected = cr.fit(model, cr.MSELoss(missing="ignore"), samples, **how)
    history = cr.train_torch(module, cr.MSELoss(missing="ignore"), tensors, optimizer=cr.SGD(lr=0.1), **how)
    assert history.losses == expected.losses
    assert bits(cr.from_torch(module)) == bits(cr.Sequential(*model))
