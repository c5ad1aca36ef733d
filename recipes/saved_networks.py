"""Load saved networks with all of their weights; errors name what is missing or damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from safetensors import SafetensorError

from pkgen_hf.errors import one_line
from pkgen_hf.hub.loading import read_tensors, weight_files
from pkgen_hf.modeling_network import PKGenNetworkConfig, PKGenNetworkForImageClassification

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".index.json")
STEM = "model"  # of the names of transformers' files of weights


def read_config(network: str, kind: Any = PKGenNetworkConfig) -> Any:
    """Read the configuration of a saved network, of a class of them; ValueError if it is missing or of another."""
    try:
        content: Any = kind.get_config_dict(network)[0]
    except (OSError, TypeError, AttributeError) as error:  # the latter two for JSON that is not an object
        raise ValueError(f"{network} is not a network of PKGen: {one_line(error)}") from error
    if not isinstance(content, dict) or content.get("model_type") != kind.model_type:
        raise ValueError(f"{network} is not a network of PKGen: its config.json is missing or of another kind")
    try:
        return kind.from_dict(content)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"config.json of {network} has an invalid value: {one_line(error)}") from error


def load_weights(network: str, kind: Any = PKGenNetworkForImageClassification) -> Any:
    """Load a saved network with its weights.

    Parameters
    ----------
    network
        Folder, or id on the Hub.
    kind
        Class of the network.

    Raises
    ------
    ValueError
        If weights are missing, damaged, not finite, or do not fit the configuration.
    """
    read_config(network, kind.config_class)
    if Path(network).is_dir():
        for file in weight_files(Path(network), STEM):
            read_tensors(file)  # transformers does not name a damaged file
    try:
        loaded: Any = kind.from_pretrained(
            network, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{network} is not a whole network: {one_line(error)}") from error
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise ValueError(f"config.json of {network} has an invalid value: {one_line(error)}") from error
    model, loading = loaded
    if missing := sorted(loading["missing_keys"]):
        raise ValueError(f"{network} lacks {len(missing)} weights of the network, {missing[0]} first")
    if mismatched := sorted(str(key[0] if isinstance(key, tuple) else key) for key in loading["mismatched_keys"]):
        raise ValueError(f"{network}: {len(mismatched)} weights do not fit config.json, {mismatched[0]} first")
    broken = [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"{network} holds weights that are not finite, in {broken[0]}")
    return model


def has_weights(network: str) -> bool:
    """Whether there is any file of weights beside the configuration, under any name.

    Raises
    ------
    OSError
        If the Hub cannot be asked.
    """
    if Path(network).is_dir():
        names = [path.name for path in Path(network).iterdir()]
    else:
        names = HfApi().list_repo_files(network)
    return any(name.endswith(WEIGHT_SUFFIXES) for name in names)
