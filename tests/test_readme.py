"""README, the pages it leads to, and the tree say the same. That their programs run is tests/test_docs.py's."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_readme_leads_to_every_page():
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages == set(re.findall(r"\]\((docs/\w+\.md)", README))


def test_the_map_lists_every_part_of_the_package():
    listed = set(re.findall(r"\]\(\.\./src/chainrule/(\w+)", (ROOT / "docs/map.md").read_text("utf-8")))
    package = ROOT / "src" / "chainrule"
    parts = {path.stem for path in package.iterdir() if not path.name.startswith("_") and path.suffix in ("", ".py")}
    assert listed == parts


def test_the_map_names_every_folder_of_the_tree():
    listed = set(re.findall(r"\]\(\.\./(\w+)\)", (ROOT / "docs/map.md").read_text("utf-8")))
    assert listed == {"benchmarks", "examples", "native", "tests"}
    assert all((ROOT / name).is_dir() for name in listed)


def test_the_table_of_the_study_is_the_one_that_was_written():
    assert (ROOT / "docs/study/table.md").read_text("utf-8") in (ROOT / "docs/study.md").read_text("utf-8")


def test_the_layer_shown_is_the_layer_in_the_source():
    shown = re.search(r"```python\n.*?(class Tanh.*?)\nprint", README, re.S)[1]
    source = (ROOT / "src/chainrule/layers/activations.py").read_text("utf-8")
    bare = re.sub(r": Array|\) -> tuple\[Array, Array\]|\) -> Array", lambda m: ")" if "->" in m[0] else "", source)
    assert shown.strip() in bare


def test_what_is_said_to_be_missing_is_missing():
    """When it comes, this sentence of README has to go."""
    layers = " ".join(path.stem for path in (ROOT / "src/chainrule/layers").rglob("*.py"))
    assert re.search(r"no recurrence,\s+attention or\s+embedding\s+yet", README)
    assert not re.search(r"recurrent|attention|embedding", layers)
