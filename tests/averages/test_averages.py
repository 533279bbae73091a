"""Averages of weights in `fit`: PyTorch's AveragedModel is the oracle."""

import copy
import json
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import bits, branched_data, branched_loss, branched_network, small_network, values
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_avg_fn

import chainrule as cr
from chainrule.averages import Averaged

ENGINES = ["native", "python"]
every_engine = pytest.mark.parametrize("engine", ENGINES)

# Averages, what PyTorch makes of them, and after which updates it is asked: f(epoch, step in it, steps of an epoch).
AVERAGES = {
    "ema": (cr.EMA(0.9), {"multi_avg_fn": get_ema_multi_avg_fn(0.9)}, lambda e, i, n: True),
    "ema default": (cr.EMA(), {"multi_avg_fn": get_ema_multi_avg_fn()}, lambda e, i, n: True),
    "ema of nothing": (cr.EMA(0.0), {"multi_avg_fn": get_ema_multi_avg_fn(0.0)}, lambda e, i, n: True),
    "ema of the first": (cr.EMA(1.0), {"multi_avg_fn": get_ema_multi_avg_fn(1.0)}, lambda e, i, n: True),
    "swa": (cr.SWA(2), {"avg_fn": get_swa_avg_fn()}, lambda e, i, n: i == n - 1 and e >= 2),
    "swa from the first": (cr.SWA(0), {"avg_fn": get_swa_avg_fn()}, lambda e, i, n: i == n - 1),
    "swa every second": (cr.SWA(1, 2), {"avg_fn": get_swa_avg_fn()}, lambda e, i, n: i == n - 1 and e in (1, 3, 5)),
    "swa by step": (
        cr.SWA(1, 3, "step"),
        {"avg_fn": get_swa_avg_fn()},
        lambda e, i, n: e >= 1 and ((e - 1) * n + i + 1) % 3 == 0,
    ),
}
RULES = [cr.EMA(0.8), cr.SWA(1), cr.SWA(1, 3, "step")]


def data(n=53, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return cr.Dataset(x, np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2]], axis=1) + 0.3 * rng.normal(size=(n, 2)))


HELD_OUT = data(31, seed=1)


def network(optimizer=None, dtype="float64"):
    optimizer = cr.SGD(lr=0.1, momentum=0.9) if optimizer is None else optimizer
    return small_network(optimizer, n_in=3, n_out=2, dtype=dtype)


def train(average, *, model=None, loss=None, samples=None, **changes):
    model = network() if model is None else model
    how = {"epochs": 6, "batch_size": 8, "validation": HELD_OUT, "seed": 3, "keep": "last"} | changes
    loss = cr.MSELoss() if loss is None else loss
    return model, cr.fit(model, loss, data() if samples is None else samples, average=average, **how)


def record(history):
    """All of it but the times."""
    found = history.to_dict()
    return {name: value for name, value in found.items() if name not in ("epoch_s", "total_s")}


# -- the numbers


@every_engine
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", AVERAGES)
def test_the_numbers_are_those_of_pytorchs_averaged_model(name, optimizer, engine):
    average, options, takes = AVERAGES[name]
    how = {"lr": 0.05, "momentum": 0.9} if optimizer == "SGD" else {"lr": 0.02}
    model = network(getattr(cr, optimizer)(**how))
    peer = torch.nn.Sequential(
        torch.nn.Linear(3, 8, dtype=torch.float64), torch.nn.Tanh(), torch.nn.Linear(8, 2, dtype=torch.float64)
    )
    peer.load_state_dict({name: torch.from_numpy(value) for name, value in values(model).items()})
    rule, averaged = getattr(torch.optim, optimizer)(peer.parameters(), **how), AveragedModel(peer, **options)
    looked, taken = [], 0
    for epoch in range(6):
        batches = list(data().batches(8, seed=3, epoch=epoch))
        for i, (x, target) in enumerate(batches):
            rule.zero_grad()
            torch.nn.functional.mse_loss(peer(torch.from_numpy(x)), torch.from_numpy(target)).backward()
            rule.step()
            if takes(epoch, i, len(batches)):
                averaged.update_parameters(peer)
                taken += 1
        with torch.no_grad():
            y = (averaged if taken else peer)(torch.from_numpy(HELD_OUT.x))
            looked.append(torch.nn.functional.mse_loss(y, torch.from_numpy(HELD_OUT.target)).item())
    model, history = train(average, model=model, engine=engine)
    assert taken > 1
    np.testing.assert_allclose(history.validation_losses, looked, rtol=1e-10)
    expected = averaged.module.state_dict()
    for key, value in values(model).items():
        np.testing.assert_allclose(value, expected[key].numpy(), rtol=1e-10, atol=1e-12, err_msg=key)


@given(
    n=st.integers(1, 12),
    batch=st.integers(1, 5),
    epochs=st.integers(1, 4),
    decay=st.floats(0, 1),
    start=st.integers(0, 4),
    every=st.integers(1, 4),
    unit=st.sampled_from(["epoch", "step"]),
)
@pytest.mark.filterwarnings("ignore:fit. SWA:UserWarning")  # of those that begin behind the end
def test_the_mean_is_the_formula_written_out_over_the_weights_of_every_update(
    n, batch, epochs, decay, start, every, unit
):
    samples, passed = data(n), []

    class Steps(cr.SGD):
        def step(self, parameters):
            super().step(parameters)
            passed.append([parameter.value.copy() for parameter in parameters])

    of_epoch = -(-n // batch)
    for average in (cr.EMA(decay), cr.SWA(start, every, unit)):
        passed.clear()
        model, _ = train(
            average, model=network(Steps(lr=0.1)), samples=samples, validation=None, epochs=epochs, batch_size=batch
        )
        if isinstance(average, cr.EMA):
            mean = passed[0]
            for weights in passed[1:]:
                mean = [decay * a + (1 - decay) * w for a, w in zip(mean, weights, strict=True)]
        else:
            from_start = passed[start * of_epoch :]
            stride = every if unit == "step" else every * of_epoch
            first = every - 1 if unit == "step" else of_epoch - 1
            picked = from_start[first::stride] or passed[-1:]
            mean = [np.mean(column, axis=0) for column in zip(*picked, strict=True)]
        for parameter, expected in zip(model.param(), mean, strict=True):
            np.testing.assert_allclose(parameter.value, expected, rtol=1e-10, atol=1e-12)


# -- what is looked at, and what is trained


@every_engine
@pytest.mark.parametrize("average", RULES, ids=repr)
def test_what_is_trained_is_as_without_an_average(average, engine):
    def watched(average):
        seen = []
        _, history = train(average, callbacks=[lambda run: seen.append(bits(run.model))], engine=engine)
        return seen, history

    (seen, history), (plain, without) = watched(average), watched(None)
    assert seen == plain
    assert history.losses == without.losses
    assert history.validation_losses != without.validation_losses
    assert (history.average, without.average) == (repr(average), "")
    assert f"averaged         {average!r}" in repr(history)
    assert "averaged" not in repr(without)
    assert cr.History.from_dict(json.loads(json.dumps(history.to_dict()))) == history


@every_engine
@pytest.mark.parametrize("average", RULES, ids=repr)
def test_loss_and_metrics_are_of_the_averaged_weights(average, engine):
    metrics = [cr.metrics.mae, cr.metrics.r2]
    for held_out, samples in ((HELD_OUT, HELD_OUT), (None, data())):
        model, history = train(average, validation=held_out, metrics=metrics, engine=engine)
        found = cr.evaluate(model, cr.MSELoss(), samples)
        assert history.metrics["mae"][-1] == pytest.approx(found.mae, rel=1e-12)
        assert history.metrics["r2"][-1] == pytest.approx(found.r2, rel=1e-12)
        if held_out is not None:
            assert history.validation_losses[-1] == pytest.approx(found.loss, rel=1e-12)


@every_engine
@pytest.mark.parametrize("average", RULES, ids=repr)
def test_the_best_epoch_leaves_its_averaged_weights(average, engine):
    changes = {"model": network(cr.SGD(lr=0.9, momentum=0.5)), "engine": engine}
    model, history = train(average, keep="best", epochs=9, **changes)
    assert history.best_epoch == int(np.argmin(history.validation_losses))
    assert history.validation_losses[history.best_epoch] == pytest.approx(
        cr.evaluate(model, cr.MSELoss(), HELD_OUT).loss, rel=1e-12
    )
    last, _ = train(average, epochs=history.best_epoch + 1, model=network(cr.SGD(lr=0.9, momentum=0.5)), engine=engine)
    assert bits(model) == bits(last)


@every_engine
def test_early_stopping_goes_by_the_averaged_weights(engine):
    _, history = train(cr.EMA(0.5), epochs=60, stop=cr.EarlyStopping(patience=3), engine=engine)
    best = int(np.argmin(history.validation_losses))
    assert history.epochs == best + 4 < 60


@every_engine
def test_several_heads_are_looked_at_by_the_average(engine):
    model, history = train(
        cr.EMA(0.9),
        model=branched_network(cr.Adam(lr=0.02)),
        loss=branched_loss(),
        samples=branched_data(),
        validation=branched_data(20, seed=1),
        metrics={"kind": [cr.metrics.accuracy]},
        engine=engine,
    )
    found = cr.evaluate(model, branched_loss(), branched_data(20, seed=1))
    assert history.validation_losses[-1] == pytest.approx(found.loss, rel=1e-12)
    for key in ("kind", "size"):
        assert history.validation_head_losses[key][-1] == pytest.approx(found.losses[key], rel=1e-12)
    assert history.metrics["accuracy[kind]"][-1] == found.heads["kind"].accuracy


@every_engine
@pytest.mark.parametrize("keep", ["best", "last"])
def test_as_long_as_nothing_is_in_a_mean_the_weights_stand_for_it(keep, engine):
    with pytest.warns(UserWarning, match=r"fit: SWA\(50\) has taken in no weights by the end of epoch 5") as said:
        model, history = train(cr.SWA(50), keep=keep, engine=engine)
    assert [warning.filename for warning in said] == [__file__]
    plain, without = train(None, keep=keep, engine=engine)
    assert bits(model) == bits(plain)
    assert history.validation_losses == without.validation_losses


def test_a_shared_parameter_has_one_average_and_a_second_run_one_of_its_own():
    def shared():
        layer = cr.Linear(3, 3, rng=0, dtype="float64")
        head = cr.Linear(3, 2, rng=1, dtype="float64")
        return cr.Sequential(cr.SGD(lr=0.1), layer, cr.Tanh(), cr.Linear(3, 3, weight=layer.weight), cr.Tanh(), head)

    model, _ = train(cr.SWA(0, 1, "step"), model=shared(), epochs=1)
    assert model[0].weight is model[2].weight
    twin = copy.deepcopy(model)
    train(cr.EMA(0.5), model=model, epochs=2)
    train(cr.EMA(0.5), model=twin, epochs=2)
    assert bits(model) == bits(twin)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_network_of_16_bits_is_averaged_in_32(library):
    model = network(cr.SGD(lr=0.01), dtype="float32").to(library, dtype="float16")
    held = []
    train(cr.EMA(0.999), model=model, epochs=2, callbacks=[lambda run: held.append(run.average)])
    assert {str(value.dtype).removeprefix("torch.") for value in held[0].values} == {"float32"}
    assert {str(parameter.value.dtype).removeprefix("torch.") for parameter in model.param()} == {"float16"}
    for parameter, mean in zip(model.param(), held[0].values, strict=True):
        np.testing.assert_array_equal(np.asarray(parameter.value), np.asarray(mean).astype("float16"))


def test_tensors_of_pytorch_are_averaged_where_they_are():
    model, history = train(cr.EMA(0.9), model=network().to("torch"))
    plain, expected = train(cr.EMA(0.9))
    assert isinstance(model[0].weight.value, torch.Tensor)
    np.testing.assert_allclose(history.validation_losses, expected.validation_losses, rtol=1e-10)
    for name, value in values(plain).items():
        np.testing.assert_allclose(values(model)[name], value, rtol=1e-10, atol=1e-12)


# -- callbacks


@every_engine
def test_a_callback_sees_what_is_trained_and_may_look_at_the_average(engine):
    seen = []

    def look(run):
        raw = bits(run.model)
        with run.average.shown():
            loss = cr.evaluate(run.model, cr.MSELoss(), HELD_OUT).loss
            averaged = bits(run.model)
        assert bits(run.model) == raw != averaged
        seen.append((loss, averaged))

    model, history = train(cr.EMA(0.9), callbacks=[look], engine=engine)
    assert [loss for loss, _ in seen] == pytest.approx(history.validation_losses, rel=1e-12)
    assert bits(model) == seen[-1][1]


def test_after_an_error_within_it_the_model_is_what_is_trained():
    model = network()
    averaged = Averaged(cr.EMA(0.5), model.param())
    averaged.after(0, 0, 1)
    model[0].weight.value += 1.0
    trained, seen = bits(model), []
    with suppress(ZeroDivisionError), averaged.shown():
        seen.append(bits(model))
        raise ZeroDivisionError
    assert bits(model) == trained != seen[0]
    assert repr(averaged) == "Averaged(EMA(decay=0.5), 1 taken)"


def test_without_an_average_a_run_has_none():
    seen = []
    train(None, callbacks=[lambda run: seen.append(run.average)], epochs=1)
    assert seen == [None]


@every_engine
def test_what_a_callback_sets_is_trained_on_and_comes_into_the_mean_by_the_next_update(engine):
    def clip(run):
        weight = run.model[0].weight.value
        weight.clip(-0.05, 0.05, out=weight)

    model, history = train(cr.SWA(0), callbacks=[clip], keep="best", engine=engine)
    assert history.validation_losses[history.best_epoch] == pytest.approx(
        cr.evaluate(model, cr.MSELoss(), HELD_OUT).loss, rel=1e-12
    )
    clipped, _ = train(None, callbacks=[clip], engine=engine)
    assert abs(clipped[0].weight.value).max() <= 0.05


# -- how a run may end


def test_ctrl_c_leaves_the_average_of_the_steps_made(monkeypatch):
    from chainrule.train.watch import Watch

    made, passed = [], []

    class Steps(cr.SGD):
        def step(self, parameters):
            super().step(parameters)
            made.append(1)
            passed.append([parameter.value.copy() for parameter in parameters])

    monkeypatch.setattr(Watch, "reason", lambda self: "interrupted by Ctrl-C" if len(made) == 4 else "")
    model, history = train(cr.SWA(0, 1, "step"), model=network(Steps(lr=0.1)))
    assert history.interrupted
    assert history.epochs == 0
    for parameter, column in zip(model.param(), zip(*passed, strict=True), strict=True):
        np.testing.assert_allclose(parameter.value, np.mean(column, axis=0), rtol=1e-12)


@every_engine
@pytest.mark.parametrize("average", RULES, ids=repr)
@pytest.mark.parametrize("after", [0, 3])
def test_a_run_that_diverges_leaves_the_average_of_its_best_epoch(average, after, engine):
    def ruin(run):
        if run.history.epochs == after:
            run.optimizer.lr = 1e200

    model = network(cr.SGD(lr=1e200 if after == 0 else 0.05))
    before = bits(model)
    with pytest.raises(FloatingPointError) as error:
        train(average, model=model, keep="last", callbacks=[ruin], engine=engine)
    history = error.value.history
    assert history.epochs == after
    if after == 0:
        assert bits(model) == before
    else:
        loss = cr.evaluate(model, cr.MSELoss(), HELD_OUT).loss
        assert history.validation_losses[history.best_epoch] == pytest.approx(loss, rel=1e-12)


# -- checkpoints


@every_engine
@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("average", [*RULES, cr.SWA(4)], ids=repr)
@pytest.mark.filterwarnings("ignore:fit. SWA:UserWarning")
def test_a_run_that_is_resumed_after_every_epoch_ends_with_the_same_bits(tmp_path, average, keep, engine):
    def make():
        return network(cr.Adam(lr=cr.ExponentialLR(0.05, 0.9), amsgrad=True))

    def state(model, history):
        return bits(model), record(history), repr(model.optimizer.state_dict(model.param()))

    how = {"keep": keep, "engine": engine}
    whole = state(*train(average, model=make(), **how))
    for epochs in range(1, 7):
        model, history = train(average, model=make(), epochs=epochs, checkpoint=tmp_path, resume=True, **how)
        loaded = cr.load(tmp_path / "checkpoint.safetensors")
        assert bits(loaded) == bits(model)
        assert bits(model) == bits(train(average, model=make(), epochs=epochs, **how)[0])
    assert state(model, history) == whole


@every_engine
@pytest.mark.parametrize("average", RULES, ids=repr)
def test_a_run_in_pieces_that_end_within_epochs_ends_with_the_same_bits(tmp_path, average, engine):
    how = {"epochs": {"native": 300, "python": 6}[engine], "batch_size": 4, "accumulate": 2, "engine": engine}
    whole, expected = train(average, **how)
    history, pieces, seconds = None, 0, {"native": 0.0003, "python": 0.002}[engine]
    while history is None or history.stopped.startswith("max_seconds"):
        model, history = train(
            average,
            checkpoint=cr.Checkpoint(tmp_path, every_s=1e-4),
            resume=True,
            max_seconds=seconds * 1.1**pieces,
            **how,
        )
        pieces += 1
    assert pieces > 1
    assert (bits(model), history.validation_losses) == (bits(whole), expected.validation_losses)


def test_another_average_is_another_run(tmp_path):
    train(cr.EMA(0.9), checkpoint=tmp_path, epochs=2)
    for other, told in ((cr.EMA(0.8), r"EMA\(decay=0.8\)"), (None, "None")):
        with pytest.raises(ValueError, match=rf"average was EMA\(decay=0.9\) there and is {told} here"):
            train(other, checkpoint=tmp_path, epochs=3, resume=True)


def test_an_average_of_16_bits_goes_on_in_32(tmp_path):
    def make():
        return network(cr.SGD(lr=0.01), dtype="float32").to(dtype="float16")

    whole, _ = train(cr.EMA(0.99), model=make(), epochs=3)
    for epochs in (1, 2, 3):
        model, _ = train(cr.EMA(0.99), model=make(), epochs=epochs, checkpoint=tmp_path, resume=True)
    assert bits(model) == bits(whole) == bits(cr.load(tmp_path / "checkpoint.safetensors"))


# -- other doors


def test_many_networks_may_share_an_average_and_differ_in_it():
    results = cr.fit_many(
        lambda: network(cr.SGD(lr=0.1)),
        cr.MSELoss(),
        data(),
        grid={"average": [None, cr.EMA(0.9), cr.SWA(2)]},
        seeds=[3, 4],
        validation=HELD_OUT,
        epochs=5,
        batch_size=8,
        keep="last",
    )
    assert [result.error for result in results] == [""] * 6
    for result in results:
        average = result.configuration["average"]
        alone, history = train(
            average,
            model=network(cr.SGD(lr=0.1)),
            epochs=5,
            seed=result.seed,
            engine=result.history.engine.split(",")[0],
        )
        assert bits(result.model) == bits(alone)
        assert result.history.validation_losses == history.validation_losses
        assert result.history.average == ("" if average is None else repr(average))


def test_an_estimator_predicts_by_the_averaged_weights():
    samples = data()
    how = {"epochs": 4, "batch_size": 8, "random_state": 0, "keep": "last"}
    seen = []
    averaged = cr.estimators.NetworkRegressor(
        average=cr.SWA(0), callbacks=[lambda run: seen.append([p.value.copy() for p in run.model.param()])], **how
    ).fit(samples.x, samples.target)
    for parameter, column in zip(averaged.network_.param(), zip(*seen, strict=True), strict=True):
        np.testing.assert_allclose(parameter.value, np.mean(column, axis=0), rtol=1e-10)
    assert averaged.history_.average == "SWA(0)"


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: cr.EMA(1.5), ValueError, "EMA: decay must be at least 0 and at most 1, got 1.5"),
        (lambda: cr.EMA("0.9"), TypeError, "EMA: decay must be a number, got '0.9'"),
        (lambda: cr.SWA(-1), ValueError, "SWA: start must be at least 0, got -1"),
        (lambda: cr.SWA(1.5), TypeError, "SWA: start must be an integer, got 1.5"),
        (lambda: cr.SWA(1, 0), ValueError, "SWA: every must be a positive integer, got 0"),
        (lambda: cr.SWA(1, unit="steps"), ValueError, 'SWA: unit must be "epoch" or "step", got \'steps\''),
        (lambda: train(cr.EMA), TypeError, r"fit: average must be an Average, such as EMA\(0.999\), got the class EMA"),
        (lambda: train(0.9), TypeError, r"fit: average must be an Average, such as EMA\(0.999\), got 0.9"),
    ],
)
def test_what_is_no_average_is_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()


@pytest.mark.parametrize("average", RULES, ids=repr)
def test_threads_of_the_engine_make_the_same_bits(average):
    rng = np.random.default_rng(0)
    samples = cr.Dataset(rng.normal(size=(900, 40)), rng.normal(size=(900, 4)))
    found = []
    for threads in (1, 2, 3):
        model = small_network(cr.Adam(lr=0.01), n_in=40, n_out=4, hidden=160, dtype="float32")
        how = {"batch_size": 150, "accumulate": 2, "threads": threads, "epochs": 3, "keep": "last", "engine": "native"}
        history = cr.fit(model, cr.MSELoss(), samples, average=average, validation=samples, **how)
        found.append((bits(model), history.losses, history.validation_losses))
    assert found[0] == found[1] == found[2]


def test_a_network_that_a_callback_changes_keeps_its_average():
    def change(run):
        if run.history.epochs == 2:
            run.optimizer.clip_norm = 1e3  # which changes no number, and the network is compiled anew

    for average in RULES:
        model, history = train(average, callbacks=[change], engine="native")
        plain, expected = train(average, engine="native")
        assert bits(model) == bits(plain)
        assert history.validation_losses == expected.validation_losses


def test_an_average_of_ones_own_is_two_methods():
    class Last(cr.Average):
        """The mean of the last two weights that are taken in."""

        def takes(self, epoch, step, steps):
            return step + 1 == steps

        def share(self, taken):
            return 0.5

    seen = []
    model, history = train(Last(), epochs=2, callbacks=[lambda run: seen.append(values(run.model))])
    for name, value in values(model).items():
        np.testing.assert_allclose(value, (seen[0][name] + seen[1][name]) / 2, rtol=1e-12)
    assert history.engine == "python, as the engine does not know average=Last()"
    with pytest.raises(NotImplementedError, match="Average has no takes"):
        train(cr.Average())
