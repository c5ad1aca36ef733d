"""Budgets: limits on what a network may cost, and the steering of samples below them."""

from .budget import BUDGETS, Budget

__all__ = ["BUDGETS", "Budget"]
