"""Prior knowledge: what each choice contributes in good architectures, measured or carried over."""

from .prior import Prior, Subgraph

__all__ = ["Prior", "Subgraph"]
