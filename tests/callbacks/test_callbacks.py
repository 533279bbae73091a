"""What each callback leaves behind: read by other programs, and right however the run ended."""

import csv
import json
import logging
import math
import os
import struct
import threading
from pathlib import Path

import pytest
from networks import branched_data, branched_loss, branched_network

import chainrule as cr
from chainrule.callbacks import CSVLog, JSONLinesLog, Log, TensorBoard

DATA, HELD_OUT = cr.data.disk(100, seed=0), cr.data.disk(50, seed=1)


def train(*callbacks, **options):
    cr.seed(0)
    model = cr.Sequential(cr.Adam(lr=cr.StepLR(0.01, 2)), cr.Linear(2, 5), cr.Tanh(), cr.Linear(5, 2))
    how = {"epochs": 5, "validation": HELD_OUT, "metrics": [cr.metrics.accuracy]} | options
    return cr.fit(model, cr.MSELoss(), DATA, callbacks=callbacks, **how)


def of_csv(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: float(value) for name, value in row.items()} for row in rows]


def of_json(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


KINDS = [(CSVLog, of_csv), (JSONLinesLog, of_json)]
every_kind = pytest.mark.parametrize(("kind", "read"), KINDS, ids=["csv", "json"])


@every_kind
@pytest.mark.parametrize("options", [{}, {"validation": None, "metrics": []}], ids=str)
def test_the_file_holds_the_history(tmp_path, kind, read, options):
    history = train(kind(tmp_path / "log"), **options)
    assert read(tmp_path / "log") == [history.row(epoch) for epoch in range(5)]
    history.to_csv(tmp_path / "history.csv")
    assert of_csv(tmp_path / "history.csv") == [history.row(epoch) for epoch in range(5)]


@every_kind
def test_every_line_is_there_as_soon_as_its_epoch_is_over(tmp_path, kind, read):
    seen = []
    train(kind(tmp_path / "log"), lambda run: seen.append(len(read(tmp_path / "log"))))
    assert seen == [1, 2, 3, 4, 5]


@every_kind
@pytest.mark.parametrize("lost", ["", "4", '{"epoch": 4, "lo'])
def test_a_run_that_goes_on_holds_each_epoch_once(tmp_path, kind, read, lost):
    """After the checkpoint, the killed run had written two more lines and a part of a third."""
    log = tmp_path / "log"
    train(kind(log), epochs=3, checkpoint=tmp_path)
    lines = log.read_text().splitlines(keepends=True)
    again = [lines[-1].replace("2", "3", 1), lines[-1].replace("2", "4", 1), lost]
    log.write_text("".join(lines + again))
    history = train(kind(log), epochs=6, checkpoint=tmp_path, resume=True)
    assert [int(row["epoch"]) for row in read(log)] == list(range(6))
    assert [row["loss"] for row in read(log)] == history.losses


@every_kind
def test_another_run_writes_its_file_anew(tmp_path, kind, read):
    train(kind(tmp_path / "log"), epochs=9)
    train(kind(tmp_path / "log"), epochs=2)
    assert len(read(tmp_path / "log")) == 2


@every_kind
def test_the_file_is_closed_however_the_run_ends(tmp_path, kind, read):
    log = kind(tmp_path / "log")

    def ruin(run):
        assert log.file is not None
        run.optimizer.lr = 1e300

    with pytest.raises(FloatingPointError):
        train(log, ruin)
    assert log.file is None
    assert len(read(tmp_path / "log")) >= 1
    with pytest.raises(RuntimeError, match="has not begun"):
        log(None)


@every_kind
def test_a_pipe_gets_the_lines_too(tmp_path, kind, read):
    os.mkfifo(tmp_path / "pipe")
    reader = threading.Thread(target=lambda: (tmp_path / "log").write_text((tmp_path / "pipe").read_text()))
    reader.start()
    history = train(kind(tmp_path / "pipe"))
    reader.join()
    assert read(tmp_path / "log") == [history.row(epoch) for epoch in range(5)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@every_kind
def test_a_full_disk_ends_the_run_with_its_record(kind, read):
    ended = []

    class Other:
        def __call__(self, run):
            pass

        def end(self, run):
            ended.append(run)

    log = kind("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        train(log, Other())
    assert error.value.history.epochs == 1
    assert log.file is None
    assert len(ended) == 1


def test_a_file_of_something_else_is_an_error_when_a_run_goes_on(tmp_path):
    train(epochs=2, checkpoint=tmp_path)
    (tmp_path / "log").write_text("notes\n")
    with pytest.raises(ValueError, match=r"log must hold an epoch a line, got 'notes.*choose another file"):
        train(JSONLinesLog(tmp_path / "log"), epochs=3, checkpoint=tmp_path, resume=True)
    assert (tmp_path / "log").read_text() == "notes\n"


def test_what_cannot_be_opened_is_an_error_and_nothing_is_trained(tmp_path):
    with pytest.raises(FileNotFoundError):
        train(CSVLog(tmp_path / "nowhere" / "log"))
    for kind in (CSVLog, JSONLinesLog, TensorBoard):
        with pytest.raises(TypeError, match="must be a path, got 3"):
            kind(3)


def test_log_says_what_happens(caplog):
    with caplog.at_level(logging.INFO):
        history = train(Log(every=2))
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(":")[0] for message in messages[1:-1]] == ["epoch 0", "epoch 2", "epoch 4"]
    assert messages[0].startswith("training 27 parameters with Adam(lr=StepLR(lr=0.01, step_size=2)), engine ")
    assert f"loss {history.losses[2]:.4g}, validation_loss {history.validation_losses[2]:.4g}" in messages[2]
    assert messages[-1].startswith("all epochs done after 5 epochs")
    assert f"best loss {history.best_loss:.4g} in epoch {history.best_epoch}" in messages[-1]


def test_log_goes_where_it_is_told(caplog):
    with caplog.at_level(logging.DEBUG):
        train(Log("mine", level=logging.DEBUG), epochs=1)
    assert {(record.name, record.levelname) for record in caplog.records} == {("mine", "DEBUG")}
    with pytest.raises(TypeError, match="logger must be a logger or its name"):
        Log(3)
    with pytest.raises(ValueError, match="every must be a positive integer"):
        Log(every=0)


def events(folder):
    """The records of all event files (TFRecord: length, its checksum, data, its checksum)."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events*")):
        data = path.read_bytes()
        while data:
            [length] = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_tensorboard_gets_curves_text_and_histograms(tmp_path):
    history = train(TensorBoard(tmp_path, histograms=2))
    values = [(event.step, value) for event in events(tmp_path) for value in event.summary.value]
    curves = {}
    for step, value in values:
        if value.WhichOneof("value") == "simple_value":
            curves.setdefault(value.tag, []).append((step, value.simple_value))
    expected = {
        "loss/training": history.losses,
        "loss/validation": history.validation_losses,
        "metrics/accuracy": history.metrics["accuracy"],
        "learning_rate": history.learning_rates,
    }
    assert curves.keys() == expected.keys()
    for tag, numbers in expected.items():
        assert [step for step, _ in curves[tag]] == list(range(5))
        assert [value for _, value in curves[tag]] == pytest.approx(numbers, rel=1e-6)  # they are kept in float32
    histograms = [(step, value.tag, value.histo.num) for step, value in values if value.HasField("histo")]
    assert [step for step, tag, _ in histograms if tag == "0.weight"] == [0, 2, 4]
    assert {(tag, n) for _, tag, n in histograms} == {("0.weight", 10), ("0.bias", 5), ("2.weight", 10), ("2.bias", 2)}
    texts = [value.tensor.string_val[0].decode() for _, value in values if value.HasField("tensor")]
    assert any("(1): Tanh()" in text for text in texts)


def test_tensorboard_gets_a_curve_for_each_head(tmp_path):
    cr.fit(
        branched_network(cr.Adam()),
        branched_loss(),
        branched_data(),
        epochs=2,
        validation=branched_data(20, seed=1),
        metrics={"kind": [cr.metrics.accuracy]},
        callbacks=[TensorBoard(tmp_path)],
    )
    tags = {value.tag for event in events(tmp_path) for value in event.summary.value}
    heads = {f"loss/{of}{head}" for of in ("training", "validation") for head in ("", "/kind", "/size")}
    assert heads | {"metrics/accuracy/kind", "learning_rate"} <= tags


def test_tensorboard_hides_what_a_run_that_goes_on_does_again(tmp_path):
    train(TensorBoard(tmp_path), epochs=3, checkpoint=tmp_path)
    train(TensorBoard(tmp_path), epochs=5, checkpoint=tmp_path, resume=True)
    starts = [event.step for event in events(tmp_path) if event.HasField("session_log")]
    assert starts == [3]


def test_plain_functions_and_objects_are_told_in_order():
    told = []

    class Listener:
        def begin(self, run):
            told.append(("begin", run.history.epochs))

        def __call__(self, run):
            told.append(("epoch", run.history.epochs))

        def end(self, run):
            told.append(("end", run.history.stopped))

    train(Listener(), lambda run: told.append("function"), epochs=1)
    assert told == [("begin", 0), ("epoch", 1), "function", ("end", "all epochs done")]


def test_each_is_told_of_the_end_whatever_another_raises(tmp_path):
    class Raises:
        def __call__(self, run):
            pass

        def end(self, run):
            raise RuntimeError("at the end")

    log = CSVLog(tmp_path / "a")
    with pytest.raises(RuntimeError, match="at the end"):
        train(Raises(), log)
    assert log.file is None


def test_every_line_is_json_whatever_a_metric_says(tmp_path):
    def strange(y, target):
        return math.nan

    train(JSONLinesLog(tmp_path / "a"), epochs=2, metrics=[strange])

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    lines = [json.loads(line, parse_constant=refuse) for line in (tmp_path / "a").read_text().splitlines()]
    assert [line["strange"] for line in lines] == [None, None]


def test_a_history_without_epochs_is_a_table_without_rows(tmp_path):
    cr.History().to_csv(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "epoch,loss\n"
    history = cr.History()
    history.record(math.inf, None, {}, learning_rate=0.1, seconds=1.0)
    history.to_csv(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "epoch,loss,learning_rate,seconds\n0,inf,0.1,1.0\n"


def test_a_history_draws_itself():
    history = train()
    [axes] = history.plot(title="the disk").axes
    assert axes.get_title() == "the disk"
    assert list(axes.lines[0].get_ydata()) == history.losses
