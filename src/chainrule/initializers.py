"""Initial weights, one function per paper.

Each takes the shape of a weight, (out_features, in_features), and a generator, and returns float64 numbers, which the
layer rounds to its own dtype. `gain` multiplies the standard deviation.

    Linear(25, 25, init=chainrule.initializers.he_normal)

Equation  n_in = in_features, n_out = out_features; a uniform on ±a has the standard deviation a/√3
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

Initializer: TypeAlias = Callable[[tuple[int, ...], np.random.Generator], np.ndarray]


def _uniform(shape: tuple[int, ...], rng: np.random.Generator, std: float) -> np.ndarray:
    bound = math.sqrt(3.0) * std
    return rng.uniform(-bound, bound, shape)


def torch_default(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """What PyTorch's Linear starts from: uniform on ±1/√n_in, for the weight (and, by the layer, for the bias).

    Source    torch.nn.Linear; LeCun et al. 1998 ("Efficient BackProp"), section 4.6, up to the constant
    """
    bound = 1.0 / math.sqrt(max(shape[1], 1))
    return rng.uniform(-bound, bound, shape)


def lecun_normal(shape: tuple[int, ...], rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """Normal with variance 1/n_in: a linear unit keeps the variance of its inputs.

    Source    LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, equation 16
    """
    return rng.normal(0.0, gain / math.sqrt(max(shape[1], 1)), shape)


def lecun_uniform(shape: tuple[int, ...], rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """Uniform with variance 1/n_in.

    Source    LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, equation 16
    """
    return _uniform(shape, rng, gain / math.sqrt(max(shape[1], 1)))


def glorot_normal(shape: tuple[int, ...], rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """Normal with variance 2/(n_in + n_out), a compromise between signals going forward and gradients coming back.

    Source    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010, eq. 12
    """
    return rng.normal(0.0, gain * math.sqrt(2.0 / max(shape[0] + shape[1], 1)), shape)


def glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """Uniform with variance 2/(n_in + n_out).

    Source    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010, eq. 16
    """
    return _uniform(shape, rng, gain * math.sqrt(2.0 / max(shape[0] + shape[1], 1)))


def he_normal(shape: tuple[int, ...], rng: np.random.Generator, gain: float = math.sqrt(2.0)) -> np.ndarray:
    """Normal with variance 2/n_in, for ReLU, which cuts the variance in half.

    Source    He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, equation 10
    """
    return lecun_normal(shape, rng, gain)


def he_uniform(shape: tuple[int, ...], rng: np.random.Generator, gain: float = math.sqrt(2.0)) -> np.ndarray:
    """Uniform with variance 2/n_in, for ReLU.

    Source    He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, equation 10
    """
    return lecun_uniform(shape, rng, gain)


def orthogonal(shape: tuple[int, ...], rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """Orthonormal rows (or columns, whichever are fewer), uniform over all such matrices, times gain.

    Source    Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning", 2014, section 3;
              the signs that make it uniform: Mezzadri, "How to generate random matrices", 2007
    """
    tall = (max(shape), min(shape))
    q, r = np.linalg.qr(rng.normal(size=tall))
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return gain * (q if shape[0] >= shape[1] else q.T)
