"""Threads of the engine that train one network each, the oldest first."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..engine import native
from ..train import EarlyStopping
from ..train.loop import Epoch
from ..train.native_loop import NativeLoop, Part
from ..train.session import Session

WAIT_S = 0.05  # between two looks at Ctrl-C


@dataclass
class Begun:
    """A session whose network is with the crew."""

    session: Session
    loop: NativeLoop
    part: Part
    seconds: float = 0.0  # that it has been trained for


@dataclass(frozen=True)
class Returned:
    """A session whose network is back: the epochs that were finished, and what went wrong."""

    session: Session
    finished: list[Epoch]
    seconds: float
    interrupted: bool
    error: str


class Crew:
    """Lends the networks of sessions to the engine's queue, and gives them back when their part of the run is done.

    Parameters
    ----------
    threads : how many networks are trained at a time.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.queue: Any = None  # no thread is started before there is work for it
        self.begun: dict[int, Begun] = {}

    def has_room(self) -> bool:
        """Whether another network may be lent: enough wait that no thread runs idle, and few, for each takes memory."""
        return len(self.begun) < 4 * self.threads

    def lend(self, session: Session, seconds: float = 0.0) -> None:
        """Have the session's network trained from where it stands, as far as nobody in Python has to be asked."""
        loop, first, options = session.loop, session.history.epochs, session.options
        assert isinstance(loop, NativeLoop)
        early: dict[str, Any] = {}
        if first == 0 and _only_stops_early(session):
            part = loop.part(0, options.epochs)
            if part.end == options.epochs:
                early = {"patience": options.stop.patience, "min_delta": options.stop.min_delta}  # type: ignore[union-attr]
        if not early:
            part = loop.part(first, session.due)
        left = -1.0 if options.max_seconds is None else max(0.0, options.max_seconds - seconds)
        if self.queue is None:
            self.queue = native.module().Queue(self.threads)
        number = self.queue.submit(loop.native, **part.arguments, max_seconds=left, **early)
        self.begun[number] = Begun(session, loop, part, seconds)

    def returned(self) -> list[Returned]:
        """The sessions whose networks are back; waits for the first of them, but not for long."""
        back = []
        for number, outcome, took, error in self.queue.wait(WAIT_S):
            lent = self.begun.pop(number)
            end = lent.seconds + took
            finished = [] if error else lent.loop.finished(lent.part, outcome, lent.seconds, end)
            back.append(Returned(lent.session, finished, end, outcome == "interrupted", error))
        return back

    def stop(self) -> None:
        """End every run before its next step."""
        if self.queue is not None:
            self.queue.stop()

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.queue is not None:
            self.queue.close()
        while self.begun:  # after an exception
            _, lent = self.begun.popitem()
            lent.session.finish(lent.seconds, "an exception")


def _only_stops_early(session: Session) -> bool:
    options = session.options
    return type(options.stop) is EarlyStopping and not (options.metrics or options.callbacks or session.loop.listens())
