"""The stub of the compiled module is what the compiled module says of itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from chainrule.engine import available

STUBS = Path(__file__).parents[2] / "native/tools/stubs.py"


@pytest.mark.skipif(not available(), reason="the engine is not built")
def test_the_stub_is_what_nanobind_makes_of_the_module():
    pytest.importorskip("nanobind")
    run = subprocess.run([sys.executable, STUBS, "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
