"""Progress bar, callbacks and interruption of a running pipeline call."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import shortened
from ..spaces import SearchSpace
from .settings import GenerationSettings


@dataclass(frozen=True)
class Hooks:
    """Interruption, callbacks and progress of one call.

    Attributes
    ----------
    pipeline
        The pipeline, whose ``_interrupt`` ends all calls.
    view
        Its copy for this call, which callbacks are given; its ``_interrupt`` ends this call.
    on_found
        Called with the number of new architectures after each round.

    Without any, nothing is shown, and nothing interrupts.
    """

    pipeline: Any = None
    view: Any = None
    on_found: Callable[[int], Any] = lambda new: None

    @property
    def is_interrupted(self) -> bool:
        """Whether the call is to end."""
        return self.view is not None and bool(self.view._interrupt or self.pipeline._interrupt)

    def end_step(
        self, settings: GenerationSettings, space: SearchSpace, step: int, timestep: int, sample: torch.Tensor
    ) -> torch.Tensor:
        """The sample after the callback, which may return another; ValueError for one that does not fit."""
        if settings.callback is None:
            return sample
        given = {name: sample for name in settings.callback_inputs}
        returned = settings.callback(self.view, step, timestep, given)
        if returned is not None and not isinstance(returned, dict):
            raise ValueError(f"callback_on_step_end must return a dict or None, got {shortened(returned)}")
        changed = (returned or {}).get("sample", sample)
        if not isinstance(changed, torch.Tensor) or changed.shape != sample.shape:
            what = tuple(changed.shape) if isinstance(changed, torch.Tensor) else shortened(changed)
            raise ValueError(f"callback_on_step_end must return a sample of shape {tuple(sample.shape)}, got {what}")
        return space.check(changed).to(sample.device)


class InterruptibleCalls:
    """Base of a diffusers pipeline with a scheduler, whose calls can run in several threads and be interrupted."""

    _interrupt = False
    _calls_lock = threading.RLock()  # guards the number of running calls
    _running = 0

    @property
    def interrupt(self) -> bool:
        """Whether running calls are to end; a callback sets ``_interrupt`` of the pipeline it is given."""
        return self._interrupt

    @contextlib.contextmanager
    def _running_call(self, num_inference_steps: int, num_architectures: int) -> Iterator[Hooks]:
        """Register a call while it runs, with a progress bar and a copy of the pipeline that is its own.

        A request to end applies to running calls: when none is running, the next one resets it.
        """
        view: Any = copy.copy(self)
        view._interrupt = False
        view.scheduler = copy.copy(view.scheduler)
        view.scheduler.set_timesteps(num_inference_steps)
        with self._calls_lock:
            if not self._running:
                self._interrupt = False
            self._running += 1
        try:
            with view.progress_bar(total=num_architectures) as progress:
                yield Hooks(self, view, progress.update)
        finally:
            with self._calls_lock:
                self._running -= 1
