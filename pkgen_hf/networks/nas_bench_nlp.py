"""NAS-Bench-NLP networks (Klyuchnikov et al., 2020): language models whose recurrent cell is a recipe.

The model around the cell is that of AWD-LSTM (Merity et al., ICLR 2018): word vectors, recurrent layers, and a decoder
that uses the word vectors again; dropout masks stay the same over time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from ..spaces.nas_bench_nlp import EMBEDDING, HIDDEN, LAYERS, NASBenchNLPSpace, layer_widths
from ..spaces.protocols import ArchitectureLike

Node = tuple[str, str, list[str]]  # name, operation, names of what it reads


def _blend(gate: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return gate * a + (1 - gate) * b


_FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "blend": _blend,
    "elementwise_prod": torch.mul,
    "elementwise_sum": torch.add,
    "activation_tanh": torch.tanh,
    "activation_sigm": torch.sigmoid,
    "activation_leaky_relu": F.leaky_relu,
}


def _locked_dropout(sequence: torch.Tensor, probability: float, training: bool) -> torch.Tensor:
    """Dropout of ``(time, batch, width)`` with one mask for all times."""
    return sequence * F.dropout(torch.ones_like(sequence[:1]), probability, training)


class LinearMap(nn.Module):
    """Linear map of several inputs; in training, weights of hidden inputs are dropped.

    Parameters
    ----------
    widths
        Of the inputs.
    is_word
        For each input, whether it is ``x``, whose weights are not dropped.
    outputs
        Width of the result.
    dropout
        Probability for each weight.
    """

    def __init__(self, widths: Sequence[int], is_word: Sequence[bool], outputs: int, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, sum(widths)))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.widths, self.is_word, self.dropout = list(widths), list(is_word), dropout
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(outputs**-0.5), outputs**-0.5)

    def draw_weight(self) -> torch.Tensor:
        """The weights to use for a whole sequence, ``(outputs, sum of widths)``."""
        parts = self.weight.split(self.widths, dim=1)
        dropped = [
            part if word else F.dropout(part, self.dropout, self.training)
            for part, word in zip(parts, self.is_word, strict=True)
        ]
        return torch.cat(dropped, dim=1)


class RecurrentLayer(nn.Module):
    """A recipe applied to each element of a sequence.

    Parameters
    ----------
    recipe
        Nodes in an order in which they can be computed. Without any, the hidden state stays what it is.
    inputs, hidden
        Widths of the elements of the sequence, and of all nodes.
    weight_dropout
        As of `LinearMap`.
    """

    def __init__(self, recipe: Sequence[Node], inputs: int, hidden: int, weight_dropout: float) -> None:
        super().__init__()
        self.recipe = list(recipe)
        self.hidden = hidden
        self.num_states = max(1, sum(name.startswith("h_new_") for name, _, _ in recipe))
        self.maps = nn.ModuleDict(
            {
                name: LinearMap(
                    [inputs if k == "x" else hidden for k in read], [k == "x" for k in read], hidden, weight_dropout
                )
                for name, operation, read in recipe
                if operation == "linear"
            }
        )

    def forward(self, sequence: torch.Tensor, states: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and last hidden states.

        Parameters
        ----------
        sequence
            ``(time, batch, inputs)``
        states
            ``(num_states, batch, hidden)``, or None for zeros.

        Returns
        -------
        Tensors (time, batch, hidden) and (num_states, batch, hidden)
        """
        if states is None:
            states = sequence.new_zeros(self.num_states, sequence.shape[1], self.hidden)
        maps = {name: cast(LinearMap, linear) for name, linear in self.maps.items()}
        drawn = {name: (linear.draw_weight(), linear.bias) for name, linear in maps.items()}
        outputs = []
        for element in sequence:
            values = {"x": element} | {f"h_prev_{k}": state for k, state in enumerate(states)}
            for name, operation, read in self.recipe:
                inputs = [values[k] for k in read]
                if operation == "linear":
                    values[name] = F.linear(torch.cat(inputs, dim=-1), *drawn[name])
                else:
                    values[name] = _FUNCTIONS[operation](*inputs)
            states = torch.stack([values.get(f"h_new_{k}", state) for k, state in enumerate(states)])
            outputs.append(states[0])
        return torch.stack(outputs), states


class LanguageModel(nn.Module):
    """Word vectors, recurrent layers and a decoder.

    Parameters
    ----------
    recipe
        As of `RecurrentLayer`.
    num_classes
        Words of the vocabulary.
    embedding, hidden, layers
        Width of word vectors and of the last layer, width of the other layers, number of layers.
    dropout, hidden_dropout, word_dropout, weight_dropout
        Probabilities: of the input and output of the layers, between layers, of words, of recurrent weights.
    """

    def __init__(
        self,
        recipe: Sequence[Node],
        num_classes: int,
        embedding: int,
        hidden: int,
        layers: int,
        dropout: float,
        hidden_dropout: float,
        word_dropout: float,
        weight_dropout: float,
    ) -> None:
        super().__init__()
        self.dropout, self.hidden_dropout, self.word_dropout = dropout, hidden_dropout, word_dropout
        self.embedding = nn.Embedding(num_classes, embedding)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.layers = nn.ModuleList(
            RecurrentLayer(recipe, inputs, outputs, weight_dropout)
            for inputs, outputs in layer_widths(embedding, hidden, layers)
        )
        self.decoder_bias = nn.Parameter(torch.zeros(num_classes))  # its weights are the word vectors

    def forward(
        self, tokens: torch.Tensor, hidden: Sequence[torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits of the next word at every place, and hidden states to go on from.

        Parameters
        ----------
        tokens
            ``LongTensor (time, batch)``
        hidden
            States of each layer as returned, or None at the start of a text. They carry gradients: ``detach`` them
            between pieces of a text.

        Returns
        -------
        Tensor (time, batch, num_classes), and for each layer a Tensor (states, batch, width)
        """
        vectors = self.embedding.weight
        kept = F.dropout(torch.ones_like(vectors[:, 0]), self.word_dropout, self.training)  # of each word
        sequence = F.embedding(tokens, vectors) * kept[tokens][:, :, None]
        sequence = _locked_dropout(sequence, self.dropout, self.training)
        states = []
        for number, layer in enumerate(self.layers):
            if number:
                sequence = _locked_dropout(sequence, self.hidden_dropout, self.training)
            sequence, last = layer(sequence, None if hidden is None else hidden[number])
            states.append(last)
        sequence = _locked_dropout(sequence, self.dropout, self.training)
        return F.linear(sequence, vectors, self.decoder_bias), states


def plan(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    embedding: int = EMBEDDING,
    hidden: int = HIDDEN,
    layers: int = LAYERS,
    dropout: float = 0.4,
    hidden_dropout: float = 0.25,
    word_dropout: float = 0.1,
    weight_dropout: float = 0.5,
) -> partial[LanguageModel]:
    """The language model of a NAS-Bench-NLP cell; by default as in the benchmark, for Penn Treebank.

    Parameters
    ----------
    architecture
        Of the space ``nas-bench-nlp``.
    num_classes
        Words of the vocabulary.
    embedding, hidden, layers
        Width of word vectors and of the last layer, width of the other layers, number of layers.
    dropout, hidden_dropout, word_dropout, weight_dropout
        Probabilities: of the input and output of the layers, between layers, of words, of recurrent weights.
    """
    space = cast(NASBenchNLPSpace, architecture.space)
    with torch.device("cpu"):  # so that the network itself may be built on the meta device
        recipe = space.recipes(architecture.rows)[0]
    return partial(
        LanguageModel,
        recipe=recipe,
        num_classes=num_classes or space.task("ptb").num_classes,
        embedding=embedding,
        hidden=hidden,
        layers=layers,
        dropout=dropout,
        hidden_dropout=hidden_dropout,
        word_dropout=word_dropout,
        weight_dropout=weight_dropout,
    )
