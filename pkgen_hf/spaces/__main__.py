"""Write the cost effects and the listing that are shipped with the package: ``python -m pkgen_hf.spaces``."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from . import get_space, list_spaces, listing
from .cost_effects import FILE, fingerprint, measured_effects


def write(path: Path = FILE) -> None:
    """Measure the cost effects of every space that comes with the package, and write them."""
    spaces = [get_space(name) for name in list_spaces()]
    spaces = [space for space in spaces if space.is_built_in]
    save_file(
        {space.name: measured_effects(space) for space in spaces},
        path,
        metadata={space.name: fingerprint(space) for space in spaces},
    )


if __name__ == "__main__":
    write()
    listing.write()
    print(f"written to {FILE} and {listing.FILE}")
