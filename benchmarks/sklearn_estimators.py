"""How fast do chainrule's MLP estimators fit and predict, next to scikit-learn's, and are their scores as good?

    python benchmarks/sklearn_estimators.py [--quick] [--json FILE] [--markdown FILE] [--all-cores]

MLPClassifier and MLPRegressor of both libraries with the same arguments, on scikit-learn's own data sets and on three
generated ones of 20,000 rows. Each seed stands for another split into training and test data (a quarter) and another
random_state; both libraries see the same ones, scaled by a StandardScaler before the clock starts. With tol=0 and
n_iter_no_change=max_iter neither ends early, so that both run the same epochs, which is checked. Scores are those of
the test data: accuracy, or R². A difference of scores is the mean over seeds, ± its standard error.

Both compute in float64, as X is; `float32` is chainrule's with dtype="float32" on the same X. All runs in one process
with one BLAS thread on one core. --all-cores leaves scikit-learn's BLAS its own number of threads, gives chainrule's
n_jobs=-1, takes the clock on the wall, and fits the generated data sets alone. It needs a machine that is otherwise
idle: where a thread has to wait for a core, the others of BLAS wait for it.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import common
import numpy as np
from sklearn import datasets, neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from chainrule import estimators

OURS, SINGLE, THEIRS = "chainrule", "float32", "scikit-learn"
HIDDEN, SOLVERS = ((100,), (64, 64)), ("adam", "sgd")
LBFGS_ITERATIONS = 50
ROWS = (1, 10, 1000)  # of a prediction, and all there are
WIDE = (512, 512)  # whose weights take longer to copy than one row takes to predict


@cache
def made(make: Callable[[], Any]) -> Any:
    """What `make` returns, made once."""
    return make()


@dataclass(frozen=True)
class Task:
    """A data set, and how often and how long it is learned.

    make : returns X (n, n_features) and y (n,).
    labels : whether y holds classes, and not numbers.
    epochs, seeds : of the fits of equal length; default_seeds of the fits by default arguments.
    """

    name: str
    make: Callable[[], tuple[np.ndarray, np.ndarray]]
    labels: bool = True
    epochs: int = 50
    seeds: int = 10
    default_seeds: int = 10

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """X and y."""
        return made(self.make)

    def parts(self, seed: int) -> tuple[Any, Any]:
        """Training data and test data, scaled by the former."""
        x, y = self.data()
        x, x_test, y, y_test = train_test_split(
            x, y, test_size=0.25, random_state=seed, stratify=y if self.labels else None
        )
        scaler = StandardScaler().fit(x)
        if not self.labels:
            mean, deviation = y.mean(), y.std()
            y, y_test = (y - mean) / deviation, (y_test - mean) / deviation
        return (scaler.transform(x), y), (scaler.transform(x_test), y_test)


def bundled(load: Callable[..., Any]) -> Callable[[], Any]:
    """A data set that comes with scikit-learn."""
    return lambda: load(return_X_y=True)


def generated(classes: int, features: int) -> Callable[[], Any]:
    """20,000 rows, of whose features half say something."""
    half = features // 2
    return lambda: datasets.make_classification(
        20_000, features, n_informative=half, n_redundant=0, n_classes=classes, random_state=0
    )


LARGE = {"epochs": 10, "seeds": 5, "default_seeds": 3}
WINE = Task("wine", bundled(datasets.load_wine))
CANCER = Task("breast cancer", bundled(datasets.load_breast_cancer))
DIGITS = Task("digits", bundled(datasets.load_digits))
DIABETES = Task("diabetes", bundled(datasets.load_diabetes), labels=False)
TWO = Task("2 classes", generated(2, 20), **LARGE)
TEN = Task("10 classes", generated(10, 100), **LARGE)
FRIEDMAN = Task(
    "Friedman 1", lambda: datasets.make_friedman1(20_000, 20, noise=1.0, random_state=0), labels=False, **LARGE
)
SMALL, BIG = (WINE, CANCER, DIGITS, DIABETES), (TWO, TEN, FRIEDMAN)


def ways(task: Task, all_cores: bool, **settings: Any) -> dict[str, Any]:
    """The estimators that are compared, not yet fitted."""
    ours, theirs = estimators.MLPRegressor, neural_network.MLPRegressor
    if task.labels:
        ours, theirs = estimators.MLPClassifier, neural_network.MLPClassifier
    jobs = {"n_jobs": -1} if all_cores else {}
    return {
        OURS: ours(**settings, **jobs),
        SINGLE: ours(**settings, dtype="float32", **jobs),
        THEIRS: theirs(**settings),
    }


def fitted(estimator: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """The estimator fitted; that it has not converged, where the epochs are given, is no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(x, y)


# -- fitting


def fits(task: Task, seeds: int, all_cores: bool, **settings: Any) -> dict[str, list[dict[str, Any]]]:
    """Fit each way once for every seed, in turn: seconds, epochs and score of every fit."""
    clock = time.perf_counter if all_cores else time.process_time
    compared = ways(task, all_cores, **settings)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in compared}
    order = list(compared)
    for estimator in compared.values():  # a first time is not counted
        fitted(clone(estimator).set_params(max_iter=1), *task.parts(0)[0])
    for seed in range(seeds):
        train, test = task.parts(seed)
        for name in order:
            estimator = clone(compared[name]).set_params(random_state=seed)
            start = clock()
            fitted(estimator, *train)
            taken = clock() - start
            runs[name].append(
                {"seed": seed, "s": taken, "epochs": estimator.n_iter_, "score": float(estimator.score(*test))}
            )
        order.append(order.pop(0))  # so that nobody always runs after the same neighbour
    return runs


def equally_long(task: Task, seeds: int, all_cores: bool, epochs: int, **settings: Any) -> dict[str, Any]:
    """The same for a number of epochs that all run.

    Raises RuntimeError if one ran another number.
    """
    runs = fits(task, seeds, all_cores, max_iter=epochs, tol=0, n_iter_no_change=epochs, **settings)
    for name, of_name in runs.items():
        if any(run["epochs"] != epochs for run in of_name):
            found = [run["epochs"] for run in of_name]
            raise RuntimeError(f"{name} on {task.name} with {settings} ran {found} epochs, and not {epochs}")
    return runs


def summary(task: Task, runs: dict[str, list[dict[str, Any]]], **what: Any) -> dict[str, Any]:
    """A row of a table: medians of seconds and epochs, means of scores."""
    s, epochs, score = (
        {name: of(run[key] for run in of_name) for name, of_name in runs.items()}
        for key, of in (("s", statistics.median), ("epochs", statistics.median), ("score", statistics.fmean))
    )
    gain, error = difference(runs)
    return {
        "data": task.name,
        **what,
        "ms": s[OURS] * 1e3,
        "ms of scikit-learn": s[THEIRS] * 1e3,
        "times as fast": s[THEIRS] / s[OURS],
        "ms in float32": s[SINGLE] * 1e3,
        "epochs": f"{epochs[OURS]:g}",
        "epochs of scikit-learn": f"{epochs[THEIRS]:g}",
        "score": f"{score[OURS]:.4f}",
        "score of scikit-learn": f"{score[THEIRS]:.4f}",
        "difference": f"{gain:+.4f} ± {error:.4f}",
        "score in float32": f"{score[SINGLE]:.4f}",
        "labels": task.labels,
        "gain": gain,
        "error": error,
        "runs": runs,
    }


def difference(runs: dict[str, list[dict[str, Any]]]) -> tuple[float, float]:
    """How much higher chainrule's score is, seed for seed: the mean and its standard error."""
    gains = [mine["score"] - other["score"] for mine, other in zip(runs[OURS], runs[THEIRS], strict=True)]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    return statistics.fmean(gains), error


# -- predicting


def predictions(task: Task, hidden: tuple[int, ...], all_cores: bool, **how: Any) -> list[dict[str, Any]]:
    """A row for each method and number of samples."""
    x, y = task.data()
    x = StandardScaler().fit_transform(x)
    ready = {
        name: fitted(estimator, x, y)
        for name, estimator in ways(task, all_cores, hidden_layer_sizes=hidden, max_iter=2, random_state=0).items()
    }
    found = []
    for method in ("predict", "predict_proba") if task.labels else ("predict",):
        for n in sorted({n for n in (*ROWS, len(x)) if n <= len(x)}):
            samples = x[:n].copy()
            bodies = {name: repeated(getattr(estimator, method), samples) for name, estimator in ready.items()}
            timings = common.interleave(bodies, wall=all_cores, **how)
            us = {name: timing.median * 1e6 for name, timing in timings.items()}
            found.append(
                {
                    "data": task.name,
                    "hidden": common.network_name(hidden),
                    "method": method,
                    "samples": f"{n:,}",
                    "µs": us[OURS],
                    "µs of scikit-learn": us[THEIRS],
                    "times as fast": us[THEIRS] / us[OURS],
                    "µs in float32": us[SINGLE],
                    "timings": timings,
                }
            )
    return found


def repeated(call: Callable[[np.ndarray], Any], x: np.ndarray) -> Callable[[int], None]:
    """A function of n that makes n calls."""

    def body(n: int) -> None:
        for _ in range(n):
            call(x)

    return body


# -- the tables

TIMES = {
    "ms": "chainrule, ms",
    "ms of scikit-learn": "scikit-learn, ms",
    "times as fast": "times as fast",
    "ms in float32": "float32, ms",
}
SCORES = {
    "score": "chainrule's score",
    "score of scikit-learn": "scikit-learn's",
    "difference": "difference",
    "score in float32": "float32's",
}
BOTH = {"epochs": "chainrule, epochs", "epochs of scikit-learn": "scikit-learn, epochs"}
ITERATIONS = {"epochs": "chainrule, iterations", "epochs of scikit-learn": "scikit-learn, iterations"}
TABLES = {
    "fits of equal length": {
        "data": "data",
        "hidden": "hidden",
        "solver": "solver",
        "epochs": "epochs",
        **TIMES,
        **SCORES,
    },
    "fits by default arguments": {"data": "data", **TIMES, **BOTH, **SCORES},
    "fits by lbfgs": {"data": "data", **TIMES, **ITERATIONS, **SCORES},
    "predictions": {
        "data": "data",
        "hidden": "hidden",
        "method": "method",
        "samples": "samples",
        "µs": "chainrule, µs",
        "µs of scikit-learn": "scikit-learn, µs",
        "times as fast": "times as fast",
        "µs in float32": "float32, µs",
    },
}


def markdown(results: dict[str, Any]) -> str:
    """How many times as fast chainrule is, as docs/sklearn.md has it."""
    equal, default, lbfgs = (results[name] for name in list(TABLES)[:3])
    fits = [f"{hidden}, {solver}" for hidden in ("100", "64-64") for solver in SOLVERS] + ["100, lbfgs", "defaults"]
    rows: dict[str, dict[str, Any]] = {}
    for row in equal:
        rows.setdefault(row["data"], {"data": row["data"]})[f"{row['hidden']}, {row['solver']}"] = row["times as fast"]
    for name, table in (("100, lbfgs", lbfgs), ("defaults", default)):
        for row in table:
            rows[row["data"]][name] = row["times as fast"]
    asked: dict[tuple[str, str], dict[str, Any]] = {}
    for row in results["predictions"]:
        key = (f"{row['data']}, {row['hidden']}", row["samples"])
        asked.setdefault(key, {"network": key[0], "samples": key[1]})[row["method"]] = row["times as fast"]
    tables = [
        common.markdown(list(rows.values()), {name: name for name in ["data", *fits]}),
        common.markdown(
            list(asked.values()),
            {"network": "data, hidden", "samples": "samples", "predict": "predict", "predict_proba": "predict_proba"},
        ),
    ]
    scores = [
        f"{what} {results[f'difference of {what}']['mean']:+.5f} ± {results[f'difference of {what}']['error']:.5f}"
        for what in ("accuracy", "R²")
    ]
    machine = results["machine"]
    about = f"{machine['cpu']}, one core; chainrule's scores less scikit-learn's at equal epochs: {', '.join(scores)}."
    return "\n\n".join([*tables, about]) + "\n"


def overall(report: common.Report, rows: list[dict[str, Any]]) -> None:
    """Say whether scores are as good, all rows together; rows of a data set share splits, so the error is a guess."""
    for what, labels in (("accuracy", True), ("R²", False)):
        chosen = [row for row in rows if row["labels"] is labels]
        if not chosen:
            continue
        gain = statistics.fmean(row["gain"] for row in chosen)
        error = sum(row["error"] ** 2 for row in chosen) ** 0.5 / len(chosen)
        text = f"{what}: chainrule's less scikit-learn's, mean of {len(chosen)} rows: {gain:+.5f} ± {error:.5f}"
        report.note(f"difference of {what}", {"mean": gain, "error": error, "rows": len(chosen)}, text)


def main() -> None:
    """Measure, print, save."""
    options = common.arguments(
        __doc__,
        markdown={"type": Path, "metavar": "FILE", "help": "write the tables there"},
        all_cores={"action": "store_true", "help": "all cores for both, by the clock on the wall"},
    )
    if not options.all_cores:
        common.one_core()
    many, quick = options.all_cores, options.quick
    report = common.Report("How fast do the MLP estimators fit and predict, next to scikit-learn's?", options)

    def show(name: str, rows: list[dict[str, Any]]) -> None:
        print(f"{name}\n", flush=True)
        report.table(name, rows, TABLES[name])

    tasks = BIG if many else (*SMALL, *BIG)
    if quick:
        tasks = (TWO,) if many else (WINE, DIGITS, DIABETES, TWO)
    rows = []
    for task in tasks:
        epochs, seeds = (5, 2) if quick else (task.epochs, task.seeds)
        for hidden in HIDDEN:
            for solver in SOLVERS:
                settings = {"hidden_layer_sizes": hidden, "solver": solver}
                runs = equally_long(task, seeds, many, epochs, **settings)
                rows.append(summary(task, runs, hidden=common.network_name(hidden), solver=solver))
    show("fits of equal length", rows)
    overall(report, rows)
    print()

    if not many:
        of_defaults = (WINE, DIABETES) if quick else tasks
        rows = [summary(task, fits(task, 2 if quick else task.default_seeds, many)) for task in of_defaults]
        show("fits by default arguments", rows)
        by_lbfgs = (WINE, DIABETES) if quick else SMALL
        settings = {"solver": "lbfgs", "max_iter": 10 if quick else LBFGS_ITERATIONS, "tol": 0}
        show("fits by lbfgs", [summary(task, fits(task, 2 if quick else 5, many, **settings)) for task in by_lbfgs])

    how = {"rounds": 3, "min_s": 0.003} if quick else {"rounds": 15, "min_s": 0.01, "most_s": 4}
    of_predictions = [(task, HIDDEN[0]) for task in (WINE, CANCER, DIGITS, DIABETES, TEN)] + [(DIGITS, WIDE)]
    if quick:
        of_predictions = [(DIGITS, HIDDEN[0]), (DIABETES, HIDDEN[0])]
    show("predictions", [row for task, hidden in of_predictions for row in predictions(task, hidden, many, **how)])
    report.save()
    if options.markdown is not None:
        options.markdown.write_text(markdown(report.results), "utf-8")


if __name__ == "__main__":
    main()
