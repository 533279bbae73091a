"""Which compiled module is loaded, and what it says when it cannot be."""

import importlib.util
import os
import subprocess
import sys

import pytest

import chainrule as cr
from chainrule.engine import EngineMissing, available, native
from chainrule.engine.native import INSTRUCTION_SETS, VARIABLE

BUILT = [name for name in INSTRUCTION_SETS if importlib.util.find_spec(f"chainrule.engine._{name}")]


def python(code, **environment):
    environment = {key: value for key, value in (os.environ | environment).items() if value is not None}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def able():
    from chainrule.engine import _cpu

    return _cpu.instruction_sets()


def test_the_best_that_the_cpu_can_run_is_chosen():
    assert available()
    assert able()[-1] == "baseline"
    run = python("from chainrule.engine import native; print(native.module().instruction_set)", **{VARIABLE: None})
    assert run.stdout.strip() == able()[0], run.stderr


def test_where_the_best_is_not_built_the_next_is_chosen():
    if len(BUILT) < 2 or len(able()) < 2:
        pytest.skip("fewer than two are built, or can run here")
    code = f"""
import sys
sys.modules["chainrule.engine._{able()[0]}"] = None  # as if it were not there
from chainrule.engine import native
print(native.module().instruction_set)
"""
    run = python(code, **{VARIABLE: None})
    assert run.stdout.strip() == able()[1], run.stderr
    run = python(code, **{VARIABLE: able()[0]})
    assert f"{VARIABLE}: the engine is not built for {able()[0]} here" in run.stderr


def test_where_none_is_built_python_trains():
    code = """
import sys
for name in ("avx512", "avx2", "baseline"):
    sys.modules[f"chainrule.engine._{name}"] = None
import chainrule as cr
print(cr.engine.available())
"""
    assert python(code, **{VARIABLE: None}).stdout.strip() == "False"


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_a_variable_chooses_another(name):
    if name not in able():
        pytest.skip(f"this CPU cannot run {name}")
    if name not in BUILT:
        pytest.skip(f"the module for {name} is not built here")
    code = """
import numpy as np, chainrule as cr
model = cr.Sequential(cr.SGD(lr=0.1), cr.Linear(2, 3, rng=0), cr.Tanh(), cr.Linear(3, 2, rng=1))
x = np.ones((5, 2), dtype="float32")
print(cr.fit(model, cr.MSELoss(), (x, x), epochs=1, engine="native").engine)
"""
    run = python(code, **{VARIABLE: name})
    assert run.stdout.strip() == f"native, {name}", run.stderr


@pytest.mark.parametrize("name", ["sse9", "AVX2", "../evil", "_cpu", "avx512 "])
def test_an_unknown_one_is_refused_by_name(name):
    code = """
import numpy as np, chainrule as cr
x = np.ones((5, 2), dtype="float32")
try:
    cr.compile(cr.Sequential(cr.Linear(2, 3)))
except ValueError as error:
    print(error)
"""
    run = python(code, **{VARIABLE: name})
    assert f"{VARIABLE} must be one of {', '.join(able())} on this machine, got {name!r}" in run.stdout


def test_an_empty_variable_chooses_nothing():
    run = python("from chainrule.engine import native; print(native.module().instruction_set)", **{VARIABLE: ""})
    assert run.stdout.strip() == able()[0]


def test_importing_chainrule_does_not_load_the_engine():
    run = python(
        "import sys, chainrule; print([name for name in sys.modules if name.startswith('chainrule.engine._')])"
    )
    assert run.stdout.strip() == "[]", run.stderr


def test_without_the_compiled_half_fit_runs_in_python_and_says_why(monkeypatch):
    def no_module():
        raise EngineMissing("the native engine is not built: it was left out for a test")

    monkeypatch.setattr(native, "module", no_module)
    assert not available()
    model = cr.Sequential(cr.SGD(lr=0.1), cr.Linear(2, 2, rng=0))
    data = cr.data.disk(20, seed=0)
    history = cr.fit(model, cr.MSELoss(), data, epochs=1)
    assert history.engine == "python, as the native engine is not built: it was left out for a test"
    with pytest.raises(ValueError, match="not built"):
        cr.fit(model, cr.MSELoss(), data, epochs=1, engine="native")
    with pytest.raises(EngineMissing, match="not built"):
        cr.compile(model)
    assert cr.predict(model, data.x).shape == (20, 2)
