"""Small networks and data that several test files train."""

import functools
import itertools

import numpy as np

import chainrule as cr
from chainrule.arrays import to_numpy


def report_network(activation=cr.Tanh, *optimizer, dtype="float64", hidden=25, seed=0):
    """The report's 2-25-25-25-2."""
    rng = np.random.default_rng(seed)
    sizes = [2, hidden, hidden, hidden, 2]
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [cr.Linear(n_in, n_out, dtype=dtype, rng=rng), activation()]
    return cr.Sequential(*optimizer, *layers[:-1])


def small_network(*optimizer, n_in=2, n_out=2, hidden=8, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return cr.Sequential(
        *optimizer,
        cr.Linear(n_in, hidden, dtype=dtype, rng=rng),
        cr.Tanh(),
        cr.Linear(hidden, n_out, dtype=dtype, rng=rng),
    )


def values(model):
    """Copies of all parameters as NumPy arrays."""
    return {name: np.array(to_numpy(array)) for name, array in model.state_dict().items()}


def bits(model):
    return {name: (str(array.dtype), array.tobytes()) for name, array in values(model).items()}


def branched_network(*optimizer, dtype="float64", seed=0, dropout=0.0):
    """Two inputs, two heads: {"image": (n, 2), "numbers": (n, 3)} to {"kind": (n, 3), "size": (n, 1)}."""
    rng = np.random.default_rng(seed)
    linear = functools.partial(cr.Linear, dtype=dtype, rng=rng)
    return cr.Sequential(
        *optimizer,
        cr.Parallel({"image": linear(2, 4), "numbers": linear(3, 4)}),
        cr.Concat(),
        cr.Tanh(),
        *([cr.Dropout(dropout, rng=0)] if dropout else []),
        cr.Parallel({"kind": linear(8, 3), "size": linear(8, 1)}),
    )


def branched_loss():
    return cr.MultiLoss({"kind": cr.CrossEntropyLoss(), "size": cr.MSELoss()}, weights={"kind": 1.0, "size": 0.3})


def branched_data(n=50, seed=0):
    rng = np.random.default_rng(seed)
    x = {"image": rng.normal(size=(n, 2)), "numbers": rng.normal(size=(n, 3))}
    kind = (x["image"][:, 0] > 0) + (x["numbers"][:, 0] > 0).astype(np.int64)
    return cr.Dataset(x, {"kind": kind, "size": x["image"][:, :1] * x["numbers"][:, 1:2]})
