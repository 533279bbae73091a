"""pip's editable installation of this repository, with a word on what it does: compiling the engine takes a while.

    python native/tools/install.py EXTRA [best | runnable | all]

The extra is one of pyproject.toml's; the rest says for which instruction sets the engine is built (see CMakeLists.txt).
"""

import re
import subprocess
import sys
import time

STAGES = {  # what pip and CMake say, and what it means to somebody who waits
    r"Installing build dependencies|^\s*Collecting ": "fetching packages",
    r"The engine is built for (.+)": "compiling the engine for {}",
    r"Successfully built": "installing",
}
UNIT = re.compile(r"\[(\d+)/(\d+)\]")  # Ninja, after each file


class Progress:
    """A line for each stage, which on a terminal moves while files are compiled."""

    def __init__(self) -> None:
        self.stage, self.began = "", 0.0

    def turn_to(self, stage: str) -> None:
        if stage != self.stage:
            self.finish()
            self.stage, self.began = stage, time.monotonic()
            print(f"  {stage} …", end="", flush=True)

    def compiled(self, done: int, files: int) -> None:
        if sys.stdout.isatty():
            left = f", {self.seconds() / done * (files - done):.0f} s left" if done > 2 else ""
            print(f"\r  {self.stage} … {done} of {files} files{left}   ", end="", flush=True)

    def finish(self) -> None:
        if self.stage and sys.stdout.isatty():
            print(f"\r{'':79}\r  {self.stage} … {self.seconds():.0f} s", flush=True)
        elif self.stage:
            print(f" {self.seconds():.0f} s", flush=True)
        self.stage = ""

    def seconds(self) -> float:
        return time.monotonic() - self.began


def main(extra: str, sets: str = "best") -> None:
    command = [sys.executable, "-m", "pip", "install", "--verbose", "--disable-pip-version-check", "--progress-bar=off"]
    command += [f"--config-settings=cmake.define.INSTRUCTION_SETS={sets}", "--editable", f".[{extra}]"]
    began, said, progress = time.monotonic(), [], Progress()
    print(f"Installing chainrule[{extra}] into {sys.prefix}", flush=True)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        for line in pip.stdout or ():
            said.append(line)
            if progress.stage.startswith("compiling") and (unit := UNIT.search(line)):
                progress.compiled(int(unit[1]), int(unit[2]))
            for pattern, stage in STAGES.items():
                if found := re.search(pattern, line):
                    progress.turn_to(stage.format(*found.groups()))
    progress.finish()
    if pip.returncode:
        sys.exit(f"{''.join(said)}\npip failed. Above is all that it said; the command was\n  {' '.join(command)}")
    print(f"  ready after {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
