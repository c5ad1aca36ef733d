"""Training of the denoiser: arguments, tasks, episodes, batches, losses, loop and checkpoints."""

from .arguments import TrainingArguments
from .loop import is_main_process, train

__all__ = ["TrainingArguments", "is_main_process", "train"]
