"""How well the target is predicted: counts of classes, or errors in the target's own units."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..train import metrics

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


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
    def most_frequent(self) -> tuple[str, float]:
        """The most frequent class, and its share: the accuracy of always saying it."""
        counts = self.confusion.sum(axis=1)
        return self.classes[int(counts.argmax())], float(counts.max() / self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The score as plain values, for JSON."""
        name, share = self.most_frequent
        return {
            "rows": self.rows,
            "errors": self.errors,
            "accuracy": self.accuracy,
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
        """The root of the mean squared error of always saying the mean."""
        return self._unit * metrics.rmse(np.full(self.rows, self.mean / self._unit), self.true / self._unit)

    @property
    def residuals(self) -> np.ndarray:
        """What was said less what is true. (n,)"""
        return np.asarray(self.said - self.true)

    @property
    def r2(self) -> float:
        """The share of the variance that is explained."""
        return metrics.r2(self.said / self._unit, self.true / self._unit)

    @property
    def rmse(self) -> float:
        """The root of the mean squared error."""
        return self._unit * metrics.rmse(self.said / self._unit, self.true / self._unit)

    @property
    def mae(self) -> float:
        """The mean absolute error."""
        return metrics.mae(self.said, self.true)

    def to_dict(self) -> dict[str, Any]:
        """The score as plain values, for JSON."""
        return {
            "rows": self.rows,
            "r2": self.r2,
            "rmse": self.rmse,
            "mae": self.mae,
            "rmse_of_the_mean": self.rmse_of_the_mean,
            "residual_quantiles": {f"{q:g}": float(np.quantile(self.residuals, q)) for q in QUANTILES},
        }


Score = ClassScore | NumberScore
