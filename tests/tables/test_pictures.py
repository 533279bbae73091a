import warnings

import numpy as np
import pytest
from frames import houses

from chainrule.tables import train_table
from chainrule.tables.fonts import drawable
from chainrule.tables.pictures import MOST_POINTS, confusion, draw, predictions
from chainrule.tables.scores import ClassScore, NumberScore


@pytest.mark.parametrize(("target", "names"), [("price", ["losses", "predictions"]), ("town", ["losses", "confusion"])])
def test_the_pictures_of_a_model_are_written(tmp_path, target, names):
    model = train_table(houses(), target, epochs=3, progress=False)
    assert draw(model, tmp_path) == [tmp_path / f"{name}.png" for name in names]
    assert all(path.stat().st_size > 10_000 for path in tmp_path.iterdir())


def test_the_matrix_shows_every_count_in_its_place():
    (ax,) = confusion(ClassScore(("a", "b"), np.array([[8, 2], [0, 10]]), 0.1), "town").axes
    assert {text.get_position(): text.get_text() for text in ax.texts} == {(0, 0): "8", (1, 0): "2", (1, 1): "10"}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("town, predicted", "town, true")
    right, wrong = ax.images[0].get_array()[0]
    assert right[2] > right[0]  # blue
    assert wrong[0] > wrong[2]  # vermilion


def test_of_many_classes_there_are_no_figures_and_no_names():
    (ax,) = confusion(ClassScore(tuple(f"c{i}" for i in range(40)), np.eye(40, dtype=int), 0.1), "town").axes
    assert not ax.texts
    assert "c0" not in [label.get_text() for label in ax.get_yticklabels()]


def test_what_was_said_stands_against_what_is_true():
    true = np.arange(50.0)
    score = NumberScore(true, true + 1, 3.0)
    dots, bars = predictions(score, "price").axes
    np.testing.assert_array_equal(
        np.sort(dots.collections[0].get_offsets(), axis=0), np.stack([true, true + 1], axis=1)
    )
    assert (dots.get_xlabel(), bars.get_xlabel()) == ("price, true", "price, predicted less true")
    assert sum(patch.get_height() for patch in bars.patches) == 50


def test_of_many_rows_some_are_drawn():
    true = np.random.default_rng(0).normal(size=3 * MOST_POINTS)
    dots, _ = predictions(NumberScore(true, true + 0.1, 0.0), "price").axes
    assert len(dots.collections[0].get_offsets()) == MOST_POINTS


def test_letters_that_the_usual_font_lacks_come_from_another_one_or_are_named_by_their_codes(tmp_path):
    frame = houses().rename(
        {"price": "\u210a", "town": "\u4fa1\u683c"}
    )  # the first is in a font that matplotlib brings
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(train_table(frame, "\u210a", epochs=1, progress=False), tmp_path)
        draw(train_table(frame, "\u4fa1\u683c", epochs=1, progress=False), tmp_path)
    assert drawable("\u210a") == "\u210a"
    assert drawable("\u4fa1\u683c m\u00b2") in ("U+4FA1 U+683C m\u00b2", "\u4fa1\u683c m\u00b2")
    assert drawable("\U0010fffd") == "U+10FFFD"


def test_names_from_a_table_are_no_formulas(tmp_path):
    figure = confusion(ClassScore(("$a$", "b" * 50), np.eye(2, dtype=int), 0.1), "$x_$")
    figure.savefig(tmp_path / "a.png")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [r"\$a\$", "b" * 15 + "…"]


def test_bars_show_small_residuals_of_large_numbers():
    true = 1e9 + np.arange(100.0)
    _, bars = predictions(NumberScore(true, true + np.linspace(-0.1, 0.2, 100), 3.0), "price").axes
    assert sum(patch.get_height() > 0 for patch in bars.patches) > 5
    low, high = bars.get_xlim()
    assert high - low < 1
    _, bars = predictions(NumberScore(true, true + 5, 3.0), "price").axes  # and equal ones have a frame too
    assert sum(patch.get_height() for patch in bars.patches) == 100


def test_places_of_classes_are_not_shown_as_names():
    (ax,) = confusion(ClassScore(tuple(f"c{i}" for i in range(40)), np.eye(40, dtype=int), 0.1), "town").axes
    assert not len(ax.get_xticks())
    assert not len(ax.get_yticks())
