"""Prior knowledge: what each choice contributes in good architectures, measured or transferred."""

from .data import Subgraph
from .prior import Prior

__all__ = ["Prior", "Subgraph"]
