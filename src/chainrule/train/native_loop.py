"""Epochs on the engine: whole ones outside Python, about twenty visits a second."""

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from .. import arrays
from ..averages import Average, Averaged
from ..data import Dataset
from ..engine import CannotLower, lower, native, statistics
from ..engine.plan import Op, Plan
from ..engine.rules import averages as average_rules
from ..engine.rules import optimizers as optimizer_rules
from ..engine.sync import Keeper
from ..losses import MultiLoss
from ..module import Buffer, Module, fill, set_values
from ..optimizers import Schedule
from ..structures import Structure, each, leaves, rebuild
from .in_files import first_row
from .loop import Epoch, Memory, Place, require_same_parameters
from .prepare import check_targets, rehearse, rehearse_one_row
from .watch import Watch

SLICE_S = 0.05  # how long the engine runs before it comes back to look at Ctrl-C and the clock
MOST_EPOCHS = 4096  # of one visit, which bounds the table of learning rates
MOST_RATES = 1 << 18
HARMLESS = ("lr", "epochs", "keepers", "seed", "layer")  # attributes that a plan does not depend on, and often set


class Table(NamedTuple):
    """What the engine goes by until the epoch `end`.

    lr, momentum : of each rule of the plan, one for each epoch or, if `per_step`, for each step; no momentum: as it was
        made with.
    shown : the optimizer's own at the beginning of each epoch.
    """

    lr: np.ndarray
    momentum: np.ndarray
    per_step: bool
    shown: np.ndarray
    end: int


@dataclass(frozen=True)
class Part:
    """Some epochs, as the engine is asked for them; `rates` are the optimizer's own when each begins."""

    first: int
    end: int
    rates: np.ndarray
    arguments: dict[str, Any]


class NativeLoop:
    """The twin of PythonLoop: the same arguments, the same results to rounding.

    `steps`, `run`, `outputs`, … are those of Loop.

    What a callback changes (an option of the optimizer, a layer, its mode) is obeyed as the Python loop obeys it: the
    network is lowered and compiled anew before the next epoch. Other Parameters than before are an error in both.

    Raises CannotLower for a network, loss, optimizer, average or data that the engine does not know.
    """

    def __init__(
        self,
        model: Module,
        loss: Module,
        optimizer: Any,
        data: Dataset,
        held_out: Dataset | None,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        threads: int | None,
        accumulate: int = 1,
        average: Average | None = None,
    ) -> None:
        shown, looked_at = first_row(data), None if held_out is None else first_row(held_out)
        for part in leaves(shown.x):
            if type(part) is not np.ndarray:
                raise CannotLower(f"{arrays.describe_kind(part)}")
        class_targets = each(_holds_classes, shown.target)
        if looked_at is not None and each(_holds_classes, looked_at.target) != class_targets:
            raise CannotLower("validation targets of another kind than the training targets")
        if looked_at is not None and _form(looked_at.x) != _form(shown.x):
            raise CannotLower("validation data in another form than the training data")
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.data, self.held_out = data, held_out
        self.seed, self.shuffle, self.asked_batch_size = seed, shuffle, batch_size
        batch = min(batch_size, len(data))
        self.options: dict[str, Any] = {
            "sample_shape": each(_sample_shape, shown.x),
            "class_targets": class_targets,
            "batch": batch,
            "accumulate": min(accumulate, -(-len(data) // batch)),
            "average": average_rules.settings(average),
            "samples": len(data) if shuffle and not data.in_files else 0,
            "seed": seed,
            "threads": threads or native.cores(),
        }
        self.plan = lower(model, loss, optimizer, **self.options)
        self.parameters = list(self.plan.parameters)
        self.average = None if average is None else Averaged(average, self.parameters)
        self._compile()
        self.name = f"native, {native.module().instruction_set}"
        self.batch_size = self.plan.batch
        self.steps_per_epoch = -(-len(data) // (self.batch_size * self.plan.accumulate))
        self.position = native.module().Position()
        self.diverged = ""
        self.stale, self.weights = False, _weights(self.plan)
        self.has_moved = False  # the engine, from the running statistics that are in Python
        self._watch()
        # Until an epoch is the best, the parameters that the run began with are.
        for i, parameter in enumerate(self.plan.parameters):
            self.native.write_best(i, np.ascontiguousarray(parameter.value))
        self._bring_statistics(self.native.write_best)

    def _compile(self) -> None:
        """Make the plan's network."""
        self.told = native.described(self.plan)
        self.native = native.compile_plan(self.plan, told=self.told, is_home=True)
        Keeper(self.plan, self.native, "train the model anew")
        self.native.refresh = partial(_refresh, weakref.ref(self))
        self.rows: tuple[Any, Any] | None = None

    def changed(self, name: str) -> None:
        """Hear that an attribute of the model, the loss or the optimizer was set."""
        brings = name == "lr" and optimizer_rules.keep_other_momenta(self.plan)
        self.stale = self.stale or brings or name not in HARMLESS

    def _follow_changes(self) -> None:
        """Go on with the network, the loss and the optimizer as they are now."""
        weights = _weights(self.plan)
        if not self.stale and weights == self.weights:
            return
        require_same_parameters(self.model, self.parameters)
        plan = self._lowered()
        require_same_parameters(self.model, list(plan.parameters))
        before, order = self.native, [id(parameter) for parameter in self.plan.parameters]
        if native.described(plan) != self.told or [id(parameter) for parameter in plan.parameters] != order:
            best, best_statistics = dict(zip(order, _best(before, self.plan), strict=True)), self._best_statistics()
            before.give_state()
            before.release()
            self.plan, self.parameters = plan, list(plan.parameters)
            self._compile()
            for i, parameter in enumerate(plan.parameters):
                self.native.write_best(i, best[id(parameter)])
            self._bring_statistics(self.native.write_best, best_statistics)
            self.native.set_best(before.best_epoch, before.best_loss)
            if self.average is not None:
                self.average.turn_to(self.parameters)
                self._give_average()
        # Of other objects, perhaps, that are alike.
        now = {name: getattr(plan, name) for name in ("modules", "ops", "statistics", "heads", "owners")}
        self.plan = replace(self.plan, **now)
        self._watch()
        self.stale, self.weights = False, _weights(self.plan)

    def _watch(self) -> None:
        """Hear of the attributes that are set from here on."""
        for watched in (*self.plan.modules, *self.parameters, *self.loss.modules(), self.optimizer):
            watched.watch(self)

    def _follow_masks(self) -> None:
        """Go on with the masks that come next in each Dropout; the engine has one seed and one count for all."""
        ops = self._dropouts()
        passes = {op.layer.passes.value for op in ops}
        if len(passes) > 1 or any((op.layer.seed, op.layer.layer) != (self.seed, op.settings["stream"]) for op in ops):
            raise ValueError(
                "fit: a callback changed which masks a Dropout draws, and the engine draws those of the run's seed, as "
                'many in each; engine="python" does otherwise'
            )
        for n in passes:
            self.native.dropout_pass = n

    def _lowered(self) -> Plan:
        """The plan as everything is now, in the midst of a run."""
        try:
            return lower(self.model, self.loss, self.optimizer, in_mode=True, **self.options)
        except CannotLower as reason:
            raise ValueError(
                f'fit: a callback changed the model, and the engine does not know {reason}; engine="python" does'
            ) from None

    def _rows(self, data: Dataset) -> Any:
        """The data as the engine reads them, in place."""
        return self.native.data(in_order(data.x, self.plan.x), in_order(data.target, self.plan.y), data.sample_weight)

    @property
    def modules(self) -> Sequence[Module]:
        """All of the model."""
        return self.plan.modules

    @property
    def steps(self) -> int:
        """The number of updates made; of an epoch that diverged, none."""
        within = 0 if self.diverged else self.position.step
        return int(self.position.epoch * self.steps_per_epoch + within)

    def rehearse(self, name: str, data: Dataset) -> None:
        """Look at all targets; that the engine knows the network and the loss says the rest."""
        if each(_sample_shape, first_row(data).x) != self.options["sample_shape"]:
            rehearse(self.model, self.loss, data, name)  # the model says best what it cannot take
        if data is self.data:
            rehearse_one_row(self.model, data, self.asked_batch_size)
        zero = np.zeros((), self.plan.dtype)  # outputs that are all the same number in memory
        shapes = [(len(data), *shape) for shape in self.plan.y_shapes]
        rows = [np.ndarray(shape, zero.dtype, zero, strides=(0,) * len(shape)) for shape in shapes]
        check_targets(self.plan.loss, rebuild(self.plan.y, rows), data, name)

    def run(self, first: int, end: int, watch: Watch) -> list[Epoch]:
        """Train from epoch `first` to before `end`, or to the end of a slice of time; returns the epochs finished.

        None are finished if `watch` cut it short before that. A loss that is not finite ends it too, and is left in
        `diverged`.
        """
        part = self.part(first, end)
        begin = watch.elapsed_s
        outcome = "interrupted"
        while outcome == "interrupted" and self.position.epoch == first and not watch.reason():
            left = max(0.0, min(SLICE_S, watch.max_seconds - watch.elapsed_s))
            outcome = self.native.run(**part.arguments, max_seconds=left)
            if watch.pauses():
                break
        return self.finished(part, outcome, begin, watch.elapsed_s)

    def part(self, first: int, end: int) -> Part:
        """What the engine is asked for to train the epochs from `first` to before `end`, or fewer if those are many."""
        self._follow_changes()
        self._follow_masks()
        self._bring_statistics(self.native.write_value)
        self.has_moved = True
        end = min(end, first + MOST_EPOCHS)
        table = self._rates(first, end)
        end = table.end
        if self.rows is None:
            self.rows = self._rows(self.data), None if self.held_out is None else self._rows(self.held_out)
        looks = end - first if self.held_out is not None else 0
        heads = len(self.plan.heads) if type(self.loss) is MultiLoss else 0  # whose losses are asked for one by one
        arguments = {
            "data": self.rows[0],
            "validation": self.rows[1],
            "lr": table.lr,
            "momentum": table.momentum,
            "lr_per_step": table.per_step,
            "batch": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "first_epoch": first,
            "end_epoch": end,
            "keep_best": True,
            "losses": np.empty(end - first),
            "validation_losses": np.empty(looks),
            "head_losses": np.empty((end - first) * heads),
            "validation_head_losses": np.empty(looks * heads),
            "position": self.position,
        }
        return Part(first, end, table.shown, arguments)

    def finished(self, part: Part, outcome: str, begin_s: float, end_s: float) -> list[Epoch]:
        """The epochs of a part that the engine has finished between two times of the run."""
        self._tell_dropouts()
        self._hear_statistics()
        self._hear_average()
        losses, validation = part.arguments["losses"], part.arguments["validation_losses"]
        n = self.position.epoch - part.first
        if outcome == "not finite":
            found = [losses[n], *validation[n : n + 1]]
            what = "a parameter" if all(math.isfinite(value) for value in found) else "the loss"
            self.diverged = f"{what} became NaN or infinite"
        each_s = (end_s - begin_s) / max(n, 1)  # the engine does not look at the clock for each epoch
        heads, looked_heads = (
            self._by_head(part.arguments[name]) for name in ("head_losses", "validation_head_losses")
        )
        return [
            Epoch(
                float(losses[i]),
                float(validation[i]) if len(validation) else None,
                float(part.rates[i]),
                begin_s + (i + 1) * each_s,
                heads[i] if heads else (),
                looked_heads[i] if looked_heads else (),
            )
            for i in range(n)
        ]

    def _by_head(self, losses: np.ndarray) -> list[tuple[float, ...]]:
        """The losses of the heads after each epoch, in the order of the loss; they come in that of the outputs."""
        if not len(losses):  # nobody asked for them
            return []
        rows = losses.reshape((-1, len(self.plan.heads)))[:, self._heads()].tolist()
        return [tuple(row) for row in rows]

    def _heads(self) -> list[int]:
        """Where each head of the loss, in its own order, stands among the network's outputs."""
        if not isinstance(self.plan.y, dict):
            return list(range(len(self.plan.heads)))
        names = list(self.plan.y)
        return [names.index(name) for name in self.plan.loss.heads]

    def _rates(self, first: int, end: int) -> Table:
        """What the rules go by in each epoch, or in each step if a schedule counts steps."""
        owners = self.plan.owners
        schedules = [owner.lr for owner in owners if isinstance(owner.lr, Schedule)]
        per_step = any(schedule.changes_within_epochs() for schedule in schedules)
        n = self.steps_per_epoch if per_step else 1
        if per_step:
            end = min(end, first + max(1, MOST_RATES // (n * len(owners))))
        try:
            lr = {owner: self._column(owner, owner.lr_at, end - first, n) for owner in (self.optimizer, *owners)}
        except Exception:
            if end - first == 1:
                raise
            return self._rates(
                first, (first + end) // 2
            )  # there is no rate for a later epoch; it says so when it comes
        momentum = np.empty(0)
        if any(schedule.cycles_momentum() for schedule in schedules):
            momentum = _table([self._column(owner, owner.momentum_at, end - first, n) for owner in owners])
        return Table(_table([lr[owner] for owner in owners]), momentum, per_step, lr[self.optimizer][::n], end)

    def _column(self, owner: Any, at: Any, epochs: int, n: int) -> np.ndarray:
        """What a rule says `at` so many steps and epochs, n times in each epoch."""
        rate = owner.lr
        if not isinstance(rate, Schedule):
            return np.full(epochs * n, at(steps=0, epochs=0))
        # The table begins with the epoch's first step, though a slice of time may have ended within the epoch.
        steps, ended, length = owner.steps - int(self.position.step), owner.epochs, self.steps_per_epoch
        if not rate.changes_within_epochs():
            return np.repeat(np.array([at(steps=steps + e * length, epochs=ended + e) for e in range(epochs)]), n)
        return np.array([at(steps=steps + e * length + i, epochs=ended + e) for e in range(epochs) for i in range(n)])

    def listens(self) -> bool:
        """Whether a learning rate depends on the loss of the epoch before, so that epochs must come one by one."""
        return any(isinstance(rule.lr, Schedule) and rule.lr.listens() for rule in self.optimizer.rules)

    def outputs(self, x: Structure) -> Structure:
        """The network's outputs, in evaluation mode, by the average of its parameters if there is one."""
        self._bring_statistics(self.native.write_value)
        return self.native.predict(x) if self.average is None else self.native.predict_by_average(x)

    def keep_what_was_set(self) -> None:
        """If it is the best epoch that has just ended, count what callbacks have set since then as a part of it."""
        at, best_epoch = self.position, self.native.best_epoch
        if Place(at.epoch, at.step).ends(None if best_epoch < 0 else best_epoch):  # below 0 there is none so far
            self._bring_statistics(self.native.write_value)
            self.native.keep_best(best_epoch, self.native.best_loss)

    def give_back_best(self) -> None:
        """Leave the parameters of the best epoch in Python's arrays; the initial ones if none has ended."""
        set_values(self.plan.parameters, _best(self.native, self.plan), self._best_statistics())

    def memory(self) -> Memory:
        """What it takes to go on from here; the numbers are handed to Python."""
        self._hand_over()
        at, best_epoch = self.position, self.native.best_epoch
        sums = [at.losses[i] for i in self._heads()] if at.step else []
        place = Place(at.epoch, at.step, tuple(total for total, _ in sums), tuple(divides for _, divides in sums))
        best_loss = self.native.best_loss if best_epoch >= 0 else math.inf
        found = _best(self.native, self.plan)
        order = [self.plan.parameters.index(parameter) for parameter in self.model.param()]
        best = [found[i] for i in order]
        memory = Memory(place, self.steps, best, None if best_epoch < 0 else best_epoch, best_loss)
        if self.average is not None:
            memory.average, memory.taken = [self.average.values[i] for i in order], self.average.taken
        memory.buffers = self._best_statistics()
        return memory

    def remember(self, memory: Memory) -> None:
        """Go on from there, with the numbers that are in Python."""
        at, place = self.position, memory.place
        at.epoch, at.step = place.epoch, place.step
        sums = list(zip(place.loss_sum, place.loss_denominator, strict=True))
        at.losses = [sums[self._heads().index(i)] for i in range(len(sums))]
        in_order = self.model.param()
        for i, parameter in enumerate(self.plan.parameters):
            self.native.write_best(i, np.ascontiguousarray(memory.best[in_order.index(parameter)]))
        self._bring_statistics(self.native.write_best, memory.buffers)
        if memory.best_epoch is not None:
            self.native.set_best(memory.best_epoch, memory.best_loss)
        if self.average is not None and memory.average is not None:
            means = [memory.average[in_order.index(parameter)] for parameter in self.plan.parameters]
            self.average.go_on(means, memory.taken)
            self._give_average()
        for op in self._dropouts():
            self.native.dropout_pass = op.layer.passes.value

    def finish(self) -> None:
        """Hand everything back to Python; of what diverged there is no average worth having."""
        self._hear_average()
        self._hand_over()
        if self.average is not None and not self.diverged:
            self.average.leave()

    def _hear_average(self) -> None:
        """Bring the average to Python, where callbacks and checkpoints find it."""
        if self.average is not None and self.native.averaged:
            for i, mean in enumerate(self.average.values):
                self.native.read_average(i, mean)
            self.average.taken = self.native.averaged

    def _give_average(self) -> None:
        """Have the engine go on from the average that is in Python."""
        if self.average is not None:
            for i, mean in enumerate(self.average.values):
                self.native.write_average(i, mean)
            self.native.averaged = self.average.taken

    def _bring_statistics(self, write: Any, held: dict[Buffer, Any] | None = None) -> None:
        """Have the engine go by the running statistics that are in Python, or by `held`."""
        statistics.bring(self.plan.statistics, len(self.plan.parameters), self.plan.dtype, write, held)

    def _hear_statistics(self) -> None:
        """Bring what the engine has made of them to Python: all of it or, if interrupted before, nothing."""
        if self.has_moved:
            found = self._statistics(self.native.read_value)
            fill((), (), map(setattr, found, repeat("value"), found.values()))
            self.has_moved = False

    def _best_statistics(self) -> dict[Buffer, Any]:
        return self._statistics(self.native.read_best)

    def _statistics(self, read: Any) -> dict[Buffer, Any]:
        return statistics.taken(self.plan.statistics, len(self.plan.parameters), self.plan.dtype, read)

    def _hand_over(self) -> None:
        self._hear_statistics()
        self.native.give_state()
        self.native.release()
        self._tell_dropouts()

    def _tell_dropouts(self) -> None:
        for op in self._dropouts():
            op.layer.passes.value = self.native.dropout_pass

    def _dropouts(self) -> list[Op]:
        return [op for op in self.plan.ops if op.kind == "Dropout"]


def _best(compiled: Any, plan: Plan) -> list[np.ndarray]:
    """The parameters of the best epoch, or those that the run began with."""
    dtype = np.dtype(plan.dtype)
    best = [np.empty(shape, dtype) for shape in plan.shapes]
    for i, array in enumerate(best):
        compiled.read_best(i, array)
    return best


def _table(columns: list[np.ndarray]) -> np.ndarray:
    """Columns as the engine has them, a row after the other."""
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1).ravel()


def _refresh(loop: "weakref.ref[NativeLoop]") -> None:
    """Look whether the engine still knows the model, whose arrays a callback has replaced."""
    if (alive := loop()) is not None:
        alive._lowered()
        alive.native.changed = False


def _weights(plan: Plan) -> list[Any]:
    """The weights of a loss, which can be written in place, past anybody who watches its attributes."""
    found: list[Any] = [repr(plan.loss.weights)] if type(plan.loss) is MultiLoss else []
    for head in plan.heads:
        buffers = [getattr(head.loss, name, None) for name in ("weight", "pos_weight")]
        values = [buffer.value for buffer in buffers if isinstance(buffer, Buffer)]
        found += [arrays.to_numpy(value).tobytes() for value in values if value is not None]
    return found


def in_order(value: Structure, like: Structure) -> list[Any]:
    """The arrays of `value` as `like` has them: dicts may hold the same names in another order."""
    return [value[name] for name in like] if isinstance(like, dict) else leaves(value)


def _form(x: Structure) -> Any:
    """What tells an array, a tuple of so many and a dict of these names apart; the names may come in any order."""
    return each(lambda part: None, x)


def _holds_classes(target: np.ndarray) -> bool:
    return target.dtype.kind in "iu"


def _sample_shape(x: np.ndarray) -> tuple[int, ...]:
    return tuple(x.shape[1:])
