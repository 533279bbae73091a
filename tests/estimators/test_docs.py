"""The programs of docs/sklearn.md run, and print what the page says."""

import importlib
import inspect
import json
import re
from pathlib import Path

from sklearn import neural_network as theirs

from chainrule.estimators import MLPClassifier, MLPRegressor
from chainrule.estimators.epochs import MOST
from chainrule.estimators.penalty import SLIGHT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sklearn.md").read_text()


def test_every_program_of_the_page_runs(capsys, digits):
    names = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(code, names)
    said, shown = float(capsys.readouterr().out.split()[0]), float(re.search(r"# (0\.\d+)…", PAGE)[1])
    assert abs(said - shown) < 0.001
    assert names["classifier"].fit(*digits).score(*digits) > 0.98


def test_the_limits_of_the_page_are_those_of_the_code():
    assert float(re.search(r"alpha divided by the batch size is (\S+) or more", PAGE)[1]) == SLIGHT
    assert int(re.search(r"of up to (\d+) epochs, while it is below a thousandth of the loss", PAGE)[1]) == MOST


def test_every_new_argument_is_on_the_page():
    for ours, peer in ((MLPClassifier, theirs.MLPClassifier), (MLPRegressor, theirs.MLPRegressor)):
        new = inspect.signature(ours).parameters.keys() - inspect.signature(peer).parameters.keys()
        assert [name for name in new if f"{name}=" not in PAGE] == []


def test_the_figures_are_those_that_were_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("sklearn_estimators")
    results = json.loads((ROOT / "benchmarks" / "results" / "sklearn_estimators.json").read_text("utf-8"))
    assert not results["quick"]
    assert benchmark.markdown(results) in PAGE
