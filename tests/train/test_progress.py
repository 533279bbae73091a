import io
import os
import subprocess
import sys

import pytest

import chainrule as cr
from chainrule import History
from chainrule.train.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def a_run(**options):
    model = cr.Sequential(cr.SGD(lr=0.1), cr.Linear(2, 2, rng=0))
    data = cr.data.disk(20, seed=0)
    return cr.fit(model, cr.MSELoss(), data, epochs=3, validation=data, **options)


def test_a_terminal_shows_epoch_loss_validation_loss_and_steps_per_second(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(3) as bar:
        bar.bar.mininterval = 0  # tqdm shows at most ten lines a second
        history = History()
        history.record(0.123456, 0.654321, {}, learning_rate=0.1, seconds=2.0)
        history.steps = 5000
        bar.update(history)
    shown = terminal.getvalue()
    assert "1/3" in shown
    assert "loss=0.1235" in shown
    assert "validation=0.6543" in shown
    assert "steps/s=2,500" in shown


def test_without_validation_data_none_are_shown(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(3) as bar:
        bar.bar.mininterval = 0
        history = History()
        history.record(0.5, None, {}, learning_rate=0.1, seconds=2.0)
        bar.update(history)
    assert "loss=0.5" in terminal.getvalue()
    assert "validation" not in terminal.getvalue()


@pytest.mark.parametrize(
    ("terminal", "show", "expected"),
    [(True, None, True), (False, None, False)]
    + [(terminal, show, show) for terminal in (True, False) for show in (True, False)],
)
def test_it_is_shown_on_a_terminal_unless_told_otherwise(monkeypatch, terminal, show, expected):
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    a_run(progress=show)
    assert bool(stderr.getvalue()) is expected


def test_a_program_without_standard_error_trains_too(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert a_run().epochs == 3


def test_bar_is_closed_after_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ZeroDivisionError), Progress(3) as bar:
        raise ZeroDivisionError
    assert bar.bar.disable  # what tqdm sets when it closes


PROGRAM = """
import time
import chainrule as cr
data = cr.data.disk(100, seed=0)
model = cr.Sequential(cr.SGD(lr=0.1), cr.Linear(2, 2, rng=0))
cr.fit(model, cr.MSELoss(), data, epochs=4, validation=data, callbacks=[lambda run: time.sleep(0.12)])
"""


def test_nothing_is_printed_where_the_output_is_a_file(tmp_path):
    for name, stream in (("out", "stdout"), ("err", "stderr")):
        with (tmp_path / name).open("wb") as file:
            subprocess.run([sys.executable, "-c", PROGRAM], check=True, **{stream: file})
        assert (tmp_path / name).read_bytes() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_real_terminal_shows_the_bar():
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.communicate()[0] == b""  # standard output stays the program's own
    assert process.returncode == 0
    text = shown.decode()
    for word in ("loss=", "validation=", "steps/s=", "2/4"):
        assert word in text
