"""Ask and tell: propose architectures to evaluate next, in one script or as a sampler of Optuna (`optuna_sampler`)."""

from .proposer import Proposer

__all__ = ["Proposer"]
