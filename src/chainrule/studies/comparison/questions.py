"""What the study asks: one size or choice is varied at a time, all others stay as in BASE."""

from dataclasses import dataclass, fields, replace
from typing import Any

# Classes and arguments have the same names in chainrule and in PyTorch. The learning rates are the best for both disks
# in the picture "learning rate and optimizer", rounded to 1, 2 or 5.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any], float]] = {
    "SGD": ("SGD", {}, 0.2),
    "momentum": ("SGD", {"momentum": 0.9}, 0.05),
    "Nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}, 0.05),
    "RMSprop": ("RMSprop", {}, 0.001),
    "Adam": ("Adam", {}, 0.002),
    "AdamW": ("AdamW", {}, 0.002),
}
LOSSES = {"MSE": "MSELoss", "cross-entropy": "CrossEntropyLoss", "L1": "L1Loss"}
DISKS = ("report", "balanced")


@dataclass(frozen=True)
class Cell:
    """One way to train the network."""

    points: int = 1000
    lr: float = OPTIMIZERS["SGD"][2]
    epochs: int = 200
    batch_size: int = 50
    activation: str = "ReLU"
    optimizer: str = "SGD"
    loss: str = "MSE"
    width: int = 25
    depth: int = 3

    @property
    def steps_per_epoch(self) -> int:
        """Updates in an epoch."""
        return -(-self.points // self.batch_size)

    @property
    def steps(self) -> int:
        """Updates in all."""
        return self.epochs * self.steps_per_epoch


BASE = Cell()
CELL = tuple(field.name for field in fields(Cell))


@dataclass(frozen=True)
class Question:
    """A field of Cell and the values that it is given."""

    name: str
    title: str
    values: tuple[Any, ...]

    @property
    def scale(self) -> str:
        """How its axis is drawn: "log" for numbers that span a decade, "linear", or "names"."""
        if isinstance(self.values[0], str):
            return "names"
        return "log" if self.values[-1] > 10 * self.values[0] else "linear"

    def cell(self, value: Any) -> Cell:
        """The base with this value; an optimizer comes with the learning rate that suits it."""
        changes: dict[str, Any] = {self.name: value}
        if self.name == "optimizer":
            changes["lr"] = OPTIMIZERS[value][2]
        return replace(BASE, **changes)


@dataclass(frozen=True)
class Plan:
    """All that is measured.

    questions : trained by both; tuning : learning rates, which chainrule alone tries for every optimizer.
    seeds : networks of each cell and disk. rounds : of timing, each at most `timed_steps` steps.
    test_points : that errors are counted on. followed : the disks on which both are watched epoch by epoch.
    """

    questions: tuple[Question, ...]
    tuning: tuple[float, ...]
    seeds: int
    rounds: int
    timed_steps: int
    test_points: int
    name: str
    followed: tuple[str, ...] = DISKS

    def cells(self) -> list[Cell]:
        """What both frameworks train, each once; what takes longest first."""
        cells = {BASE: None} | {question.cell(value): None for question in self.questions for value in question.values}
        return sorted(cells, key=lambda cell: -cell.steps)

    def tuned(self) -> list[Cell]:
        """What only chainrule trains."""
        tried = [replace(BASE, optimizer=name, lr=lr) for name in OPTIMIZERS for lr in self.tuning]
        both = set(self.cells())
        return [cell for cell in tried if cell not in both]

    @property
    def points(self) -> int:
        """The most points that a network learns from."""
        return max(cell.points for cell in self.cells())


def full() -> Plan:
    """The study whose page is in docs/study."""
    return Plan(
        questions=(
            Question("points", "Number of training points", (100, 300, 1000, 3000, 10_000, 30_000, 100_000)),
            Question("lr", "Learning rate", (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)),
            Question("epochs", "Epochs", (10, 20, 50, 100, 200, 500, 1000)),
            Question("batch_size", "Batch size", (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)),
            Question("activation", "Activation", ("ReLU", "LeakyReLU", "ELU", "SiLU", "GELU", "Tanh", "Sigmoid")),
            Question("optimizer", "Optimizer", tuple(OPTIMIZERS)),
            Question("loss", "Loss", tuple(LOSSES)),
            Question("width", "Width of the hidden layers", (2, 5, 10, 25, 50, 100, 200)),
            Question("depth", "Number of hidden layers", (1, 2, 3, 4, 6, 8)),
        ),
        tuning=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
        seeds=20,
        rounds=10,
        timed_steps=2000,
        test_points=10_000,
        name="full",
    )


def quick() -> Plan:
    """The same questions with few values and two seeds: under a minute on two idle cores."""
    return Plan(
        questions=(
            Question("points", "Number of training points", (100, 300, 1000)),
            Question("lr", "Learning rate", (0.05, 0.2)),
            Question("epochs", "Epochs", (10, 50, 200)),
            Question("batch_size", "Batch size", (50, 200, 1000)),
            Question("activation", "Activation", ("ReLU", "Tanh")),
            Question("optimizer", "Optimizer", ("SGD", "Adam")),
            Question("loss", "Loss", ("MSE", "cross-entropy")),
            Question("width", "Width of the hidden layers", (25, 100)),
            Question("depth", "Number of hidden layers", (1, 3)),
        ),
        tuning=(0.002, 0.02, 0.2),
        seeds=2,
        rounds=2,
        timed_steps=200,
        test_points=1000,
        name="quick",
        followed=DISKS[:1],
    )
