"""Cards: their numbers are those of the results and records, the Hub's client reads them back, and its rules hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_stub import HubStub
from huggingface_hub import DatasetCard, ModelCard, RepoCard, SpaceCard

from pkgen_hf import PKGenNetworkForImageClassification
from pkgen_hf.priors.files import load_priors
from pkgen_hf.publishing.card_rules import check_card
from pkgen_hf.publishing.cards import TEMPLATES, pipeline_card, read_results
from pkgen_hf.publishing.network_cards import network_card
from pkgen_hf.publishing.origins import PAPER, origin_of
from pkgen_hf.spaces import get_space

RESULTS = Path(__file__).parents[2] / "results"
KINDS: dict[str, type[RepoCard]] = {
    "pipeline": ModelCard, "network": ModelCard, "dataset": DatasetCard, "priors": DatasetCard, "space": SpaceCard,
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published results of the bundled checkpoint, and the same as if they were of a new space."""
    folder = tmp_path_factory.mktemp("results")
    for path in RESULTS.glob("same-benchmark-*.json"):
        record = json.loads(path.read_text())
        rows = [row | {"setting": "new-space", "labels_of_target": 0} for row in record["rows"]]
        new = record | {"protocol": "new-space", "rows": rows, "trainings": {"held-out-0": {"seed": 1}}}
        for made, name in ((record, path.name), (new, f"new-space-{record['space']}.json")):
            (folder / name).write_text(json.dumps(made))
    return folder


@pytest.fixture(scope="module")
def card(made: Path, results: Path) -> ModelCard:
    """Of the bundled checkpoint, with its results."""
    return ModelCard(str(pipeline_card(made / "pipeline", "org/pipeline", results)))


def test_numbers_are_those_of_the_results(card: ModelCard, results: Path, made: Path) -> None:
    training = json.loads((made / "pipeline" / "training.json").read_text())
    found = {(r.dataset_type, r.dataset_config, r.dataset_split): r.metric_value for r in card.data.eval_results}
    expected, ranks = {}, []
    for record in read_results(results):
        for row in (row for row in record["rows"] if row["method"] == "pkgen"):
            if record["protocol"] == "same-benchmark":
                ranks.append([row[column] for column in ("first_rank", "few_rank", "median_rank")])
                key = (record["space"], row["task"])
                expected[*key, "test" if row["scores"] == "test" else "validation"] = row["few_score"]
                if "few_test" in row:
                    expected[*key, "test"] = row["few_test"]
    assert found == pytest.approx(expected, abs=1e-4) and found
    spaces = len(list(results.glob("same-benchmark-*.json")))
    numbers = " | ".join(f"{np.median(column):.2f}" for column in np.array(ranks).T)
    for title in ("data sets that it was trained on", r"new spaces \*"):
        assert re.search(rf"\| {title} \| {spaces} \| {len(ranks)} \| {re.escape(numbers)} \| ", card.content)
    assert f"{training['max_train_steps']:,} steps" in card.content and f"{training['seconds']:.0f} s" in card.content
    read = sum(
        number for name, number in training["labels_read"].items() if name.startswith("transnas-bench-101-micro")
    )
    assert f"transnas-bench-101-micro {read:,} (class_scene, " in card.content


def test_the_model_card_is_short(card: ModelCard) -> None:
    """What is read before the licences and citations."""
    assert len(card.content.split("## Licence and citation")[0].split("---", 2)[2].splitlines()) < 75


def test_results_of_another_training_are_not_told(made: Path, tmp_path: Path) -> None:
    record = json.loads(next(RESULTS.glob("same-benchmark-*.json")).read_text())
    for training in record["trainings"].values():
        training["seconds"] += 1
    (tmp_path / "one.json").write_text(json.dumps(record))
    assert "## Results" not in (text := str(pipeline_card(made / "pipeline", results=tmp_path))) and "org/name" in text
    (tmp_path / "two.json").write_text("[]")
    with pytest.raises(ValueError, match="two.json is not a file of results"):
        pipeline_card(made / "pipeline", results=tmp_path)
    with pytest.raises(ValueError, match="no results .* in .*none"):
        pipeline_card(made / "pipeline", results=tmp_path / "none")


def test_everything_that_was_read_is_cited(card: ModelCard, made: Path) -> None:
    spaces = [path.stem for path in (made / "pipeline" / "priors").glob("*.parquet")]
    for text in (card.content, (made / "priors" / "README.md").read_text()):
        assert PAPER in text
        for space in spaces:
            for entry in re.split(r"\n(?=@)", origin_of(get_space(space)).citation):
                assert text.count(entry) == 1
            assert origin_of(get_space(space)).url in text and f"({origin_of(get_space(space)).license})" in text


def test_card_of_priors_says_which_games_were_played(made: Path) -> None:
    text = (made / "priors" / "README.md").read_text()
    priors = [prior for path in (made / "priors").glob("*/*.parquet") for prior in load_priors(path)]
    assert any("restricted" in prior.games for prior in priors)
    for prior in priors:
        line = f"| `{prior.space.name}` | {prior.task} | {prior.evidence} | {prior.games} | {prior.labels_read:,} |"
        assert line in text
    assert "exact Shapley values" not in text and "additive fit" in text


def test_network_card_says_what_it_is_and_how_it_was_trained(made: Path, tmp_path: Path) -> None:
    network = PKGenNetworkForImageClassification.from_pretrained(made / "network")
    text = (made / "network" / "README.md").read_text()
    assert f"{network.num_parameters():,} parameters" in text and network.config.architecture in text
    assert "no record of a training" in text and origin_of(get_space("nas-bench-201")).citation in text
    network.save_pretrained(tmp_path)
    record = {"history": [{"epoch": 1}, {"epoch": 2, "validation": {"top_1": 87.654321}}], "images": 50_000}
    record |= {"source": "/home/me/images/cifar10", "seconds": 61.2, "device": "cuda"}
    (tmp_path / "training.json").write_text(json.dumps(record))
    card = ModelCard(str(network_card(tmp_path, "org/n")))
    assert [result.metric_value for result in card.data.eval_results] == [87.6543]
    assert "2 epochs on 50,000 images of `cifar10`, 61 seconds on cuda. Accuracy" in " ".join(card.content.split())
    assert "87.65 %" in card.content and "/home/me" not in card.content


@pytest.mark.parametrize(
    ("trained_on", "evaluated_on", "dataset", "told"),
    [
        (("/x/cifar", "train"), ("/x/cifar", "test"), ("cifar", "test"), "the split `test` of `cifar`"),
        (("/x/cifar/train", "train"), ("/x/cifar/val", "val"), ("cifar", "val"), "the split `val` of `cifar`"),
        (("/x/cifar", "train"), ("/y/other", None), ("other", None), "`other`"),
        (("/x/cifar", "train"), ("/x/cifar", "train"), None, "the training images"),
        (("/x/cifar/train", "train"), ("/x/cifar/train", None), None, "the training images"),
        (("/x/one.parquet", None), ("/x/../x/one.parquet", None), None, "the training images"),
    ],
)
def test_a_network_card_names_the_images_that_were_evaluated(
    made: Path, tmp_path: Path, trained_on: Any, evaluated_on: Any, dataset: Any, told: str
) -> None:
    PKGenNetworkForImageClassification.from_pretrained(made / "network").save_pretrained(tmp_path)
    record: dict[str, Any] = {"history": [{"epoch": 2, "validation": {"top_1": 87.0}}], "images": 50_000}
    record |= {"source": trained_on[0], "split": trained_on[1], "seconds": 61.2, "device": "cuda"}
    record |= {"validation_source": {"name": evaluated_on[0], "split": evaluated_on[1]}}
    (tmp_path / "training.json").write_text(json.dumps(record))
    card = ModelCard(str(network_card(tmp_path, "org/n")))
    assert f"Accuracy on {told} after the last epoch: 87.00 %" in " ".join(card.content.split())
    results = card.data.eval_results or []
    assert [(result.dataset_name, result.dataset_split) for result in results] == ([dataset] if dataset else [])


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_takes_every_card(kind: str, made: Path, hub: HubStub) -> None:
    """It loads, says the same once more, and passes the check that the client asks of the Hub before an upload."""
    path = made / kind / "README.md"
    card = KINDS[kind].load(path)
    assert str(card) == path.read_text()
    assert card.data.license in ("apache-2.0", "mit") and "pkgen-hf" in card.data.tags
    card.validate()
    assert "{{ " not in card.content and "{%" not in card.content and "org/name" not in card.content
    card.data.license = "mine"
    with pytest.raises(ValueError, match="licence in the card: 'mine'"):
        card.validate()


@pytest.mark.parametrize(
    ("repo_type", "header", "message"),
    [
        ("model", "[1, 2]", "a mapping of names to values"),
        ("model", "tags: [a]", "unknown licence in the card: None"),
        ("model", "license: other", "'other' in a card needs a license_name"),
        ("model", "license: mit\ntags: nas", "tags in the card must be a list of names"),
        ("model", "license: mit\ndatasets: [a b]", "datasets in the card must be Hub ids, got 'a b'"),
        ("dataset", "license: mit", "lists its configs"),
        ("dataset", "license: mit\nconfigs: [{config_name: a}, {config_name: a}]", "a config is twice"),
        (
            "dataset",
            "license: mit\nconfigs: [{config_name: a, default: true}, {config_name: b, default: true}]",
            "more than one config",
        ),
        (
            "dataset",
            "license: mit\nconfigs: [{config_name: ab}]\ndataset_info: {config_name: ac}",
            "Did you mean 'ab'",
        ),
        ("space", "license: mit\nsdk: gradio\ncolorFrom: orange\ncolorTo: red", "colorFrom in the card: 'orange'"),
        ("space", "license: mit\nsdk: gradio\ncolorFrom: red\ncolorTo: red\ntitle: a", "needs title and emoji"),
    ],
)
def test_rules(repo_type: str, header: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_card(f"---\n{header}\n---\n# A\n", repo_type)


def test_a_result_that_is_no_number_is_refused(card: ModelCard) -> None:
    text = str(card)
    check_card(text, "model")
    value = f"value: {card.data.eval_results[0].metric_value}"
    with pytest.raises(ValueError, match="must be a number, got nan"):
        check_card(text.replace(value, "value: .nan", 1), "model")
    with pytest.raises(ValueError, match="must be a number, got 'good'"):
        check_card(text.replace(value, "value: good", 1), "model")


def test_no_number_is_typed_in_a_template() -> None:
    """But the year of the paper, the best of 5, rank 0, and the version of the licence."""
    for template in TEMPLATES.glob("*.md"):
        text = re.sub(r"```.*?```|\{\{.*?\}\}|\{%.*?%\}", "", template.read_text(), flags=re.DOTALL)
        assert set(re.findall(r"\d[\d.,]*", text)) <= {"2025", "5", "0", "2.0."}, template.name
