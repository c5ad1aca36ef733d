"""What the README and the pages in ``docs`` say: code runs and prints what is shown, commands and links exist."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import typer
from nbclient import NotebookClient
from typer.testing import CliRunner

import report
from pkgen_hf import list_spaces
from pkgen_hf.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "recipes" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"```(\w+)\n(.*?)```", flags=re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
ID = [str(page.relative_to(ROOT)) for page in PAGES]
WITH_PYTHON = [page for page in PAGES if "```python\n" in page.read_text()]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every block of code."""
    return BLOCK.findall(page.read_text())


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_python_runs_and_prints_what_is_shown(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks run one after the other; where a block of text follows, it is what was printed."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    of_page = [*blocks(page), ("", "")]
    for (language, text), (next_language, shown) in zip(of_page, of_page[1:], strict=False):
        if language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(text, names)
            if next_language == "text":
                assert printed.getvalue() == shown
            for picture in re.findall(r'"(\w+\.png)"', text):
                assert (tmp_path / picture).stat().st_size > 1000


def test_a_release_has_one_version() -> None:
    """What is installed, cited and described first among the changes."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)[1] == version
    heading = re.search(r"^## (\S+)(?: - (\S+))?$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert heading[1] == version and f'date-released: "{heading[2]}"' in (ROOT / "CITATION.cff").read_text()


def test_encodings_has_every_space() -> None:
    text = (ROOT / "docs" / "encodings.md").read_text()
    sections = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)  # spaces that differ in sizes alone share one
    assert sorted(name for section in sections for name in section.split(", ")) == sorted(list_spaces())
    assert text.count("```python\n") == 1 + len(sections)


def test_readme_is_short() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.encode()) <= 12_000
    assert (ROOT / "docs" / "cells.svg").stat().st_size < 60_000
    assert report.START in readme and report.END in readme


def test_picture_is_what_its_command_draws(tmp_path: Path) -> None:
    """The words in it; lines depend on the version of matplotlib."""
    page = (ROOT / "docs" / "command-line.md").read_text()
    (command,) = re.findall(r"^pkgen (generate .*) --draw docs/cells.svg$", page, flags=re.MULTILINE)
    drawn = CliRunner().invoke(app, [*command.split(), "--draw", str(tmp_path / "cells.svg")])
    assert drawn.exit_code == 0, drawn.output
    words = [re.findall(r">([^<>]+)</text>", (path / "cells.svg").read_text()) for path in (tmp_path, ROOT / "docs")]
    assert words[0] == words[1] and len(words[0]) > 30


def test_results_are_those_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["recipes/report.py", "--check"])
    report.main()


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command in the blocks of shell code."""
    for language, text in blocks(page):
        if language == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while "&&" in words:
                    yield words[: words.index("&&")]
                    words = words[words.index("&&") + 1 :]
                yield words


@pytest.mark.parametrize("page", PAGES, ids=ID)
def test_commands_and_their_options_exist(page: Path) -> None:
    sources = "".join(path.read_text() for path in (ROOT / "recipes").glob("*.py"))
    sources += (ROOT / "pkgen_hf" / "training" / "loop.py").read_text()
    for words in commands(page):
        if words[:1] == ["pkgen"]:
            check_command(typer.main.get_command(app), words[1:])
        for number, word in enumerate(words):
            if word.startswith("recipes/"):
                assert (ROOT / word).is_file(), word
                for option in (other for other in words[number + 1 :] if other.startswith("--")):
                    assert re.search(rf"\b{option[2:]}\b", sources), option


def check_command(command: Any, words: list[str]) -> None:
    """Fail unless there is such a command of ``pkgen`` with such options."""
    while hasattr(command, "commands"):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    for word in words:
        assert not word.startswith("-") or word in known, (command.name, word)


@pytest.mark.parametrize("page", PAGES, ids=ID)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """What headings are called in links, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def run_notebook(name: str, folder: Path) -> list[str]:
    """What each cell of code of a notebook in ``examples`` prints, in an empty folder; it must hold no outputs."""
    notebook = nbformat.read(ROOT / "examples" / name, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 5 and all(not cell.outputs and cell.execution_count is None for cell in cells)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    return [
        "".join(output.get("text", "") for output in cell.outputs if output.get("name") == "stdout") for cell in cells
    ]


def test_quickstart_notebook(tmp_path: Path) -> None:
    printed = run_notebook("quickstart.ipynb", tmp_path)
    assert printed[1].count("% measured") == 5
    assert (tmp_path / "cell.svg").is_file() and (tmp_path / "network.py").is_file()


def test_notebook_of_a_data_set_of_ones_own(tmp_path: Path) -> None:
    """The ten accuracies are above chance, the results count, and the best of all is at least the best of the ten."""
    printed = run_notebook("own_data_set.ipynb", tmp_path)
    accuracies = [float(line.split(" %")[0]) for line in printed[3].splitlines()]
    assert len(accuracies) == 10 and max(accuracies) > 50
    assert [line.count("%") for line in printed[4].splitlines()] == [2, 2]
    assert "of 10 evaluations" in printed[6]
    best = re.findall(r"after (\d+) trainings the best is ([\d.]+) %", printed[7])
    assert [int(number) for number, _ in best] == [13, 16] and float(best[-1][1]) >= max(accuracies)
    assert (tmp_path / "cell.svg").is_file() and (tmp_path / "prior.svg").is_file()


def test_all_notebooks_tutorials_and_examples_are_listed() -> None:
    listed = (ROOT / "docs" / "README.md").read_text()
    for path in [*(ROOT / "examples").glob("*.*"), *(ROOT / "docs" / "tutorials").glob("*.md")]:
        assert f"/{path.name})" in listed, path
