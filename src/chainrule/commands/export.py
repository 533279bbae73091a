"""`chainrule export`: a model in other people's formats."""

from pathlib import Path

import click
import numpy as np

from ..exchange.c import measure, to_c
from ..exchange.onnx import to_onnx
from ..extras import installed
from ..files import load
from ..module import Module


@click.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="MODEL")
@click.option("--to", "form", type=click.Choice(["onnx", "c"]), required=True, help="The format.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file (onnx) or the folder (c)  [default: beside MODEL]",
)
@click.option("--name", help="Of the functions and files of C  [default: that of MODEL]")
def export(path: Path, form: str, out: Path | None, name: str | None) -> None:
    """Write a model as ONNX, or as C99 source that needs nothing but a compiler.

    MODEL is what model.save(path) or fit(checkpoint=…) has written. What is written is tried at once, where this
    machine can: ONNX in onnxruntime, C with the compiler.
    """
    try:
        model = load(path)
        if form == "onnx":
            _onnx(model, out or path.with_suffix(".onnx"))
        else:
            name = name or "".join(letter if letter.isalnum() else "_" for letter in path.stem)
            _c(model, out or path.with_suffix(""), name)
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as problem:
        raise click.ClickException(str(problem)) from None


def _onnx(model: Module, out: Path) -> None:
    proto = to_onnx(model, out)
    shapes = [
        tuple(dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim)
        for value in (proto.graph.input[0], proto.graph.output[0])
    ]
    click.echo(f"{out}: {out.stat().st_size:,} bytes, opset {proto.opset_import[0].version}")
    click.echo(f"x {_shape(shapes[0])} -> y {_shape(shapes[1])}")
    if installed("onnxruntime"):
        import onnxruntime

        dtype = next((p.value.dtype for p in model.param()), np.dtype("float32"))
        x = np.random.default_rng(0).normal(size=(100, *shapes[0][1:])).astype(dtype)
        try:
            [y] = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"]).run(None, {"x": x})
        except Exception as problem:  # its errors have no common base; most often it lacks a kernel of float64
            click.echo(f"onnxruntime does not run it: {str(problem).splitlines()[0]}")
            return
        click.echo(f"onnxruntime says the same of 100 random inputs, to {np.abs(y - model(x)).max():.2g}")


def _shape(lengths: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, lengths))})"


def _c(model: Module, out: Path, name: str) -> None:
    for written in to_c(model, out, name=name):
        click.echo(f"{written}: {written.stat().st_size:,} bytes")
    measured = measure(out, name)
    if measured is None:
        click.echo("there is no compiler here to try it with")
        return
    click.echo(measured.test)
    click.echo(f"{measured.code:,} bytes of code, {measured.data:,} of data, {measured.ns:,.0f} ns a prediction here")
