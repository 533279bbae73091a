"""How large and how fast exported C is on this machine."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """What a compiler made of the source.

    code, data : bytes of instructions, and of constants (the weights among them).
    ns : nanoseconds of one prediction.
    test : what the self-test printed.
    """

    code: int
    data: int
    ns: float
    test: str


def measure(folder: str | PathLike[str], name: str = "network", *, compiler: str = "cc") -> Measured | None:
    """Compile what `to_c` wrote with -O3, run its test, and measure it; None where there is no compiler.

    Raises RuntimeError if it does not compile, or its test fails.
    """
    if shutil.which(compiler) is None:
        return None
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as scratch:
        program, compiled = Path(scratch) / "test", Path(scratch) / "network.o"
        _run(compiler, "-std=c99", "-O3", "-c", folder / f"{name}.c", "-o", compiled)
        _run(compiler, "-std=c99", "-O3", folder / f"{name}_test.c", compiled, "-lm", "-o", program)
        test = _run(program).strip()
        ns = float(_run(program, "time").split()[0])
        code, data = _sections(compiled)
    return Measured(code, data, ns, test)


def _sections(compiled: Path) -> tuple[int, int]:
    """Bytes of the code and of the constants, as binutils' `size -A` lists them; zeros where there is none."""
    if shutil.which("size") is None:
        return 0, 0
    code = data = 0
    for line in _run("size", "-A", compiled).splitlines():
        parts = line.split()
        if parts and parts[0].startswith(".text"):
            code += int(parts[1])
        elif parts and parts[0].startswith(".rodata"):
            data += int(parts[1])
    return code, data


def _run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[:2000]}")
    return done.stdout
