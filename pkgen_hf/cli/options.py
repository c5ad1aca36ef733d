"""What the commands of ``pkgen`` share: options, and errors of one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

# libraries read these when they are imported, which the commands do themselves to keep --help quick
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

Space = Annotated[str, typer.Option(help="Search space; `pkgen spaces` lists them.")]
Task = Annotated[str | None, typer.Option(help="Data set of the space; without it, the space's average prior.")]
Checkpoint = Annotated[str, typer.Option(help="Bundled name, folder, or Hub id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars and no hints.")]
RepoId = Annotated[str | None, typer.Option("--repo-id", help="ORG/NAME on the Hub, for the examples in the card.")]
TablePath = Annotated[str | None, typer.Option("--table", help="Benchmark table: Parquet file, folder, or Hub id.")]


def friendly(command: Callable[..., None]) -> Callable[..., None]:
    """End with one line on standard error, not a stack trace, for what a user can put right."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, FileNotFoundError, ModuleNotFoundError, NotImplementedError, OSError) as error:
            text = f"[bold red]error:[/] {escape(str(error))}"
            Console(stderr=True).print(text, markup=True, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error

    return run
