"""A table model as a network of raw numbers, for places where there is no table: ONNX, C."""

from typing import Any

import numpy as np

from ..layers import Linear, Sequential, Softmax
from ..train import predict
from .dates import TIME
from .encoding import Encoding
from .features import CategoryFeature, Ignored, NumberFeature
from .model import TableModel
from .report import grid
from .target import NumberTarget

LOSES_DIGITS = 1e4  # means that are this many deviations from 0 leave float32 few digits for what differs


def raw_network(model: TableModel, *, probabilities: bool = True) -> Sequential:
    """The model's network with the scales of its columns and its target inside, so that it takes and gives raw numbers.

    Equation  first layer: W (x - mean) / scale + b = (W / scale) x + (b - W mean / scale);
              last layer, of a number: (W h + b) scale + mean; both in float64, then in the network's own dtype
    Shapes    (n, inputs), as `raw_inputs` lists them -> (n, 1), or (n, classes)

    Parameters
    ----------
    probabilities : give probabilities of classes, by a Softmax at the end; else logits.

    Raises ValueError for a network that does not begin and end with a Linear that has a bias.
    """
    first, *rest = list(model.network)
    linears = [layer for layer in (first, *rest) if isinstance(layer, Linear) and layer.bias is not None]
    if first not in linears or (rest and rest[-1] not in linears):
        raise ValueError("raw_network: the network must begin and end with a Linear that has a bias")
    means, scales = _means_and_scales(model.encoding)
    inner = _scaled(first, lambda w, b: (w / scales, b - w @ (means / scales)))
    layers: list[Any] = [inner, *rest]
    target = model.target
    if isinstance(target, NumberTarget):
        mean, scale = target.mean, target.scale
        layers[-1] = _scaled(layers[-1], lambda w, b: (w * scale, b * scale + mean))
    elif probabilities:
        layers.append(Softmax(dim=-1))
    return Sequential(*layers)


def raw_inputs(model: TableModel) -> dict[str, Any]:
    """What the inputs and outputs of `raw_network` are, in order, as plain values for JSON.

    An input has a name, the column that it comes from and how: "number" (in the unit that it names),
    "category" (1 in rows that have it, 0 in others), "other" (1 in rows with any other category) or "missing" (1 where
    the column is missing). `if_missing` is what a number is then.
    """
    inputs: list[dict[str, Any]] = []
    for feature in model.encoding.features:
        if isinstance(feature, NumberFeature):
            unit = "1 for true, 0 for false" if feature.kind == "boolean" else f"as in the table{_less(feature.origin)}"
            if feature.kind == "date":
                times = feature.written == TIME
                unit = "part of a day, 0.5 at noon" if times else f"days since {_day(feature.origin)}"
            inputs.append({"column": feature.name, "is": "number", "unit": unit, "if_missing": feature.middle})
        elif isinstance(feature, CategoryFeature):
            inputs += [{"column": feature.name, "is": "category", "value": value} for value in feature.categories]
            if feature.rare:
                inputs.append({"column": feature.name, "is": "other", "rare": list(feature.rare)})
        if not isinstance(feature, Ignored) and feature.indicator:
            inputs.append({"column": feature.name, "is": "missing"})
    named = [{"name": name} | one for name, one in zip(model.encoding.inputs, inputs, strict=True)]
    unit = f"as in the table{_less(model.target.origin)}" if isinstance(model.target, NumberTarget) else "probability"
    return {"inputs": named, "outputs": [{"name": name, "unit": unit} for name in model.target.outputs]}


def inputs_text(model: TableModel) -> str:
    """What the inputs of `raw_network` are, a line each, and the outputs."""
    words = {
        "category": "1 in rows that have it, else 0",
        "other": "1 in rows with a category that training had rarely or never, else 0",
        "missing": "1 where it is missing, else 0",
    }
    described = raw_inputs(model)
    rows = [("input", "name", "what it is")]
    for i, one in enumerate(described["inputs"]):
        number = f"{one.get('unit')}; {one.get('if_missing'):.9g} where it is missing" if one["is"] == "number" else ""
        rows.append((f"x[{i}]", one["name"], words.get(one["is"], number)))
    what = {"probability": "its probability"}
    rows += [
        (f"y[{i}]", one["name"], what.get(one["unit"], f"a number, {one['unit']}"))
        for i, one in enumerate(described["outputs"])
    ]
    return grid(rows)


def _day(origin: float) -> str:
    """The day from which days are counted."""
    return str(np.datetime64(int(origin), "D")) if origin else "1970"


def _less(origin: float) -> str:
    return f" less {origin:.0f}" if origin else ""


def raw_rows(model: TableModel, n: int = 100) -> np.ndarray:
    """Random rows about as far from the mean as those of training, for trying what was written. (n, inputs) float64."""
    rng = np.random.default_rng(0)
    means, scales = _means_and_scales(model.encoding)
    is_number = np.array([one["is"] == "number" for one in raw_inputs(model)["inputs"]])
    rows = np.where(is_number, rng.normal(size=(n, len(means))), rng.integers(0, 2, size=(n, len(means))))
    return np.asarray(means + scales * rows)


def disagreement(model: TableModel, n: int = 100) -> float:
    """The largest difference between the raw network and the model in n random rows.

    It is one of probabilities, or of numbers in standard deviations of the target.
    """
    means, scales = _means_and_scales(model.encoding)
    rows, target = raw_rows(model, n), model.target
    y, raw = predict(model.network, (rows - means) / scales), predict(raw_network(model), rows)
    if isinstance(target, NumberTarget):
        return float(np.abs((raw[:, 0] - target.mean) / target.scale - y[:, 0]).max())
    return float(np.abs(raw - target.probabilities(y)).max())


def columns_that_lose_digits(model: TableModel) -> list[str]:
    """The columns whose raw numbers lie so far from 0 that float32 cannot tell well how they differ."""
    numbers = [feature for feature in model.encoding.features if isinstance(feature, NumberFeature)]
    return [feature.name for feature in numbers if abs(feature.mean) > LOSES_DIGITS * feature.scale]


def _means_and_scales(encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """What is subtracted from each input, and what it is divided by: 0 and 1 for those that are 0 or 1."""
    means: list[float] = []
    scales: list[float] = []
    for feature in encoding.features:
        rest = len(feature.inputs)
        if isinstance(feature, NumberFeature):
            means, scales, rest = [*means, feature.mean], [*scales, feature.scale], rest - 1
        means, scales = means + [0.0] * rest, scales + [1.0] * rest
    return np.array(means), np.array(scales)


def _scaled(layer: Linear, rule: Any) -> Linear:
    """A Linear whose weight and bias follow from those of another by a rule in float64."""
    weight, bias = layer.weight.value, layer.bias.value  # type: ignore[union-attr]
    w, b = rule(weight.astype(np.float64), bias.astype(np.float64))
    return Linear(layer.in_features, layer.out_features, weight=w.astype(weight.dtype), bias=b.astype(bias.dtype))
