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
    with pytest.raises(TypeError, match=f"fit: {message}") as caught:
        run(strange)
    assert caught.value.history.epochs == 0
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
