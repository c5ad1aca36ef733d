"""Generated networks for texts as transformers models.

Importing this module registers the classes, so that ``AutoConfig``, ``AutoModelForCausalLM``,
``pipeline("text-generation")`` and ``Trainer`` know them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, GenerationMixin, PretrainedConfig
from transformers.modeling_outputs import CausalLMOutputWithPast

from .architecture import Architecture
from .errors import shortened, unknown
from .inputs import whole_number
from .network_folder import PKGenNetworkModel, SavedNetwork, check_architecture, saved_state
from .networks import plan, planner_of
from .spaces import TASK_KINDS, SearchSpace, get_space, list_spaces
from .spaces.registry import module_of

MODEL_TYPE = "pkgen-text-network"
DEFAULT_TEXT_SPACE = "hw-gpt-bench-s"
LANGUAGE_MODELLING = "language-modelling"
# The field of outputs, and the argument of models, that holds keys and values: its name depends on the version.
_CACHE = "cache" if "cache" in {field.name for field in fields(CausalLMOutputWithPast)} else "past_key_values"


def text_spaces() -> list[str]:
    """Spaces whose networks read texts of tokens at once, ``LongTensor (batch, time)``."""
    return [name for name in list_spaces() if _reads_texts(get_space(name))]


def causal_spaces() -> list[str]:
    """Those of `text_spaces` whose networks predict the next token."""
    return [name for name in text_spaces() if _kind(get_space(name)) == LANGUAGE_MODELLING]


def _kind(space: SearchSpace) -> str:
    return next(iter(space.tasks.values())).kind


def _reads_texts(space: SearchSpace) -> bool:
    if not space.tasks or "text" not in TASK_KINDS[_kind(space)] or planner_of(space) is None:
        return False
    return len(space.input_shape(next(iter(space.tasks)))) == 1


def _default(space: SearchSpace, option: str, otherwise: int) -> int:
    """The default of an option of the space's networks; `otherwise` where they have no such option."""
    planner = planner_of(space)
    known = inspect.signature(planner).parameters if planner is not None else {}
    return known[option].default if option in known else otherwise


def derived_fields(architecture: Architecture) -> dict[str, Any]:
    """Fields of a configuration that follow from the architecture: sizes, those of layers as lists.

    Those that the function ``config_fields`` of the module of the space's networks gives; none for other spaces.
    """
    describe = getattr(module_of(architecture.space, "networks"), "config_fields", None)
    return {} if describe is None else describe(architecture)


class PKGenTextConfig(PretrainedConfig):
    """What a network for texts is: an architecture of a space, its vocabulary and the length of its texts.

    The sizes of the network (``hidden_size``, ``num_hidden_layers``, ``num_attention_heads_per_layer``,
    ``intermediate_size_per_layer``, ...) are attributes, too, and written to ``config.json`` for people and programs
    that read them; they follow from the architecture.

    Parameters
    ----------
    space, architecture
        Name of the space and the benchmark's own string; by default the space's smallest.
    scale
        Options of `pkgen_hf.networks.build` for this space beside the vocabulary and the context.
    vocab_size
        Tokens of the vocabulary; by default as in the benchmark.
    max_position_embeddings
        Tokens of the longest text; by default as in the benchmark.
    **kwargs
        As of any transformers configuration.

    Raises
    ------
    ValueError
        For a space that has no networks for texts, a string that is not of the space, a size below 1, a size of
        layers that is not the architecture's, an output layer that is not the embedding of tokens, or a `use_cache`
        that is neither true nor false.
    """

    model_type = MODEL_TYPE
    keys_to_ignore_at_inference = ["cache", "past_key_values"]

    def __init__(
        self,
        space: str = DEFAULT_TEXT_SPACE,
        architecture: str | None = None,
        scale: dict[str, Any] | None = None,
        vocab_size: int | None = None,
        max_position_embeddings: int | None = None,
        **kwargs: Any,
    ) -> None:
        if space not in text_spaces():
            raise unknown("space of networks for texts", space, text_spaces())
        if architecture is not None and not isinstance(architecture, str):
            raise ValueError(f"architecture must be a string of the space, got {shortened(architecture)}")
        if scale is not None and not isinstance(scale, Mapping):
            raise ValueError(f"scale must hold options by name, got {shortened(scale)}")
        of = get_space(space)
        with torch.device("cpu"):
            smallest = Architecture(of, of.null_indices.clamp(min=0).tolist())
            chosen = smallest if architecture is None else Architecture.from_string(space, architecture)
            derived = derived_fields(chosen)
        task = next(iter(of.tasks))
        if vocab_size is None:
            vocab_size = _default(of, "vocabulary", of.task(task).num_classes)
        if max_position_embeddings is None:
            max_position_embeddings = _default(of, "positions", of.input_shape(task)[0])
        for name, value in derived.items():
            if name in kwargs and (given := kwargs.pop(name)) != value:
                raise ValueError(f"{name} follows from the architecture, which has {value}, got {shortened(given)}")
        self.space, self.architecture, self.scale = space, str(chosen), dict(scale or {})
        self.vocab_size = whole_number("vocab_size", vocab_size)
        self.max_position_embeddings = whole_number("max_position_embeddings", max_position_embeddings)
        self.use_cache = kwargs.pop("use_cache", True)
        if not isinstance(self.use_cache, bool):
            raise ValueError(f"use_cache must be true or false, got {shortened(self.use_cache)}")
        if (tied := kwargs.get("tie_word_embeddings", True)) is not True:
            raise ValueError(
                f"tie_word_embeddings must be true, got {shortened(tied)}: the output layer is the embedding of tokens"
            )
        for name, value in derived.items():
            setattr(self, name, value)
        super().__init__(**{"tie_word_embeddings": True, **kwargs})


class PKGenTextModel(PKGenNetworkModel):
    """What networks for texts have in common as transformers models.

    A class of them says with `build_arguments` which network it holds, and has a ``forward``.
    """

    config_class = PKGenTextConfig
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: PKGenTextConfig) -> None:
        num_classes, scale = self.build_arguments(config)
        super().__init__(config)
        with torch.device("cpu"):  # planning reads the architecture from tensors, which the meta device cannot
            planned = plan(Architecture.from_string(config.space, config.architecture), num_classes, **scale)
        self.network: Any = planned()
        self.post_init()

    @classmethod
    def build_arguments(cls, config: PKGenTextConfig) -> tuple[int | None, dict[str, Any]]:
        """Width of the output, and options of `pkgen_hf.networks.build`, of the network that the class holds.

        Raises
        ------
        ValueError
            For a space that has no such networks.
        """
        raise NotImplementedError

    @classmethod
    def from_architecture(
        cls,
        architecture: Architecture,
        vocab_size: int | None = None,
        max_position_embeddings: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """A network with fresh weights.

        Parameters
        ----------
        architecture
            Of a space whose networks read texts.
        vocab_size, max_position_embeddings, **kwargs
            As of `PKGenTextConfig`; such as ``bos_token_id``, ``eos_token_id`` and ``pad_token_id``.

        Raises
        ------
        ValueError
            For what is no `Architecture`, or one of a space without such networks; else as of `PKGenTextConfig`.
        """
        check_architecture(architecture, text_spaces(), "for texts")
        config = PKGenTextConfig(
            space=architecture.space.name,
            architecture=str(architecture),
            vocab_size=vocab_size,
            max_position_embeddings=max_position_embeddings,
            **kwargs,
        )
        return cls(config)


class PKGenNetworkForCausalLM(PKGenTextModel, GenerationMixin):
    """The decoder of a `PKGenTextConfig`, with fresh weights unless loaded: what `Architecture.build` gives.

    Its state is that of the module under the prefix ``network.``; the output layer is the embedding of tokens.
    Attention is torch's ``scaled_dot_product_attention``.

    The network of a space of one's own has to be of the form of
    `pkgen_hf.networks.hw_gpt_bench.DecoderLanguageModel`: an ``embedding``, ``hidden_states`` and ``logits``.
    """

    _no_split_modules = ["Block"]

    @classmethod
    def build_arguments(cls, config: PKGenTextConfig) -> tuple[int | None, dict[str, Any]]:
        if config.space not in causal_spaces():
            raise unknown("space of networks that predict the next token", config.space, causal_spaces())
        return config.vocab_size, {"context": config.max_position_embeddings, **config.scale}

    def get_input_embeddings(self) -> nn.Module:
        return self.network.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.network.embedding = value

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        cache: Any = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Predict the next token at every place.

        Parameters
        ----------
        input_ids
            ``LongTensor (batch, time)``
        attention_mask
            ``(batch, earlier + time)``, 0 for padding, which may be on either side, and 1 for all else.
        position_ids
            ``LongTensor (batch, time)``; by default positions in the text without padding.
        inputs_embeds
            Embeddings instead of tokens, ``FloatTensor (batch, time, hidden_size)``.
        cache, past_key_values
            Keys and values of earlier tokens, such as a ``DynamicCache``, by the argument's new and its former name.
        use_cache
            Whether to return them; by default in evaluation, as the configuration says.
        labels
            ``LongTensor (batch, time)``, the tokens themselves, which are shifted here, -100 where there is none: for
            the cross-entropy, the mean over tokens.
        logits_to_keep
            Of how many of the last places logits are computed, or their numbers; 0 for all.
        output_hidden_states
            Return the embeddings and the states after each layer, normalised after the last; by default as the
            configuration says.
        output_attentions
            Must not be true: torch's attention returns no weights.
        **kwargs
            ``num_items_in_batch``, by which the loss is divided instead of the number of tokens, as `Trainer` does.

        Returns
        -------
        CausalLMOutputWithPast
            ``logits``, ``FloatTensor (batch, time, vocab_size)``, ``loss`` if there are labels, the cache, and
            ``hidden_states``, a tuple of ``FloatTensor (batch, time, hidden_size)``, if they are asked for.

        Raises
        ------
        ValueError
            If there are both tokens and embeddings or neither, for a mask or positions of another shape, a cache of a
            fixed length, or if weights of attention are asked for.
        """
        refuse_attentions(self.config, output_attentions)
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError(
                "give either input_ids or inputs_embeds, got " + ("neither" if input_ids is None else "both")
            )
        embedded = self.network.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        cache = self._cache(past_key_values if cache is None else cache, use_cache)
        mask = padding_mask(attention_mask, embedded.shape[1] + (0 if cache is None else cache.get_seq_length()))
        if position_ids is not None and position_ids.shape not in (embedded.shape[:2], (1, embedded.shape[1])):
            wanted, got = tuple(embedded.shape[:2]), tuple(position_ids.shape)
            raise ValueError(f"position_ids must be of shape {wanted}, got {got}")
        with_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        states: list[torch.Tensor] = []
        collect = {"states": states} if with_states else {}
        hidden = self.network.hidden_states(embedded, mask, position_ids, cache, **collect)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.network.logits(hidden[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        given = {
            "loss": loss,
            "logits": logits,
            _CACHE: cache,
            "hidden_states": tuple(states) if with_states else None,
        }
        output = CausalLMOutputWithPast(**given)
        return output.to_tuple() if return_dict is False else output

    def _cache(self, given: Any, use_cache: bool | None) -> Any:
        """The cache to fill: the one that is given, a new one where one is wanted, else None."""
        if getattr(given, "is_compileable", False):  # its keys are of the longest text, and the mask is not
            raise ValueError("a cache must grow with the text: cache_implementation='dynamic', not 'static'")
        checkpointing = self.training and self.network.gradient_checkpointing
        wanted = self.config.use_cache and not self.training if use_cache is None else use_cache
        if checkpointing or not wanted:
            return None if checkpointing else given
        return DynamicCache(config=self.config) if given is None else given


def refuse_attentions(config: PretrainedConfig, output_attentions: bool | None) -> None:
    """Raise ValueError if weights of attention are asked for, by the argument of a call or the configuration."""
    if config.output_attentions if output_attentions is None else output_attentions:
        raise ValueError(
            "output_attentions=True is not possible: torch's scaled_dot_product_attention, which these networks use, "
            "returns no weights; output_hidden_states=True gives the states after each layer"
        )


def padding_mask(mask: torch.Tensor | None, tokens: int) -> torch.Tensor | None:
    """A mask in which something is hidden, or None; ValueError for one of another shape."""
    if mask is None:
        return None
    if mask.ndim != 2 or mask.shape[1] != tokens:
        raise ValueError(f"attention_mask must be of shape (batch, {tokens}), got {tuple(mask.shape)}")
    return None if bool(mask.all()) else mask


def _classes_of(base: type[PKGenTextModel]) -> list[type[PKGenTextModel]]:
    """All classes that are derived from one."""
    return [kind for child in base.__subclasses__() for kind in (child, *_classes_of(child))]


def saved_text_network(folder: str | Path) -> SavedNetwork:
    """Read the folder of a network for texts of any class; errors are those of `network_folder.saved_state`."""
    state = saved_state(folder, MODEL_TYPE)
    config = PKGenTextConfig.from_pretrained(folder)
    classes = {kind.__name__: kind for kind in _classes_of(PKGenTextModel)}
    name = (config.architectures or [""])[0]
    if name not in classes:
        raise unknown(f"class of the model in {folder}", name, classes)
    num_classes, scale = classes[name].build_arguments(config)
    return SavedNetwork(Architecture.from_string(config.space, config.architecture), num_classes, None, state, scale)


AutoConfig.register(MODEL_TYPE, PKGenTextConfig, exist_ok=True)
AutoModelForCausalLM.register(PKGenTextConfig, PKGenNetworkForCausalLM, exist_ok=True)
