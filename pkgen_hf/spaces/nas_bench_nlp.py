"""NAS-Bench-NLP (Klyuchnikov et al., 2020): recurrent cells for language modelling.

A cell is a recipe of at most 24 nodes, up to three of which are its new hidden states; the first is its output. A node
is one of seven operations on the word ``x``, on previous hidden states and on other nodes. The string is the
benchmark's JSON: ``{"node_0": {"op": "linear", "input": ["x", "h_prev_0"]}, "h_new_0": {...}}``.

Rows of indices are read by rules under which nearly every row is a recipe (see `NASBenchNLPSpace`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache

import torch

from ..errors import shortened, unknown
from .base import SearchSpace
from .benchmark import Origin, bibtex
from .literals import read_bare
from .nas_bench_nlp_recipes import (
    ARITY,
    BLEND,
    FIRST_NODE,
    INPUTS,
    LINEAR,
    NODES,
    NONE,
    STATES,
    UNUSED,
    Recipes,
    X,
    arrange,
    complete,
    decode,
    order,
)
from .parts import Choice, Graph, Slot, constant
from .registry import register_built_in
from .tasks import Task, TaskLike
from .weight_matrices import MatrixTable, WeightMatrices

OPERATIONS = (
    Choice("none", "identity"),  # the node is absent and passes on its first input
    Choice("linear", "linear"),
    Choice("blend", "combination", aggregation="blend"),
    Choice("elementwise_prod", "combination", aggregation="product"),
    Choice("elementwise_sum", "combination", aggregation="sum"),
    Choice("activation_tanh", "activation", activation="tanh"),
    Choice("activation_sigm", "activation", activation="sigmoid"),
    Choice("activation_leaky_relu", "activation", activation="leaky-relu"),
)
SOURCES = ("x", *(f"h_prev_{k}" for k in range(STATES)), *(f"node_{i}" for i in range(NODES)))
ABSENT = Choice("-", "zero")  # no third input, no such hidden state
# A score is less the loss in nats per word; guessing holds all words equally likely.
TASKS = {
    "ptb": Task("language-modelling", chance_score=-math.log(10_000), num_classes=10_000),
    "wikitext2": Task("language-modelling", chance_score=-math.log(33_278), num_classes=33_278),
}
_ARITY = ARITY.tolist()
EMBEDDING, HIDDEN, LAYERS = 400, 600, 3
ORIGIN = Origin(
    "NAS-Bench-NLP",
    "Less the loss of recurrent language models, in nats per word, the mean over the trainings of a cell that "
    "ended well; null for cells of which none did.",
    "https://github.com/fmsnew/nas-bench-nlp-release",
    "apache-2.0",
    bibtex(
        "article",
        "klyuchnikov2022nas",
        "{NAS-Bench-NLP}: Neural Architecture Search Benchmark for Natural Language Processing",
        "Klyuchnikov, Nikita and Trofimov, Ilya and Artemova, Ekaterina and Salnikov, Mikhail and "
        "Fedorov, Maxim and Filippov, Alexander and Burnaev, Evgeny",
        "IEEE Access",
        2022,
    ),
)


class NASBenchNLPSpace(SearchSpace):
    """An operation and three inputs for each of 24 nodes in topological order, and which nodes are the hidden states.

    A row is read so that it is a recipe whatever stands in it:

    - Inputs beyond the operation's number are ignored; the third input of a linear map may be "-".
    - A node whose operation is "none" is absent; who reads it, reads its first input.
    - Only linear maps read ``x``, which has another width than the rest. In other nodes ``x`` (and "-", where a blend
      needs three inputs) stands for the last node before, or ``h_prev_0`` if there is none.
    - A hidden state that points at an absent node whose first input is no node points at the last one before (or else
      at the first). One that is the same node as an earlier state is that state. Where there is no ``h_new_k``,
      ``h_prev_k`` is ``h_prev_0``.
    - Hidden states (but the output) whose previous value nobody reads are left out.
    - If no hidden state is computed from ``x``, the first node that the output is computed from is taken as a linear
      map of ``x`` and its first input.
    - Nodes that no hidden state is computed from are left out.

    Not valid are rows without any node, and those of which ``x`` reaches hidden states, but never the output, not even
    over time: one in forty random rows, and 20 of the 14,322 recipes of the benchmark.

    `canonical` writes what is left in the first places, ordered by depth and then by what nodes compute and who reads
    them (a colour refinement), inputs in ascending order but those of a blend. It does not depend on the order of
    nodes, unless two of one depth differ in ways that the refinement does not see; cells that differ by exchanging
    ``h_new_1`` and ``h_new_2`` are distinct, and so are a node that two others read and two nodes that compute the
    same. `num_architectures` is the number of encodings, far above that of recipes, which nobody has counted.

    Strings are written without what is left out, with nodes numbered anew.
    """

    summary = "recurrent cell, up to 24 nodes"
    origin = ORIGIN

    def __init__(self) -> None:
        slots = []
        for node in range(NODES):
            reads, writes = tuple(range(node + 1)), node + 1
            levels = enumerate(SOURCES[: FIRST_NODE + node])
            sources = tuple(Choice(name, "predecessor", level=k / (UNUSED - 1)) for k, name in levels)
            slots.append(Slot(f"node_{node}", "operation", OPERATIONS, reads, writes))
            for i in range(INPUTS):
                choices = sources if i < INPUTS - 1 else (ABSENT, *sources)
                slots.append(Slot(f"input {i} of node_{node}", "connection", choices, reads, writes))
        nodes = tuple(
            Choice(SOURCES[k], "predecessor", level=k / (UNUSED - 1)) for k in range(FIRST_NODE, FIRST_NODE + NODES)
        )
        for k in range(STATES):
            choices = (ABSENT, *nodes) if k else nodes
            slots.append(Slot(f"h_new_{k}", "connection", choices, tuple(range(1, NODES + 1)), NODES + 1))
        super().__init__("nas-bench-nlp", slots, TASKS, null_choice="none")

    @property
    def example(self) -> str:
        return _write([("node_0", "linear", ["x", "h_prev_0"]), ("h_new_0", "activation_tanh", ["node_0"])])

    # ------------------------------------------------------------------ recipes

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        recipes = decode(indices)
        number = (recipes.operations != NONE).sum(1)
        recipes = arrange(recipes, order(recipes), number)
        is_set = (recipes.operations != BLEND)[:, :, None]
        recipes.inputs = torch.where(is_set, recipes.inputs.sort(2)[0], recipes.inputs)
        return self._encode(recipes)

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        return complete(indices)[0].reached_over_time()[:, X]

    def _encode(self, recipes: Recipes) -> torch.Tensor:
        """Rows of recipes in the first places; what is ignored holds the first choice."""
        inputs = torch.where(recipes.inputs == UNUSED, 0, recipes.inputs)
        inputs[:, :, 2] = torch.where(recipes.inputs[:, :, 2] == UNUSED, 0, recipes.inputs[:, :, 2] + 1)
        states = recipes.states.clone()
        states[:, 1:] += 1
        nodes = torch.cat([recipes.operations[:, :, None], inputs], dim=2).flatten(1)
        return torch.cat([nodes, states.clamp(min=0)], dim=1)

    # ------------------------------------------------------------------ strings

    def recipes(self, indices: torch.Tensor) -> list[list[tuple[str, str, list[str]]]]:
        """Recipes as the nodes' names, operations and inputs, in an order in which they can be computed."""
        decoded = decode(indices)
        batch = []
        for operations, inputs, states in zip(
            decoded.operations.tolist(), decoded.inputs.tolist(), decoded.states.tolist(), strict=True
        ):
            names = list(SOURCES[:FIRST_NODE])
            nodes = []
            number = 0  # of nodes that are no hidden states
            for node, operation in enumerate(operations):
                if operation == NONE:
                    break
                is_state = node in states
                names.append(f"h_new_{states.index(node)}" if is_state else f"node_{number}")
                number += not is_state
                read = [names[k] for k in inputs[node] if k != UNUSED]
                nodes.append((names[-1], OPERATIONS[operation].name, read))
            batch.append(nodes)
        return batch

    def graphs(self, indices: Sequence[int]) -> list[Graph]:
        """The recipe without what is left out: what it reads, its nodes, and the new hidden states."""
        recipe = self.recipes(torch.tensor([indices], device="cpu"))[0]
        kinds = {choice.name: choice.kind for choice in OPERATIONS}
        read = {source for _, _, inputs in recipe for source in inputs}
        nodes = [(name, "") for name in SOURCES[:FIRST_NODE] if name in read or name == "x"]
        number = {name: k for k, (name, _) in enumerate(nodes)}
        edges = []
        for name, operation, inputs in recipe:
            number[name] = len(nodes)
            nodes.append((operation, kinds[operation]))
            edges += [(number[source], number[name], "", "") for source in dict.fromkeys(inputs)]
        for name in sorted((name for name in number if name.startswith("h_new")), reverse=True) or ["h_new_0"]:
            edges += [(number[name], len(nodes), "", "")] if name in number else []
            nodes.append((name, ""))
        return [Graph("", nodes, edges)]

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        # The benchmark writes hidden states last, whoever reads them.
        return [_write(sorted(nodes, key=_place)) for nodes in self.recipes(indices)]

    def from_strings(self, strings: Sequence[str]) -> torch.Tensor:
        """Read the benchmark's recipes; nodes may have any names, and ``{}`` is the cell without any.

        Returns
        -------
        LongTensor (batch, slots)

        Raises
        ------
        ValueError
            For what is no recipe of this space; it says which part is wrong and what is allowed.
        """
        texts = self._as_texts(strings)
        rows = torch.tensor([read_bare(text, self._read) for text in texts], dtype=torch.long).reshape(
            -1, self.num_slots
        )
        _, lost = complete(rows)
        if lost.any():
            text = shortened(texts[int(lost.int().argmax())])
            raise ValueError(
                f"x does not reach h_new_0, nor another state that is read, in the {self.name} string {text}"
            )
        return rows

    def _read(self, text: str) -> list[int]:
        """The choices of one recipe."""
        given = self._nodes(text)
        states = sorted(name for name in given if name.startswith("h_new_") and name[6:].isdigit())
        number = {name: k for k, name in enumerate(SOURCES[:FIRST_NODE])}
        if not number.keys().isdisjoint(given):
            raise self.malformed(text, f"no node can be called as what all nodes read: {', '.join(number)}")
        if states != [f"h_new_{k}" for k in range(len(states))]:
            raise self.malformed(text, f"new hidden states are numbered from 0, not {shortened(', '.join(states))}")
        if not bool(given) <= len(states) <= STATES or len(given) > NODES:
            raise ValueError(
                f"a {self.name} string has 1 to {STATES} new hidden states among at most {NODES} nodes, "
                f"got {len(states)} among {len(given)} in {shortened(text)}"
            )
        base = ["x", *(name.replace("new", "prev") for name in states)]
        known = set(base)
        row = [0] * self.num_slots
        for name in _computing_order(given):
            operation, inputs = given[name]
            if operation not in self.choice_index[0] or operation == "none":
                where = f"of node {shortened(name)}"
                raise unknown(f"operation {where}", operation, list(self.choice_index[0])[1:], text)
            index = self.choice_index[0][operation]
            arity = _ARITY[index]
            if len(inputs) != arity and (index, len(inputs)) != (LINEAR, 2):
                wanted = "2 or 3" if index == LINEAR else arity
                found = f"{operation} takes {wanted} inputs, got {len(inputs)} of node {shortened(name)}"
                raise ValueError(f"{found} in the {self.name} string {shortened(text)}")
            for k in inputs:
                if k not in known or (k == "x" and index != LINEAR):
                    allowed = [k for k in (*base, *given) if k in known and (index == LINEAR or k != "x")]
                    where = f"of node {shortened(name)}"
                    raise unknown(f"input (of what is computed before) {where}", k, allowed, text)
            node = len(number) - FIRST_NODE
            slot = node * (1 + INPUTS)
            row[slot] = index
            for i, k in enumerate(inputs):
                row[slot + 1 + i] = number[k] + (i == INPUTS - 1)
            number[name] = FIRST_NODE + node
            known.add(name)
        for state, name in enumerate(states):
            row[NODES * (1 + INPUTS) + state] = number[name] - FIRST_NODE + (state > 0)
        return row

    def _nodes(self, text: str) -> dict[str, tuple[str, list[str]]]:
        """Operation and inputs of each node of a recipe."""
        recipe = self._literal(text)
        if not isinstance(recipe, dict):
            raise self.malformed(text, "it is no object of nodes")
        given = {}
        for name, node in recipe.items():
            match node:
                case {"op": str() as operation, "input": [*inputs]} if all(isinstance(k, str) for k in inputs):
                    given[name] = operation, inputs
                case _:
                    raise self.malformed(text, f"node {shortened(name)} has no op with a list of inputs")
        return given

    # ------------------------------------------------------------------ costs

    def _weights(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and biases of all layers, ``(batch,)`` each."""
        recipes = decode(indices)
        is_linear = recipes.operations == LINEAR
        words = ((recipes.inputs == X).sum(2) * is_linear).sum(1)
        others = ((recipes.inputs != UNUSED).sum(2) * is_linear).sum(1) - words
        weights, biases = torch.zeros_like(words), torch.zeros_like(words)
        for inputs, outputs in layer_widths(EMBEDDING, HIDDEN, LAYERS):
            weights += (words * inputs + others * outputs) * outputs
            biases += is_linear.sum(1) * outputs
        return weights, biases

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact: words' vectors, which the decoder shares, its biases, and the linear maps of three layers."""
        weights, biases = self._weights(indices)
        return weights + biases + (EMBEDDING + 1) * self.task(task or "ptb").num_classes

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of one word: linear maps of three layers, and the decoder."""
        return self._weights(indices)[0] + EMBEDDING * self.task(task or "ptb").num_classes

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        recipes = decode(indices)
        is_read = (recipes.operations == LINEAR)[:, :, None] & (recipes.inputs != UNUSED)
        return _matrices().total(torch.where(is_read, (recipes.inputs != X).long(), -1).flatten(1))


def layer_widths(embedding: int, hidden: int, layers: int) -> list[tuple[int, int]]:
    """Widths of input and hidden states of each layer; the last is as wide as the vectors of words."""
    widths = [embedding, *[hidden] * (layers - 1), embedding]
    return list(zip(widths, widths[1:], strict=False))


@cache
@constant
def _matrices() -> MatrixTable:
    """Of an input of a linear map in all layers: of ``x``, and of anything else."""
    layers = layer_widths(EMBEDDING, HIDDEN, LAYERS)
    return MatrixTable(
        [[(outputs, inputs, 1) for inputs, outputs in layers], [(outputs, outputs, 1) for _, outputs in layers]]
    )


def _computing_order(given: dict[str, tuple[str, list[str]]]) -> list[str]:
    """Names in the order given, but what a node reads before it (as far as there is no circle)."""
    names: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in given and name not in seen:
            seen.add(name)
            for source in given[name][1]:
                visit(source)
            names.append(name)

    for name in given:
        visit(name)
    return names


def _place(node: tuple[str, str, list[str]]) -> tuple[int, str]:
    """Sorts hidden states behind the other nodes, whose order stays."""
    return (1, node[0]) if node[0].startswith("h_new_") else (0, "")


def _write(nodes: Sequence[tuple[str, str, list[str]]]) -> str:
    return json.dumps({name: {"op": operation, "input": inputs} for name, operation, inputs in nodes})


register_built_in(NASBenchNLPSpace())
