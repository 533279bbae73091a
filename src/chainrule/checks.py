"""Is a backward pass right? Central differences know. For this library's layers, and for yours."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import arrays
from .arguments import as_arrays
from .arrays import Array
from .module import Module
from .structures import Structure, each, is_several, leaves, names, rebuild


class GradientError(AssertionError):
    """A backward pass disagrees with the forward pass; `report` says where."""

    def __init__(self, message: str, report: "GradientReport") -> None:
        super().__init__(message)
        self.report = report


@dataclass(repr=False)
class GradientReport:
    """What `check_gradients` found.

    errors : the largest relative error by name: "x" for the input ("x[0]" or "x['a']" for a part of it), and each
        parameter by its dotted name.
    kinks : how many elements by name sat on a kink, where only the one-sided slopes bound the gradient.
    tolerance : the error up to which a gradient is right.
    """

    errors: dict[str, float]
    kinks: dict[str, int]
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether every gradient is right."""
        return all(error <= self.tolerance for error in self.errors.values())

    def __repr__(self) -> str:
        width = max(len(name) for name in self.errors)
        lines = [f"largest relative error of each gradient (at most {self.tolerance:g} is right)"]
        for name, error in self.errors.items():
            verdict = "right" if error <= self.tolerance else "WRONG"
            kinks = f"   {self.kinks[name]} at a kink" if self.kinks[name] else ""
            lines.append(f"  {name:{width}}  {error:9.2e}  {verdict}{kinks}")
        return "\n".join(lines)


def check_gradients(
    module: Module, *inputs: Any, tolerance: float = 1e-6, seed: int = 0, raises: bool = True
) -> GradientReport:
    """Compare `backward` with central differences of `forward`, for the first input and every parameter.

    The output y is weighed with random numbers r, so that f = Σ r y is one number whose gradient by y is r. Each
    element θ of the input and of the parameters is moved by ±h, and (f(θ+h) - f(θ-h)) / 2h compared with what
    `backward(r)` says. All of it happens in float64, on copies; `module` and `inputs` stay as they are. Of an input or
    output that is a tuple or a dict, every array takes part.

    Where the one-sided slopes disagree there is a kink between θ-h and θ+h, as in ReLU at 0. The derivative is not
    unique there, and it is enough if `backward` lies between the two slopes.

    Parameters
    ----------
    module : a layer, a loss or a network.
    inputs : what `forward` takes; the gradient is that of the first. For a loss: y, target.
    tolerance : the largest relative error that counts as right.
    seed : of r.
    raises : raise GradientError if a gradient is wrong, instead of only reporting it.

    Returns   a GradientReport

    Raises GradientError (an AssertionError) that names what is wrong; ValueError if the gradients' shapes are.

    >>> from chainrule import Tanh
    >>> check_gradients(Tanh(), np.linspace(-2, 2, 6).reshape(2, 3)).ok
    True
    """
    if not inputs:
        raise ValueError("check_gradients: give the module and at least one input")
    probe = _Probe(module, inputs, seed)
    found = probe.gradients()
    errors, kinks = {}, {}
    for name, place in probe.places.items():
        if found[name].shape != tuple(place.shape):
            shape = tuple(place.shape)
            raise ValueError(f"check_gradients: the gradient by {name} must be {shape}, got {found[name].shape}")
        errors[name], kinks[name] = _compare(probe, name, found[name])
    report = GradientReport(errors, kinks, tolerance)
    if raises and not report.ok:
        wrong = ", ".join(name for name, error in errors.items() if not error <= tolerance)
        raise GradientError(f"{type(module).__name__}: backward is wrong for {wrong}\n{report!r}", report)
    return report


class _Probe:
    """A copy of a module in float64, with its input and parameters as numbers that can be moved."""

    def __init__(self, module: Module, inputs: tuple[Any, ...], seed: int) -> None:
        self.module = copy.deepcopy(module).double().unfreeze()  # whose backward is to say it all
        first = as_arrays("check_gradients", "x", inputs[0])
        # The library is that of the parameters where there are any, so that a moved module is checked where it is.
        like = next((parameter.value for parameter in module.param()), leaves(first)[0])
        self.xp, self.device = arrays.namespace(like), getattr(like, "device", None)
        self.x = each(lambda part: self._exact(part, "float64"), first)
        self.rest = [each(lambda part: self._exact(part) if arrays.is_array(part) else part, v) for v in inputs[1:]]
        self.buffers = [(buffer, buffer.value) for _, buffer in self.module.named_buffers()]
        self.places = self._by_name(self.x) | {name: p.value for name, p in self.module.named_parameters()}
        rng, y = np.random.default_rng(seed), self._forward()[0]
        self.weights = each(lambda part: rng.normal(size=tuple(part.shape)), y)
        self.middle = self.value()
        # What rounding errors of f are measured against.
        self.scale = max(1.0, math.sqrt(sum(float(np.sum(part**2)) for part in self._weighed(y))))

    def _exact(self, value: Array, dtype: str | None = None) -> Array:
        dtype = "float64" if arrays.is_floating(value) else dtype
        return arrays.convert(value, xp=self.xp, dtype=dtype, device=self.device)

    def _by_name(self, x: Structure) -> dict[str, Array]:
        return {f"x{name}": part for name, part in zip(names(x), leaves(x), strict=True)}

    def _weighed(self, y: Structure) -> list[np.ndarray]:
        return [r * arrays.to_numpy(part) for r, part in zip(leaves(self.weights), leaves(y), strict=True)]

    def _forward(self) -> tuple[Structure, Any]:
        for buffer, value in self.buffers:  # so that every pass is the same one: the same dropout mask, say
            buffer.value = arrays.convert(value) if arrays.is_array(value) else value
        return self.module.forward(self.x, *self.rest)

    def value(self) -> float:
        """f = Σ r y, added exactly, because the differences of f are tiny."""
        return math.fsum(r_y for part in self._weighed(self._forward()[0]) for r_y in part.reshape(-1).tolist())

    def gradients(self) -> dict[str, np.ndarray]:
        """What `backward` says."""
        for parameter in self.module.param():
            parameter.grad[...] = 1  # not 0, so that = instead of += shows
        y, saved = self._forward()
        dy = [arrays.convert_like(r, part) for r, part in zip(leaves(self.weights), leaves(y), strict=True)]
        dx = self.module.backward(rebuild(y, dy), saved)
        if is_several(dx) or is_several(self.x):
            form, got = (each(lambda part: None, value) for value in (self.x, dx))
            if form != got:
                raise ValueError(f"check_gradients: the gradient by x must have the form of x, {form}, got {got}")
        found = {name: np.array(arrays.to_numpy(part)) for name, part in self._by_name(dx).items()}
        return found | {name: arrays.to_numpy(p.grad) - 1 for name, p in self.module.named_parameters()}

    def slopes(self, name: str, position: tuple[int, ...], h: float) -> tuple[float, float]:
        """The slopes of f by one number, from it up by h and from it down by h."""
        place = self.places[name]
        before = float(place[position])
        above, below = before + h, before - h  # as they are after rounding
        try:
            place[position] = above
            f_above = self.value()
            place[position] = below
            f_below = self.value()
        finally:
            place[position] = before
        return (f_above - self.middle) / (above - before), (self.middle - f_below) / (before - below)

    def bounds(self, name: str, position: tuple[int, ...], claimed: float) -> tuple[float, float, bool]:
        """Between what the derivative by one number must lie, and whether there is a kink.

        Without a kink the two bounds are equal up to rounding and are looked at closely only if `claimed`, the number
        that `backward` says, is another one.
        """
        # The error of a central difference is about h² f‴ / 6 + eps f / h, least near the cube root of eps.
        h = np.finfo(np.float64).eps ** (1 / 3) * max(1.0, abs(float(self.places[name][position])))
        up, down = self.slopes(name, position, h)
        gap, central = abs(up - down), (up + down) / 2
        size = max(abs(central), 1e-3 * self.scale)
        flat = gap <= 1e-4 * size
        if flat and abs(claimed - central) <= 1e-8 * size:
            return central, central, False
        # Over a smaller distance a bend shrinks with it, and a kink stays, unless it lies farther off.
        up_near, down_near = self.slopes(name, position, h / 16)
        gap_near, central_near = abs(up_near - down_near), (up_near + down_near) / 2
        if flat or abs(16 * gap_near - gap) < gap / 2:
            # Where the second derivative jumps, as in HuberLoss at δ, the error is proportional to h; it goes on to 0.
            candidates = (central, central_near, central_near + (central_near - central) / 15)
            return min(candidates), max(candidates), False
        if gap_near < gap / 4:
            return central_near, central_near, False
        return min(up_near, down_near), max(up_near, down_near), True


def _compare(probe: _Probe, name: str, found: np.ndarray) -> tuple[float, int]:
    """The largest relative error of one gradient, and the number of its elements at kinks."""
    if not found.size:
        return 0.0, 0
    bounds = [probe.bounds(name, position, float(found[position])) for position in np.ndindex(found.shape)]
    low, high, kinks = (np.array(column).reshape(found.shape) for column in zip(*bounds, strict=True))
    difference = np.maximum(np.maximum(low - found, found - high), 0.0)
    size = np.maximum(np.abs(low + high) / 2, np.abs(found))
    # Elements far below the others are measured against them: their own differences drown in the rounding of f.
    floor = max(1e-2 * float(size.max()), 1e-3 * probe.scale)
    relative = difference / np.maximum(size, floor)
    return float(np.where(np.isfinite(relative), relative, np.inf).max()), int(np.count_nonzero(kinks))
