"""Budgets: limits on what a network may cost, and the steering of samples towards them."""

from .budget import BUDGETS, Bound, Budget

__all__ = ["BUDGETS", "Bound", "Budget"]
