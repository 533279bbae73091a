"""The programs of docs/sklearn.md run, and print what the page says."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "sklearn.md").read_text()


def test_every_program_of_the_page_runs(capsys, digits):
    names = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(code, names)
    said, shown = float(capsys.readouterr().out), float(re.search(r"# (0\.\d+)…", PAGE)[1])
    assert abs(said - shown) < 0.001
    assert names["classifier"].fit(*digits).score(*digits) > 0.98


def test_every_new_argument_is_on_the_page():
    import inspect

    from sklearn import neural_network as theirs

    from chainrule.estimators import MLPClassifier, MLPRegressor

    for ours, peer in ((MLPClassifier, theirs.MLPClassifier), (MLPRegressor, theirs.MLPRegressor)):
        new = inspect.signature(ours).parameters.keys() - inspect.signature(peer).parameters.keys()
        assert [name for name in new if f"{name}=" not in PAGE] == []
