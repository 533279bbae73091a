"""docs/onnx.md does what it says."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs" / "onnx.md").read_text()


def test_the_python_of_the_page_prints_what_it_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, shown = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE, re.S).groups()
    exec(code, {})
    difference, network = capsys.readouterr().out.split("\n", 1)
    assert float(difference) < 1e-6
    assert network == shown.split("\n", 1)[1]
