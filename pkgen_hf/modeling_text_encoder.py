"""Generated text encoders as transformers models: masked language models, and classifiers of texts.

Importing this module registers the classes, so that ``AutoModelForMaskedLM``, ``AutoModelForSequenceClassification``,
their pipelines and ``Trainer`` know them.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification
from transformers.modeling_outputs import MaskedLMOutput, SequenceClassifierOutput

from .errors import shortened, unknown
from .modeling_text_network import PKGenTextConfig, PKGenTextModel, padding_mask, text_spaces
from .networks import planner_of
from .networks.nas_bench_bert import MaskedLanguageModel, initialise
from .spaces import get_space

_OPTION = "masked_language_model"  # of networks of encoders


def encoder_spaces() -> list[str]:
    """Spaces whose networks are text encoders, on which heads of several kinds can be set."""
    planners = {name: planner_of(get_space(name)) for name in text_spaces()}
    return [name for name, planner in planners.items() if planner and _OPTION in inspect.signature(planner).parameters]


class PKGenEncoderModel(PKGenTextModel):
    """What models of text encoders have in common: ``self.network`` is an ``encoder`` with a head on it.

    The network of a space of one's own has to be of the form of those of `pkgen_hf.networks.nas_bench_bert`.
    Attention is torch's ``scaled_dot_product_attention``.
    """

    _no_split_modules = ["EncoderLayer"]

    @classmethod
    def build_arguments(cls, config: PKGenTextConfig) -> tuple[int | None, dict[str, Any]]:
        """Those of the encoder alone."""
        if config.space not in encoder_spaces():
            raise unknown("space of text encoders", config.space, encoder_spaces())
        return None, {"vocabulary": config.vocab_size, "positions": config.max_position_embeddings, **config.scale}

    def _init_weights(self, module: nn.Module) -> None:
        """Weights as networks begin; of a checkpoint without this head, those that it lacks."""
        initialise(module)
        if isinstance(module, MaskedLanguageModel):
            nn.init.zeros_(module.decoder_bias)

    def get_input_embeddings(self) -> nn.Module:
        return self.network.encoder.embeddings.tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.network.encoder.embeddings.tokens = value

    def _logits(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        token_type_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
    ) -> torch.Tensor:
        """What the head makes of a batch of texts; arguments and errors are those of `forward`."""
        if (input_ids is None) == (inputs_embeds is None):
            given = "neither" if input_ids is None else "both"
            raise ValueError(f"give either input_ids or inputs_embeds, got {given}")
        encoder = self.network.encoder
        embedded = encoder.embeddings.tokens(input_ids) if inputs_embeds is None else inputs_embeds
        mask = padding_mask(attention_mask, embedded.shape[1])
        if token_type_ids is not None and token_type_ids.shape != embedded.shape[:2]:
            wanted, got = tuple(embedded.shape[:2]), tuple(token_type_ids.shape)
            raise ValueError(f"token_type_ids must be of shape {wanted}, got {got}")
        return self.network.logits(encoder.hidden_states(embedded, mask, token_type_ids))


class PKGenNetworkForMaskedLM(PKGenEncoderModel):
    """A text encoder that says which tokens stand at masked places, with fresh weights unless loaded.

    The decoder's weights are the vectors of tokens.
    """

    @classmethod
    def build_arguments(cls, config: PKGenTextConfig) -> tuple[int | None, dict[str, Any]]:
        return None, super().build_arguments(config)[1] | {_OPTION: True}

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> nn.Embedding:
        """As in transformers; the decoder's biases of new tokens are 0."""
        embeddings = super().resize_token_embeddings(new_num_tokens, *args, **kwargs)
        before = self.network.decoder_bias
        after = before.new_zeros(embeddings.num_embeddings)
        number = min(len(before), len(after))
        after[:number] = before.detach()[:number]
        self.network.decoder_bias = nn.Parameter(after, before.requires_grad)
        return embeddings

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput | tuple[torch.Tensor, ...]:
        """Logits of tokens at every place.

        Parameters
        ----------
        input_ids
            ``LongTensor (batch, length)``
        attention_mask
            ``(batch, length)``, 1 for tokens and 0 for padding.
        token_type_ids
            ``LongTensor (batch, length)``, 0 and 1 for tokens of a first and a second text.
        inputs_embeds
            Vectors instead of tokens, ``FloatTensor (batch, length, embedding)``.
        labels
            Tokens that stand there, ``LongTensor (batch, length)``, -100 at places that do not count: for the
            cross-entropy, the mean over places.
        **kwargs
            ``num_items_in_batch``, by which the loss is divided instead of the number of places, as `Trainer` does.

        Returns
        -------
        MaskedLMOutput
            ``logits``, ``FloatTensor (batch, length, vocab_size)``, and ``loss`` if there are labels.

        Raises
        ------
        ValueError
            If there are both tokens and vectors or neither, for a mask of another shape, or too long a text.
        """
        logits = self._logits(input_ids, attention_mask, token_type_ids, inputs_embeds)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        output = MaskedLMOutput(loss=loss, logits=logits)
        return output.to_tuple() if return_dict is False else output


class PKGenNetworkForSequenceClassification(PKGenEncoderModel):
    """A text encoder with a classifier of texts or pairs of texts, with fresh weights unless loaded.

    ``num_labels`` of the configuration is the number of classes; 1 is a regression. ``from_pretrained`` of a folder of
    a `PKGenNetworkForMaskedLM` takes its encoder, and begins with a fresh classifier.
    """

    _keys_to_ignore_on_load_unexpected = [r"^network\.(transform|transform_norm)\.", r"^network\.decoder_bias$"]

    def __init__(self, config: PKGenTextConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels

    @classmethod
    def build_arguments(cls, config: PKGenTextConfig) -> tuple[int | None, dict[str, Any]]:
        return config.num_labels, super().build_arguments(config)[1]

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[torch.Tensor, ...]:
        """Logits of texts.

        Parameters
        ----------
        input_ids, attention_mask, token_type_ids, inputs_embeds
            As of `PKGenNetworkForMaskedLM.forward`.
        labels
            Classes, ``LongTensor (batch,)``; for a regression numbers, ``FloatTensor (batch,)``, and for several
            labels of a text, ``FloatTensor (batch, num_labels)`` of 0 and 1. The loss is the cross-entropy, the mean
            squared error or the binary cross-entropy, by ``problem_type`` of the configuration or what labels are.

        Returns
        -------
        SequenceClassifierOutput
            ``logits``, ``FloatTensor (batch, num_labels)``, and ``loss`` if there are labels.

        Raises
        ------
        ValueError
            As of `PKGenNetworkForMaskedLM.forward`, and for labels of another number of texts.
        """
        logits = self._logits(input_ids, attention_mask, token_type_ids, inputs_embeds)
        loss = None
        if labels is not None:
            if len(labels) != len(logits):
                raise ValueError(f"labels must be of {len(logits)} texts, got {shortened(tuple(labels.shape))}")
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        output = SequenceClassifierOutput(loss=loss, logits=logits)
        return output.to_tuple() if return_dict is False else output


AutoModelForMaskedLM.register(PKGenTextConfig, PKGenNetworkForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(PKGenTextConfig, PKGenNetworkForSequenceClassification, exist_ok=True)
