"""Settings of one call of the pipeline, checked once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import TooFew, unknown
from ..inputs import generators, real_number, whole_number
from ..spaces import SearchSpace
from ..spaces.protocols import GeneratorArg

MAX_BATCH = 4096  # samples of one batch; bounds its memory: logits of the largest space, NAS-Bench-NLP, are 45 MB
MAX_GUIDANCE = MAX_TEMPERATURE = 100  # far above all that recipes/variants.py compares
STEPS, GUIDANCE, TEMPERATURE = 1, 1.0, 0.5  # the defaults of a call
MIN_TEMPERATURE = 5e-324  # the smallest positive number: any positive temperature is accepted

TENSORS = ("sample",)  # that a callback can ask for
Callback = Callable[[Any, int, int, dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True)
class GenerationSettings:
    """How one call samples; see `PKGenPipeline.__call__` for each field.

    The pipeline's defaults were chosen on NAS-Bench-201 and NAS-Bench-101; the ablations compare them with others.

    Raises
    ------
    ValueError
        For a value out of range, which the message names.
    """

    num_architectures: int
    distinct: bool
    num_inference_steps: int  # checked by the scheduler, which knows how many there can be
    guidance_scale: float
    temperature: float
    generator: GeneratorArg
    callback: Callback | None = None
    callback_inputs: Sequence[str] = TENSORS

    def __post_init__(self) -> None:
        number = whole_number("num_architectures", self.num_architectures)
        checked = {
            "num_architectures": number,
            "guidance_scale": real_number(
                "guidance_scale", self.guidance_scale, f"0 to {MAX_GUIDANCE}", 0, MAX_GUIDANCE
            ),
            "temperature": real_number(
                "temperature",
                self.temperature,
                f"above 0 and at most {MAX_TEMPERATURE}",
                MIN_TEMPERATURE,
                MAX_TEMPERATURE,
            ),
            "generator": generators(self.generator, number),
        }
        if self.distinct not in (True, False):
            raise ValueError(f"distinct must be True or False, got {self.distinct!r}")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def num_streams(self) -> int:
        """Independent streams of random numbers: one for each generator of a list, else 1."""
        return len(self.generator) if isinstance(self.generator, list) else 1


def check_inputs(space: SearchSpace, num_architectures: int, distinct: bool, callback_inputs: Sequence[str]) -> None:
    """Raise TooFew if the space has too few architectures, ValueError for an unknown tensor of the callback."""
    holds, listed = space.num_architectures, space.valid_rows
    if distinct and num_architectures > holds:
        advice = "ask for fewer or pass distinct=False" if holds else "its is_valid refuses all"
        raise TooFew(
            f"{num_architectures:,} distinct architectures were asked for, but {space.name} holds {holds:,}; {advice}",
            space.classes(listed)[0] if listed is not None else torch.empty(0, space.num_slots, dtype=torch.long),
        )
    if listed is not None and not len(listed):
        raise TooFew(f"{space.name} holds no valid architecture: its is_valid refuses all", listed)
    for name in callback_inputs:
        if name not in TENSORS:
            raise unknown("tensor in callback_on_step_end_tensor_inputs", name, TENSORS)
