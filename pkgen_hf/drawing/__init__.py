"""Pictures of architectures and priors."""

from .heat_maps import draw_prior
from .pictures import draw

__all__ = ["draw", "draw_prior"]
