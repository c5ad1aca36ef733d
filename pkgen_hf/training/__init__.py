"""Training of the denoiser: tasks, episodes, loop and checkpoints."""

from .loop import TrainingArguments, is_main_process, train

__all__ = ["TrainingArguments", "is_main_process", "train"]
