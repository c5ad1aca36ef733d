"""Settings that the trainings of networks share, whatever they are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training with Accelerate; the command line has an option for each.

    Attributes
    ----------
    num_train_epochs, max_train_steps
        Epochs; steps in their place where not None. An epoch leaves out the examples that do not fill its last step,
        others each time.
    total_batch_size, train_batch_size, gradient_accumulation_steps
        Examples of a step. Without `train_batch_size`, the batch of each process, it is divided among processes and
        accumulation steps.
    learning_rate, lr_scheduler
        The peak; how it falls after a linear warm-up: ``"cosine"`` or ``"linear"`` to 0, ``"exponential"`` by
        0.97 every 2.4 epochs, or ``"constant"``.
    cuda_graph
        Whether a step on a GPU is one CUDA graph, where it can be: one process, one batch a step, not fp16.
    ema_decay
        Of the moving average of weights that is evaluated and saved; 0 for none.
    """

    examples: ClassVar[str] = "examples"  # what a batch is made of, in messages

    num_train_epochs: int = 1
    max_train_steps: int | None = None
    total_batch_size: int = 256
    train_batch_size: int | None = None
    gradient_accumulation_steps: int = 1
    learning_rate: float = 0.1
    lr_scheduler: str = "cosine"
    weight_decay: float = 5e-4
    max_grad_norm: float = 0.0
    ema_decay: float = 0.0
    seed: int = 0
    mixed_precision: str = "no"
    compile: bool = False
    cuda_graph: bool = True
    cpu: bool = False
    output_dir: str = "runs/network"
    checkpointing_steps: int = 0
    checkpoints_total_limit: int = 2
    resume_from_checkpoint: str | None = None
    report_to: str | None = None
    logging_steps: int = 10
    quiet: bool = False

    def warmup_steps(self, steps_per_epoch: int, steps: int) -> float:
        """Steps of linear warm-up, of a training of so many steps."""
        raise NotImplementedError


# Settings that may differ between a run and the one that resumes it.
NOT_OF_THE_RESULT = {
    "train_batch_size", "total_batch_size", "gradient_accumulation_steps", "cpu", "compile", "cuda_graph",
    "output_dir", "checkpointing_steps", "checkpoints_total_limit", "resume_from_checkpoint", "report_to",
    "logging_steps", "quiet",
}  # fmt: skip

# Help texts and choices of their options.
HELP = {
    "num_train_epochs": "epochs",
    "max_train_steps": "steps, in place of epochs",
    "gradient_accumulation_steps": "batches of a step in each process",
    "learning_rate": "its peak",
    "max_grad_norm": "gradient clipping, 0 for none",
    "ema_decay": "of the moving average of weights that is evaluated and saved, 0 for none",
    "seed": "everything random follows from it",
    "mixed_precision": "no, fp16 or bf16",
    "compile": "compile the network (torch.compile)",
    "cuda_graph": "launch all kernels of a step at once on a GPU, where that can be",
    "cpu": "train on the CPU",
    "output_dir": "folder for checkpoints and the trained network",
    "checkpointing_steps": "steps between checkpoints, 0 for none",
    "checkpoints_total_limit": "checkpoints to keep",
    "resume_from_checkpoint": "'latest', or a checkpoint's name or folder",
    "report_to": "tracker: tensorboard, wandb, ...",
    "logging_steps": "steps between records of the loss",
    "quiet": "print nothing but errors",
}
CHOICES = {"mixed_precision": ["no", "fp16", "bf16"]}
