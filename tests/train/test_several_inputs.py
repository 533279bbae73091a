"""Networks with several inputs and heads, through fit, evaluate and predict; the oracle is PyTorch."""

import csv
import re

import numpy as np
import pytest
import torch
from networks import bits, branched_data, branched_loss, branched_network, values

import chainrule as cr
from chainrule import files, metrics

DATA, OTHER = branched_data(), branched_data(30, seed=1)


def trained(data=DATA, loss=None, model=None, **options):
    model = branched_network(cr.Adam(lr=0.02)) if model is None else model
    history = cr.fit(model, branched_loss() if loss is None else loss, data, **{"epochs": 3} | options)
    return model, history


class Branched(torch.nn.Module):
    """PyTorch's counterpart of `branched_network`, with its weights."""

    def __init__(self, model):
        super().__init__()
        joined, heads = model[0], model[3]
        self.parts = torch.nn.ModuleDict()
        for name, layer in [*joined.named_children(), *heads.named_children()]:
            self.parts[name] = cr.to_torch(layer).double()

    def forward(self, image, numbers):
        h = torch.tanh(torch.cat([self.parts["image"](image), self.parts["numbers"](numbers)], dim=1))
        return self.parts["kind"](h), self.parts["size"](h)


@pytest.mark.parametrize("weighted", [False, True])
def test_fifty_steps_are_those_of_pytorch(weighted):
    model = branched_network()
    peer = Branched(model)
    weight = np.random.default_rng(3).uniform(0.2, 2, len(DATA)) if weighted else None
    data = cr.Dataset(DATA.x, DATA.target, weight)
    _, history = trained(data, model=model, optimizer=cr.Adam(lr=0.02), epochs=10, batch_size=10, keep="last", seed=5)
    assert history.steps == 50
    optimizer = torch.optim.Adam(peer.parameters(), lr=0.02)
    for epoch in range(10):
        for x, target, *w in data.batches(10, seed=5, epoch=epoch):
            w = torch.from_numpy(w[0]) if w else torch.ones(10, dtype=torch.float64)
            kind, size = peer(torch.from_numpy(x["image"]), torch.from_numpy(x["numbers"]))
            losses = torch.nn.functional.cross_entropy(kind, torch.from_numpy(target["kind"]), reduction="none")
            losses = losses + 0.3 * (size - torch.from_numpy(target["size"]))[:, 0] ** 2
            optimizer.zero_grad()
            ((w * losses).sum() / w.sum()).backward()
            optimizer.step()
    ours = {name.partition(".")[2]: array for name, array in values(model).items()}
    for name, theirs in peer.parts.named_parameters():
        np.testing.assert_allclose(ours[name], theirs.detach().numpy(), rtol=1e-10, atol=1e-13)


def test_a_dict_a_tuple_and_an_array_that_is_cut_train_alike():
    named, history = trained(epochs=5, metrics={"kind": [metrics.accuracy]})
    layers = list(branched_network())
    plain = cr.Sequential(cr.Parallel(*layers[0].children()), *layers[1:3], cr.Parallel(*layers[3].children()))
    losses = cr.MultiLoss(*branched_loss().losses, weights=(1.0, 0.3))
    data = tuple(DATA.x.values()), tuple(DATA.target.values())
    _, other = trained(data, losses, plain, epochs=5, optimizer=cr.Adam(lr=0.02), metrics={0: [metrics.accuracy]})
    assert [v.tobytes() for v in values(plain).values()] == [v.tobytes() for v in values(named).values()]
    assert other.losses == history.losses
    assert other.head_losses["0"] == history.head_losses["kind"]
    assert other.metrics["accuracy[0]"] == history.metrics["accuracy[kind]"]


def test_every_head_has_a_mean_of_its_own():
    """Where batches ignore different shares of the samples, and nothing moves: an epoch is one look at all of them."""
    kind = DATA.target["kind"].copy()
    kind[np.random.default_rng(0).uniform(size=len(kind)) < 0.6] = -100
    data = cr.Dataset(DATA.x, DATA.target | {"kind": kind})
    model, history = trained(data, optimizer=cr.SGD(lr=0.0), batch_size=7)
    found = cr.evaluate(model, branched_loss(), data)
    assert history.losses == pytest.approx([found.loss] * 3, rel=1e-13)
    for name, loss in found.losses.items():
        assert history.head_losses[name] == pytest.approx([loss] * 3, rel=1e-13)
    y = cr.predict(model, DATA.x)
    rows = kind != -100
    alone = cr.CrossEntropyLoss()(y["kind"][rows], kind[rows])
    assert found.losses["kind"] == pytest.approx(float(alone), rel=1e-13)
    assert found.loss == pytest.approx(found.losses["kind"] + 0.3 * found.losses["size"], rel=1e-14)


def test_heads_may_be_summed_and_averaged_at_once():
    loss = cr.MultiLoss({"kind": cr.CrossEntropyLoss(reduction="sum"), "size": cr.MSELoss()})
    model, history = trained(DATA, loss, optimizer=cr.SGD(lr=0.0), batch_size=16)
    found = cr.evaluate(model, loss, DATA)
    assert history.losses == pytest.approx([found.loss] * 3, rel=1e-13)


def test_the_best_epoch_is_that_of_the_validation_loss():
    model, history = trained(validation=OTHER, epochs=60, optimizer=cr.Adam(lr=0.3), stop=cr.EarlyStopping(5))
    assert history.stopped.startswith("EarlyStopping")
    assert history.best_loss == min(history.validation_losses)
    found = cr.evaluate(model, branched_loss(), OTHER)
    assert found.loss == pytest.approx(history.best_loss, rel=1e-13)
    for name, loss in found.losses.items():
        assert history.validation_head_losses[name][history.best_epoch] == pytest.approx(loss, rel=1e-13)


def test_rows_of_a_table_have_a_column_for_each_head(tmp_path):
    log = cr.callbacks.CSVLog(tmp_path / "run.csv")
    _, history = trained(validation=OTHER, metrics={"size": [metrics.r2, metrics.mae]}, callbacks=[log])
    history.to_csv(tmp_path / "history.csv")
    rows, others = (
        list(csv.DictReader((tmp_path / name).read_text().splitlines())) for name in ("run.csv", "history.csv")
    )
    assert rows == others
    assert list(rows[0]) == [
        *("epoch", "loss", "loss[kind]", "loss[size]"),
        *("validation_loss", "validation_loss[kind]", "validation_loss[size]"),
        *("r2[size]", "mae[size]", "learning_rate", "seconds"),
    ]
    assert [float(row["loss[size]"]) for row in rows] == history.head_losses["size"]
    assert cr.History.from_dict(history.to_dict()) == history


def test_metrics_of_a_head_speak_of_the_rows_that_it_counts():
    kind = DATA.target["kind"].copy()
    kind[::3] = -100
    data = cr.Dataset(DATA.x, DATA.target | {"kind": kind}, np.arange(len(DATA), dtype=float))
    asked = {"kind": [metrics.accuracy, metrics.errors], "size": [metrics.rmse]}
    model, history = trained(data, metrics=asked, keep="last")
    found = cr.evaluate(model, branched_loss(), data).heads
    assert history.metrics["accuracy[kind]"][-1] == found["kind"].accuracy
    assert history.metrics["errors[kind]"][-1] == found["kind"].errors
    assert history.metrics["rmse[size]"][-1] == pytest.approx(found["size"].rmse, rel=1e-14)
    counted = (kind != -100) & (data.sample_weight > 0)
    said = cr.predict(model, DATA.x)["kind"].argmax(axis=1)
    right = np.average((said == kind)[counted], weights=data.sample_weight[counted])
    assert found["kind"].accuracy == pytest.approx(right, rel=1e-14)


def test_a_metric_in_a_plain_list_is_given_all_heads():
    def both(y, target):
        return float((y["kind"].argmax(axis=1) == target["kind"]).mean() - abs(y["size"] - target["size"]).mean())

    model, history = trained(metrics=[both], keep="last")
    assert history.metrics["both"][-1] == both(cr.predict(model, DATA.x), DATA.target)


@pytest.mark.parametrize("batch_size", [16, 50])
def test_a_run_in_pieces_ends_with_the_bits_of_a_whole_one(tmp_path, batch_size):
    def make():
        return branched_network(cr.Adam(lr=0.02), dropout=0.2)

    options = {"epochs": 12, "batch_size": batch_size, "validation": OTHER, "metrics": {"kind": [metrics.errors]}}
    whole, history = trained(model=make(), **options)
    pieces, stopped = 0, "max_seconds"
    while stopped.startswith("max_seconds"):
        model, resumed = trained(
            model=make(),
            **options,
            checkpoint=cr.Checkpoint(tmp_path, every_s=1e-9),
            resume=True,
            max_seconds=0.002 * 1.02**pieces,
        )
        pieces, stopped = pieces + 1, resumed.stopped
    assert pieces > 1
    assert bits(model) == bits(whole)
    for name in ("losses", "head_losses", "validation_losses", "validation_head_losses", "metrics", "best_epoch"):
        assert getattr(resumed, name) == getattr(history, name)


def test_a_checkpoint_of_other_data_is_an_error(tmp_path):
    trained(checkpoint=tmp_path)
    renamed = branched_loss(), cr.Dataset({"image": DATA.x["image"], "other": DATA.x["numbers"]}, DATA.target)
    model = branched_network(cr.Adam(lr=0.02))
    model[0] = cr.Parallel({"image": model[0]["image"], "other": model[0]["numbers"]})
    with pytest.raises(ValueError, match="is of another run"):
        trained(renamed[1], model=model, checkpoint=tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"is of another run: loss.weights.size was 0\.3 there and is 0\.5 here"):
        trained(
            loss=cr.MultiLoss(branched_loss().heads, weights={"kind": 1, "size": 0.5}), checkpoint=tmp_path, resume=True
        )


def test_what_is_written_of_a_place_has_a_number_for_each_head(tmp_path):
    class Enough(Exception):
        pass

    def leave(run):
        if run.history.epochs == 2:
            raise Enough

    with pytest.raises(Enough):
        trained(checkpoint=cr.Checkpoint(tmp_path, every_s=1e-9), callbacks=[leave], batch_size=16)
    _, header = files.read_file(tmp_path / "checkpoint.safetensors")
    place = header["place"]
    assert place["epoch"] < 2
    assert len(place["loss_sum"]) == len(place["loss_denominator"])
    assert len(place["loss_sum"]) == (2 if place["step"] else 0)


@pytest.mark.parametrize("metric", [(), (metrics.r2,)])
def test_validation_data_may_have_another_form_than_the_training_data(metric):
    rng = np.random.default_rng(0)
    a, b, target = rng.normal(size=(20, 2)), rng.normal(size=(20, 2)), rng.normal(size=(20, 1))
    backwards, plain = {"b": b, "a": a}, (a, b)
    for x, held_out in ((plain, backwards), (backwards, plain)):
        joined = cr.Parallel({name: cr.Linear(2, 1, dtype="float64", rng=i) for i, name in enumerate(["a", "b"])})
        model = cr.Sequential(cr.SGD(lr=0.0), joined, cr.Sum())
        history = cr.fit(model, cr.MSELoss(), (x, target), validation=(held_out, target), epochs=1, metrics=metric)
        # Nothing moves, and they are the same samples.
        assert history.validation_losses == pytest.approx(history.losses, rel=1e-13)


def test_outputs_have_the_form_that_the_network_gives():
    model, _ = trained()
    y = cr.predict(model, DATA.x, batch_size=7)
    assert list(y) == ["kind", "size"]
    for name, part in cr.predict(model, DATA.x).items():
        np.testing.assert_allclose(y[name], part, rtol=1e-12, atol=1e-14)  # products of 7 rows add in another order
    both = cr.predict(cr.Parallel(cr.Linear(2, 3), cr.Linear(2, 1)), DATA.x["image"])
    assert [part.shape for part in both] == [(50, 3), (50, 1)]


def test_the_parts_are_brought_to_the_models_library_and_dtype():
    model, _ = trained()
    y = cr.predict(model, DATA.x)
    found = model.to("torch", dtype="float32")
    lists = {name: part.tolist() for name, part in DATA.x.items()}
    for name, part in cr.predict(found, lists).items():
        assert part.dtype == torch.float32
        np.testing.assert_allclose(part.numpy(), y[name], rtol=1e-4, atol=1e-5)
    history = cr.fit(found, branched_loss(), DATA, epochs=2)
    assert np.isfinite(history.losses).all()


def test_an_evaluation_speaks_of_one_head_at_a_time():
    model, _ = trained()
    found = cr.evaluate(model, branched_loss(), DATA)
    assert repr(found).startswith("Evaluation(loss=")
    assert "losses={'kind': " in repr(found)
    with pytest.raises(ValueError, match=r"accuracy is of one head; there are \.heads\['kind'\] or \.heads\['size'\]"):
        _ = found.accuracy
    single = cr.evaluate(cr.Linear(2, 1), cr.MSELoss(), (DATA.x["image"], DATA.target["size"]))
    assert single.heads is single
    assert single.losses == single.loss


def test_a_loss_of_ones_own_may_compare_all_heads():
    class Both(cr.Module):
        def forward(self, y, target):
            return (y["size"] ** 2).mean() + (y["kind"] ** 2).mean(), y

        def backward(self, dvalue, y):
            return {name: dvalue * 2 * part / part.size for name, part in y.items()}

    _, history = trained(loss=Both(), epochs=20)
    assert history.losses[-1] < 0.5 * history.losses[0]
    assert history.head_losses == {}


TWO = tuple(DATA.x.values())


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (DATA.x, TypeError, "fit: train must be a Dataset or a pair (x, target), got dict of 2; several inputs are"),
        ((*TWO, TWO[0]), ValueError, "fit: train is (x, target, sample_weight), and sample_weight must be (n,), got"),
        (
            (*TWO, *TWO),
            TypeError,
            "got tuple of 4; several inputs are a tuple or a dict of their own in it: ((a, b), t",
        ),
        ((DATA.x | {"image": TWO[0][:9]}, DATA.target), ValueError, "x['numbers'] must have 9 samples like x['image']"),
        ((DATA.x | {"image": TWO[0] * np.nan}, DATA.target), ValueError, "fit: train.x['image'] must be finite in"),
        ((DATA.x, DATA.target | {"size": TWO[0][:, :1] * np.inf}), ValueError, "fit: train.target['size'] must be fin"),
        ((DATA.x, DATA.target["size"]), TypeError, "target must be a dict with 'kind', 'size', got a numpy float64"),
        ((DATA.x, {"kind": DATA.target["kind"]}), ValueError, "target must be a dict with 'kind', 'size', got 'kind'"),
        (
            (DATA.x, DATA.target | {"kind": np.full(50, -100)}),
            ValueError,
            "head 'kind': fit: no sample of train counts",
        ),
        (
            (DATA.x, DATA.target | {"kind": np.full(50, 7)}),
            ValueError,
            "head 'kind': CrossEntropyLoss().forward: target",
        ),
        (({"image": TWO[0]}, DATA.target), ValueError, "Parallel"),
    ],
)
def test_data_that_do_not_fit_are_refused_by_part_and_change_nothing(data, error, says):
    model = branched_network(cr.Adam(lr=0.02))
    before = bits(model)
    with pytest.raises(error, match=re.escape(says)):
        trained(data, model=model)
    assert bits(model) == before


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        (
            [metrics.accuracy],
            TypeError,
            "accuracy takes one array, and there are the heads 'kind', 'size'; say of which",
        ),
        (
            {"knid": [metrics.accuracy]},
            TypeError,
            "must be by the heads of the loss, got 'knid'; there are 'kind', 'si",
        ),
        (
            {"kind": metrics.accuracy},
            TypeError,
            "metrics['kind'] must be a list of functions, got the function accuracy",
        ),
        ({"kind": [metrics.errors] * 2}, ValueError, "there are two metrics named 'errors[kind]'"),
    ],
)
def test_metrics_of_no_head_are_refused(asked, error, says):
    with pytest.raises(error, match=re.escape(says)):
        trained(metrics=asked)


def test_metrics_by_head_need_a_loss_with_heads():
    data = DATA.x["image"], DATA.target["size"]
    with pytest.raises(TypeError, match=r"must be by the heads of the loss, got 'size'; MSELoss\(\) has none"):
        cr.fit(cr.Linear(2, 1), cr.MSELoss(), data, epochs=1, optimizer=cr.SGD(), metrics={"size": [metrics.r2]})


def test_the_rows_of_inputs_are_as_many():
    with pytest.raises(ValueError, match=r"predict: x\['numbers'\] must have 50 rows like x\['image'\], got 3"):
        cr.predict(branched_network(), DATA.x | {"numbers": TWO[1][:3]})
    with pytest.raises(ValueError, match=r"predict: x\['image'\] must be \(n, …\) with at least one row"):
        cr.predict(branched_network(), DATA.x | {"image": TWO[0][:0]})


def test_a_metric_goes_by_the_threshold_of_its_heads_loss():
    rng = np.random.default_rng(2)
    x, yes = rng.normal(size=(40, 2)), rng.integers(0, 2, (40, 1)).astype(float)
    model = cr.Sequential(cr.SGD(lr=0.01), cr.Parallel(cr.Linear(2, 1, rng=0), cr.Linear(2, 1, rng=1)).double())
    loss = cr.MultiLoss(cr.BCEWithLogitsLoss(), cr.MSELoss())
    asked = {0: [metrics.errors], 1: [metrics.errors]}
    history = cr.fit(model, loss, (x, (yes, yes)), epochs=1, metrics=asked)
    logits, numbers = cr.predict(model, x)
    assert history.metrics["errors[0]"] == [np.count_nonzero((logits > 0) != yes)]
    assert history.metrics["errors[1]"] == [np.count_nonzero((numbers > 0.5) != yes)]
    first, second = cr.evaluate(model, loss, (x, (yes, yes))).heads
    assert (first.errors, second.errors) == (history.metrics["errors[0]"][0], history.metrics["errors[1]"][0])
