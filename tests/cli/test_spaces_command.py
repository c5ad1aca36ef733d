"""``pkgen spaces``: a list that is read from a file, and the details of one space."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pkgen_hf.cli.main import app
from pkgen_hf.spaces import get_space, list_spaces, listing

runner = CliRunner()


def run(*arguments: str) -> str:
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_shipped_list_is_what_the_spaces_say() -> None:
    shipped = json.loads(listing.FILE.read_text(encoding="utf-8"))
    assert shipped == listing.listing(), "spaces have changed: run python -m pkgen_hf.spaces"
    assert shipped == json.loads(run("spaces", "--json"))
    assert all(entry["summary"] for entry in shipped)


def test_one_line_a_space_within_100_columns() -> None:
    head, *lines = run("spaces").splitlines()
    assert [line.split()[0] for line in lines] == list_spaces()
    assert max(map(len, [head, *lines])) <= 100 and head.split()[0] == "space"
    for line, name in zip(lines, list_spaces(), strict=True):
        space = get_space(name)
        assert f" {len(space.slots)} " in line and space.summary in line
        assert line.endswith((f"{len(space.tasks)} tasks", " more")) or line.endswith(", ".join(space.tasks))


@pytest.mark.parametrize("name", list_spaces())
def test_details_of_a_space(name: str) -> None:
    space, text = get_space(name), run("spaces", name)
    words = " ".join(text.split())
    assert space.summary in text and space.origin is not None and space.origin.url in words
    number, digits = space.num_architectures, len(str(space.num_architectures))
    shown = f"{number:,}" if digits < 19 else f"{number / 10 ** (digits - 1):.1f} x 10^{digits - 1}"
    assert f"architectures {shown} distinct" in words
    choices = [choice.name for slot in space.slots for choice in slot.choices]
    for part in (*space.tasks, *(slot.name for slot in space.slots), *choices, " ".join(space.example.split())):
        assert part in words
    for line in text.splitlines():
        assert len(line) <= 100 or max(map(len, line.split())) > 84  # no word is broken
    assert json.loads(run("spaces", name, "--json"))["space"] == name


def test_a_space_that_is_not_there() -> None:
    result = runner.invoke(app, ["spaces", "nas-bench-2"])
    assert result.exit_code == 1 and "Did you mean 'nas-bench-201'" in result.stderr
