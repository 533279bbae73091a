"""The programs and commands of a page of the documentation, run as a reader would: one after the other, in one folder.

    python tests/pages.py README.md        # shows what every block prints, and whether the page says the same

The blocks of a page, between ``` and ```:

- ``python`` runs, all of a page in one namespace.
- ``console`` runs line by line what stands behind ``$``, in bash, in a clone after `make demo`.
- A block whose introduction ends in a file name and a colon is that file, and so is what `$ cat FILE` shows of a file
  that is not there. A reader saves it; so does this.
- A block without a language right behind a program is what that program prints, and what follows a command in a console
  is what the command prints. A line `…` stands for any lines.
- ``sh`` changes the machine (make, git, pip) and does not run; other languages are not for this machine.

What is printed agrees if the words do, and the figures roughly: other processors and versions round otherwise, and a
clock says what it likes.
"""

import contextlib
import io
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
FIGURE = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")
TIMED = re.compile(rf"{FIGURE.pattern}(?= (?:s|ms|µs|ns|seconds|minutes)\b)|(?<=\bseconds ){FIGURE.pattern}")
NAMED = re.compile(r"avx512|avx2|neon|baseline")


@dataclass
class Block:
    """What stands between two fences, and `line` above it."""

    page: str
    line: int
    language: str
    text: str
    introduction: str  # the last line before it that is not empty
    follows: bool  # whether nothing stands between it and the block before


@dataclass
class Printed:
    """What came of a program or a command: its text, and how it ended."""

    line: int
    what: str
    shown: str | None  # what the page says of it
    text: str
    failed: str = ""


def blocks(path: Path) -> list[Block]:
    """All blocks of a page, in order."""
    text, found, end = path.read_text("utf-8"), [], 0
    for match in FENCE.finditer(text):
        between = text[end : match.start()].split("\n")
        lines = [line.strip() for line in between if line.strip()]
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(path.name, line, match[1], match[2], lines[-1] if lines else "", bool(found) and not lines))
        end = match.end()
    return found


def file_of(block: Block) -> str | None:
    """The name of the file that a block is."""
    match = re.search(r"`([\w./-]+\.\w+)`:$", block.introduction)
    return match[1] if match and not block.follows else None


def commands(text: str) -> list[tuple[str, str]]:
    """What stands behind each prompt, and the lines that follow it."""
    return [(command, shown) for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M)]


def program(block: Block, names: dict[str, object]) -> Printed:
    """Run a program; what it prints goes to the page's reader, errors and all."""
    out, failed = io.StringIO(), ""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            exec(compile("\n" * block.line + block.text, block.page, "exec"), names)
        except Exception:
            failed = traceback.format_exc()
    return Printed(block.line, block.text.split("\n")[0], None, out.getvalue(), failed)


def command(line: int, typed: str, shown: str) -> Printed:
    """Run a command; one that the page shows to fail has to fail."""
    place = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    done = subprocess.run(
        ["bash", "-c", typed], text=True, env=os.environ | place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wrong = (done.returncode == 0) == ("Error" in shown)
    return Printed(line, typed, shown, done.stdout, f"it ended with {done.returncode}" if wrong else "")


def run(path: Path) -> list[Printed]:
    """Run a page in the current folder, which must be empty."""
    for name in ("examples", "benchmarks"):
        Path(name).symlink_to(ROOT / name)
    Path(".venv").symlink_to(sys.prefix)
    names: dict[str, object] = {"__name__": "__main__"}
    found: list[Printed] = []
    page = blocks(path)
    for block in page:
        if name := file_of(block):
            Path(name).write_text(block.text, "utf-8")
        elif block.language == "python":
            found.append(program(block, names))
        elif block.language == "console" or (block.language == "" and block.text.startswith("$ ")):
            for typed, shown in commands(block.text):
                words = typed.split()
                if words[0] == "cat" and not Path(words[1]).exists():
                    Path(words[1]).write_text(shown, "utf-8")
                found.append(command(block.line, typed, shown))
        elif block.language == "" and block.follows and found:
            found[-1].shown = block.text
    return found


def verdict(one: Printed) -> str:
    """What is wrong with it; empty if nothing."""
    if one.failed:
        return f"fails:\n{one.text}{one.failed}"
    if "Warning" in one.text:
        return f"warns:\n{one.text}"
    return "" if one.shown is None or agrees(one.text, one.shown) else f"prints otherwise:\n{one.text}"


def agrees(printed: str, shown: str) -> bool:
    """Whether a page shows what was printed."""
    lines, expected = (
        [line.rstrip() for line in text.strip().split("\n") if line.strip()] for text in (printed, shown)
    )
    if "…" in expected:
        cut = expected.index("…")
        first, last = expected[:cut], expected[cut + 1 :]
        lines = lines[: len(first)] + (lines[-len(last) :] if last else [])
        expected = first + last
    return len(lines) == len(expected) and all(same(*pair) for pair in zip(lines, expected, strict=True))


def same(printed: str, shown: str) -> bool:
    """Whether two lines have the same words, and roughly the same figures."""
    words, figures = [], []
    for line in (printed, shown):
        line = NAMED.sub("?", TIMED.sub("?", line))
        figures.append([float(figure.replace(",", "")) for figure in FIGURE.findall(line)])
        words.append(FIGURE.sub("#", line).split())
    return words[0] == words[1] and all(close(*pair) for pair in zip(*figures, strict=True))


def close(a: float, b: float) -> bool:
    """Whether two figures may be one on two machines: a twentieth apart, five in a count, or what rounding leaves."""
    counts = a == int(a) and b == int(b)
    return math.isclose(a, b, rel_tol=0.05, abs_tol=5 if counts else 0.01) or max(abs(a), abs(b)) < 1e-6


def main() -> None:
    """Run a page here and show what came of it; as JSON for the tests."""
    path = Path(sys.argv[1]).resolve()
    if sys.argv[2:] == ["--json"]:
        found = run(path)
        Path("printed.json").write_text(json.dumps([asdict(one) for one in found]), "utf-8")
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for one in run(path):
            print(f"-- {path.name}:{one.line}: {one.what}: {verdict(one) or 'as shown'}\n{one.text}")
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
