"""The study: what is measured in which order, how long it will take, and going on where it was stopped."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

from ... import extras
from ...engine import native
from ...train.progress import Progress
from . import courses, errors, ours, times
from .peer import Peer
from .questions import BASE, DISKS, Plan
from .store import Store


class Study:
    """A plan and the folder with what has been measured of it.

    Parameters
    ----------
    plan : what to measure.
    folder : where; what is there already is not measured again.
    peer : whether PyTorch is there to be compared with; by default, if it is installed.

    Raises ValueError if the folder holds another study.
    """

    def __init__(self, plan: Plan, folder: Path, *, peer: bool | None = None) -> None:
        self.plan, self.store = plan, Store(folder, plan)
        self.peer = extras.installed("torch") if peer is None else peer
        self.frameworks = ["chainrule", "torch"] if self.peer else ["chainrule"]

    def left(self) -> "Left":
        """What has not been measured yet."""
        done = {(row["framework"], row["disk"], row["seed"]) for row in self.store.errors.rows}
        timed = {(row["framework"], row["round"]) for row in self.store.times.rows}
        known = {(row["disk"], row["dtype"]) for row in self.store.courses.rows}
        courses_asked = itertools.product(self.plan.followed, courses.DTYPES)
        trained = itertools.product(range(self.plan.seeds), DISKS, self.frameworks)
        return Left(
            errors=[(who, disk, seed) for seed, disk, who in trained if (who, disk, seed) not in done],
            rounds=[i for i in range(self.plan.rounds) if any((who, i) not in timed for who in self.frameworks)],
            courses=[course for course in courses_asked if self.peer and course not in known],
        )

    def estimate(self, left: "Left") -> float:
        """Seconds that the rest will take: the steps to come, at the pace of a short trial of the base network."""
        cells = self.plan.cells()
        steps = {
            "chainrule": sum(cell.steps for cell in cells + self.plan.tuned()),
            "torch": sum(cell.steps for cell in cells),
        }
        pace = {who: self._pace(who) for who in self.frameworks}
        seconds = sum(steps[who] * pace[who] for who, _, _ in left.errors) / native.cores()
        timed = sum(min(cell.steps, max(self.plan.timed_steps, cell.steps_per_epoch)) for cell in cells)
        seconds += 2 * timed * sum(pace.values()) * len(left.rounds)
        return seconds + len(left.courses) * BASE.steps * 2 * sum(pace.values()) + 10  # starting processes, drawing

    def run(self, left: "Left", *, progress: bool | None = None) -> None:
        """Measure what is left, and write it down bit by bit: little is lost whenever it is stopped.

        Raises KeyboardInterrupt for Ctrl-C.
        """
        plan, store, cells = self.plan, self.store, len(self.plan.cells())
        total = len(left.courses) + cells * (len(left.errors) + len(left.rounds))
        with Progress(total, progress, unit="cell") as bar:
            # What is over soonest comes first, and the many seeds last: stopped at any time, a page can be drawn.
            for disk, dtype in left.courses:
                store.courses.add(courses.follow(disk, dtype, plan.points))
                bar.advance(1, {"course": disk})
            for number in left.rounds:
                note = {"timing": f"round {number + 1} of {plan.rounds}"}
                store.times.add(times.measure(plan, number, self.frameworks, _advance(bar, note)))
            if any(who == "torch" for who, _, _ in left.errors):
                with errors.Workers() as workers:
                    self._train(left, bar, workers)
            else:
                self._train(left, bar, None)

    def _train(self, left: "Left", bar: Progress, workers: errors.Workers | None) -> None:
        for who, disk, seed in left.errors:
            seen = _advance(bar, {"training": f"{who}, seed {seed}"})
            if who == "torch" and workers is not None:
                self.store.errors.add(workers.train(self.plan, disk, seed, seen))
                continue
            self.store.errors.add(errors.train_ours(self.plan, disk, seed))
            for _ in self.plan.cells():
                seen()

    def _pace(self, framework: str) -> float:
        """Seconds of a step of the base network."""
        data = ours.points(DISKS[0], 0, self.plan.points, self.plan.test_points)[0].take(slice(0, BASE.points))
        model, epochs, best = ours.built(BASE, 0), 10, float("inf")
        peer = Peer(BASE, model) if framework == "torch" else None
        for _ in range(3):
            begin = time.perf_counter()
            if peer:
                peer.train(data, seed=0, epochs=epochs)
            else:
                ours.train(model, BASE, data, epochs=epochs, seed=0, threads=1)
            best = min(best, time.perf_counter() - begin)
        return best / (epochs * BASE.steps_per_epoch)


class Left:
    """Work that has not been done: errors (framework, disk, seed), rounds of timing, courses (disk, dtype)."""

    def __init__(self, errors: list[tuple[str, str, int]], rounds: list[int], courses: list[tuple[str, str]]) -> None:
        self.errors, self.rounds, self.courses = errors, rounds, courses

    def __bool__(self) -> bool:
        return bool(self.errors or self.rounds or self.courses)


def _advance(bar: Progress, note: dict[str, str]) -> Callable[[], None]:
    return lambda: bar.advance(1, note)
