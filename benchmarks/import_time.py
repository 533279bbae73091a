"""What does `import chainrule` cost over `import numpy`, and how large is the package?

    python benchmarks/import_time.py [--quick] [--json FILE] [--wheel FILE]

New processes in turn, with their bytecode written before; what the system counts as theirs, whole processes. Without
--wheel the size is that of the package's files in a zip as a wheel has them.
"""

import io
import resource
import statistics
import subprocess
import sys
import zipfile
from collections import Counter

import common

import chainrule

PROGRAMS = {"numpy": "import numpy", "chainrule": "import numpy, chainrule"}
ENGINE = "import numpy, chainrule; chainrule.compile(chainrule.Sequential(chainrule.Linear(1, 1)))"


def seconds(program: str) -> float:
    """Processor time of a process that runs `program`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, env=common.clean_environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def slowest(n: int = 8) -> dict[str, float]:
    """Milliseconds that the slowest imported packages take by themselves, what NumPy has brought before left out."""
    command = [sys.executable, "-X", "importtime", "-c", "import numpy; print(); import chainrule"]
    run = subprocess.run(command, check=True, env=common.clean_environment(), capture_output=True, text=True)
    totals: Counter[str] = Counter()
    after_numpy = False
    for line in run.stderr.splitlines():
        own, _, name = (part.strip() for part in line.removeprefix("import time:").split("|"))
        if after_numpy:
            totals[name.split(".")[0]] += int(own)
        after_numpy = after_numpy or name == "numpy"
    return {name: microseconds / 1e3 for name, microseconds in totals.most_common(n)}


def zipped() -> int:
    """Bytes of the package in a zip."""
    buffer, package = io.BytesIO(), common.Path(chainrule.__file__).parent
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                archive.write(path, path.relative_to(package.parent))
    return len(buffer.getvalue())


def main() -> None:
    """Measure, print, save."""
    wheel = {"type": common.Path, "metavar": "FILE", "help": "the wheel whose size counts"}
    options = common.arguments(__doc__, wheel=wheel)
    common.one_core()
    report = common.Report("What does importing chainrule cost over importing NumPy, and how large is it?", options)
    programs = {"nothing": "", **PROGRAMS, "and its engine": ENGINE}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        seconds(program)  # writes the bytecode
    for _ in range(5 if options.quick else 25):
        for name, program in programs.items():
            times[name].append(seconds(program) * 1e3)
    rows = [
        {"import": name, "ms": statistics.median(one), "least": min(one), "most": max(one)}
        for name, one in times.items()
    ]
    report.table("ms", rows, {"import": "import", "ms": "ms, median", "least": "least", "most": "most"})
    own = statistics.median([ours - theirs for ours, theirs in zip(times["chainrule"], times["numpy"], strict=True)])
    parts = slowest()
    report.note("parts", parts, "most of it, ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in parts.items()) + "\n")
    size = options.wheel.stat().st_size if options.wheel else zipped()
    what = "wheel, MB" if options.wheel else "package in a zip, MB"
    report.targets([("import chainrule over NumPy, ms", own, "≤", 60), (what, size / 1e6, "≤", 5)])
    report.save()


if __name__ == "__main__":
    main()
