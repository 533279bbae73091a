"""A model comes back from its file with the same answers, and damaged files are errors."""

import copy
import datetime as dt
import functools
import json
import random

import numpy as np
import polars as pl
import pytest
from frames import houses, texts

import chainrule as cr
from chainrule.files import read_file, write_file
from chainrule.tables import TableModel, train_table


@functools.cache
def numbers():
    return train_table(houses(), "price", epochs=5, hidden=(6,), progress=False)


@functools.cache
def classes():
    return train_table(houses(), "town", epochs=5, hidden=(6,), progress=False)


BOTH = pytest.mark.parametrize("trained", [numbers, classes], ids=["numbers", "classes"])


@BOTH
def test_a_model_comes_back_whole(tmp_path, trained):
    model = trained()
    model.save(tmp_path / "a.safetensors")
    for other in (cr.load(tmp_path / "a.safetensors"), TableModel.load(tmp_path / "a.safetensors")):
        assert repr(other) == repr(model)
        assert (other.encoding, other.target) == (model.encoding, model.target)
        assert (other.history, other.report, other.schema) == (model.history, model.report, model.schema)
        np.testing.assert_array_equal(other.predict(texts(houses(seed=1))), model.predict(houses(seed=1)))
    header = read_file(tmp_path / "a.safetensors")[1]
    assert set(header) == {"version", "kind", "model", "table", "history", "report"}
    assert header["kind"] == "table"


def test_predictions_are_in_the_units_of_the_table():
    said = numbers().predict(houses())
    assert said.dtype == np.float64
    assert houses()["price"].min() < said.mean() < houses()["price"].max()
    assert set(classes().predict(houses())) <= {"Aachen", "Bonn", "Celle"}


def test_probabilities_add_up_and_speak_for_the_class_that_is_said():
    p = classes().predict_proba(houses())
    assert p.shape == (200, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert (np.array(classes().target.classes)[p.argmax(axis=1)] == classes().predict(houses())).all()
    with pytest.raises(ValueError, match="`price` is a number, and has no classes"):
        numbers().predict_proba(houses())


def test_evaluation_compares_with_what_is_predicted():
    score = numbers().evaluate(houses())
    np.testing.assert_allclose(score.true, houses()["price"].to_numpy(), rtol=1e-12)
    np.testing.assert_array_equal(score.said, numbers().predict(houses()))
    score = classes().evaluate(houses())
    assert score.errors == (classes().predict(houses()) != houses()["town"].to_numpy()).sum()


def test_evaluation_leaves_out_rows_without_a_target_and_counts_unknown_classes_as_errors():
    frame = houses(10).with_columns(town=pl.Series([None, "NA", "Ulm", "Ulm", "Bonn"] * 2))
    score = classes().evaluate(frame)
    assert score.classes == ("Aachen", "Bonn", "Celle", "Ulm")
    assert score.confusion.sum(axis=1).tolist() == [0, 2, 0, 4]
    assert score.errors >= 4
    assert classes().notes.sentences()[-2:] == [
        "4 of 10 rows left out: no `town`",
        "4 rows of a class that training did not have, counted as errors",
    ]
    with pytest.raises(ValueError, match="the target `town` is missing in every row"):
        classes().evaluate(frame.with_columns(town=None))
    with pytest.raises(ValueError, match="there is no column `town`"):
        classes().evaluate(frame.drop("town"))


def test_notes_are_those_of_the_last_table():
    numbers().predict(houses().with_columns(town=pl.lit("Ulm")))
    assert numbers().notes.unknown["town"]["Ulm"] == 200
    numbers().predict(houses())
    assert numbers().notes.sentences() == []


def test_files_of_the_first_version_load(tmp_path):
    numbers().save(tmp_path / "a")

    def change(header):
        header["table"]["version"] = 1
        for rule in [*header["table"]["columns"], header["table"]["target"]]:
            rule.pop("written", None)
            rule.pop("origin", None)

    model = cr.load(with_header(tmp_path / "a", change))
    np.testing.assert_array_equal(model.predict(texts(houses(seed=1))), numbers().predict(houses(seed=1)))
    with pytest.raises(ValueError, match="column 1: must have name, kind"):
        cr.load(with_header(tmp_path / "a", setter("table", "version", to=2)))


def test_other_files_are_an_error(tmp_path):
    cr.Sequential(cr.Linear(2, 2)).save(tmp_path / "a")
    with pytest.raises(ValueError, match="must hold a model of a table, got 'model'"):
        TableModel.load(tmp_path / "a")


def with_header(path, change):
    """A file whose header was changed."""
    tensors, header = read_file(path)
    header = copy.deepcopy(header)
    change(header)
    write_file(path, tensors, header)
    return path


def setter(*place, to):
    def change(header):
        for key in place[:-1]:
            header = header[key]
        if to is None:
            del header[place[-1]]
        else:
            header[place[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (setter("table", to=None), "its table must be an object with a version, got None"),
        (setter("table", "version", to=3), "its table has the later format 3, known is 2"),
        (setter("table", "columns", to={}), "its columns must be a list"),
        (setter("table", "columns", to=[]), "its network does not take the 0 inputs|its network must give"),
        (setter("table", "target", "task", to="magic"), "the target: must be an object with a known task"),
        (setter("table", "target", "scale", to=0.0), "the target: scale must be above 0, got 0.0"),
        (setter("table", "target", "mean", to="3"), "the target: mean: must be a finite number, got 3"),
        (setter("table", "target", "mean", to=10**400), "the target: mean: must be a finite number, got 1000"),
        (setter("table", "target", "mean", to=None), "the target: must have name, task, reason, mean, scale"),
        (setter("table", "target", "name", to="rooms"), "more than one column is called `rooms`"),
        (setter("table", "columns", 0, "kind", to="magic"), "column 0: must be an object of a known kind"),
        (setter("table", "columns", 0, to=3), "column 0: must be an object of a known kind, got 3"),
        (setter("table", "columns", 1, "indicator", to=1), "column 1: indicator: must be true or false, got 1"),
        (setter("table", "columns", 1, "missing", to=-1), "column 1: missing: must be a count, got -1"),
        (setter("table", "columns", 1, "scale", to=-1.0), "column 1: scale must be above 0"),
        (setter("table", "columns", 1, "more", to=1), "column 1: must have name, kind"),
        (setter("table", "columns", 1, "written", to="1.234.5"), "column 1: written: must be a number like 1,234.5"),
        (setter("table", "columns", 5, "written", to="%"), "column 5: written: '%' is no form of dates"),
        (setter("table", "columns", 1, "origin", to=0.5), "column 1: origin must be a whole number of at most 30"),
        (setter("table", "target", "origin", to=1e40), "the target: origin must be a whole number of at most 30"),
        (setter("table", "columns", 1, "name", to=[]), r"column 1: name: must be a text, got \[\]"),
        (setter("table", "columns", 3, "categories", to=[]), "column 3: must have categories, each once"),
        (setter("table", "columns", 3, "categories", to=["x", "x"]), "column 3: must have categories, each once"),
        (setter("table", "columns", 3, "categories", to=[1]), "column 3: categories: must be a list of texts"),
        (setter("table", "columns", 3, "rare", to=["x"]), "its network does not take the 9 inputs of its columns"),
        (setter("model", to={"class": "Linear"}), "weight must be a tensor of the file"),
        (setter("model", "layers", to=[]), "belongs to nothing in the model"),
        (setter("history", to=[1]), "its history is damaged"),
        (setter("history", "losses", to="abc"), "its history is damaged"),
        (setter("report", to=3), "its report must be an object, got 3"),
        (setter("kind", to="sandwich"), "must hold a model or a checkpoint, got 'sandwich'"),
    ],
)
def test_a_header_of_something_else_is_an_error(tmp_path, change, says):
    numbers().save(tmp_path / "a")
    with pytest.raises(ValueError, match=says) as error:
        cr.load(with_header(tmp_path / "a", change))
    assert str(error.value).startswith(str(tmp_path / "a"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (setter("table", "target", "classes", to=["Aachen", "Aachen", "Bonn"]), "must have classes, each once"),
        (
            setter("table", "target", "classes", to=["Aachen", "Bonn"]),
            r"its network must give \(1, 2\) .* got \(1, 3\)",
        ),
        (setter("table", "target", "form", to="number"), "its classes must be of its form"),
        (setter("table", "target", "form", to="boolean"), "its classes must be of its form"),
        (setter("table", "target", "form", to="magic"), "its classes must be of its form"),
        (setter("model", "layers", 1, to={"class": "Flatten", "start_dim": 0}), "its network does not take|must give"),
    ],
)
def test_a_header_of_other_classes_is_an_error(tmp_path, change, says):
    classes().save(tmp_path / "a")
    with pytest.raises(ValueError, match=says):
        cr.load(with_header(tmp_path / "a", change))


def damaged(data, rng):
    """The data with one thing wrong: cut off, a bit turned, bytes overwritten, taken out, or put in."""
    place, what = rng.randrange(len(data)), rng.randrange(5)
    if what == 0:
        return data[:place]
    if what == 1:
        return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
    some = rng.randbytes(rng.randrange(1, 9))
    kept = {2: place + len(some), 3: place + len(some), 4: place}[what]
    return data[:place] + (b"" if what == 3 else some) + data[kept:]


@pytest.mark.parametrize("seed", range(4))
@BOTH
def test_damaged_files_are_an_error_or_a_model(tmp_path, trained, seed):
    """Two hundred each. A letter of a name or a bit of a weight may turn without anybody knowing; nothing else may."""
    rng, path = random.Random(seed), tmp_path / "a"
    trained().save(path)
    whole = path.read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    refused = 0
    for _ in range(200):
        path.write_bytes(damaged(whole[:begin], rng) + whole[begin:])
        try:
            assert isinstance(cr.load(path), TableModel)
        except ValueError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 - that there is a ValueError is not demanded
            refused += 1
    assert refused > 100


VALUES = [None, True, 0, -1, 10**400, 1e308, "", "x", [], [[]], {}, {"tensor": "0.weight"}, {"float": "nan"}]


def places(value, place=()):
    """Every place in nested JSON."""
    yield place
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*place, key))


@BOTH
def test_any_value_at_any_place_of_the_rules_is_an_error_or_a_model_that_predicts(tmp_path, trained):
    trained().save(tmp_path / "a")
    tensors, header = read_file(tmp_path / "a")
    rng = random.Random(0)
    refused = 0
    for place in [place for place in places(header["table"]) if place]:
        for value in rng.sample(VALUES, 4):
            other = json.loads(json.dumps(header))
            setter("table", *place, to=value)(other)
            try:
                model = TableModel.of_file("f", tensors, other)
            except ValueError as error:
                assert str(error).startswith("f: ")  # noqa: PT017 - that there is a ValueError is not demanded
                refused += 1
                continue
            try:
                model.predict(houses(5))
            except ValueError as error:  # a column that is called otherwise now
                assert "the model reads what is not there" in str(error) or "in the model, but row" in str(error)  # noqa: PT017
    assert refused > 200


@pytest.mark.parametrize("form", [lambda frame: frame, lambda frame: frame.with_columns(pl.col("x").cast(pl.String))])
def test_times_of_the_day_are_the_same_with_a_type_and_as_texts(form):
    frame = pl.DataFrame({"x": [dt.time(i % 24, i) for i in range(60)], "t": np.arange(60.0)})
    model = train_table(form(frame), "t", epochs=1, progress=False)
    np.testing.assert_array_equal(model.predict(frame), model.predict(frame.with_columns(pl.col("x").cast(pl.String))))
    assert model.notes.sentences() == []
    assert model.schema[0]["encoded"].startswith("00:00:00 to 2")
