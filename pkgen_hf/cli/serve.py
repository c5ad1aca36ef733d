"""``pkgen app``: the pipeline in a browser."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .options import Checkpoint, Quiet, friendly, grouped


@dataclass(frozen=True)
class ServerOptions:
    """Where the app answers."""

    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; without it, the first free one from 7860.")
    ] = None
    host: Annotated[
        str, typer.Option(help="Address to listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for others too.")
    ] = "127.0.0.1"
    share: Annotated[bool, typer.Option("--share", help="Get a temporary public address from Gradio's servers.")] = (
        False
    )


@friendly
@grouped
def serve(
    *,
    server: ServerOptions,
    checkpoint: Checkpoint = "pkgen-base",
    tables: Annotated[
        Path | None, typer.Option(help="Folder of benchmark tables named after their spaces, shown as measured.")
    ] = None,
    latencies: Annotated[
        Path | None, typer.Option(help="Folder of tables of latencies, e.g. nas-bench-201.parquet.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Start the app: the pipeline in a browser. It needs gradio, which the extra named app installs.

    Example: pkgen app --port 7860
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        from ..app.page import LOOK, build_app
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise ModuleNotFoundError("the app needs gradio: pip install 'pkgen-hf[app]'") from error

    built = build_app(checkpoint, tables, latencies)
    built.launch(server_name=server.host, server_port=server.port, share=server.share, quiet=quiet, **LOOK)
