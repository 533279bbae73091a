"""How well the target is predicted: counts of classes, or errors in the target's own units."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..train import metrics

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEW = 10  # rows, below which a score of numbers says too little for an interval
MANY = 1000  # rows, above which nobody asks how much chance is in a score
RESAMPLED = 1000  # times that the rows are drawn anew, to see how much a score of numbers owes to chance
NORMAL = 1.959964  # between minus and plus this lie 95 % of a normal distribution

Interval = tuple[float, float]


@dataclass(frozen=True)
class ClassScore:
    """What was said of rows whose class is known.

    classes : the model's, and after them those of the rows that it does not know.
    confusion : (classes, classes) counts: a row for the true class, a column for the class that was said.
    cross_entropy : the mean over the rows whose class the model knows; lower is better, log(classes) is guessing.
    """

    classes: tuple[str, ...]
    confusion: np.ndarray
    cross_entropy: float

    task: ClassVar = "classification"

    @classmethod
    def of(cls, classes: tuple[str, ...], true: np.ndarray, p: np.ndarray) -> "ClassScore":
        """The score of probabilities p (n, classes that the model knows); true (n,), of all classes."""
        n, known = len(classes), true < p.shape[1]
        confusion = np.bincount(true * n + p.argmax(axis=1), minlength=n * n).reshape(n, n)
        likelihood = p[known, true[known]]
        cross_entropy = -np.log(np.maximum(likelihood, np.finfo(np.float64).tiny)).mean() if known.any() else np.nan
        return cls(classes, confusion, float(cross_entropy))

    @property
    def rows(self) -> int:
        """How many rows there were."""
        return int(self.confusion.sum())

    @property
    def errors(self) -> int:
        """How many of them were put into a wrong class."""
        return self.rows - int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """The share that was put into the right class."""
        return 1 - self.errors / self.rows

    @property
    def accuracy_interval(self) -> Interval:
        """Between which shares the accuracy on any number of such rows is likely to lie: the 95 % interval.

        Source    Wilson 1927, "Probable inference, the law of succession, and statistical inference"
        """
        n, share, z2 = self.rows, self.accuracy, NORMAL**2
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = NORMAL / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
        return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))

    @property
    def most_frequent(self) -> tuple[str, float]:
        """The most frequent class of these rows, and its share: the accuracy of always saying it."""
        counts = self.confusion.sum(axis=1)
        return self.classes[int(counts.argmax())], float(counts.max() / self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The score as plain values, for JSON."""
        name, share = self.most_frequent
        return {
            "rows": self.rows,
            "errors": self.errors,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "cross_entropy": None if np.isnan(self.cross_entropy) else self.cross_entropy,
            "most_frequent": name,
            "accuracy_of_the_most_frequent": share,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }


@dataclass(frozen=True)
class NumberScore:
    """What was said of rows whose number is known.

    true, said : (n,), in the target's units.
    mean : what a model that knows nothing would always say: the mean of the training rows.
    """

    true: np.ndarray
    said: np.ndarray
    mean: float

    task: ClassVar = "regression"

    @property
    def rows(self) -> int:
        """How many rows there were."""
        return len(self.true)

    @property
    def _unit(self) -> float:
        """Something that squares of numbers of this size stay finite in."""
        return float(np.abs(self.true).max()) or 1.0

    @property
    def rmse_of_the_mean(self) -> float:
        """The root of the mean squared error of always saying the mean of the training rows."""
        return self._unit * metrics.rmse(np.full(self.rows, self.mean / self._unit), self.true / self._unit)

    @property
    def rmse_of_their_mean(self) -> float:
        """The same of always saying the mean of these rows, which is what R² compares with.

        Equation  r2 = 1 - (rmse / rmse_of_their_mean)²
        """
        return self._unit * float(np.std(self.true / self._unit)) if np.ptp(self.true) else 0.0

    @property
    def residuals(self) -> np.ndarray:
        """What was said less what is true. (n,)"""
        return np.asarray(self.said - self.true)

    @property
    def r2(self) -> float:
        """The share of the variance of these rows that is explained."""
        return metrics.r2(self.said / self._unit, self.true / self._unit)

    @property
    def rmse(self) -> float:
        """The root of the mean squared error."""
        return self._unit * metrics.rmse(self.said / self._unit, self.true / self._unit)

    @property
    def mae(self) -> float:
        """The mean absolute error."""
        return metrics.mae(self.said, self.true)

    @property
    def intervals(self) -> tuple[Interval, Interval] | None:
        """Between which numbers R² and the root mean square are on 95 % of samples like this one.

        None of fewer than 10 rows, of which no samples can be made, of more than 1,000, and of equal numbers.

        Source    Efron 1979, "Bootstrap methods": the rows are drawn anew from themselves, with the same seed each time
        """
        if not FEW <= self.rows <= MANY or not np.ptp(self.true):
            return None
        chosen = np.random.default_rng(0).integers(self.rows, size=(RESAMPLED, self.rows))
        true, said = (numbers[chosen] / self._unit for numbers in (self.true, self.said))
        squares, spread = np.mean((said - true) ** 2, axis=1), np.var(true, axis=1)
        r2 = np.quantile(1 - squares[spread > 0] / spread[spread > 0], (0.025, 0.975))
        rmse = self._unit * np.sqrt(np.quantile(squares, (0.025, 0.975)))
        return (float(r2[0]), float(r2[1])), (float(rmse[0]), float(rmse[1]))

    def to_dict(self) -> dict[str, Any]:
        """The score as plain values, for JSON."""
        intervals = self.intervals
        return {
            "rows": self.rows,
            "r2": self.r2,
            "rmse": self.rmse,
            "mae": self.mae,
            "rmse_of_the_mean": self.rmse_of_the_mean,
            "rmse_of_their_mean": self.rmse_of_their_mean,
            "r2_interval": None if intervals is None else list(intervals[0]),
            "rmse_interval": None if intervals is None else list(intervals[1]),
            "residual_quantiles": {f"{q:g}": float(np.quantile(self.residuals, q)) for q in QUANTILES},
        }


Score = ClassScore | NumberScore
