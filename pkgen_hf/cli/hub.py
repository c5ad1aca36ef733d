"""Commands for the Hub: data sets, cards, uploads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Quiet, RepoId, friendly

dataset = typer.Typer(no_args_is_help=True)


@dataset.callback()
def _dataset() -> None:
    """Write data sets to publish: tables of benchmarks, and the priors of a checkpoint.

    Example: pkgen dataset build nas-bench-201
    """


@dataset.command("build")
@friendly
def build_dataset(
    name: Annotated[
        str,
        typer.Argument(
            help="Search space (`pkgen spaces` lists them), priors, or a table of latencies: hw-nas-bench, "
            "nas-bench-201-latency, hw-gpt-bench-s-hardware or hw-gpt-bench-m-hardware."
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            help="What to read. For a space: the file or folder that the benchmark's authors publish, or a table as "
            "Parquet file, folder or Hub id; without it, the benchmark's PyPI package. For priors: a checkpoint; "
            "without it, the bundled one."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write to; without it, data/NAME.")
    ] = None,
    repo_id: RepoId = None,
    quiet: Quiet = False,
) -> None:
    """Check a benchmark's table or a checkpoint's priors, and write a data set of them: Parquet files and a card.

    A benchmark has one config per kind of task, priors have one per space. The folder is written whole or not at all.
    It loads with datasets.load_dataset, and as --table of other commands. To publish it, give --repo-id and then run
    pkgen push FOLDER ORG/NAME. For a space without a PyPI package (see pkgen spaces NAME), --source is needed.

    Example: pkgen dataset build nas-bench-101 --source nasbench_only108.tfrecord
    """
    from ..benchmarks.latencies import published_latencies
    from ..errors import unknown
    from ..publishing.cards import PLACEHOLDER
    from ..publishing.dataset_folder import PRIORS, build_benchmark, build_latencies, build_priors
    from ..spaces import list_spaces

    folder = output or Path("data") / name
    if name == PRIORS:
        built = build_priors(source or "pkgen-base", folder, quiet, repo_id or PLACEHOLDER)
    elif name in published_latencies():
        built = build_latencies(name, source, folder, quiet, repo_id or PLACEHOLDER)
    elif name in (spaces := list_spaces()):
        built = build_benchmark(name, source, folder, quiet, repo_id or PLACEHOLDER)
    else:
        raise unknown("data set", name, [PRIORS, *published_latencies(), *spaces])
    if not quiet:
        for config, rows in built.rows.items():
            print(f"{built.folder / config}: {rows:,} rows")


@friendly
def card(
    folder: Annotated[Path, typer.Argument(help="Checkpoint, or network that save_pretrained wrote.")],
    repo_id: RepoId = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for a copy of a checkpoint in the Hub's form."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder of results of a checkpoint, as recipes/reproduce.py writes them.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the card (README.md) of a checkpoint or a network for the Hub, from the records in its folder.

    A checkpoint is first brought into the Hub's form, which both PKGenPipeline and DiffusionPipeline load.

    Example: pkgen card runs/mine/pipeline --output hub/mine --repo-id org/mine && pkgen push hub/mine org/mine
    """
    from ..publishing.cards import PLACEHOLDER, pipeline_card, write_card
    from ..publishing.network_cards import network_card
    from ..publishing.pipeline_folder import export_pipeline
    from ..publishing.push import kind_of

    if (folder / "model_index.json").is_file():
        folder = export_pipeline(folder, output or folder)
        made = pipeline_card(folder, repo_id or PLACEHOLDER, results)
    elif (folder / "pipeline" / "model_index.json").is_file():
        raise ValueError(f"{folder} is not a checkpoint: it has no model_index.json; did you mean {folder}/pipeline?")
    elif output is not None or results is not None:
        raise ValueError("--output and --results are for checkpoints; the card of a network is written beside it")
    elif kind_of(folder) == "network":
        made = network_card(folder, repo_id or PLACEHOLDER)
    else:
        raise ValueError(
            f"{folder} is neither a checkpoint nor a network; data sets and Spaces are written with a card"
        )
    path = write_card(folder, made)
    if not quiet:
        print(path)


@friendly
def push(
    folder: Annotated[Path, typer.Argument(help="Folder with a card: pipeline, network, data set or Space.")],
    repo_id: Annotated[str, typer.Argument(help="Repository, as ORG/NAME; created if it does not exist.")],
    private: Annotated[bool, typer.Option(help="Show a new repository to its owners only.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch; without it, main.")] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Message of the commit.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "--dry_run", help="Check and list the files; send nothing.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Publish a folder on the Hub, in one commit.

    Nothing is sent if a file is hidden, a link, a cache, of an unexpected kind, or contains what looks like a token.
    An interrupted upload continues when the command is run again. Log in first: hf auth login

    Example: pkgen dataset build priors -o priors --repo-id org/priors && pkgen push priors org/priors --dry-run
    """
    from ..publishing.push import plan
    from ..publishing.push import push as upload

    planned = plan(folder, repo_id)
    if dry_run:
        print(planned)
    else:
        upload(planned, message, private, revision, quiet=quiet)
