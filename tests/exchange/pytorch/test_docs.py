"""docs/pytorch.md does what it says."""

import re
from pathlib import Path

import numpy as np
import torch

import chainrule as cr

PAGE = (Path(__file__).parents[3] / "docs" / "pytorch.md").read_text()


def test_the_python_of_the_page_runs_as_printed():
    first, both_ways, branches = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    torch.manual_seed(0)
    names = {}
    exec(first, names)
    history, test = names["history"], names["test"]
    assert (history.epochs, history.engine.startswith("native")) == (200, True)
    said = cr.predict(cr.from_torch(names["network"]), test.x)
    assert (said.argmax(axis=1) != test.target).mean() < 0.03
    exec(both_ways, names)
    np.testing.assert_array_equal(cr.predict(names["model"], test.x), said)
    exec(branches, names)
    assert f"```\n{names['model']!r}\n```" in PAGE
