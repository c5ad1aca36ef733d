"""The parts of PKGen that ablations change, one at a time: a method for each value of each part."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from pkgen_hf import PKGenPipeline, Prior
from pkgen_hf.evaluation.generators import generate
from pkgen_hf.evaluation.methods import METHODS, Method
from pkgen_hf.evaluation.problem import Problem
from pkgen_hf.evidence.carried_over import SAMPLES
from pkgen_hf.generation.model import ConditionedDenoiser
from pkgen_hf.generation.sampler import as_they_come
from pkgen_hf.priors.data import uniform_distribution
from pkgen_hf.spaces import SearchSpace, TaskLike
from pkgen_hf.training.arguments import TrainingArguments

DEFAULT, SMALL = "default", "training"
"""Parts that others are compared with: nothing changed, and the small training."""
SMALL_STEPS, SMALL_PRIORS = 500, 16
"""Steps and priors for each task of the trainings with other settings: a fifth and a quarter of the defaults."""
SMALL_EXCLUDE = ("nas-bench-101", "nas-bench-nlp")
"""Spaces that these trainings read no label of, either: measuring their priors takes most of a short one's time."""


@dataclass(frozen=True)
class Part:
    """A part of PKGen.

    Attributes
    ----------
    id
        What results files hold under ``part``; it never changes.
    title
        What tables print.
    as_it_is
        Its value where nothing is changed.
    base
        The part whose rows its own are compared with: `DEFAULT`, or `SMALL` if it belongs to training.
    """

    id: str
    title: str
    as_it_is: str
    base: str = DEFAULT


@dataclass(frozen=True)
class Variant:
    """PKGen with one part changed.

    Attributes
    ----------
    part
        Of `PARTS`.
    value
        What the part is changed to.
    method
        PKGen, changed so. Its id is that of the variant.
    settings
        Of its own small training; None if it uses the same training as the default.
    """

    part: str
    value: str
    method: Method
    settings: dict[str, Any] | None = field(default=None)


# ---------------------------------------------------------------------- the prior


def without_contributions(prior: Prior) -> Prior:
    """A prior of frequencies only."""
    unknown = torch.full_like(prior.contributions, torch.nan)
    return replace(prior, contributions=unknown, subgraph_contributions=unknown)


def without_subgraphs(prior: Prior) -> Prior:
    """A prior without contributions of subgraphs."""
    return replace(prior, subgraph_contributions=torch.full_like(prior.contributions, torch.nan))


def without_frequencies(prior: Prior) -> Prior:
    """A prior in which every choice that is drawn is as frequent."""
    return replace(prior, frequencies=uniform_distribution(prior.space))


def without_effects(prior: Prior) -> Prior:
    """A prior of good architectures only."""
    return replace(prior, effects=None)


def without_effects_of_pairs(prior: Prior) -> Prior:
    """A prior in which only choices have effects."""
    effects = prior.effects
    return prior if effects is None else replace(prior, effects=replace(effects, pairs=0 * effects.pairs))


def without_anything(prior: Prior) -> Prior:
    """An absent prior."""
    return Prior.absent(prior.space, prior.task)


def of_changed_prior(problem: Problem, num: int, change: Callable[[Prior], Prior]) -> torch.Tensor:
    """Generate with the problem's prior, changed."""
    return generate(problem, num, prior=change(problem.carried_prior))


def changes_prior(problem: Problem, change: Callable[[Prior], Prior]) -> bool:
    """Whether the problem's prior has what is taken from it."""
    prior, changed = problem.carried_prior, change(problem.carried_prior)
    return changed.effects is not prior.effects or not torch.equal(changed.features(), prior.features())


# ---------------------------------------------------------------------- the samples, and the similarity of spaces


class OtherSamples(PKGenPipeline):
    """A pipeline that ranks by samples made with other settings."""

    settings: Mapping[str, Any] = {}

    def _carried_samples(self, model: ConditionedDenoiser, prior: Prior, seed: int = 0) -> torch.Tensor:
        return as_they_come(model, self.scheduler, self._stationary(prior), SAMPLES, seed, **self.settings)


def of_other_samples(problem: Problem, num: int, **settings: Any) -> torch.Tensor:
    """Generate by a pipeline that samples with other settings, those of `as_they_come`."""
    pipe = OtherSamples(**problem.pipe.components)
    pipe.settings = settings
    pipe.set_progress_bar_config(disable=True)
    return generate(replace(problem, pipe=pipe), num)


class AllSimilar(PKGenPipeline):
    """A pipeline in which no space is dissimilar to those of the priors."""

    def similarity_to_training(self, space: str | SearchSpace, task: TaskLike | None = None) -> float:
        return 1.0


class NoneSimilar(PKGenPipeline):
    """A pipeline whose denoiser corrects nothing in spaces that it was not trained on."""

    def similarity_to_training(self, space: str | SearchSpace, task: TaskLike | None = None) -> float:
        return float(super().similarity_to_training(space, task) == 1)


def of_changed_pipeline(problem: Problem, num: int, kind: type[PKGenPipeline]) -> torch.Tensor:
    """Generate by a subclass of the pipeline, of the same parts."""
    pipe = kind(**problem.pipe.components)
    pipe.set_progress_bar_config(disable=True)
    return generate(replace(problem, pipe=pipe), num)


def is_dissimilar(problem: Problem) -> bool:
    """Whether the space is dissimilar to those of the priors, which lessens the correction of the denoiser."""
    return problem.pipe.similarity_to_training(problem.space) < 1


# ---------------------------------------------------------------------- all of them


def _default_of(argument: str) -> str:
    return f"{inspect.signature(PKGenPipeline.__call__).parameters[argument].default:g}"


PARTS = {
    part.id: part
    for part in (
        Part(DEFAULT, "nothing", ""),
        Part("prior", "prior", "of the checkpoint"),
        Part("contributions", "contributions, those of subgraphs included", "in the prior"),
        Part("subgraphs", "contributions of subgraphs", "in the prior"),
        Part("frequencies", "frequencies", "in the prior"),
        Part("effects", "effects of components", "in the prior"),
        Part("steps", "denoising steps", _default_of("num_inference_steps")),
        Part("guidance", "guidance scale", _default_of("guidance_scale")),
        Part("temperature", "temperature", _default_of("temperature")),
        Part("similarity", "similarity to training", "its square weights the correction of the denoiser"),
        Part(SMALL, "training steps", f"{TrainingArguments.max_train_steps}; the bundled checkpoint's"),
        Part("end-distribution", "end distribution", TrainingArguments.end_distribution, SMALL),
        Part("shifted-tasks", "shifted tasks", str(TrainingArguments.shifted_tasks), SMALL),
    )
}
"""Every part, by its id, in the order of tables."""


def _variant(part: str, value: str, choose: Any, applies: Any = METHODS["pkgen"].applies, **settings: Any) -> Variant:
    return Variant(part, value, replace(METHODS["pkgen"], id=f"{part}: {value}", choose=choose, applies=applies),
                   **settings)  # fmt: skip


def _of_prior(part: str, value: str, change: Callable[[Prior], Prior]) -> Variant:
    return _variant(part, value, partial(of_changed_prior, change=change), partial(changes_prior, change=change))


def _of_pipeline(part: str, value: str, kind: type[PKGenPipeline], applies: Any = METHODS["pkgen"].applies) -> Variant:
    return _variant(part, value, partial(of_changed_pipeline, kind=kind), applies)


def _setting(name: str, value: float) -> dict[str, Any]:
    return {name: value}


def _of_samples(part: str, setting: str, values: tuple[float, ...]) -> list[Variant]:
    return [_variant(part, f"{value:g}", partial(of_other_samples, **_setting(setting, value))) for value in values]


VARIANTS = (
    _variant(DEFAULT, "default", generate),
    _of_prior("prior", "absent", without_anything),
    _of_prior("contributions", "unknown", without_contributions),
    _of_prior("subgraphs", "unknown", without_subgraphs),
    _of_prior("frequencies", "uniform", without_frequencies),
    _of_prior("effects", "none", without_effects),
    _of_prior("effects", "of choices alone", without_effects_of_pairs),
    *_of_samples("steps", "steps", (2, 8, 32)),
    *_of_samples("guidance", "guidance_scale", (0, 4)),
    *_of_samples("temperature", "temperature", (0.25, 1)),
    _of_pipeline("similarity", "0", NoneSimilar, is_dissimilar),
    _of_pipeline("similarity", "1", AllSimilar, is_dissimilar),
    _variant(SMALL, str(SMALL_STEPS), generate, settings={}),
    _variant("end-distribution", "uniform", generate, settings={"end_distribution": "uniform"}),
    _variant("shifted-tasks", "0", generate, settings={"shifted_tasks": 0}),
)
"""Every variant, in the order of tables."""
