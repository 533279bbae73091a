"""The group of all commands."""

import click

from .. import __version__
from .disk import disk
from .evaluate import evaluate
from .export import export
from .info import info
from .predict import predict
from .study import study
from .train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chainrule")
def main() -> None:
    """Deep learning with small networks, every derivative written out by hand."""


main.add_command(disk)
main.add_command(evaluate)
main.add_command(export)
main.add_command(info)
main.add_command(predict)
main.add_command(study)
main.add_command(train)
