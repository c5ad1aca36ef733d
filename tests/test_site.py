"""The site: it is built without a warning, and its reference has every public name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pkgen_hf

pytest.importorskip("mkdocs", reason="the site needs mkdocs: pip install 'pkgen-hf[docs]'")
ROOT = Path(__file__).parents[1]
HREF = re.compile(r'(?:href|src)="([^"#?:]+)(?:#[^"]*)?"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make docs`` builds; any warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_the_reference_has_every_public_name_with_its_arguments(site: Path) -> None:
    text = "".join(path.read_text() for path in (site / "reference").glob("*.html"))
    for name in pkgen_hf.__all__:
        assert re.search(rf'id="pkgen_hf\.[\w.]*{name}"', text), name
    assert text.count("Parameters:") > 40
    assert 'id="pkgen_hf.pipeline_pkgen.PKGenPipeline.rank"' in text  # inherited from a part of the pipeline
    commands = (site / "commands.html").read_text()
    assert all(f"pkgen {command}" in commands for command in ("generate", "prior", "bench", "dataset build"))


def test_links_lead_to_files_of_the_site(site: Path) -> None:
    pages = [path for path in site.rglob("*.html") if path.name != "404.html"]
    assert len(pages) > 40
    for page in pages:
        for target in HREF.findall(page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(site)}: {target}"


def test_pages_are_grouped_by_their_purpose(site: Path) -> None:
    shown = (site / "index.html").read_text()
    for kind in ("Tutorials", "How to", "Reference", "Explanation", "Results"):
        assert re.search(rf">\s*{kind}\s*<", shown), kind
