"""`chainrule study`: what the report set out to show, done properly."""

import os
from pathlib import Path

import click

from ..extras import require
from ..studies import comparison


@click.command()
@click.option("--quick", is_flag=True, help="Few values, two seeds: under a minute on two idle cores.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the page and its figures  [default: chainrule-study, or chainrule-study-quick]",
)
@click.option("--page-only", is_flag=True, help="Measure nothing; draw the page of what the folder holds.")
def study(quick: bool, out: Path | None, page_only: bool) -> None:
    """Study the report's network next to PyTorch.

    Test errors, training and testing times against the number of points, learning rate, epochs, batch size, activation,
    optimizer, loss, width and depth, on both disks, over many seeds; written as one HTML page, index.html, with the raw
    figures as CSV. Says first how long it will take. Stopped by Ctrl-C or otherwise, the same command goes on.
    """
    plan = comparison.quick() if quick else comparison.full()
    out = out or Path("chainrule-study-quick" if quick else "chainrule-study")
    try:
        for module in ("matplotlib", "jinja2", "scipy"):
            require(module, "study")
        if page_only and not (out / "about.json").exists():  # a study would begin there
            raise ValueError(f"{out} holds nothing to draw yet")
        work = comparison.Study(plan, out)
        left = comparison.Left([], [], []) if page_only else work.left()
        if left:
            _announce(work, left, out)
        try:
            work.run(left)
        except KeyboardInterrupt:
            click.echo("\nstopped; the same command goes on, and with --page-only draws what there is", err=True)
            raise SystemExit(130) from None
        comparison.write_page(work.store, plan)
    except (ValueError, ModuleNotFoundError) as problem:
        raise click.ClickException(str(problem)) from None
    except OSError as problem:
        raise click.ClickException(f"cannot write to {out}: {problem.strerror}") from None
    for i, sentence in enumerate(comparison.findings(work.store, plan), start=1):
        click.echo(click.wrap_text(f"{i}. {sentence}", width=100, subsequent_indent="   "))
    click.echo(f"\nthe page is {out}{os.sep}index.html, with its figures as CSV beside it")


def _announce(work: comparison.Study, left: comparison.Left, out: Path) -> None:
    cells, tuned = len(work.plan.cells()), len(work.plan.tuned())
    mine = sum(who == "chainrule" for who, _, _ in left.errors)
    networks = f"{mine * (cells + tuned):,} networks by chainrule"
    if work.peer:
        networks += f" and {(len(left.errors) - mine) * cells:,} by PyTorch"
    else:
        click.echo('no PyTorch to compare with: pip install torch, or "chainrule[study]"', err=True)
    rounds = f"rounds of timing: {len(left.rounds)}"
    seconds = work.estimate(left)
    length = f"{seconds / 60:.0f} minutes" if seconds > 90 else f"{seconds:.0f} seconds"
    click.echo(f"{networks}; {rounds}. This takes about {length}; what is done is kept in {out}\n")
