"""Publish on the Hub: the pipeline, its priors, benchmark tables, trained networks and the Space.

    python recipes/publish.py pipeline priors space --hub_org ORG --dry_run

Everything is written to --output_dir first, with cards made from results/*.json and from what is recorded beside the
weights, and checked. With --push_to_hub it is uploaded then, one commit for each; run the same again after a failure:
what has arrived is not sent twice.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from pkgen_hf.benchmarks.latencies import published_latencies
from pkgen_hf.benchmarks.sources import licensed_tables_in, with_package
from pkgen_hf.errors import unknown
from pkgen_hf.publishing.cards import pipeline_card, space_card, write_card
from pkgen_hf.publishing.dataset_folder import build_benchmark, build_latencies, build_priors
from pkgen_hf.publishing.network_cards import network_card
from pkgen_hf.publishing.pipeline_folder import export_pipeline
from pkgen_hf.publishing.push import Upload, plan, push

ROOT = Path(__file__).parent.parent
KINDS = ("pipeline", "priors", "benchmarks", "networks", "space")
SPACE = ROOT / "hub_cards" / "space"


def prepare(kind: str, options: argparse.Namespace) -> list[Upload]:
    """Write the folders of one kind; what is to be uploaded where."""
    org, out = options.hub_org, options.output_dir
    name = Path(options.checkpoint).name
    if kind == "pipeline":
        folder = export_pipeline(options.checkpoint, out / name)
        write_card(folder, pipeline_card(folder, f"{org}/{name}", options.results))
        return [plan(folder, f"{org}/{name}")]
    if kind == "priors":
        repo_id = f"{org}/pkgen-priors"
        return [plan(build_priors(options.checkpoint, out / "pkgen-priors", True, repo_id).folder, repo_id)]
    if kind == "benchmarks":
        sources: dict[str, str | None] = dict.fromkeys(with_package()) | licensed_tables_in(options.data)
        uploads = []
        for space, source in sorted(sources.items()):
            repo_id = f"{org}/pkgen-{space}"
            uploads.append(plan(build_benchmark(space, source, out / f"pkgen-{space}", True, repo_id).folder, repo_id))
        for name, (space, _) in published_latencies().items():
            for table in sorted((Path(options.data) / name / space).glob("*.parquet")):
                repo_id = f"{org}/pkgen-{name}"
                uploads.append(
                    plan(build_latencies(name, table, out / f"pkgen-{name}", True, repo_id).folder, repo_id)
                )
        return uploads
    if kind == "networks":
        uploads = []
        for source in options.network:
            target = out / source.resolve().parent.name if source.name == "network" else out / source.name
            shutil.copytree(source, target, dirs_exist_ok=True)
            write_card(target, network_card(target, f"{org}/{target.name}"))
            uploads.append(plan(target, f"{org}/{target.name}"))
        return uploads
    return [prepare_space(options)]


def prepare_space(options: argparse.Namespace) -> Upload:
    """The Space: its files as they are, and its card from the template beside them."""
    if not (SPACE / "app.py").is_file():
        raise FileNotFoundError(f"no {SPACE / 'app.py'}")
    pins = (ROOT / "constraints.txt").read_text()
    found = re.search(r"^gradio==(\S+)$", pins, flags=re.MULTILINE)
    if found is None:
        raise ValueError("constraints.txt pins no gradio, which the card of the Space names")
    folder = options.output_dir / "space"
    shutil.copytree(SPACE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("README.md", "__pycache__", ".*"))
    (folder / "README.md").unlink(missing_ok=True)
    org, name = options.hub_org, Path(options.checkpoint).name
    python = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    if python is None:
        raise ValueError("pyproject.toml says no requires-python, which the card of the Space names")
    card = space_card(SPACE / "README.md", f"{org}/{name}", [f"{org}/pkgen-priors"], found[1], python[1])
    write_card(folder, card)
    return plan(folder, f"{org}/pkgen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=["pipeline", "priors", "space"], help=f"of {', '.join(KINDS)}")
    parser.add_argument("--hub_org", required=True, help="your name or organisation on the Hub")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/hub"), help="where the folders are written")
    parser.add_argument("--checkpoint", default="pkgen-base", help="bundled name or folder")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder of results for the card")
    parser.add_argument("--data", default="data", help="folder of benchmark tables, one a space")
    parser.add_argument("--network", type=Path, nargs="+", default=[], help="folders of networks, for networks")
    parser.add_argument("--private", action="store_true", help="new repositories are seen by their owners only")
    parser.add_argument("--dry_run", action="store_true", help="write, check and list; send nothing")
    parser.add_argument("--push_to_hub", action="store_true", help="upload, with the token of `hf auth login`")
    options = parser.parse_args()
    try:
        for kind in options.kinds:
            if kind not in KINDS:
                raise unknown("kind of thing to publish", kind, KINDS)
        if "networks" in options.kinds and not options.network:
            raise ValueError("networks need --network FOLDER, as recipes/train_network.py leaves them")
        uploads = [upload for kind in options.kinds for upload in prepare(kind, options)]
        if options.dry_run or not options.push_to_hub:
            print("\n".join(map(str, uploads)))
            print("nothing was sent" + ("" if options.dry_run else "; --push_to_hub sends it"))
        else:
            push(uploads, private=options.private)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
