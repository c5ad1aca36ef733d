"""PKGen: generate high-performance neural architectures from prior knowledge, without search."""

from .architecture import Architecture, Cost
from .benchmarks.score_table import ScoreTable
from .benchmarks.sources import load_benchmark
from .modeling_denoiser import ArchitectureDenoiser
from .modeling_network import PKGenNetworkConfig, PKGenNetworkForImageClassification
from .pipeline_pkgen import PKGenPipeline, PKGenPipelineOutput
from .priors.prior import Prior
from .proposals.proposer import Proposer
from .scheduling_prior_discrete import PriorDiscreteScheduler
from .spaces import Choice, SearchSpace, Slot, Task, get_space, list_spaces, register_space

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "ArchitectureDenoiser",
    "Choice",
    "Cost",
    "PKGenNetworkConfig",
    "PKGenNetworkForImageClassification",
    "PKGenPipeline",
    "PKGenPipelineOutput",
    "Prior",
    "PriorDiscreteScheduler",
    "Proposer",
    "ScoreTable",
    "SearchSpace",
    "Slot",
    "Task",
    "get_space",
    "list_spaces",
    "load_benchmark",
    "register_space",
]
