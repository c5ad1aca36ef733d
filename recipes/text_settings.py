"""Settings of trainings of language models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from settings import CHOICES as SHARED_CHOICES
from settings import HELP as SHARED_HELP
from settings import TrainingSettings


@dataclass(frozen=True)
class TextSettings(TrainingSettings):
    """Settings of `text_training.train` beside those of every training.

    Attributes
    ----------
    context
        Tokens of a block, which the network sees at once.
    vocab_size
        Tokens at most of a tokenizer that is trained on the text.
    lr_warmup_ratio
        Share of all steps in which the learning rate rises linearly.
    weight_decay, adam_beta1, adam_beta2
        Of AdamW; the decay spares embeddings, biases and norms.
    gradient_checkpointing
        Compute activations again for the backward pass, which saves memory.
    validation_steps
        Steps between records of the loss, with an evaluation where there is a text to evaluate; the last step has one,
        too. 0 for the last alone.
    """

    examples: ClassVar[str] = "blocks"

    context: int = 1024
    vocab_size: int = 8192
    total_batch_size: int = 32
    learning_rate: float = 6e-4
    lr_warmup_ratio: float = 0.05
    weight_decay: float = 0.1
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    max_grad_norm: float = 1.0
    gradient_checkpointing: bool = False
    validation_steps: int = 500
    output_dir: str = "runs/language-model"

    def warmup_steps(self, steps_per_epoch: int, steps: int) -> float:
        """Steps of linear warm-up, of a training of so many steps."""
        return self.lr_warmup_ratio * steps


HELP = {
    "context": "tokens of a block, which the network sees at once",
    "vocab_size": "tokens at most of a tokenizer that is trained on the text",
    "total_batch_size": "blocks of a step, over all processes",
    "train_batch_size": "blocks of a batch in each process, in place of --total_batch_size",
    "lr_scheduler": "cosine, linear or constant",
    "lr_warmup_ratio": "share of all steps in which the learning rate rises linearly",
    "weight_decay": "of all weights but embeddings, biases and norms",
    "adam_beta1": "decay of AdamW's mean of gradients",
    "adam_beta2": "decay of its mean of squares",
    "gradient_checkpointing": "compute activations again for the backward pass, which saves memory",
    "validation_steps": "steps between evaluations; the last is always evaluated, 0 for it alone",
    **SHARED_HELP,
}
CHOICES = {**SHARED_CHOICES, "lr_scheduler": ["cosine", "linear", "constant"]}
