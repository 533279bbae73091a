"""What the CPU can run, next to what the system says of it."""

import platform
from pathlib import Path

import pytest

CPUINFO = Path("/proc/cpuinfo")
X86 = ("x86_64", "AMD64")


@pytest.fixture
def able():
    return pytest.importorskip("chainrule.engine._cpu").instruction_sets()


@pytest.mark.skipif(platform.machine() not in X86 or not CPUINFO.exists(), reason="only Linux lists x86 flags")
def test_the_cpu_says_of_itself_what_the_system_says(able):
    line = next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags"))
    flags = set(line.split())  # without those whose registers the system does not save
    avx2 = {"avx2", "fma"} <= flags
    avx512 = avx2 and {"avx512f", "avx512vl", "avx512dq", "avx512bw"} <= flags
    assert able == ("avx512",) * avx512 + ("avx2",) * avx2 + ("baseline",)


@pytest.mark.skipif(platform.machine() in X86, reason="an x86-64 CPU may know more")
def test_other_processors_have_one_instruction_set(able):
    assert able == ("baseline",)
