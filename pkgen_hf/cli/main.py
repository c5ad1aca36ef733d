"""The command line, ``pkgen``: one module for each thing that people do with it."""

from __future__ import annotations

import atexit
import gc
import sys
from typing import Annotated

import typer

from .bench import bench
from .generate import generate
from .hub import card, dataset, push
from .networks import cost, draw, export
from .priors import prior
from .serve import serve
from .spaces import spaces

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("pkgen-hf"))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Generate high-performance neural architectures from prior knowledge, without search.

    Example: pkgen generate --space nas-bench-201 --task cifar10 -n 8 --seed 0 --draw cells.png
    """


for command in (generate, draw, cost, export, prior, spaces, bench):
    app.command()(command)
app.command("app")(serve)
app.add_typer(dataset, name="dataset")
app.command()(card)
app.command()(push)


def main() -> None:
    """Entry point: a process of its own.

    The few hundred thousand objects that it imports live until it ends. Searching them for garbage, while they are
    imported and once more at the end, would take a quarter of the time of ``pkgen generate``.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    app(prog_name="pkgen", args=sys.argv[1:])


if __name__ == "__main__":
    main()
