"""Every block of README and docs runs as it is printed, and prints what the page shows."""

import json
import re
import subprocess
import sys

import pages
import pytest

PAGES = [
    *sorted(pages.ROOT.glob("*.md")),
    *sorted((pages.ROOT / "docs").rglob("*.md")),
    pages.ROOT / "examples/README.md",
]
NAMES = [str(path.relative_to(pages.ROOT)) for path in PAGES]
RUN = [
    path
    for path in PAGES
    if any(block.language in ("python", "console") or block.text.startswith("$ ") for block in pages.blocks(path))
]


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are typed into a POSIX shell")
@pytest.mark.parametrize("path", RUN, ids=[str(path.relative_to(pages.ROOT)) for path in RUN])
def test_a_reader_who_types_the_page_gets_what_it_shows(path, tmp_path):
    command = [sys.executable, pages.__file__, path, "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [pages.Printed(**one) for one in json.loads((tmp_path / "printed.json").read_text("utf-8"))]
    assert found
    wrong = [f"line {one.line}: {one.what} {verdict}" for one in found if (verdict := pages.verdict(one))]
    assert wrong == []


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_no_command_hides_where_it_is_not_run(path):
    """What is not run is marked `sh`, and says make, git, pip or cd; what is not Python is in its language."""
    for block in pages.blocks(path):
        lines = [line.split("#")[0].split() for line in block.text.splitlines()]
        words = {line[0] for line in lines if line}
        if block.language == "sh":
            assert words <= {"make", "git", "cd", ".venv/bin/pip", "pip", "python3"}, (path.name, block.line)
        elif block.language == "" and not block.text.startswith("$ "):
            assert not words & {"make", "git", "cd", "chainrule", "python", "import"}, (path.name, block.line)
        else:
            known = {"", "python", "console", "sh", "c", "json", "diff"}
            assert block.language in known, (path.name, block.line)


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_targets_and_extras_that_a_page_names_are_there(path):
    text = path.read_text("utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", (pages.ROOT / "Makefile").read_text("utf-8"), re.M))
    assert set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", text, re.M)) <= targets
    project = (pages.ROOT / "pyproject.toml").read_text("utf-8").split("[project.optional-dependencies]")[1]
    extras = set(re.findall(r"^(\w+) = \[", project.split("\n[")[0], re.M))
    named = ",".join(re.findall(r"(?:chainrule|\.)\[([\w,]+)\]", text)).split(",")
    assert {name for name in named if name} <= extras


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8"))
    broken = []
    for link in links:
        name, _, heading = link.partition("#")
        target = path.parent / name if name else path
        if link.startswith("http"):
            continue
        if not target.exists() or (heading and target.suffix == ".md" and heading not in headings(target)):
            broken.append(link)
    assert broken == []


def headings(path):
    """The anchors of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


# -- the reader of pages itself


def blocks_of(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text, "utf-8")
    return pages.blocks(path)


def test_blocks_know_where_they_stand_and_what_introduces_them(tmp_path):
    found = blocks_of(
        tmp_path, "Save this as `a/b.c`:\n\n```c\nint x;\n```\n\n```\nout\n```\ntext\n\n```python\n1\n```\n"
    )
    assert [(block.line, block.language, block.text, block.follows) for block in found] == [
        (3, "c", "int x;\n", False),
        (7, "", "out\n", True),
        (12, "python", "1\n", False),
    ]
    assert [pages.file_of(block) for block in found] == ["a/b.c", None, None]


def test_commands_are_what_stands_behind_prompts():
    assert pages.commands("$ one two\nits words\nmore\n$ three\n") == [("one two", "its words\nmore\n"), ("three", "")]


@pytest.mark.parametrize(
    ("printed", "shown", "agree"),
    [
        ("a  b\n\nc 1.00", "a b\nc 1.02\n", True),
        ("errors 12", "errors 14", True),
        ("errors 12", "errors 24", False),
        ("accuracy 97.5%", "accuracy 91.0%", False),
        ("after 3.1 s, avx2", "after 0.02 s, avx512", True),
        ("1.2e-07 off", "2.4e-07 off", True),
        ("one word", "other word", False),
        ("one\ntwo", "one", False),
        ("one\ntwo\nthree", "one\n…\nthree", True),
        ("one\ntwo\nthree", "…\nthree", True),
        ("one\ntwo\nthree", "one\n…", True),
        ("one\ntwo\nthree", "…\ntwo", False),
        ("", "something", False),
    ],
)
def test_words_must_be_the_same_and_figures_nearly(printed, shown, agree):
    assert pages.agrees(printed, shown) == agree
