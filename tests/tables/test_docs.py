"""docs/tables.md says what the commands say."""

import re
import runpy
from pathlib import Path

from click.testing import CliRunner

from chainrule.commands import main

PAGE = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()


def masked(text):
    """The words of each line: figures, and the spaces that they move, may differ from machine to machine."""
    text = re.sub(r"avx\w+|neon|generic|(?<= )\.(?= )", "#", text)
    return [" ".join(re.sub(r"[-+]?\d[\d,.]*(e[-+]\d+)?%?", "#", line).split()) for line in text.strip().splitlines()]


def test_the_commands_print_what_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "houses.csv" in block)
    Path("houses.py").write_text(script)
    runpy.run_path("houses.py")
    Path("sales.tsv").write_text("sales\tprofit\n70,545\t3\n987\t1\n")
    commands = re.findall(r"^\$ (.*)\n((?:(?!```|\$ ).*\n)*)", PAGE, re.M)
    assert len(commands) == 9
    for command, shown in commands:
        name, *arguments = command.split()
        if name == "cat":
            new = Path(arguments[0])
            new.write_text(shown)
            Path("bad.csv").write_text(shown.replace("120,5", "120,five"))
            Path("ragged.csv").write_text(shown.replace("Celle,False,1931-01-01", "Celle"))
            continue
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code == 0) == ("Error" not in shown), result.output
        printed, expected = masked(result.stderr + result.stdout), masked(shown)
        if expected[0] == "…":
            expected = expected[1:]
            printed = printed[-len(expected) :]
        assert printed == expected


def test_the_python_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        Path("block.py").write_text(block)
        runpy.run_path("block.py")
        Path("new.csv").write_text(re.search(r"\$ cat new.csv\n(.*?)\$", PAGE, re.S)[1])
    assert (tmp_path / "houses.safetensors").exists()


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE)
    assert links
    assert [link for link in links if not (Path(__file__).parents[2] / "docs" / link).exists()] == []
