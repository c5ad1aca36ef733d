"""Budgets: limits on what a network may cost, and the steering of samples below them."""

from .limits import Limits, Steering

__all__ = ["Limits", "Steering"]
