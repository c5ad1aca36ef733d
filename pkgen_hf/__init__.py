"""PKGen: generate high-performance neural architectures from prior knowledge, without search.

Public names are imported when they are first used, because torch and diffusers take seconds to import.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .hub.after_import import AfterImport

if TYPE_CHECKING:
    from .architecture import Architecture, Cost
    from .benchmarks.score_table import ScoreTable
    from .benchmarks.sources import load_benchmark
    from .modeling_denoiser import ArchitectureDenoiser
    from .modeling_network import PKGenNetworkConfig, PKGenNetworkForImageClassification
    from .modeling_text_encoder import PKGenNetworkForMaskedLM, PKGenNetworkForSequenceClassification
    from .modeling_text_network import PKGenNetworkForCausalLM, PKGenTextConfig
    from .pipeline_pkgen import PKGenPipeline, PKGenPipelineOutput
    from .priors.prior import Prior
    from .proposals.optuna_sampler import PKGenSampler
    from .proposals.proposer import Proposer
    from .scheduling_prior_discrete import PriorDiscreteScheduler
    from .spaces import Choice, SearchSpace, Slot, Task, get_space, list_spaces, register_space

    __version__: str

__all__ = [
    "Architecture",
    "ArchitectureDenoiser",
    "Choice",
    "Cost",
    "PKGenNetworkConfig",
    "PKGenNetworkForCausalLM",
    "PKGenNetworkForImageClassification",
    "PKGenNetworkForMaskedLM",
    "PKGenNetworkForSequenceClassification",
    "PKGenPipeline",
    "PKGenPipelineOutput",
    "PKGenSampler",
    "PKGenTextConfig",
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

if importlib.util.find_spec("optuna") is None:  # so that a star import works without it
    __all__.remove("PKGenSampler")

# The module of each public name; the imports above say the same to type checkers.
_MODULES = {
    "Architecture": "architecture",
    "ArchitectureDenoiser": "modeling_denoiser",
    "Choice": "spaces",
    "Cost": "architecture",
    "PKGenNetworkConfig": "modeling_network",
    "PKGenNetworkForCausalLM": "modeling_text_network",
    "PKGenNetworkForImageClassification": "modeling_network",
    "PKGenNetworkForMaskedLM": "modeling_text_encoder",
    "PKGenNetworkForSequenceClassification": "modeling_text_encoder",
    "PKGenPipeline": "pipeline_pkgen",
    "PKGenPipelineOutput": "pipeline_pkgen",
    "PKGenSampler": "proposals.optuna_sampler",
    "PKGenTextConfig": "modeling_text_network",
    "Prior": "priors.prior",
    "PriorDiscreteScheduler": "scheduling_prior_discrete",
    "Proposer": "proposals.proposer",
    "ScoreTable": "benchmarks.score_table",
    "SearchSpace": "spaces",
    "Slot": "spaces",
    "Task": "spaces",
    "get_space": "spaces",
    "list_spaces": "spaces",
    "load_benchmark": "benchmarks.sources",
    "register_space": "spaces",
}


def __getattr__(name: str) -> Any:
    """A public name, the version, or a module of the package, when first used."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("pkgen-hf")
    elif name in _MODULES:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    elif name.isidentifier() and importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    else:
        from .errors import unknown

        raise AttributeError(str(unknown(f"name in {__name__}", name, __all__)))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    modules = (name for name, value in globals().items() if isinstance(value, ModuleType) and value is not importlib)
    return sorted({*modules, *(name for name in globals() if name.startswith("__")), *__all__, "__version__"})


# Networks are models of transformers once both packages are imported: its Auto classes have to know them.
AfterImport(
    "transformers.models.auto.configuration_auto",
    ("transformers", "diffusers", __name__),
    lambda: [importlib.import_module(f"{__name__}.{name}") for name in ("modeling_network", "modeling_text_encoder")],
).install()
