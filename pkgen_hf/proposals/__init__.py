"""Ask and tell: propose architectures to evaluate next."""

from .proposer import Proposer

__all__ = ["Proposer"]
