"""Every example is on the page that tests/test_docs.py runs, and says what to install where something is missing."""

import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SHOWN = {
    typed.split("/")[-1]: text
    for block in pages.blocks(EXAMPLES / "README.md")
    for typed, text in pages.commands(block.text)
}


def number(pattern, name):
    return float(re.search(pattern, SHOWN[name])[1])


def test_every_example_is_on_the_page():
    by_make = {"fashion.py"}  # which takes minutes, and data that are no Python package
    assert SHOWN.keys() | by_make == {path.name for path in EXAMPLES.glob("*.py")}
    page, makefile = ((EXAMPLES.parent / name).read_text("utf-8") for name in ("examples/README.md", "Makefile"))
    assert all(f"]({name})" in page for name in SHOWN.keys() | by_make)
    assert all(f"$(BIN)/python examples/{name}" in makefile for name in by_make)


def test_what_the_page_shows_is_good():
    for name in ("by_hand.py", "own_layer.py", "on_torch.py"):
        assert number(r"errors on 1,000 other points: (\d+)", name) <= 40
    assert number(r"test .*errors (\d+) of 1000", "disk.py") <= 40
    assert number(r"PyTorch finds (\d+) of 1,000 test points wrong", "train_torch.py") <= 40
    assert number(r"after 1,920 steps: (\S+)", "on_torch.py") < 1e-9
    assert number(r"with skips .*errors (\d+) of 1000", "skips.py") <= 40
    assert number(r"a chain .*errors (\d+) of 1000", "skips.py") > 400
    assert number(r"rising  steepest fall ([\d.]+)", "monotone.py") == 0
    assert number(r"free    steepest fall ([\d.]+)", "monotone.py") > 1
    assert number(r"test accuracy ([\d.]+)%", "digits.py") > 97
    assert number(r"test accuracy ([\d.]+)%", "filters.py") >= 98.5
    assert number(r"test accuracy ([\d.]+)%", "vowels.py") > 97
    assert number(r"on data never seen ([\d.]+)", "estimators.py") > 0.94
    assert "Forgetful: backward is wrong for s" in SHOWN["own_layer.py"]


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("digits", "sklearn", "sklearn"),
        ("filters", "sklearn", "sklearn"),
        ("estimators", "sklearn", "sklearn"),
        ("on_torch", "torch", "torch"),
        ("train_torch", "torch", "torch"),
    ],
)
def test_what_is_missing_is_named_with_its_extra(name, module, extra, tmp_path):
    code = f"import runpy, sys; sys.modules[{module!r}] = None; runpy.run_path({str(EXAMPLES / name)!r} + '.py')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert f'is not installed: pip install "chainrule[{extra}]"' in done.stderr.splitlines()[-1]


def test_series_that_are_missing_name_the_package_that_has_them(tmp_path):
    code = f"import runpy, sys; sys.modules['sktime'] = None; runpy.run_path({str(EXAMPLES / 'vowels.py')!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].endswith("sktime, which is not installed: pip install sktime")


def test_images_that_are_missing_name_debians_package(tmp_path):
    code = "import pathlib, runpy, chainrule; pathlib.Path.exists = lambda path: False; "
    code += f"runpy.run_path({str(EXAMPLES / 'fashion.py')!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("is not there: sudo apt install dataset-fashion-mnist")


def test_pictures_that_cannot_be_drawn_name_their_extra(tmp_path):
    code = "import runpy, sys; sys.modules['matplotlib'] = None; "
    code += f"runpy.run_path({str(EXAMPLES / 'disk.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert 'pip install "chainrule[plots]"' in done.stderr.splitlines()[-1]
