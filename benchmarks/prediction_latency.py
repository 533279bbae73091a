"""How long does one row take, called from Python: a prediction, a training step, and `fit` before its first step?

    python benchmarks/prediction_latency.py [--quick] [--json FILE]

One core, float32, ReLU. Each peer gets its input in the form that it likes best. What `fit` costs by itself is the time
of a run of one epoch on one sample, less that of one step. `cr.predict` and `cr.evaluate`, which take any model, are
timed with 100 rows, beside the compiled network.
"""

import importlib.util
from typing import Any

import common
import numpy as np
import peers

import chainrule as cr

NETWORKS = ((2, 25, 25, 25, 2), (4, 64, 64, 2), (64, 64, 64, 64, 4), (784, 256, 128, 10))
ROWS = 100  # of a table that is predicted or evaluated at once


def repeated(call, *inputs) -> Any:
    """A function of n that makes n calls."""

    def body(n: int) -> None:
        for _ in range(n):
            call(*inputs)

    return body


def model_of(widths, *first) -> cr.Sequential:
    """The network with the initial weights that all peers have."""
    layers: list[Any] = []
    for weight, bias in peers.initial(widths):
        n_out, n_in = weight.shape
        layers += [cr.Linear(n_in, n_out, weight=weight, bias=bias), cr.ReLU()]
    return cr.Sequential(*first, *layers[:-1])


def by_numpy(widths, x):
    """Products into memory taken before."""
    layers = [(weight.T.copy(), bias, np.empty((1, len(bias)), np.float32)) for weight, bias in peers.initial(widths)]
    last = len(layers) - 1

    def predict():
        y = x
        for i, (weight, bias, out) in enumerate(layers):
            y = np.dot(y, weight, out=out)
            y += bias
            if i < last:
                np.maximum(y, 0, out=y)
        return y

    return repeated(predict)


def by_torch(widths, x):
    """Traced and frozen, without gradients."""
    import torch

    torch.set_num_threads(1)
    rows = torch.from_numpy(x)
    model = peers.torch_model(torch, widths, "ReLU").eval()
    with torch.inference_mode():
        traced = torch.jit.freeze(torch.jit.trace(model, rows))

        def body(n: int) -> None:
            with torch.inference_mode():
                for _ in range(n):
                    traced(rows)

        body(20)  # it goes on optimizing for a few calls
    return body


def by_torch_eager(widths, x):
    """A Sequential, without gradients."""
    import torch

    torch.set_num_threads(1)
    rows, model = torch.from_numpy(x), peers.torch_model(torch, widths, "ReLU").eval()

    def body(n: int) -> None:
        with torch.inference_mode():
            for _ in range(n):
                model(rows)

    return body


def by_jax(widths, x):
    """One compiled function, with its weights inside it; the result is waited for."""
    import jax
    import jax.numpy as jnp

    layers = [(jnp.asarray(weight.T), jnp.asarray(bias)) for weight, bias in peers.initial(widths)]

    @jax.jit
    def forward(y):
        for i, (weight, bias) in enumerate(layers):
            y = y @ weight + bias
            y = jnp.maximum(y, 0) if i < len(layers) - 1 else y
        return y

    rows = jnp.asarray(x)
    return repeated(lambda: forward(rows).block_until_ready())


def by_scikit_learn(widths, x):
    """MLPRegressor.predict."""
    trainer = peers.ScikitLearn(widths, "ReLU", "SGD", *peers.samples(widths, 10), 10)
    return repeated(trainer.model.predict, x)


def by_onnxruntime(widths, x):
    """A session of one thread, on a graph of Gemm and Relu."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    nodes, weights, name = [], [], "x"
    layers = peers.initial(widths)
    for i, (weight, bias) in enumerate(layers):
        weights += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [f"y{i}"], transB=1))
        name = f"y{i}"
        if i < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [name], [f"a{i}"]))
            name = f"a{i}"

    def matrix(which: str, n: int) -> Any:
        return helper.make_tensor_value_info(which, onnx.TensorProto.FLOAT, [1, n])

    graph = helper.make_graph(nodes, "network", [matrix("x", widths[0])], [matrix(name, widths[-1])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads = how.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), how, providers=["CPUExecutionProvider"])
    outputs, inputs = [name], {"x": x}
    return repeated(session.run, outputs, inputs)


PEERS = {
    "onnxruntime": ("onnxruntime", by_onnxruntime),
    "NumPy": ("numpy", by_numpy),
    "torch.jit": ("torch", by_torch),
    "PyTorch eager": ("torch", by_torch_eager),
    "JAX": ("jax", by_jax),
    "scikit-learn": ("sklearn", by_scikit_learn),
}


def bodies_for(widths) -> dict[str, Any]:
    """What is timed for a network: ours, and every peer that is installed."""
    (x,), (target,) = ([a] for a in peers.samples(widths, 1))
    compiled = cr.compile(model_of(widths))
    training = cr.compile(model_of(widths, cr.SGD(lr=1e-3)), cr.MSELoss())
    out = np.empty_like(target)
    bodies = {
        "predict": repeated(compiled.predict, x),
        "predict, out=": repeated(lambda predict=compiled.predict: predict(x, out=out)),
        "step": repeated(training.step, x, target),
        "fit, one sample": _fit(widths, x, target, 1),
        "fit, 1,000 samples, batch 1,000": _fit(widths, *peers.samples(widths, 1000), 1000),
    }
    present = {name: make for name, (module, make) in PEERS.items() if importlib.util.find_spec(module)}
    return bodies | {name: make(widths, x) for name, make in present.items()}


def _fit(widths, x, target, batch):
    """Runs of one epoch."""
    trainer = peers.Chainrule(widths, "ReLU", "SGD", x, target, batch)

    def body(n: int) -> None:
        for _ in range(n):
            trainer.run(1)

    return body


def bodies_of_rows(widths) -> dict[str, Any]:
    """What is timed for a table of rows: the compiled network, what takes any model, and PyTorch's call."""
    x, target = peers.samples(widths, ROWS)
    model, loss, data = model_of(widths), cr.MSELoss(), cr.Dataset(x, target)
    bodies = {
        "compiled": repeated(cr.compile(model_of(widths)).predict, x),
        "predict": repeated(cr.predict, model, x),
        "evaluate": repeated(cr.evaluate, model, loss, data),
    }
    return bodies | ({"PyTorch eager": by_torch_eager(widths, x)} if importlib.util.find_spec("torch") else {})


def main() -> None:
    """Measure, print, save."""
    options = common.arguments(__doc__)
    common.one_core()
    report = common.Report("How long does one row take, called from Python?", options)
    report.absent({name: "absent" for name, (module, _) in PEERS.items() if not importlib.util.find_spec(module)})
    how = {"rounds": 5, "min_s": 0.005} if options.quick else {"rounds": 25, "min_s": 0.01, "most_s": 30}
    rows, fits, tables = [], [], []
    for widths in NETWORKS[:1] if options.quick else NETWORKS:
        timings = common.interleave(bodies_for(widths), **how)
        us = {name: timing.median * 1e6 for name, timing in timings.items()}
        name = common.network_name(widths)
        rows.append({"network": name, **us, "timings": timings})
        fits.append({"network": name, "fit": us["fit, one sample"], "before": us["fit, one sample"] - us["step"]})
        timings = common.interleave(bodies_of_rows(widths), **how)
        us = {of: timing.median * 1e6 for of, timing in timings.items()}
        tables.append({"network": name, **us, "timings": timings})
    names = [name for name in rows[0] if name not in ("network", "timings") and not name.startswith("fit")]
    report.table("µs for one row", rows, {"network": "network"} | {name: name for name in names})
    columns = {"network": "network", "fit": "fit, one step, µs", "before": "of it fit itself, µs"}
    report.table("what fit costs by itself", fits, columns)
    columns = {"compiled": "compiled, predict", "predict": "cr.predict", "evaluate": "cr.evaluate"}
    columns = {"network": "network"} | columns | {"PyTorch eager": "PyTorch eager, prediction"}
    report.table(f"µs for {ROWS} rows", tables, columns)

    small = rows[0]
    asked = [
        (f"{small['network']}: predict one row, µs", small["predict"], "≤", 0.45),
        (f"{small['network']}: step at batch 1, µs", small["step"], "≤", 0.6),
        (f"{small['network']}: fit before its first step, µs", fits[0]["before"], "≤", 150),
    ]
    if "onnxruntime" in small:
        asked.append((f"{small['network']}: times onnxruntime", small["onnxruntime"] / small["predict"], "≥", 10))
    report.targets(asked)
    report.save()


if __name__ == "__main__":
    main()
