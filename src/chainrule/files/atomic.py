"""Writing a file whole or not at all."""

import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO

# Names of what is open already. Such a file is written to: another in its place would not be seen by whoever opened it.
_OPEN = re.compile(r"/dev/(stdin|stdout|stderr|fd/)|/proc/")


def write_text(path: str | PathLike[str], text: str) -> None:
    """Write UTF-8 to a file that afterwards holds either all of the text or what it held before."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | PathLike[str], data: bytes) -> None:
    """Write a file that afterwards holds either all of the data or what it held before, whatever happens meanwhile."""
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A new file to write in: when the block ends it takes the place of `path`, and after an exception it is gone.

    The bytes go to a temporary file beside it, down to the disk, and then take its name. What is there keeps its
    permissions and, where the system lets us, its owner; a new file gets those that the umask leaves. A symbolic link
    stays, and what it points to is replaced. What is no regular file, such as a pipe or /dev/null, is written to.

    Raises OSError, which names `path`, if that is a folder, may not be written, or the disk is full.
    """
    path = os.fspath(path)
    try:
        before = _look(path)
        if before is not None and (not stat.S_ISREG(before.st_mode) or _OPEN.match(str(Path(path).absolute()))):
            pieces = io.BytesIO()
            yield pieces
            with open(path, "ab") as file:  # noqa: PTH123 - the name as it came
                file.write(pieces.getbuffer())
            return
        yield from _beside(Path(os.path.realpath(path)), before)
    except OSError as problem:
        # No user knows the temporary file.
        if problem.errno is not None and (problem.filename is None or _is_temporary(problem.filename)):
            raise OSError(problem.errno, problem.strerror, path) from None
        raise


def _look(path: str) -> os.stat_result | None:
    """What is there now; None if nothing is."""
    try:
        before = os.stat(path)  # noqa: PTH116 - the name as it came
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.access(path, os.W_OK):  # a folder's permissions alone would let us replace what is protected
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return before


def _beside(target: Path, before: os.stat_result | None) -> Iterator[BinaryIO]:
    """The temporary file, which takes the place of the target if nothing goes wrong."""
    temporary = target.parent / f".{target.name[:50]}.{os.urandom(4).hex()}.part"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, 0o666 if before is None else stat.S_IMODE(before.st_mode) & 0o777)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if before is not None:
            with suppress(PermissionError, AttributeError):  # only root gives files away; Windows knows no chown
                os.chown(temporary, before.st_uid, before.st_gid)
            temporary.chmod(stat.S_IMODE(before.st_mode))
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files of writes to `path` that were killed; the caller knows that none is under way."""
    name = re.compile(rf"\.{re.escape(path.name[:50])}\.[0-9a-f]{{8}}\.part")
    for file in path.parent.iterdir():
        if name.fullmatch(file.name):
            file.unlink(missing_ok=True)


def _is_temporary(name: object) -> bool:
    return isinstance(name, str | PathLike) and os.fspath(name).endswith(".part")


def _sync_folder(folder: Path) -> None:
    """Bring the new name down to the disk too, where the system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError:  # nor do some network file systems sync them
        pass
    finally:
        os.close(handle)
