"""The Hub's rules for the header of a card, checked without the Hub."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard

from ..errors import unknown

# Licences by the names that the Hub has for them: those that benchmarks, data sets and this package are under.
LICENSES = (
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "unlicense",
    "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "odbl", "unknown", "other",
)  # fmt: skip
_COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")


def check_card(text: str, repo_type: str, folder: str | Path | None = None) -> None:
    """Check the header of a card by the rules that the Hub has for it.

    Parameters
    ----------
    text
        The whole card.
    repo_type
        ``"model"``, ``"dataset"`` or ``"space"``.
    folder
        Where the files are that the header names; without it they are not looked for.

    Raises
    ------
    ValueError
        For the first thing that the Hub would refuse, or warn of.
    """
    header = re.match(r"---\n(.*?)\n---\n", text, flags=re.DOTALL)
    if header is None:
        raise ValueError("a card starts with a header of YAML between two lines of ---")
    try:
        content = yaml.safe_load(header[1])
    except yaml.YAMLError as error:
        raise ValueError(f"the header of the card is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"the header of a card is a mapping of names to values, not {content!r}")
    license = content.get("license")
    if license not in LICENSES:
        raise unknown("licence in the card", license, LICENSES)
    if license == "other" and not content.get("license_name"):
        raise ValueError("the licence 'other' in a card needs a license_name")
    for name in ("tags", "datasets", "models"):
        values = content.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            raise ValueError(f"{name} in the card must be a list of names, got {values!r}")
        if name != "tags" and (wrong := [value for value in values if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", value)]):
            raise ValueError(f"{name} in the card must be Hub ids, got {wrong[0]!r}")
    if repo_type == "space":
        _check_space(content, folder)
    elif repo_type == "dataset":
        _check_dataset(content, folder)
    else:
        _check_model(text, content)


def _check_model(text: str, content: Mapping[str, Any]) -> None:
    if "model-index" not in content:
        return
    results = ModelCard(text).data.get("eval_results")  # a ValueError where it is not of the Hub's form
    for result in results or []:
        if not isinstance(result.metric_value, (int, float)) or not math.isfinite(result.metric_value):
            raise ValueError(f"a result in the card must be a number, got {result.metric_value!r}")


def _check_dataset(content: Mapping[str, Any], folder: str | Path | None) -> None:
    configs = content.get("configs")
    if not isinstance(configs, list) or not configs:
        raise ValueError("the card of a data set lists its configs")
    names = [config.get("config_name") for config in configs]
    if len(set(names)) < len(names):
        raise ValueError(f"a config is twice in the card: {names}")
    if sum(bool(config.get("default")) for config in configs) > 1:
        raise ValueError("more than one config in the card is the default")
    for config in configs:
        for part in config.get("data_files", []):
            if folder is not None and not any(Path(folder).glob(part["path"])):
                raise ValueError(f"the card names {part['path']}, and there is no such file")
    infos = content.get("dataset_info", [])
    for info in [infos] if isinstance(infos, dict) else infos:  # of a single config, datasets writes no list
        if info.get("config_name") not in names:
            raise unknown("config in the card's dataset_info", info.get("config_name"), names)


def _check_space(content: Mapping[str, Any], folder: str | Path | None) -> None:
    if content.get("sdk") not in ("gradio", "docker", "static"):
        raise unknown("sdk in the card", content.get("sdk"), ("gradio", "docker", "static"))
    for name in ("colorFrom", "colorTo"):
        if content.get(name) not in _COLOURS:
            raise unknown(f"{name} in the card", content.get(name), _COLOURS)
    if not content.get("title") or not content.get("emoji"):
        raise ValueError("the card of a Space needs title and emoji")
    if len(content.get("short_description", "")) > 60:
        raise ValueError("short_description in the card has more than 60 characters")
    app = content.get("app_file", "app.py")
    if folder is not None and not (Path(folder) / app).is_file():
        raise ValueError(f"the card names {app}, and there is no such file")
