"""Ctrl-C and the clock: what can end a run between two steps."""

import math
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any


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
        self._before: Any = None

    def __enter__(self) -> "Watch":
        # A handler of the program's own stays in charge.
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

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
