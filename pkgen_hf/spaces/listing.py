"""What ``pkgen spaces`` lists of the spaces that come with the package.

``python -m pkgen_hf.spaces`` writes it to a file that is shipped with the package, because building the spaces takes
torch, which is slow to import. It must be run when a space changes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .base import SearchSpace
from .registry import get_space, list_spaces

FILE = Path(__file__).with_suffix(".json")


def entry(space: SearchSpace) -> dict[str, Any]:
    """One space, in plain values."""
    return {
        "space": space.name,
        "summary": space.summary,
        "slots": [slot.name for slot in space.slots],
        "choices": sorted({choice.name for slot in space.slots for choice in slot.choices}),
        "architectures": space.num_architectures,
        "tasks": list(space.tasks),
        "example": space.example,
    }


def listing() -> list[dict[str, Any]]:
    """All spaces that come with the package."""
    spaces = [get_space(name) for name in list_spaces()]
    return [entry(space) for space in spaces if space.is_built_in]


def write(path: Path = FILE) -> None:
    """Write the listing."""
    path.write_text(json.dumps(listing(), indent=1) + "\n", encoding="utf-8")
