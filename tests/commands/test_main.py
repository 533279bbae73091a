"""The command line by the name of the package."""

import subprocess
import sys

import chainrule as cr
from chainrule.commands import main


def said(*arguments):
    command = [sys.executable, "-m", "chainrule", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_package_runs_as_the_command_does():
    assert said("--version") == f"chainrule, version {cr.__version__}\n"


def test_help_lists_every_command_and_how_it_was_called():
    text = said("--help")
    assert text.startswith("Usage: python -m chainrule ")
    assert all(f"\n  {name} " in text for name in main.commands)
