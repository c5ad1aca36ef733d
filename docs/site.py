"""Hooks of mkdocs: pages of the site that are made from the package, and files beside docs that are pages, too."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import typer.cli
import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import pkgen_hf
from pkgen_hf.cli.main import app

ROOT = Path(__file__).parents[1]
FOLDER = "reference"
# Every public name, by the page of the reference that describes it.
PAGES = {
    "Pipeline": ("PKGenPipeline", "PKGenPipelineOutput"),
    "Architectures": ("Architecture", "Cost"),
    "Priors": ("Prior",),
    "Ask and tell": ("Proposer", "PKGenSampler"),
    "Search spaces": ("SearchSpace", "Slot", "Choice", "Task", "get_space", "list_spaces", "register_space"),
    "Networks": (
        "PKGenNetworkForImageClassification", "PKGenNetworkConfig", "PKGenNetworkForCausalLM",
        "PKGenNetworkForMaskedLM", "PKGenNetworkForSequenceClassification", "PKGenTextConfig",
    ),
    "Benchmarks": ("ScoreTable", "load_benchmark"),
    "Diffusion": ("PriorDiscreteScheduler", "ArchitectureDenoiser"),
}  # fmt: skip
# Files beside docs, by the page that each becomes; the list of all pages gives way to the README as the first page.
BESIDE = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md",
          "recipes/README.md": "recipes/README.md", "docs/README.md": "pages.md"}  # fmt: skip
LINK = re.compile(r"(?<=\]\()([^)\s#]*)(#[^)\s]*)?(?=\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill in the parts of the navigation that list what there is."""
    results = sorted(path.name for path in (ROOT / "docs" / "results").glob("*.md") if path.name != "README.md")
    parts: dict[str, list[Any]] = {
        "API": [{title: _page(title)} for title in PAGES],
        "RESULTS": ["results/README.md", *(f"results/{name}" for name in results)],
    }
    config.nav = _filled(config.nav, parts)
    missing = {*pkgen_hf.__all__} ^ {name for names in PAGES.values() for name in names}
    if missing:
        raise ValueError(f"the pages of the reference and pkgen_hf.__all__ differ in {sorted(missing)}")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages that are no files in docs."""
    listed = files.get_file_from_path("README.md")
    if listed is not None:
        files.remove(listed)
    for title, names in PAGES.items():
        described = "\n\n".join(f"::: {getattr(pkgen_hf, name).__module__}.{name}" for name in names)
        files.append(File.generated(config, _page(title), content=f"# {title}\n\n{described}\n"))
    command = typer.main.get_command(app)
    commands = typer.cli.get_docs_for_click(obj=command, ctx=typer.Context(command), name="pkgen", title="Commands")
    files.append(File.generated(config, "commands.md", content=commands))
    for source, page in BESIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point relative links to pages of the site, and take other files of the repository with it."""
    source = next((file for file, own in BESIDE.items() if own == page.file.src_uri), f"docs/{page.file.src_uri}")

    def pointed(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        if not target or "://" in target or target.startswith("mailto:"):
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        wanted = BESIDE.get(file, file.removeprefix("docs/"))
        if files.get_file_from_path(wanted) is None and (ROOT / file).is_file():  # it is shown as it is
            wanted = f"files/{file}"
            if files.get_file_from_path(wanted) is None:
                files.append(File.generated(config, wanted, abs_src_path=str(ROOT / file)))
        return posixpath.relpath(wanted, posixpath.dirname(page.file.src_uri) or ".") + anchor

    return LINK.sub(pointed, markdown)


def _page(title: str) -> str:
    return f"{FOLDER}/{title.lower().replace(' ', '-')}.md"


def _filled(nav: Any, parts: dict[str, list[Any]]) -> Any:
    """A navigation, with lists in the places of their names."""
    if isinstance(nav, list):
        return [_filled(item, parts) for item in nav]
    if isinstance(nav, dict):
        return {title: _filled(item, parts) for title, item in nav.items()}
    return parts.get(nav, nav)
