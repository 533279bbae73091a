"""How large and how fast exported C is on this machine."""

import re
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
    state : bytes of what the caller owns, where there is a training step.
    step_ns, step_rows : nanoseconds of one training step, and its rows.
    """

    code: int
    data: int
    ns: float
    test: str
    state: int = 0
    step_ns: float = 0.0
    step_rows: int = 0

    def __str__(self) -> str:
        """In words, for people."""
        sizes, times = f"{self.code:,} bytes of code, {self.data:,} of data", f"{self.ns:,.0f} ns a prediction"
        if self.state:
            sizes += f", {self.state:,} of state"
            times += f", {self.step_ns:,.0f} ns a training step of {self.step_rows} rows"
        return f"{sizes}, {times}"


def measure(folder: str | PathLike[str], name: str = "network", *, compiler: str = "cc") -> Measured | None:
    """Compile what `to_c` wrote with -O3, run its test, and measure it; None where there is no compiler.

    Raises RuntimeError if it does not compile, or its test fails.
    """
    if shutil.which(compiler) is None:
        return None
    folder = Path(folder).absolute()  # a compiler takes what begins with - or @ for something else
    with tempfile.TemporaryDirectory() as scratch:
        program, compiled = Path(scratch) / "test", Path(scratch) / "network.o"
        _run(compiler, "-std=c99", "-O3", "-c", folder / f"{name}.c", "-o", compiled)
        _run(compiler, "-std=c99", "-O3", folder / f"{name}_test.c", compiled, "-lm", "-o", program)
        test = _run(program).strip()
        times = _run(program, "time")
        code, data = _sections(compiled)
    step = re.search(r"(\S+) ns a training step of (\d+) rows, (\d+) bytes of state", times)
    learning = (int(step[3]), float(step[1]), int(step[2])) if step else ()
    return Measured(code, data, float(times.split()[0]), test, *learning)


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
