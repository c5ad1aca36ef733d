"""Pictures of architectures and priors."""

from .pictures import draw, draw_prior

__all__ = ["draw", "draw_prior"]
