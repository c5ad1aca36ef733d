"""Perplexity of a language model over a text that several processes share, each token counted exactly once."""

from __future__ import annotations

import math
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F

from text_tokens import IGNORED, Blocks


def negative_log_likelihood(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Of the next tokens, in nats and float32, ``(blocks * context,)``; 0 where there is no token.

    Parameters
    ----------
    logits
        ``FloatTensor (blocks, context, tokens)``
    targets
        ``LongTensor (blocks, context)``, `IGNORED` where there is none.
    """
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")


@torch.no_grad()
def perplexity(network: nn.Module, blocks: Blocks, accelerator: Accelerator, batch_size: int) -> dict[str, Any]:
    """Exponential of the mean negative log-likelihood of all tokens, each predicted from those before it in its block.

    Processes take turns at the batches. Places beyond the end of the text do not count, nor does any token twice.

    Parameters
    ----------
    network
        In evaluation mode, and not wrapped for parallel training.
    blocks
        Of the text, the last of which may be shorter.
    accelerator
        Of the processes.
    batch_size
        Blocks of a batch in each process.

    Returns
    -------
    dict
        ``loss`` in nats a token, ``perplexity``, ``bits_per_byte`` of the text (which does not depend on the
        tokenizer), ``tokens`` counted.

    Raises
    ------
    RuntimeError
        If what all processes counted is not the number of tokens.
    """
    sums = torch.zeros(2, dtype=torch.float64, device=accelerator.device)  # nats, tokens
    starts = range(0, len(blocks), batch_size)[accelerator.process_index :: accelerator.num_processes]
    for start in starts:
        inputs, targets = blocks.batch(range(start, min(start + batch_size, len(blocks))))
        inputs, targets = inputs.to(accelerator.device), targets.to(accelerator.device)
        with accelerator.autocast():
            logits = network(input_ids=inputs, use_cache=False).logits
        sums[0] += negative_log_likelihood(logits, targets).double().sum()
        sums[1] += (targets != IGNORED).sum()
    nats, counted = accelerator.reduce(sums, "sum").tolist()
    if counted != len(blocks.tokens):
        raise RuntimeError(f"{counted:.0f} tokens were evaluated, of {len(blocks.tokens)}")
    return {
        "loss": nats / counted,
        "perplexity": exponential(nats / counted),
        "bits_per_byte": nats / math.log(2) / blocks.tokens.bytes,
        "tokens": int(counted),
    }


def exponential(loss: float) -> float:
    """Perplexity of a mean loss; infinite where it is beyond all numbers."""
    return math.exp(loss) if loss < 700 else math.inf
