import functools
import re

import numpy as np
import pytest
import torch
from networks import bits, branched_data, branched_loss, branched_network, small_network

import chainrule as cr
from chainrule import metrics

DATA = np.random.default_rng(0).normal(size=(20, 2)), np.zeros((20, 2))


def run(*asked, who="fit", **options):
    model = small_network(cr.SGD(lr=1e-3))
    if who == "evaluate":
        return cr.evaluate(model, cr.MSELoss(), DATA, metrics=asked)
    if who == "fit_many":
        build = functools.partial(small_network, cr.SGD(lr=1e-3))
        return cr.fit_many(build, cr.MSELoss(), DATA, epochs=1, metrics=asked, **options)
    return cr.fit(model, cr.MSELoss(), DATA, epochs=1, metrics=asked, **options)


@pytest.mark.parametrize("who", ["fit", "fit_many", "evaluate"])
@pytest.mark.parametrize("table", [metrics.confusion_matrix, functools.partial(metrics.confusion_matrix, threshold=0)])
def test_a_table_is_no_number_for_a_column(who, table):
    with pytest.raises(TypeError, match=rf"{who}: each of metrics must give a number, .*\).confusion_matrix"):
        run(metrics.mae, table, who=who)
    with pytest.raises(TypeError, match=r"fit: each of metrics\['kind'\] must give a number"):
        cr.fit(branched_network(cr.SGD()), branched_loss(), branched_data(), epochs=1, metrics={"kind": [table]})


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (None, "NoneType"),
        (np.zeros(2), "ndarray (2,)"),
        (torch.zeros(2, 2), "Tensor torch.Size([2, 2])"),
        ("high", "str"),
        ((1.0, 2.0), "tuple"),
    ],
)
def test_a_metric_has_to_give_a_number(value, got):
    def strange(y, target):
        return value

    message = re.escape(f"the metric strange must return a number, got a {got}")
    with pytest.raises(TypeError, match=f"fit: {message}"):
        run(strange)
    with pytest.raises(TypeError, match=f"evaluate: {message}"):
        run(strange, who="evaluate")
    many = run(strange, who="fit_many")
    assert "must return a number" in many[0].error


@pytest.mark.parametrize("value", [3, np.float32(3), np.array(3.0), torch.tensor(3.0), True * 3])
def test_whatever_is_one_number_will_do(value):
    assert run(lambda y, target: value, who="evaluate").metrics == {"<lambda>": 3.0}


def test_evaluate_asks_what_fit_asks():
    def largest(y, target):
        return y.max()

    micro = functools.partial(metrics.f1, average="micro")
    micro.__name__ = "f1_micro"
    asked = [metrics.mae, largest, metrics.f1, micro, functools.partial(metrics.roc_auc, average="weighted")]
    x, target = DATA[0], (DATA[0][:, 0] > 0).astype(int)
    model = small_network(cr.SGD(lr=0.1))
    history = cr.fit(model, cr.CrossEntropyLoss(), (x, target), epochs=3, keep="last", metrics=asked[1:])
    result = cr.evaluate(model, cr.CrossEntropyLoss(), (x, target), metrics=asked[1:])
    assert {name: values[-1] for name, values in history.metrics.items()} == pytest.approx(result.metrics, rel=1e-12)
    assert list(result.metrics) == ["largest", "f1", "f1_micro", "roc_auc"]
    assert (result.metrics["f1"], result.metrics["roc_auc"]) == (result.f1, result.roc_auc)
    assert cr.evaluate(model, cr.CrossEntropyLoss(), (x, target)).metrics == {}
    shown = cr.evaluate(small_network(), cr.MSELoss(), DATA, metrics=asked[:1])
    assert repr(shown) == f"Evaluation(loss={shown.loss:.6g}, mae={shown.mae:.6g}, n=20)"


def test_evaluate_asks_of_heads():
    model, data, loss = branched_network(), branched_data(), branched_loss()
    asked = {"kind": [metrics.f1, metrics.log_loss], "size": [metrics.mape]}
    result = cr.evaluate(model, loss, data, metrics=asked)
    kind, size = result.heads["kind"], result.heads["size"]
    assert result.metrics == {
        "f1[kind]": kind.f1,
        "log_loss[kind]": kind.log_loss,
        "mape[size]": size.mape,
    }
    assert kind.confusion_matrix.sum() == len(data)
    for metric in (metrics.f1, metrics.roc_auc, metrics.mape, metrics.from_sklearn(max, of="outputs")):
        with pytest.raises(TypeError, match=f"evaluate: {metric.__name__} takes one array, and there are the heads"):
            cr.evaluate(model, loss, data, metrics=[metric])
    with pytest.raises(TypeError, match="evaluate: metrics must be by the heads of the loss, got 'other'"):
        cr.evaluate(model, loss, data, metrics={"other": []})
    with pytest.raises(ValueError, match=r"Evaluation: log_loss is of one head; there are .heads\['kind'\]"):
        result.log_loss  # noqa: B018


@pytest.mark.parametrize("who", ["fit", "evaluate"])
def test_names_are_those_of_columns(who):
    with pytest.raises(ValueError, match=f"{who}: there are two metrics named 'f1'; give one a __name__ of its own"):
        run(metrics.f1, functools.partial(metrics.f1, average="micro"), who=who)
    with pytest.raises(TypeError, match=f"{who}: metrics must be a list of functions, got the function f1"):
        cr.evaluate(small_network(), cr.MSELoss(), DATA, metrics=metrics.f1) if who == "evaluate" else cr.fit(
            small_network(cr.SGD()), cr.MSELoss(), DATA, epochs=1, metrics=metrics.f1
        )


def test_what_is_refused_changes_nothing():
    model = small_network(cr.SGD(lr=1e-3))
    before = bits(model)
    with pytest.raises(TypeError, match="each of metrics must give a number"):
        cr.fit(model, cr.MSELoss(), DATA, epochs=1, metrics=[metrics.confusion_matrix])
    assert bits(model) == before


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("validation", [None, cr.data.disk(50, seed=1)])
def test_a_metric_that_raises_does_so_before_the_first_step(engine, validation):
    def wrong(y, target):
        return y.no_such_thing

    model = cr.Sequential(cr.Adam(), cr.Linear(2, 4), cr.Tanh(), cr.Linear(4, 2))
    before = [parameter.value.copy() for parameter in model.param()]
    called = []
    options = {"epochs": 1, "metrics": [wrong], "validation": validation, "callbacks": [called.append]}
    with pytest.raises(AttributeError, match="no_such_thing"):
        cr.fit(model, cr.MSELoss(), cr.data.disk(200), engine=engine, **options)
    assert model.optimizer.steps == 0
    assert not called
    assert all((p.value == value).all() for p, value in zip(model.param(), before, strict=True))


@pytest.mark.parametrize("engine", ["python", "native"])
def test_a_metric_that_wants_more_than_a_few_rows_is_tried_on_all(engine):
    seen = []

    def picky(y, target):
        seen.append(len(y))
        if len(y) < 200:
            raise ValueError("too few rows")
        return 1.0

    model = cr.Sequential(cr.Linear(2, 2))
    history = cr.fit(
        model, cr.MSELoss(), cr.data.disk(200), epochs=2, optimizer=cr.SGD(), metrics=[picky], engine=engine
    )
    assert history.metrics["picky"] == [1.0, 1.0]
    assert seen == [32, 200, 200, 200]


def test_what_goes_along_for_a_loss_and_is_not_finite_is_named_among_the_causes():
    class Far(cr.Loss):
        def forward(self, y, target, sample_weight=None, *, low):
            return ((y - target) ** 2 * low).mean(), (y, target, low)

        def backward(self, dvalue, saved):
            y, target, low = saved
            return 2 * dvalue * (y - target) * low / y.size

    low = np.ones((20, 1))
    low[7] = np.nan
    data = cr.Dataset(np.ones((20, 2)), np.ones((20, 1)), extra={"low": low})
    says = r"Likely causes: train\.extra\['low'\], which holds nan in row 7; a learning rate that is too high"
    with pytest.raises(FloatingPointError, match=says):
        cr.fit(cr.Linear(2, 1), Far(), data, epochs=1, optimizer=cr.SGD())
