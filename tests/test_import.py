"""What importing chainrule costs, and whether what it offers is explained."""

import inspect
import subprocess
import sys

import pytest

import chainrule as cr

HEAVY = ("matplotlib", "torch", "tqdm", "click", "scipy", "sklearn", "pandas", "array_api_compat", "safetensors")

PUBLIC = {name: value for name, value in vars(cr).items() if not name.startswith("_") and not inspect.ismodule(value)}


def _modules_after(statements):
    code = f"{statements}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return set(run.stdout.split())


def test_import_brings_no_heavy_library():
    modules = _modules_after("import chainrule")
    assert "numpy" in modules
    assert [name for name in HEAVY if name in modules] == []
    assert "array_api_compat.numpy" not in modules


def test_training_on_arrays_brings_none_either():
    modules = _modules_after(
        "import chainrule as cr\n"
        "data = cr.data.disk(100, seed=0)\n"
        "model = cr.Sequential(cr.Adam(), cr.Linear(2, 5), cr.Tanh(), cr.Linear(5, 2))\n"
        "cr.fit(model, cr.MSELoss(), data, epochs=2)\n"
        "cr.evaluate(model, cr.MSELoss(), data)"
    )
    assert [name for name in HEAVY if name in modules] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    assert vars(PUBLIC[name]).get("__doc__") if inspect.isclass(PUBLIC[name]) else PUBLIC[name].__doc__


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if inspect.isclass(value)])
def test_public_methods_of_public_classes_are_documented(name):
    own = {n: v for n, v in vars(PUBLIC[name]).items() if not n.startswith("_") and (inspect.isfunction(v))}
    # What overrides a documented method says the same.
    undocumented = [n for n, v in own.items() if not inspect.getdoc(getattr(PUBLIC[name], n))]
    assert undocumented == []


def test_version_is_three_numbers():
    assert [part.isdigit() for part in cr.__version__.split(".")] == [True] * 3
