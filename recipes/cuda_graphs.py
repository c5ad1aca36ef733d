"""A step of training as one CUDA graph: all its kernels are launched at once, instead of one by one from Python.

Small networks wait for Python more than they compute. A graph repeats the recorded kernels on the same memory, so
batches are copied into the tensors that it was recorded with, and learning rates are tensors. Random numbers are those
of the step's seed, as without a graph (Ng et al., Accelerating PyTorch with CUDA Graphs, 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch

from pkgen_hf.errors import one_line
from settings import TrainingSettings

WARM_UP = 3  # steps that are launched kernel by kernel, in which libraries choose kernels and take memory


def why_not(settings: TrainingSettings, device: torch.device, processes: int) -> str | None:
    """Why a step cannot be one graph, None if it can; empty where nobody would expect it."""
    if not settings.cuda_graph or device.type != "cuda":
        return ""
    reasons = {
        "several processes exchange gradients in the middle of it": processes > 1,
        "gradients of several batches are accumulated": settings.gradient_accumulation_steps > 1,
        "fp16 reads from the GPU whether gradients overflow; bf16 does not": settings.mixed_precision == "fp16",
        "--compile decides itself what to launch together": settings.compile,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def capturable(optimizer: Any, device: torch.device) -> None:
    """Prepare an optimizer, which may have been loaded from any checkpoint: all it changes becomes tensors there."""
    for group in optimizer.param_groups:
        group["capturable" if "capturable" in group else "fused"] = True
        group["lr"] = torch.tensor(float(group["lr"]), device=device)
    for state in optimizer.state.values():
        state.update({name: value.to(device) for name, value in state.items() if isinstance(value, torch.Tensor)})


def set_learning_rate(optimizer: Any, rate: float) -> None:
    """Set the learning rate of all groups, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


class GraphedStep:
    """A step that is recorded once, and again whenever what it takes for constant has changed.

    Its first steps are launched kernel by kernel, on another stream, as recording asks for. If it cannot be recorded,
    all are.

    Parameters
    ----------
    step
        All that a step computes from a batch of tensors, without reading any from the GPU; returns its loss.
    on_failure
        Called with the reason, once, if it cannot be recorded.
    """

    def __init__(
        self, step: Callable[[dict[str, torch.Tensor]], torch.Tensor], on_failure: Callable[[str], None]
    ) -> None:
        self._step, self._on_failure = step, on_failure
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warmed_up = 0
        self._constants: Hashable = None
        self.is_used = True

    def __call__(self, batch: dict[str, torch.Tensor], constants: Hashable = None) -> torch.Tensor:
        """Do a step; `constants` are what it reads that is no tensor of the GPU."""
        if self.is_used and self._warmed_up >= WARM_UP:
            if self._graph is None or constants != self._constants:
                self._record(batch, constants)
            if self._graph is not None:
                for name, values in batch.items():
                    self._inputs[name].copy_(values)
                self._graph.replay()
                return self._loss
        self._warmed_up += 1
        present = torch.cuda.current_stream()
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream):
            loss = self._step(batch)
        present.wait_stream(self._stream)
        return loss

    def _record(self, batch: dict[str, torch.Tensor], constants: Hashable) -> None:
        self._graph, graph = None, torch.cuda.CUDAGraph()
        self._inputs = {name: values.clone() for name, values in batch.items()}
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # a loader may copy meanwhile
                self._loss = self._step(self._inputs)
        except RuntimeError as error:
            self.is_used = False
            self._on_failure(one_line(error))
            return
        self._graph, self._constants = graph, constants
