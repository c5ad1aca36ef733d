"""Tokens of texts, in blocks, and tokenizers."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm.auto import tqdm
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pkgen_hf.errors import one_line
from texts import Texts

END = "<|endoftext|>"  # the end token of tokenizers that are trained here
IGNORED = -100  # target of places beyond the end of a text
TRAINING_TEXT = 100 * 2**20  # characters that a tokenizer is trained on at most
TOGETHER = 256  # pieces of text that are encoded at once


# ---------------------------------------------------------------------- tokenizers


def train_tokenizer(texts: Texts, vocab_size: int, context: int) -> Any:
    """Train a byte-level byte-pair encoding (Sennrich et al., ACL 2016), which can write any text.

    Parameters
    ----------
    texts
        To train on; of long ones the first 100 million characters.
    vocab_size
        Number of tokens at most: the 256 bytes, the end token, and merges.
    context
        Longest text of the network in tokens.

    Returns
    -------
    PreTrainedTokenizerFast
        The same for the same texts.

    Raises
    ------
    ValueError
        If the vocabulary has no place for all bytes.
    """
    if vocab_size < 257:
        raise ValueError(f"--vocab_size must be at least 257, the bytes and an end token, got {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_first(texts), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END, model_max_length=context
    )


def _first(texts: Texts) -> Iterator[str]:
    read = 0
    for _, piece in texts.pieces():
        yield piece
        read += len(piece)
        if read >= TRAINING_TEXT:
            return


def load_tokenizer(name: str) -> Any:
    """Load a tokenizer from a folder or the Hub; ValueError if it cannot be, or has no end token."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # of many classes, depending on the files and the connection
        raise ValueError(f"{name} cannot be loaded as a tokenizer: {one_line(error)}") from error
    end_token(tokenizer)
    return tokenizer


def end_token(tokenizer: Any) -> int:
    """The token between documents; ValueError if a tokenizer has none."""
    for token in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if token is not None:
            return int(token)
    raise ValueError(f"the tokenizer {tokenizer.name_or_path} has no end token, which documents are divided by")


# ---------------------------------------------------------------------- tokens


class Tokens:
    """The tokens of texts, an end token before each document and at the end, and how many bytes they stand for.

    Attributes
    ----------
    ids
        ``(tokens + 1,)``: the first is an end token, and every other the next token of those before it.
    bytes
        Of the texts in UTF-8.
    """

    def __init__(self, texts: Texts, tokenizer: Any, show: bool = False) -> None:
        end = end_token(tokenizer)
        kind = np.uint16 if len(tokenizer) <= 2**16 else np.uint32
        parts, self.bytes, documents = [np.array([end], kind)], 0, 0
        bar = {"desc": f"tokens of {texts.name}", "unit": "piece", "leave": False, "delay": 2}
        pieces = iter(tqdm(texts.pieces(), disable=not show, **bar))
        while batch := list(islice(pieces, TOGETHER)):
            encoded = tokenizer(
                [text for _, text in batch], add_special_tokens=False, return_attention_mask=False, verbose=False
            )["input_ids"]
            for (begins, text), ids in zip(batch, encoded, strict=True):
                if begins and documents:
                    parts.append(parts[0])
                documents += begins
                parts.append(np.array(ids, kind))
                self.bytes += len(text.encode())
        if texts.ends:
            parts.append(parts[0])
        self.ids = np.concatenate(parts)

    def __len__(self) -> int:
        """Number of tokens to predict: all but the first."""
        return len(self.ids) - 1

    @property
    def checksum(self) -> str:
        """Of the tokens."""
        return f"{zlib.crc32(self.ids.tobytes()):08x}"


class Blocks:
    """Consecutive blocks of tokens; every token but the first is the target of one place of one block.

    Parameters
    ----------
    tokens
        Of all texts.
    context
        Places of a block.
    whole
        Leave out a last block that the tokens do not fill.
    """

    def __init__(self, tokens: Tokens, context: int, whole: bool) -> None:
        if context < 1:
            raise ValueError(f"--context must be at least 1, got {context}")
        self.tokens, self.context = tokens, context
        self.number = len(tokens) // context if whole else -(-len(tokens) // context)
        if not self.number:
            raise ValueError(f"the text has {len(tokens)} tokens, fewer than the {context} of a block; set --context")

    def __len__(self) -> int:
        return self.number

    def batch(self, numbers: Iterable[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Some blocks: their tokens and, at each place, the next token, `IGNORED` beyond the end.

        Returns
        -------
        LongTensor (blocks, context), LongTensor (blocks, context)
        """
        rows = [self.tokens.ids[number * self.context :][: self.context + 1].astype(np.int64) for number in numbers]
        inputs = np.zeros((len(rows), self.context), np.int64)
        targets = np.full((len(rows), self.context), IGNORED, np.int64)
        for place, row in enumerate(rows):
            inputs[place, : len(row) - 1], targets[place, : len(row) - 1] = row[:-1], row[1:]
        return torch.from_numpy(inputs), torch.from_numpy(targets)


def checksum_of(tokenizer: Any) -> str:
    """Of a tokenizer's vocabulary, in the order of its tokens."""
    vocabulary: Sequence[str] = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    return f"{zlib.crc32(chr(0).join(vocabulary).encode()):08x}"
