import re
from html.parser import HTMLParser

import pytest

from chainrule.studies.comparison import Study, findings, write_page
from chainrule.studies.comparison.page import table
from chainrule.studies.comparison.store import Store
from chainrule.studies.comparison.summary import Summary

VOID = {"meta", "link", "br", "img"}


class Reader(HTMLParser):
    """Counts tags, and sees whether what was opened is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.ids, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style"} & set(self.open):
            self.text.append(data)


@pytest.fixture(scope="module")
def page(measured):
    write_page(measured.store, measured.plan)
    return (measured.store.folder / "index.html").read_text(encoding="utf-8")


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page, measured):
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    questions = len(measured.plan.questions)
    assert reader.seen.count("svg") == 4 * questions + 2 + 4
    assert reader.seen.count("figcaption") == reader.seen.count("figure") == 2 * questions + 1 + 2
    assert reader.seen.count("table") == questions + 1
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {link for link in links if not link.startswith("#")} == {"errors.csv", "times.csv", "courses.csv"}
    assert not re.search(r"@import|<script|<img", page)


def test_pictures_point_only_at_what_is_on_the_page(page):
    used = set(re.findall(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', page))
    assert {one or other for one, other in used} <= set(re.findall(r'id="([^"]+)"', page))


def test_pictures_take_the_colours_of_the_page(page):
    assert "currentColor" in page
    assert "var(--faint)" in page
    assert not re.search("#010203|#040506", page)


def test_the_page_says_what_it_was_made_with_and_nothing_is_nan(page, measured):
    reader = Reader()
    reader.feed(page)
    text = " ".join(reader.text)
    for value in (*measured.store.about["machine"].values(), "chainrule study"):
        assert value in text
    assert "nan" not in text.lower()
    assert "Not all has been measured" not in text
    assert all(sentence in " ".join(text.split()) for sentence in findings(measured.store, measured.plan))


def test_the_findings_are_five_sentences_with_the_figures_of_the_tables(measured):
    said = findings(measured.store, measured.plan)
    assert len(said) == 5
    assert f"of {2 * len(measured.plan.cells())} cases" in said[0]
    last = [r["difference"] for r in measured.store.courses.rows if r["dtype"] == "float64" and r["epoch"] == 200]
    assert f"{max(last):.1e}" in said[1]


def test_the_table_is_the_same_in_markdown(page, measured):
    lines = (measured.store.folder / "table.md").read_text(encoding="utf-8").splitlines()
    heading, rows = table(Summary(measured.store), measured.plan)
    assert lines[0] == "| " + " | ".join(heading) + " |"
    assert len(lines) == len(rows) + 2
    assert rows[0][0] == "the base"
    assert len({len(row) for row in [heading, *rows]}) == 1


def test_a_page_of_a_part_says_so(measured, plan, tmp_path):
    study = Study(plan, tmp_path)
    study.store.errors.add(row for row in measured.store.errors.rows if row["seed"] == 0)
    study.store.times.add(measured.store.times.rows)
    write_page(study.store, plan)
    text = (tmp_path / "index.html").read_text()
    assert "Not all has been measured yet" in text
    assert "1 of 2 seeds" in " ".join(text.split())
    assert "courses.csv" not in text


def test_nothing_measured_is_no_page(plan, tmp_path):
    with pytest.raises(ValueError, match="holds nothing to draw yet"):
        write_page(Store(tmp_path, plan), plan)
