"""Ctrl-C and the clock: what can end a run between two steps."""

import math
import signal
import threading
import time
import weakref
from types import FrameType, TracebackType
from typing import Any


class _Note:
    """Notes Ctrl-C for a watch, unless an exception has ended that as it began or ended."""

    def __init__(self, watch: "Watch") -> None:
        self._watch = weakref.ref(watch)

    @property
    def watch(self) -> "Watch | None":
        """That which is still to hear of it."""
        watch = self._watch()
        return watch if watch is not None and watch.is_on else None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        watch = self.watch
        if watch is None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt
        if watch.interrupted:
            raise KeyboardInterrupt
        watch.interrupted = True


def _is_free(handler: Any) -> bool:
    """Whether nobody but a watch that is over has asked for Ctrl-C."""
    return handler is signal.default_int_handler or (isinstance(handler, _Note) and handler.watch is None)


class Watch:
    """Says, between two steps, whether the run has to end: because of Ctrl-C, or because its time is over.

    Inside its `with` block Ctrl-C is only noted, so it never cuts an update in half; pressed again, it raises
    KeyboardInterrupt at once. In threads other than the main one, Python delivers no Ctrl-C.

    Parameters
    ----------
    max_seconds : the time that the run has; None for no end.
    within : the watch of what this run is a part of: its Ctrl-C ends this too.
    """

    def __init__(self, max_seconds: float | None = None, *, within: "Watch | None" = None) -> None:
        self.within = within
        self.max_seconds = math.inf if max_seconds is None else max_seconds
        self.begin = time.perf_counter()
        self.interrupted = False
        self.pause_s = math.inf  # when the run is to pause, in seconds since it began
        self.is_on = False

    def __enter__(self) -> "Watch":
        # A handler of the program's own stays in charge.
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and _is_free(signal.getsignal(signal.SIGINT)):
            signal.signal(signal.SIGINT, _Note(self))
            self.is_on = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.is_on:
            self.is_on = False
            signal.signal(signal.SIGINT, signal.default_int_handler)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the watch was made."""
        return time.perf_counter() - self.begin

    def pauses(self) -> bool:
        """Whether the loop is to come back for a moment, between two steps."""
        return self.elapsed_s >= self.pause_s

    def reason(self) -> str:
        """Why the run has to end now; empty if it may go on."""
        if self.interrupted or (self.within is not None and self.within.interrupted):
            return "interrupted by Ctrl-C"
        return f"max_seconds={self.max_seconds:g} were over" if self.elapsed_s > self.max_seconds else ""
