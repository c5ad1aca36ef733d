"""NAS-Bench-BERT: strings, what was trained alike, costs and networks, on every row of its table."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pkgen_hf import Architecture, get_space
from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.networks import build
from pkgen_hf.networks.nas_bench_bert import EncoderLayer, MaskedLanguageModel, TextClassifier, TextEncoder
from pkgen_hf.spaces.nas_bench_bert import GLUE, NASBenchBERTSpace
from pkgen_hf.spaces.shapes import on_meta

SPACE = cast(NASBenchBERTSpace, get_space("nas-bench-bert"))
FEW = '{"hidden_size":128,"layers":[["SA","SDP",2,512,1],["DSC",5,4,1024,3]]}'
MANY = (
    '{"hidden_size":256,"layers":[["SA","WMA",4,1024,3],["LT","DCT",2,512,3],'
    '["SA","SDP",4,512,3],["LT","DFT",4,1024,1]]}'
)
SMALL: dict[str, Any] = {"vocabulary": 11, "positions": 16, "embedding": 8, "dropout": 0.0}


@pytest.fixture(scope="module")
def table(shared_benchmarks: Path) -> dict[str, list[Any]]:
    return pq.read_table(shared_benchmarks / "nas-bench-bert.parquet").to_pydict()


def network_of(text: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(Architecture.from_string(SPACE, text), **options).eval()


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# ---------------------------------------------------------------------- strings


def test_a_string_is_decided_slot_by_slot() -> None:
    (row,) = SPACE.from_strings([MANY]).tolist()
    decided = {slot.name: slot.choices[k].name for slot, k in zip(SPACE.slots, row, strict=True)}
    assert (decided["hidden_size"], decided["num_layers"]) == ("256", "4")
    layer = {name.removeprefix("layer 2 "): value for name, value in decided.items() if name.startswith("layer 2")}
    assert layer == {"operation": "LT-DCT", "ff_layers": "3", "ff_dim": "512", "heads": "2"}
    assert SPACE.num_slots == 18 and sorted({slot.kind for slot in SPACE.slots}) == [
        "depth",
        "expansion",
        "operation",
        "width",
    ]


def test_all_strings_of_two_layers_and_their_number() -> None:
    """Every string of two layers; of four, each layer has the same 48 choices."""
    kinds = list(
        itertools.product(["SA-SDP", "SA-WMA", "LT-DFT", "LT-DCT", "DSC-5", "DSC-9"], (2, 4), (512, 1024), (1, 3))
    )
    texts = []
    for hidden, *layers in itertools.product((128, 256), kinds, kinds):
        written = [
            [*operation.split("-")[:1], *(int(p) if p.isdigit() else p for p in operation.split("-")[1:]), *rest]
            for operation, *rest in layers
        ]
        texts.append(json.dumps({"hidden_size": hidden, "layers": written}, separators=(",", ":")))
    rows = SPACE.from_strings(texts)
    assert SPACE.to_strings(rows) == texts and len(rows.unique(dim=0)) == 2 * 48**2
    assert 2 * (48**2 + 48**4) == 10_621_440
    assert len(SPACE.keys(rows).unique()) == 2 * 6**2
    everything = torch.cartesian_prod(*[torch.arange(n) for n in (2, 2, *[2] * 12)])
    whole = torch.zeros(len(everything), SPACE.num_slots, dtype=torch.long)
    whole[:, [s for s, slot in enumerate(SPACE.slots) if slot.kind != "operation"]] = everything
    assert len(SPACE.keys(whole).unique()) == SPACE.num_architectures == 2_664


def test_layers_that_do_not_exist_are_never_written() -> None:
    rows = SPACE.sample(500, torch.Generator().manual_seed(0))
    for row, text in zip(rows.tolist(), SPACE.to_strings(rows), strict=True):
        assert len(json.loads(text)["layers"]) == (2, 4)[row[1]]
    back = SPACE.from_strings(SPACE.to_strings(rows))
    assert torch.equal(SPACE.canonical(back), SPACE.canonical(rows)) and not torch.equal(back, rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("128", "192"), "hidden_size.*'192'"),
        (lambda text: text.replace("128", "true"), "hidden_size.*'True'"),
        (lambda text: text.replace('"SDP"', '"DFT"'), "layer 1 operation.*'SA-DFT'"),
        (lambda text: text.replace('"DSC",5', '"DSC",7'), "layer 2 operation.*'DSC-7'"),
        (lambda text: text.replace(",512,", ",768,"), "layer 1 ff_dim.*'768'"),
        (lambda text: text.replace(",2,512,1", ",3,512,1"), "layer 1 heads.*'3'"),
        (lambda text: text.replace(",1024,3", ",1024,2"), "layer 2 ff_layers.*'2'"),
        (lambda text: text.replace(",1024,3", ""), "^layer 2 is no list of operation_type"),
        (lambda text: text.replace(',["DSC",5,4,1024,3]', ""), "^layers has 1 entries, not 2 or 4"),
        (lambda text: text.replace("layers", "layer"), "^the names are hidden_size, layers: 'layers' is missing"),
    ],
)
def test_what_is_no_network_of_the_space_is_refused(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        SPACE.from_strings([change(FEW)])
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------- the table


def test_every_string_of_the_table_comes_back(table: dict[str, list[Any]]) -> None:
    texts = table["architecture"]
    assert len(texts) == 491 and SPACE.to_strings(SPACE.from_strings(texts)) == texts


def test_canonical_form_makes_equal_what_was_trained_alike(table: dict[str, list[Any]]) -> None:
    """The very partition of the table's own description of what was trained: 301 networks."""
    keys = SPACE.keys(SPACE.from_strings(table["architecture"])).tolist()
    trained = table["trained_as"]
    assert len(set(keys)) == len(set(trained)) == len(set(zip(keys, trained, strict=True))) == 301


def test_parameters_are_those_of_the_table(table: dict[str, list[Any]]) -> None:
    rows = SPACE.from_strings(table["architecture"])
    assert SPACE.parameters(rows).tolist() == table["parameters"]
    assert SPACE.parameters(SPACE.canonical(rows)).tolist() == table["parameters"]


def test_networks_are_those_that_were_trained(table: dict[str, list[Any]]) -> None:
    """Every row built: its hidden size, heads and inner widths by the table, and its parameters."""
    for text, trained, parameters in zip(table["architecture"], table["trained_as"], table["parameters"], strict=True):
        with on_meta():
            network = cast(TextEncoder, Architecture.from_string(SPACE, text).build())
        assert count(network) == parameters
        layers = [cast(EncoderLayer, layer) for layer in network.layers]
        found = [[layer.heads, [cast(nn.Linear, m).out_features for m in layer.feed_forward][:-1]] for layer in layers]
        assert {"hidden_size": layers[0].norm.normalized_shape[0], "layers": found} == json.loads(trained)


def test_table_has_scores_of_all_tasks(shared_benchmarks: Path, table: dict[str, list[Any]]) -> None:
    scores = ScoreTable.load(SPACE, shared_benchmarks / "nas-bench-bert.parquet")
    assert scores.tasks == ["glue", *GLUE] and len(scores.indices) == 491
    assert {task: scores.unit(task) for task in ("glue", "cola", "mnli", "sts")} == {
        "glue": "",
        "cola": "",
        "mnli": "%",
        "sts": "",
    }
    for task in scores.tasks:
        expected = torch.tensor(
            [math.nan if v is None else v for v in table["glue_average" if task == "glue" else task]]
        )
        torch.testing.assert_close(scores.column(task), expected, rtol=0, atol=1e-5, equal_nan=True)
    assert scores.column("rte").isnan().sum() == scores.column("glue").isnan().sum() == 1
    unlike = SPACE.from_strings([table["architecture"][0].replace('"WMA"', '"SDP"')])
    alike = [t == table["trained_as"][0] for t in table["trained_as"]]
    measured = [score for score, is_alike in zip(table["glue_average"], alike, strict=True) if is_alike]
    assert scores.scores(unlike, "glue").item() == pytest.approx(sum(measured) / len(measured), abs=1e-4)


# ---------------------------------------------------------------------- costs


def test_costs_by_hand() -> None:
    few, many = SPACE.from_strings([FEW, MANY])
    embeddings = (30_522 + 512 + 2) * 128 + 2 * 128
    attention, norms = 4 * (128 * 128 + 128), 4 * 128
    one = attention + norms + (128 * 512 + 512) + (512 * 128 + 128)
    three = attention + norms + (128 * 512 + 512) + (512 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 128 + 128)
    assert SPACE.parameters(few[None]).item() == embeddings + one + three
    assert SPACE.parameters(few[None], "mnli").item() == embeddings + one + three + 128 * 129 + 3 * 129
    weights = 8 * 128 * 128 + 2 * 128 * 512 + 128 * 512 + 512 * 1024 + 1024 * 1024 + 1024 * 128
    assert SPACE.flops(few[None]).item() == 128 * weights + 2 * (2 * 128 * 128 * 128)
    assert SPACE.flops(few[None], "sts").item() == SPACE.flops(few[None]).item() + 128 * 129
    assert SPACE.flops(many[None]).item() > 128 * 128 * 256  # with the map from 128 to 256


@pytest.mark.parametrize("task", [None, "mnli", "sts"])
def test_costs_are_those_of_networks(task: str | None) -> None:
    for text in (FEW, MANY):
        architecture = Architecture.from_string(SPACE, text)
        formula, measured = architecture.cost(task), architecture.cost(task, measured=True)
        assert (measured.parameters, measured.flops) == (formula.parameters, formula.flops)
        assert measured.multiply_adds == measured.flops


# ---------------------------------------------------------------------- networks


def reference(network: TextEncoder, tokens: torch.Tensor) -> torch.Tensor:
    """The encoder of one text without padding, head by head and in 64 bits."""
    embeddings = network.embeddings
    x = embeddings.tokens.weight[tokens] + embeddings.positions.weight[: len(tokens)] + embeddings.segments.weight[0]
    x = embeddings.projection(embeddings.norm(x))
    for layer in network.layers:
        assert isinstance(layer, EncoderLayer)
        query, key, value = layer.query(x), layer.key(x), layer.value(x)
        size = x.shape[1] // layer.heads
        mixed = []
        for head in range(layer.heads):
            part = slice(head * size, (head + 1) * size)
            weights = (query[:, part] @ key[:, part].T / size**0.5).exp()
            mixed.append(weights / weights.sum(1, keepdim=True) @ value[:, part])
        x = layer.attention_norm(x + layer.output(torch.cat(mixed, dim=1)))
        inside = x
        for linear in layer.feed_forward[:-1]:
            inside = linear(inside)
            inside = inside * (1 + torch.erf(inside / 2**0.5)) / 2
        x = layer.norm(x + layer.feed_forward[-1](inside))
    return x


@pytest.mark.parametrize("text", [FEW, MANY])
def test_encoder_computes_what_its_definition_says(text: str) -> None:
    network = cast(TextEncoder, network_of(text, **SMALL).double())
    tokens = torch.randint(11, (2, 9))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        expected = torch.stack([reference(network, row) for row in tokens])
        torch.testing.assert_close(network(tokens), expected, rtol=1e-9, atol=1e-9)


def test_padding_changes_nothing() -> None:
    tokens = torch.randint(11, (3, 7), generator=torch.Generator().manual_seed(0))
    padded = torch.cat([tokens, torch.full((3, 5), 4)], dim=1)
    mask = torch.arange(12).expand(3, 12) < 7
    with torch.no_grad():
        encoder, classifier = network_of(MANY, **SMALL), network_of(MANY, num_classes=3, **SMALL)
        for form in (mask, mask.long(), mask.float()):
            torch.testing.assert_close(encoder(padded, form)[:, :7], encoder(tokens))
        torch.testing.assert_close(classifier(padded, mask), classifier(tokens))
        assert (classifier(padded) - classifier(tokens)).abs().max() > 1e-6


def test_segments_have_vectors_of_their_own() -> None:
    network, tokens = network_of(FEW, **SMALL), torch.zeros(1, 6, dtype=torch.long)
    with torch.no_grad():
        assert torch.equal(network(tokens, segments=torch.zeros_like(tokens)), network(tokens))
        assert not torch.allclose(network(tokens, segments=torch.ones_like(tokens)), network(tokens))
        with pytest.raises(ValueError, match="at most 16 tokens, got 17"):
            network(torch.zeros(1, 17, dtype=torch.long))


def test_heads_share_the_encoder() -> None:
    """Weights of a masked language model's encoder fit a classifier's; the decoder uses the tokens' vectors."""
    masked = cast(MaskedLanguageModel, network_of(FEW, masked_language_model=True, **SMALL))
    classifier = cast(TextClassifier, network_of(FEW, num_classes=3, **SMALL))
    encoder = cast(TextEncoder, network_of(FEW, **SMALL))
    assert count(masked) == count(encoder) + 128 * 8 + 8 + 2 * 8 + 11
    for network in (classifier.encoder, encoder):
        network.load_state_dict(masked.encoder.state_dict())
    tokens = torch.randint(11, (2, 5))
    logits = masked(tokens)
    assert logits.shape == (2, 5, 11) and classifier(tokens).shape == (2, 3)
    vectors = masked.transform_norm(F.gelu(masked.transform(encoder(tokens))))
    torch.testing.assert_close(logits, vectors @ encoder.embeddings.tokens.weight.T)


def test_operations_make_no_difference_to_what_is_built() -> None:
    one, other = network_of(FEW, **SMALL), network_of(FEW.replace('"DSC",5', '"LT","DFT"'), **SMALL)
    tokens = torch.randint(11, (2, 5))
    assert torch.equal(one(tokens), other(tokens))
