"""Pictures of architectures and priors, as PNG or SVG files.

- `pictures` draws architectures, `heat_maps` draws priors; both use `page`, the canvas and its file.
- `layout` turns an architecture into a `diagram`: boxes and edges with their places.
- `arrangements` places nodes and edges on a line, as a tree or in layers.
- `per_layer` finds the decisions that layers repeat, and `bars` shows them as bars by layer.
- `layers` assigns the nodes of a graph to layers and orders them with few crossings.
- `texts` has the names that are shown, and measures them.
"""

from .heat_maps import draw_prior
from .pictures import draw

__all__ = ["draw", "draw_prior"]
