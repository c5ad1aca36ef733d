"""Cards of networks: what a folder of a generated network says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData, RepoCard

from ..errors import unknown
from ..files import read_json, real_path
from ..hub.loading import count_parameters
from ..spaces import list_spaces
from .cards import PLACEHOLDER, TAG, TEMPLATES, render, training_record, variant_argument
from .origins import citations_of, origins_of

TEXT_MODEL_TYPE = "pkgen-text-network"
# Of classes of text networks by the end of their names: the Auto class, and the Hub's name of what they do.
_TEXT_CLASSES = {
    "ForCausalLM": ("AutoModelForCausalLM", "text-generation"),
    "ForMaskedLM": ("AutoModelForMaskedLM", "fill-mask"),
    "ForSequenceClassification": ("AutoModelForSequenceClassification", "text-classification"),
}
_COMMON = ("space", "architecture", "scale")


def network_card(folder: str | Path, repo_id: str = PLACEHOLDER, variant: str | None = None) -> RepoCard:
    """The card of a folder that `save_pretrained` of a network wrote, for images or texts.

    What the recipes of training leave beside the weights, ``training.json`` and the preprocessing, is shown too.

    Parameters
    ----------
    folder
        With the configuration and the weights.
    repo_id
        Where it will be, for the examples.
    variant
        Of the weights, if they were saved with one.

    Raises
    ------
    ValueError
        If a file is missing or damaged, or the configuration is of another model.
    """
    folder = Path(folder)
    content = read_json(folder / "config.json")
    is_text = content.get("model_type") == TEXT_MODEL_TYPE
    config = _text_config(folder, content) if is_text else _image_config(folder, content)
    record = training_record(folder)
    training = _text_training(record) if is_text else _image_training(record)
    origins = origins_of([config["space"]])
    title = repo_id.split("/")[-1] if repo_id != PLACEHOLDER else f"Network of {config['space']}"
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=config["pipeline"],
        license="apache-2.0",
        model_name=title,
        tags=["neural-architecture-search", config["space"], TAG],
        eval_results=_result(config["pipeline"], training),
        ignore_metadata_errors=False,
    )
    return render(
        ModelCard,
        TEMPLATES / ("text_network.md" if is_text else "network.md"),
        data,
        title=title,
        repo_id=repo_id,
        config=config,
        variant_argument=variant_argument(variant),
        placeholder=PLACEHOLDER,
        parameters=count_parameters(folder, "model", variant),
        processor=(folder / ("tokenizer_config.json" if is_text else "preprocessor_config.json")).is_file(),
        has_record=bool(record),
        training=training,
        origins=origins,
        citations=citations_of(origins),
    )


def _image_training(record: dict[str, Any]) -> dict[str, Any]:
    """What a card says of a training on images; nothing without a record of an epoch."""
    if not record.get("history"):
        return {}
    last = record["history"][-1]
    return {
        "epochs": last["epoch"],
        "images": record["images"],
        "source": _source_name(record["source"], record.get("split")),
        "seconds": record["seconds"],
        "device": record["device"],
        "metric": "accuracy",
        "value": last.get("validation", {}).get("top_1"),
        "evaluated": _evaluated(record),
    }


def _text_training(record: dict[str, Any]) -> dict[str, Any]:
    """What a card says of a training of a language model; nothing without a record of one."""
    if "tokens_seen" not in record:
        return {}
    names, validation = ("tokens_seen", "seconds", "device"), record["validation"] or {}
    source = record["validation_source"]
    return {name: record[name] for name in names} | {
        "steps": record["history"][-1]["steps"],
        "source": _source_name(record["source"], record["split"]),
        "metric": "perplexity",
        "value": validation.get("perplexity"),
        "bits_per_byte": validation.get("bits_per_byte"),
        "held_out": source and source["held_out"],
        "evaluated": source and (_source_name(source["name"], source["split"]), source["split"]),
    }


def _result(pipeline: str, training: dict[str, Any]) -> list[EvalResult] | None:
    """What the header of a card says of an evaluation on data that was not trained on."""
    if not training or training["value"] is None or not training["evaluated"]:
        return None
    name, split = training["evaluated"]
    return [
        EvalResult(
            task_type=pipeline,
            dataset_type=name,
            dataset_name=name,
            dataset_split=split,
            metric_type=training["metric"],
            metric_value=round(training["value"], 4),
        )
    ]


def _source_name(name: Any, split: str | None) -> str:
    """What a card calls a source of images: the last part of its path, without the folder of its split."""
    path = Path(str(name))
    return path.parent.name if path.name == split and path.parent.name else path.name


def _evaluated(record: dict[str, Any]) -> tuple[str, str | None] | None:
    """Name and split of the images that a training evaluated; None if they are those that it trained on."""
    images = record.get("validation_source")
    if not images:  # of an older record
        return _source_name(record["source"], record.get("split")), "validation"
    splits = {images["split"], record.get("split")} - {None}
    if real_path(str(images["name"])) == real_path(str(record["source"])) and len(splits) < 2:
        return None
    return _source_name(images["name"], images["split"]), images["split"]


def _of_space(path: Path, content: dict[str, Any], *names: str) -> dict[str, Any]:
    """What every configuration of a network has, and `names`; ValueError for one that lacks some."""
    names = (*_COMMON, *names)
    if missing := [name for name in names if name not in content]:
        raise ValueError(f"{path} is not the configuration of a network of pkgen: it lacks {', '.join(missing)}")
    if content["space"] not in list_spaces():
        raise unknown(f"search space in {path}", content["space"], list_spaces())
    return {name: content[name] for name in names}


def _image_config(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """What a card says of the configuration of a network for images."""
    config = _of_space(folder / "config.json", content, "image_size")
    labels = content.get("id2label") or range(2)  # transformers leaves its own default out
    channels = (content.get("scale") or {}).get("in_channels", 3)
    return config | {"num_labels": len(labels), "in_channels": channels, "pipeline": "image-classification"}


def _text_config(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """What a card says of the configuration of a network for texts."""
    config = _of_space(folder / "config.json", content, "vocab_size", "max_position_embeddings", "architectures")
    names = config["architectures"] or [""]
    found = [about for end, about in _TEXT_CLASSES.items() if str(names[0]).endswith(end)]
    if not found:
        raise unknown(f"end of the class of the model in {folder / 'config.json'}", names[0], _TEXT_CLASSES)
    auto, pipeline = found[0]
    return config | {"auto": auto, "pipeline": pipeline}
