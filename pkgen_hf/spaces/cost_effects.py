"""What each choice of a space does to the cost of a network, which the denoiser reads.

    python -m pkgen_hf.spaces.cost_effects

writes the effects of the benchmarks' spaces to the file that is shipped with the package, so that nobody has to count
the costs of thousands of networks first. It must be run when their slots, choices or costs change; of a space that is
not as it was when the file was written, the effects are measured anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from .parts import COST_FEATURES

if TYPE_CHECKING:
    from .base import SearchSpace

FILE = Path(__file__).with_suffix(".safetensors")
_SAMPLES = 8192  # networks whose costs are counted
_PROBES = 16


def measured_effects(space: SearchSpace) -> torch.Tensor:
    """The effects, from the costs of random networks; see `SearchSpace.cost_effects`."""
    effects = torch.zeros(space.num_slots, space.num_choices, COST_FEATURES, dtype=torch.float32)
    rows = space.sample(_SAMPLES, torch.Generator().manual_seed(0))
    rows = rows[space.is_valid(rows)]
    try:
        costs = [space.flops(rows), space.parameters(rows)]
    except NotImplementedError:
        return effects
    places = (rows + space.num_choices * torch.arange(space.num_slots)).flatten()  # (slot, choice) as one number
    count = places.bincount(minlength=space.choice_mask.numel()).clamp(min=1)
    for i, cost in enumerate(costs):
        logs = cost.double().clamp(min=1).log()
        score = ((logs - logs.mean()) / logs.std().clamp(min=1e-9)).float()
        # Added row by row, so that any number of threads rounds alike.
        total = torch.zeros(len(count), dtype=torch.float32).index_add_(
            0, places, score.repeat_interleave(space.num_slots)
        )
        effects[..., i] = (total / count).reshape(space.choice_mask.shape)
    effects[..., 2] = space.choice_mask
    return effects


def shipped_effects(space: SearchSpace) -> torch.Tensor | None:
    """The effects in the file; None if it has none of a space with this name, slots, choices and costs."""
    with safe_open(FILE, "pt") as file:
        written = (file.metadata() or {}).get(space.name)
        if written is None or written != fingerprint(space):
            return None
        return file.get_tensor(space.name)


def fingerprint(space: SearchSpace) -> str:
    """A digest of what effects follow from: names of slots and choices, and the costs of a few networks."""
    rows = torch.arange(1, _PROBES + 1)[:, None] * torch.arange(1, space.num_slots + 1) % space.sizes
    rows = rows[space.is_valid(rows)]
    try:
        costs = [space.flops(rows).tolist(), space.parameters(rows).tolist()]
    except NotImplementedError:
        costs = []
    slots = [[slot.name, *(choice.name for choice in slot.choices)] for slot in space.slots]
    return hashlib.sha256(json.dumps([slots, costs]).encode()).hexdigest()


def write(path: Path = FILE) -> None:
    """Measure the effects of every space of the benchmarks, and write them."""
    from . import get_space, list_spaces

    spaces = [get_space(name) for name in list_spaces()]
    save_file(
        {space.name: measured_effects(space) for space in spaces},
        path,
        metadata={space.name: fingerprint(space) for space in spaces},
    )


if __name__ == "__main__":
    write()
    print(f"written to {FILE}")
