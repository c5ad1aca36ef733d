"""Training of a causal language model on text, reproducible under accumulation, several processes and resumption."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from network_training import NetworkTrainer, OnStep, check_writable
from optimizers import make_adamw
from parallel import make_accelerator
from perplexity import exponential, negative_log_likelihood, perplexity
from pkgen_hf.files import write_json
from pkgen_hf.publishing.cards import write_card
from pkgen_hf.publishing.network_cards import network_card
from pkgen_hf.training.arguments import RECORD
from text_settings import TextSettings
from text_tokens import Blocks, Tokens, checksum_of
from texts import Texts

SCRIPT = "recipes/train_language_model.py"


class Corpus(NamedTuple):
    """Texts to train on and to evaluate, with their tokens."""

    tokenizer: Any
    texts: Texts
    tokens: Tokens
    evaluated: Texts | None
    evaluated_tokens: Tokens | None


def read_corpus(tokenizer: Any, texts: Texts, evaluated: Texts | None, show: bool = False) -> Corpus:
    """Read and encode texts; `show` progress bars."""
    held = Tokens(evaluated, tokenizer, show) if evaluated is not None else None
    return Corpus(tokenizer, texts, Tokens(texts, tokenizer, show), evaluated, held)


def train(settings: TextSettings, model: Any, corpus: Corpus, on_step: OnStep | None = None) -> dict[str, Any]:
    """Train a language model, save it with its tokenizer and a record in `output_dir`/network, and return the record.

    Blocks of tokens are read in an order that depends on the seed and the epoch alone: a resumed run ends with the
    weights of an uninterrupted one, and a run on several processes makes the updates of one process that accumulates
    as many batches.

    Parameters
    ----------
    settings
        See `TextSettings`.
    model
        A causal language model of transformers with its initial weights; it is trained in place.
    corpus
        Texts and tokenizer.
    on_step
        Called on the main process with the number of the step, that of all steps, loss, perplexity and tokens a
        second; every `logging_steps`.

    Returns
    -------
    dict
        As in training.json: network, settings, ``history`` (loss, learning rate and validation, every
        `validation_steps`), ``tokens_seen``, ``validation`` (the last), ``seconds``, versions.

    Raises
    ------
    ValueError
        For settings out of range, a vocabulary that does not fit the network, a loss that is not finite.
    OSError
        If something cannot be written.
    RuntimeError
        If the launcher started several processes but they do not know of each other.
    """
    trainer = TextTrainer(settings, model, corpus)
    trainer.resume()
    trainer.run(on_step)
    return trainer.save()


class TextTrainer(NetworkTrainer):
    """A language model with its optimizer, moving average and text, prepared for this process; see `train`."""

    settings: TextSettings
    logged = {"loss": "validation_loss", "perplexity": "validation_perplexity"}
    libraries = (*NetworkTrainer.libraries, "tokenizers")

    def __init__(self, settings: TextSettings, model: Any, corpus: Corpus) -> None:
        self.corpus = corpus
        self.blocks = Blocks(corpus.tokens, settings.context, whole=True)
        held = corpus.evaluated_tokens
        self.held_out = Blocks(held, settings.context, whole=False) if held is not None else None
        super().__init__(settings, model, make_accelerator(settings, script=SCRIPT), len(self.blocks))
        if len(corpus.tokenizer) > model.config.vocab_size:
            raise ValueError(f"the network has {model.config.vocab_size:,} tokens, fewer than the "
                             f"{len(corpus.tokenizer):,} of the tokenizer")  # fmt: skip
        if self.accelerator.is_main_process:
            check_writable(settings.output_dir)
        self.period = settings.validation_steps or self.plan.steps
        if settings.gradient_checkpointing:
            word = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"  # the former name
            getattr(model, f"{word}_checkpointing_enable")({"use_reentrant": False})
        betas = (settings.adam_beta1, settings.adam_beta2)
        self.prepare(make_adamw(model, settings.learning_rate, settings.weight_decay, betas))

    def _decisive(self) -> dict[str, Any]:
        corpus, held = self.corpus, self.corpus.evaluated_tokens
        return super()._decisive() | {
            "architecture": self.model.config.architecture,
            "tokenizer": f"{len(corpus.tokenizer)} tokens, {checksum_of(corpus.tokenizer)}",
            "text": f"{len(corpus.tokens)} tokens, {corpus.tokens.checksum}",
            "validation text": held and f"{len(held)} tokens, {held.checksum}",
        }

    def _batches(self) -> AbstractContextManager[Iterator[dict[str, torch.Tensor]]]:
        return closing(self._read())

    def _read(self) -> Generator[dict[str, torch.Tensor]]:
        for keys in self.plan.batches(self.first):
            inputs, targets = self.blocks.batch(number for _, number in keys)
            yield {name: part.to(self.accelerator.device) for name, part in (("inputs", inputs), ("targets", targets))}

    def _loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = self.network(input_ids=batch["inputs"], use_cache=False).logits
        return negative_log_likelihood(logits, batch["targets"]).mean()  # all blocks are whole

    def _values(self, loss: float) -> dict[str, float]:
        return {"loss": loss, "perplexity": exponential(loss), "tokens/s": self.speed * self.settings.context}

    def _is_evaluated(self, done: int) -> bool:
        return self.held_out is not None

    def _evaluate(self, network: nn.Module) -> dict[str, Any]:
        assert self.held_out is not None
        return perplexity(network, self.held_out, self.accelerator, self.plan.batch_size)

    def _write(self, final: Any, record: dict[str, Any], folder: Path) -> None:
        final.save_pretrained(folder)
        self.corpus.tokenizer.save_pretrained(folder)
        write_json(record, folder / RECORD)
        write_card(folder, network_card(folder))  # once more, with the tokenizer and the training

    def _record(self, final: Any) -> dict[str, Any]:
        corpus, plan, context = self.corpus, self.plan, self.settings.context
        evaluated = corpus.evaluated
        network = {name: getattr(final.config, name) for name in ("space", "architecture", "vocab_size")}
        return {
            "network": network,
            "settings": asdict(self.settings),
            "total_batch_size": plan.total_batch_size,
            "tokenizer": {"name": corpus.tokenizer.name_or_path or None, "tokens": len(corpus.tokenizer)},
            "tokens": len(corpus.tokens),
            "blocks": len(self.blocks),
            "tokens_seen": plan.steps * plan.total_batch_size * context,
            "source": corpus.texts.name,
            "split": corpus.texts.split,
            "validation_source": evaluated
            and {"name": evaluated.name, "split": evaluated.split, "held_out": evaluated.held_out},
            "validation": self.history[-1].get("validation"),
            "parameters": sum(parameter.numel() for parameter in final.parameters()),
            "tokens_per_second": round(self.speed * context, 1),
        }
