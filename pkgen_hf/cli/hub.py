"""Commands for the Hub: data sets, cards, uploads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Quiet, RepoId, friendly

dataset = typer.Typer(no_args_is_help=True)


@dataset.callback()
def _dataset() -> None:
    """Write data sets that can be published: benchmark tables and priors.

    Two benchmarks come with PyPI packages: pkgen dataset build nas-bench-201

    The others are read from the files that their authors publish, or from Parquet tables:
    pkgen dataset build nas-bench-101 --source nasbench_only108.tfrecord --output my-tables/nas-bench-101

    What a checkpoint knows of each search space: pkgen dataset build priors

    Latencies of NAS-Bench-201's networks on devices: pkgen dataset build hw-nas-bench --source hw-nas-bench.parquet
    """


@dataset.command("build")
@friendly
def build_dataset(
    name: Annotated[str, typer.Argument(help="A search space (`pkgen spaces` lists them), or: priors, hw-nas-bench.")],
    source: Annotated[
        str | None,
        typer.Option(
            help="What to read. Of a space: its benchmark's own file or folder, or a table as Parquet file, folder or "
            "Hub id; without it, the benchmark's PyPI package. Of priors: a checkpoint; without it, the bundled one."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; without it, data/NAME.")
    ] = None,
    repo_id: RepoId = None,
    quiet: Quiet = False,
) -> None:
    """Check a benchmark's table, or a checkpoint's priors, and write it as a data set: Parquet files and a card.

    A benchmark has a config for each kind of task, priors have one for each space. The folder is written whole or not
    at all. It loads with datasets.load_dataset, and as --table of the other commands. To publish it, give --repo-id,
    and then: pkgen push FOLDER ORG/NAME

    Example: pkgen dataset build nas-bench-201 && pkgen generate --table data/nas-bench-201
    """
    from ..benchmarks.latencies import published_latencies
    from ..publishing.cards import PLACEHOLDER
    from ..publishing.dataset_folder import PRIORS, build_benchmark, build_latencies, build_priors

    folder = output or Path("data") / name
    if name == PRIORS:
        built = build_priors(source or "pkgen-base", folder, quiet, repo_id or PLACEHOLDER)
    elif name in published_latencies():
        built = build_latencies(name, source, folder, quiet, repo_id or PLACEHOLDER)
    else:
        built = build_benchmark(name, source, folder, quiet, repo_id or PLACEHOLDER)
    if not quiet:
        for config, rows in built.rows.items():
            print(f"{built.folder / config}: {rows:,} rows")


@friendly
def card(
    folder: Annotated[Path, typer.Argument(help="A checkpoint, or a network as save_pretrained writes it.")],
    repo_id: RepoId = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Of a checkpoint: write it to this folder, in the Hub's form."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Of a checkpoint: folder of results as recipes/reproduce.py writes them.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the card that a checkpoint or a network needs on the Hub, README.md, from what is recorded beside it.

    A checkpoint is brought into the Hub's form first, which both PKGenPipeline and DiffusionPipeline load.

    Example: pkgen card runs/mine --output hub/mine --repo-id org/mine && pkgen push hub/mine org/mine
    """
    from ..publishing.cards import PLACEHOLDER, network_card, pipeline_card, write_card
    from ..publishing.pipeline_folder import export_pipeline
    from ..publishing.push import kind_of

    if (folder / "model_index.json").is_file():
        folder = export_pipeline(folder, output or folder)
        made = pipeline_card(folder, repo_id or PLACEHOLDER, results)
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
    folder: Annotated[Path, typer.Argument(help="A folder with a card: pipeline, network, data set or Space.")],
    repo_id: Annotated[str, typer.Argument(help="Where to: ORG/NAME; made if it is not there.")],
    private: Annotated[bool, typer.Option(help="If the repository is new: only its owners see it.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch; by default the main one.")] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Of the commit.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "--dry_run", help="Check and list; send nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Publish a folder on the Hub, in one commit.

    Nothing is sent if a file is hidden, a link, a cache, of a kind that has no place there, or holds what looks like a
    token. Stopped uploads go on when the command is run again. Log in before with: hf auth login

    Example: pkgen dataset build priors -o priors --repo-id org/priors && pkgen push priors org/priors --dry-run
    """
    from ..publishing.push import plan
    from ..publishing.push import push as upload

    planned = plan(folder, repo_id)
    if dry_run:
        print(planned)
    else:
        upload(planned, message, private, revision, quiet=quiet)
