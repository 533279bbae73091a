"""`chainrule export`: a model in other people's formats."""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import losses
from ..engine.lower import each_shape, sample_shape
from ..exchange.c import measure, to_c
from ..exchange.c.losses import LOSSES
from ..exchange.c.names import name_from
from ..exchange.onnx import to_onnx
from ..extras import installed
from ..files import load, write_text
from ..layers import LogSoftmax
from ..module import Module
from ..structures import leaves
from ..tables import TableModel
from ..tables.raw import columns_that_lose_digits, disagreement, inputs_text, raw_inputs, raw_network, raw_rows


def _lengths(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """What --sample-shape says."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise click.BadParameter(f"must be lengths with commas between them, such as 1,8,8; got {text!r}")
    return tuple(map(int, parts))


@click.command(short_help="Write a model as ONNX, or as C.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="MODEL")
@click.option("--to", "form", type=click.Choice(["onnx", "c"]), required=True, help="The format.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file (onnx) or the folder (c)  [default: beside MODEL]",
)
@click.option("--name", help="Of the functions and files of C  [default: made of that of MODEL]")
@click.option(
    "--sample-shape",
    "shape",
    callback=_lengths,
    metavar="LENGTHS",
    help="Of one sample, as 1,8,8, where the layers do not say it.",
)
@click.option("--train", is_flag=True, help="C that also learns, by the model's own optimizer.")
@click.option(
    "--loss",
    type=click.Choice(sorted(LOSSES)),
    help="What --train makes smaller  [default: MSELoss; NLLLoss where the model ends in LogSoftmax]",
)
@click.option("--lr", type=click.FloatRange(min=0), help="The learning rate of --train  [default: the optimizer's]")
def export(
    path: Path,
    form: str,
    out: Path | None,
    name: str | None,
    shape: tuple[int, ...] | None,
    train: bool,
    loss: str | None,
    lr: float | None,
) -> None:
    """Write a model as ONNX, or as C99 source that needs nothing but a compiler.

    MODEL is what model.save(path), fit(checkpoint=…) or `chainrule train` has written. What is written is tried at
    once, where this machine can: ONNX in onnxruntime, C with the compiler. Of a model of a table, it takes raw numbers
    and gives probabilities or numbers in the target's unit; its inputs are listed, and written beside it as JSON.
    """
    if (train or loss or lr is not None) and not (train and form == "c"):
        raise click.UsageError("--train is for C, and --loss and --lr are for --train")
    try:
        loaded = load(path)
        model = raw_network(loaded) if isinstance(loaded, TableModel) else loaded
        if train and isinstance(loaded, TableModel):
            raise ValueError("--train: a model of a table has the scales of its columns inside, and predicts only")
        if form == "onnx":
            out = out or path.with_suffix(".onnx")
            if out.is_dir():
                raise ValueError(f"{out} is a folder: --out must be a file for onnx")
            places, inputs = [out], out.with_name(f"{out.stem}_inputs.json")
        else:
            out = out or (path.with_suffix("") if path.suffix else path.with_name(f"{path.name}_c"))
            name = name_from(path.stem) if name is None else name
            places = [out / f"{name}{rest}" for rest in (".c", ".h", "_test.c")]
            inputs = out / f"{name}_inputs.json"
        table = loaded if isinstance(loaded, TableModel) else None
        _require_ours([*places, *([] if table is None else [inputs])])
        if form == "onnx":
            _onnx(model, out, shape, None if table is None else raw_rows(table))
        else:
            rows = {} if table is None else {"test_inputs": raw_rows(table, 32)}
            _c(model, out, str(name), sample_shape=shape, **rows, **(_training(model, loss, lr) if train else {}))
        if table is not None:
            _inputs(table, inputs)
    except (ValueError, RuntimeError, ModuleNotFoundError) as problem:
        raise click.ClickException(str(problem)) from None
    except BrokenPipeError:  # nobody reads what is printed
        raise
    except OSError as problem:
        where = path if problem.filename == str(path) else out
        raise click.ClickException(f"{where}: {problem.strerror}") from None


_MARKS = (
    b"\tchainrule",
    b"written by chainrule",
    b"with what Python said",
    b'"inputs": [',
)  # of .onnx, .c, _test.c, .json


def _require_ours(places: list[Path]) -> None:
    """Raise ValueError for a file that is there and is none that an export has written."""
    for place in places:
        if place.is_file() and not any(mark in place.read_bytes()[:400] for mark in _MARKS):
            raise ValueError(f"{place} is there already, and no export has written it: choose another place with --out")


def _onnx(model: Module, out: Path, shape: tuple[int, ...] | None, rows: np.ndarray | None = None) -> None:
    proto = to_onnx(model, out, sample_shape=shape)
    inputs, outputs = (
        {value.name: tuple(dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim) for value in of}
        for of in (proto.graph.input, proto.graph.output)
    )
    click.echo(f"{out}: {out.stat().st_size:,} bytes, opset {proto.opset_import[0].version}")
    click.echo(f"{_named(inputs)} -> {_named(outputs)}")
    if installed("onnxruntime"):
        import onnxruntime

        dtype = next((p.value.dtype for p in model.param()), np.dtype("float32"))
        rng = np.random.default_rng(0)
        feeds = {name: rng.normal(size=(100, *shape[1:])).astype(dtype) for name, shape in inputs.items()}
        if rows is not None:
            feeds = {"x": rows.astype(dtype)}
        arrays = iter(feeds.values())
        x = each_shape(lambda _: next(arrays), shape or sample_shape(model))  # in the form that the network takes
        try:
            said = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"]).run(None, feeds)
        except Exception as problem:  # its errors have no common base; most often it lacks a kernel of float64
            click.echo(f"onnxruntime does not run it: {str(problem).splitlines()[0]}")
            return
        expected = leaves(model(x))
        most = max(np.abs(one - other).max() for one, other in zip(said, expected, strict=True))
        click.echo(f"onnxruntime says the same of 100 random inputs, to {most:.2g}")


def _named(shapes: dict[str, tuple[int | str, ...]]) -> str:
    return ", ".join(f"{name} {_shape(shape)}" for name, shape in shapes.items())


def _shape(lengths: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, lengths))})"


def _training(model: Module, loss: str | None, lr: float | None) -> dict[str, Any]:
    """The loss and the optimizer of the training step."""
    kind = loss or ("NLLLoss" if isinstance(model.modules()[-1], LogSoftmax) else "MSELoss")
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and lr is not None:
        optimizer.lr = lr
    return {"loss": getattr(losses, kind)(), "optimizer": optimizer}


def _c(model: Module, out: Path, name: str, **options: Any) -> None:
    for written in to_c(model, out, name=name, **options):
        click.echo(f"{written}: {written.stat().st_size:,} bytes")
    measured = measure(out, name)
    if measured is None:
        click.echo("there is no compiler here to try it with")
        return
    click.echo(measured.test)
    click.echo(f"{measured} here")


def _inputs(model: TableModel, out: Path) -> None:
    """Say what the inputs of a table's network are, and write it down."""
    write_text(out, json.dumps(raw_inputs(model), indent=1) + "\n")
    unit = "standard deviations" if model.task == "regression" else "probabilities"
    click.echo(f"of 100 random rows it says what the model says, to {disagreement(model):.2g} ({unit})")
    click.echo(f"\n{inputs_text(model)}\n\nthe same is in {out}")
    for name in columns_that_lose_digits(model):
        click.echo(f"`{name}` lies so far from 0 that float32 hardly sees how its rows differ", err=True)
