"""Every example runs, and shows what it says it shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def output(name, folder):
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def number(pattern, text):
    return float(re.search(pattern, text)[1])


def test_every_example_is_tried_here():
    source = Path(__file__).read_text()
    assert all(f'output("{path.stem}"' in source for path in EXAMPLES.glob("*.py"))


def test_disk_reports_few_errors_and_draws_pictures(tmp_path):
    assert number(r"test .*errors (\d+) of 1000", output("disk", tmp_path)) <= 40
    assert {path.name for path in tmp_path.iterdir()} == {"disk.png", "losses.png"}


def test_by_hand_learns_the_disk(tmp_path):
    assert number(r"errors on 1,000 other points: (\d+)", output("by_hand", tmp_path)) <= 40


def test_own_layer_is_right_and_its_broken_twin_is_caught(tmp_path):
    text = output("own_layer", tmp_path)
    assert "Forgetful: backward is wrong for s" in text
    assert number(r"errors on 1,000 other points: (\d+)", text) <= 40


def test_on_torch_gives_the_numbers_of_numpy(tmp_path):
    pytest.importorskip("torch")
    text = output("on_torch", tmp_path)
    assert number(r"after 1,920 steps: (\S+)", text) < 1e-9
    assert number(r"errors on 1,000 other points: (\d+)", text) <= 40


def test_digits_are_read_at_97_percent(tmp_path):
    assert number(r"test accuracy ([\d.]+)%", output("digits", tmp_path)) >= 97


def test_train_torch_leaves_a_network_that_pytorch_can_use(tmp_path):
    assert number(r"PyTorch finds (\d+) of 1,000 test points wrong", output("train_torch", tmp_path)) <= 40


def test_estimators_find_settings_and_what_the_network_looks_at(tmp_path):
    text = output("estimators", tmp_path)
    assert number(r"on data never seen ([\d.]+)", text) > 0.94
    assert len(re.findall(r"per standard deviation", text)) == 3
