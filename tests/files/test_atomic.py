import os
import stat

import pytest

from chainrule.files import write_text


def test_what_was_written_is_read_and_may_be_read_by_others(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "ein Ü\r\nund mehr\n")
    assert path.read_bytes() == "ein Ü\r\nund mehr\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    write_text(path, "short")
    assert path.read_text() == "short"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("fails", ["fsync", "fdopen"])
def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path, monkeypatch, fails):
    path = tmp_path / "a.txt"
    write_text(path, "before")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "after")
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "nowhere" / "a.txt", "text")
