import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chainrule.files import replacing, write_bytes, write_text
from chainrule.files.atomic import remove_leftovers


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "ein Ü\r\nund mehr\n")
    assert path.read_bytes() == "ein Ü\r\nund mehr\n".encode()
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


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "ours", "text")
        (tmp_path / "plain").write_text("text")
    finally:
        os.umask(before)
    assert mode(tmp_path / "ours") == mode(tmp_path / "plain") == 0o666 & ~umask


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o755, 0o666])
def test_a_file_that_is_there_keeps_its_permissions(tmp_path, kept):
    path = tmp_path / "a"
    path.touch()
    path.chmod(kept)
    with replacing(path) as file:
        [temporary] = (p for p in tmp_path.iterdir() if p != path)
        assert mode(temporary) & ~kept == 0  # at no moment may more people read it
        file.write(b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", kept)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_somebody_else_stays_theirs(tmp_path):
    path = tmp_path / "a"
    path.touch()
    os.chown(path, 1234, 2345)
    write_text(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid, path.read_text()) == (1234, 2345, "new")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write whatever it likes")
def test_a_file_that_may_not_be_written_is_an_error(tmp_path):
    path = tmp_path / "a"
    path.write_text("before")
    path.chmod(0o444)
    with pytest.raises(PermissionError):
        write_text(path, "after")
    assert path.read_text() == "before"


def test_a_symbolic_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target, link, second = tmp_path / "there" / "a", tmp_path / "link", tmp_path / "second"
    link.symlink_to("there/a")
    second.symlink_to(link)
    write_text(second, "one")  # to a file that is not there yet
    assert (target.read_text(), link.is_symlink(), second.is_symlink()) == ("one", True, True)
    before = target.stat().st_ino
    write_text(link, "two")
    assert (target.read_text(), link.is_symlink()) == ("two", True)
    assert target.stat().st_ino != before  # replaced, and not written over
    assert [p.name for p in target.parent.iterdir()] == ["a"]


def test_a_link_that_leads_nowhere_is_an_error_and_stays(tmp_path):
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere" / "a")
    for name in ("ring", "lost"):
        with pytest.raises(OSError, match=f"{tmp_path / name}'$"):
            write_text(tmp_path / name, "text")
        assert (tmp_path / name).is_symlink()
    assert {p.name for p in tmp_path.iterdir()} == {"ring", "lost"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_devices_and_pipes_are_written_to(tmp_path):
    write_text("/dev/null", "text")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with replacing(pipe) as file:  # what goes back and forth in a file arrives in order
        file.write(b"--- whole")
        file.seek(0)
        file.write(b"the")
    reader.join()
    assert read == [b"the whole"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_standard_output_is_written_to_wherever_it_goes(tmp_path, name):
    code = "from chainrule.files import write_text; print('before', flush=True); "
    code += f"write_text({name!r}, 'text\\n'); print('after')"
    piped = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert piped.stdout == "before\ntext\nafter\n"
    with (tmp_path / "out").open("a") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\ntext\nafter\n"


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    for path in (tmp_path, tmp_path / "no" / "a", tmp_path / ("a" * 300)):
        with pytest.raises(OSError, match=f": '{path}'$"):
            write_text(path, "text")
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path, "text")
    write_text(tmp_path / ("a" * 250), "text")  # the temporary name is no longer than the name


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_an_error_that_names_the_file():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        write_bytes("/dev/full", b"x" * 100_000)


def test_what_killed_writes_have_left_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    ours = [tmp_path / f".a.txt.{name}.part" for name in ("0123abcd", "ffffffff")]
    names = (".a.txt.part", ".a.txt.012.part", ".b.txt.0123abcd.part", "a.txt", ".a.txt.x")
    others = [tmp_path / name for name in names]
    for one in ours + others:
        one.touch()
    remove_leftovers(path)
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in others}
    with pytest.raises(FileNotFoundError), replacing(path):
        remove_leftovers(path)  # it knows the names that are really given
