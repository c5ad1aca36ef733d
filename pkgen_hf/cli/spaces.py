"""``pkgen spaces``: the search spaces, one line each, or all that is known of one."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import AsJson, friendly

if TYPE_CHECKING:
    from ..spaces import SearchSpace

LISTING = Path(__file__).parents[1] / "spaces" / "listing.json"  # read as a file: building the spaces takes torch
WIDTH = 100  # columns that the output fits in
LABEL = 16  # columns before the details of a space


@friendly
def spaces(
    name: Annotated[str | None, typer.Argument(help="Space to show in detail; without it, all are listed.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the search spaces, or show one in detail: slots, choices, tasks, networks, string form and origin.

    Example: pkgen spaces nas-bench-201
    """
    if name is None:
        listed = json.loads(LISTING.read_text(encoding="utf-8")) + _registered()
        print(json.dumps(listed, indent=2) if as_json else "\n".join(_lines(listed)))
        return
    from ..spaces import get_space
    from ..spaces.listing import entry

    space = get_space(name)
    print(json.dumps(entry(space), indent=2) if as_json else "\n".join(_details(space)))


def _registered() -> list[dict[str, Any]]:
    """Spaces that were registered in this process; to register one, it has imported what building spaces takes."""
    if "pkgen_hf.spaces" not in sys.modules:
        return []
    from ..spaces import get_space, list_spaces
    from ..spaces.listing import entry

    return [entry(space) for name in list_spaces() if not (space := get_space(name)).is_built_in]


def _lines(listed: list[dict[str, Any]]) -> list[str]:
    """A heading, and one line per space."""
    rows = [["space", "what it is", "slots", "architectures"]]
    rows += [[r["space"], r["summary"], str(len(r["slots"])), _short(r["architectures"])] for r in listed]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    before = [
        f"{name:{widths[0]}}  {summary:{widths[1]}}  {slots:>{widths[2]}}  {count:>{widths[3]}}  "
        for name, summary, slots, count in rows
    ]
    tasks = [_tasks(r["tasks"], WIDTH - len(before[0])) for r in listed]
    return [f"{line}{last}" for line, last in zip(before, ["tasks", *tasks], strict=True)]


def _short(number: int, longest: float = 1e9) -> str:
    """A count below `longest` in full, above as a power of ten."""
    digits, _, exponent = f"{number:.1e}".partition("e")
    return f"{number:,}" if number < longest else f"{digits} x 10^{int(exponent)}"


def _tasks(names: list[str], width: int) -> str:
    """As many names as fit, and how many more there are."""
    for shown in range(len(names), 0, -1):
        rest = len(names) - shown
        text = ", ".join(names[:shown]) + (f" and {rest} more" if rest else "")
        if len(text) <= width:
            return text
    return f"{len(names)} tasks"


def _details(space: SearchSpace) -> list[str]:
    """All that is known of a space, in labelled paragraphs."""
    from ..networks import options

    try:
        scale = ", ".join(options(space)) or "none"
    except NotImplementedError:
        scale = "no networks"
    encodings, distinct = (_short(number, 1e18) for number in (space.num_encodings, space.num_architectures))
    lines = [f"{space.name}: {space.summary}" if space.summary else space.name]
    lines += _paragraph("architectures", f"{distinct} distinct, {encodings} encodings")
    lines += _paragraph("string", space.example)
    for k, (name, task) in enumerate(space.tasks.items()):
        lines += _paragraph("" if k else "tasks", f"{name}: {_about(task)}")
    lines += _paragraph("network options", scale)
    if space.origin is not None:
        about = f"{space.origin.title}, {space.origin.url}, licence {space.origin.license}"
        lines += _paragraph("origin", about)
        lines += _paragraph("", space.origin.measured.replace("**", ""))
    if space.package is not None:
        lines += _paragraph("table", f"in the PyPI package {space.package.name}")
    alike: dict[tuple[str, ...], list[str]] = {}  # slots by their choices
    for slot in space.slots:
        alike.setdefault(tuple(choice.name for choice in slot.choices), []).append(slot.name)
    for k, (choices, slots) in enumerate(alike.items()):
        lines += _paragraph("" if k else "slots", _joined(slots))
        lines += _paragraph("", f"choices: {_joined(choices)}")
    return lines


def _joined(names: Sequence[str]) -> str:
    """Names in a row; separated by semicolons where one has a comma in it."""
    return ("; " if any("," in name for name in names) else ", ").join(names)


def _about(task: Any) -> str:
    parts = [task.kind]
    if task.num_classes:
        parts.append(f"{task.num_classes:,} classes")
    if task.image_size:
        parts.append(f"{task.image_size} x {task.image_size} pixels")
    if task.num_features:
        parts.append(f"{task.num_features:,} features")
    return ", ".join(parts)


def _paragraph(label: str, text: str) -> list[str]:
    """A text in lines of `WIDTH`, with a label before the first; words are not broken."""
    form = {"break_long_words": False, "break_on_hyphens": False}
    lines = textwrap.wrap(text, WIDTH - LABEL, **form)  # type: ignore[arg-type]
    return [f"{label if not k else '':{LABEL}}{line}" for k, line in enumerate(lines)]
