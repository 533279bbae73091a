"""A folder for one run at a time."""

import errno
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_held: "WeakSet[Lock]" = WeakSet()


class Lock:
    """A file that one holder at a time has locked, until `release`, or until its process ends, however it ends.

    The lock is the system's and not the file: one that a killed process has left behind keeps nobody out. A file system
    that knows no locks lets everybody in.

    Parameters
    ----------
    path : of the file, which is made, and removed by `release`.

    Raises BlockingIOError, which says who holds it, if somebody does.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.handle = path, -1
        while self.handle < 0:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if not _lock(handle):
                    raise BlockingIOError(errno.EAGAIN, f"in use by {_holder(path)}", str(path))
                with suppress(FileNotFoundError):  # else whoever held it has removed it meanwhile
                    if os.path.samestat(os.fstat(handle), path.stat()):
                        os.ftruncate(handle, 0)
                        os.write(handle, f"process {os.getpid()} on {platform.node()}".encode())
                        self.handle = handle
            finally:
                if self.handle < 0:
                    os.close(handle)
        _held.add(self)

    def release(self) -> None:
        """Let others have it."""
        if self.handle >= 0:
            with suppress(OSError):  # Windows removes no file that is open
                self.path.unlink()
            os.close(self.handle)
            self.handle = -1

    def __del__(self) -> None:
        self.release()


def _lock(handle: int) -> bool:
    """Lock a file; returns False if somebody else has."""
    try:
        if sys.platform == "win32":
            os.lseek(handle, 1 << 30, os.SEEK_SET)  # far from what is written there, which others may read
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        return problem.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True


def _holder(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace") or "another process"
    except OSError:
        return "another process"


def _forget() -> None:
    """Leave the locks to the parent: held by a child too, they would outlive it."""
    for lock in list(_held):
        if lock.handle >= 0:
            os.close(lock.handle)
            lock.handle = -1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
