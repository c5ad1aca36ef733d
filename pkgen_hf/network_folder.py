"""Generated networks as transformers models that are saved as whole folders with a card, and uploaded so."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from transformers import PreTrainedModel as _PreTrainedModel

from .architecture import Architecture
from .errors import shortened, unknown
from .files import read_json, replace_folder, user_path
from .hub.loading import check_files, read_tensors, weight_files, weight_patterns
from .publishing.cards import may_write_card, write_card
from .publishing.network_cards import network_card
from .publishing.push import UPLOAD_OPTIONS, plan, push, upload_options

PREFIX = "network"  # of the names of weights in saved networks


class PKGenNetworkModel(_PreTrainedModel):
    """What all generated networks have in common as transformers models.

    A class of them has a ``config_class`` and makes the network of its configuration as ``self.network``, whose state
    is under the prefix ``network.``.
    """

    base_model_prefix = PREFIX

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Nothing: weights are as the space's own networks begin."""

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: dict[str, torch.Tensor] | None = None,
        push_to_hub: bool = False,
        variant: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Write configuration, weights and a card to a folder: all of it, or nothing if the write is interrupted.

        What else the folder holds stays, and so does a card that pkgen did not write.

        Parameters
        ----------
        save_directory
            Folder, new or not.
        push_to_hub
            Upload it too, see `push_to_hub`, whose arguments, ``repo_id`` among them, are taken then.
        is_main_process, state_dict, variant, **kwargs
            As in `transformers.PreTrainedModel.save_pretrained`; only safetensors are written.

        Raises
        ------
        ValueError
            For an argument that cannot be.
        OSError
            If the folder cannot be written.
        """
        if kwargs.pop("safe_serialization", True) is False:
            raise ValueError("PKGen writes safetensors only; safe_serialization=False is not supported")
        check_files(variant, kwargs.get("max_shard_size"))
        given = {name: kwargs.pop(name) for name in (*UPLOAD_OPTIONS, "create_pr") if name in kwargs}
        upload = upload_options(True, given) if push_to_hub else None
        if not is_main_process:  # takes part in what processes do together, and writes nothing
            with tempfile.TemporaryDirectory() as nowhere:
                super().save_pretrained(nowhere, False, state_dict, variant=variant, **kwargs)
            return
        with replace_folder(save_directory, weight_patterns("model", variant)) as folder:
            super().save_pretrained(str(folder), True, state_dict, variant=variant, **kwargs)
            if may_write_card(user_path(save_directory)):
                write_card(folder, network_card(folder, variant=variant))
        if upload is not None:
            self._push(**upload)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:  # type: ignore[override]
        """Upload the model with a card that says how to load it; errors as of `publishing.push`.

        Parameters
        ----------
        repo_id
            ``"ORG/NAME"``
        **kwargs
            ``commit_message``, ``private``, ``revision`` and ``token``, as in transformers.

        Returns
        -------
        str
            Address of the commit.
        """
        return self._push(**cast(dict[str, Any], upload_options(True, {"repo_id": repo_id, **kwargs})))

    def _push(self, repo_id: str, **options: Any) -> str:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "network"
            self.save_pretrained(folder)
            write_card(folder, network_card(folder, repo_id))
            return push(plan(folder, repo_id), quiet=True, **options)[0]


def check_architecture(architecture: object, spaces: Sequence[str], what: str) -> None:
    """Raise ValueError unless it is an `Architecture` of one of `spaces`, which have networks of `what`."""
    if not isinstance(architecture, Architecture):
        raise ValueError(
            f"architecture must be an Architecture, got {shortened(architecture)}; "
            "Architecture.from_string(space, text) reads one"
        )
    if architecture.space.name not in spaces:
        raise unknown(f"space of networks {what}", architecture.space.name, spaces)


class SavedNetwork(NamedTuple):
    """A network that was saved with ``save_pretrained``: what exporting it takes."""

    architecture: Architecture
    num_classes: int | None
    image_size: int | None
    state: dict[str, torch.Tensor]
    scale: dict[str, Any]


def model_type_of(folder: str | Path) -> str:
    """The type of model in the folder of a saved network; FileNotFoundError if it is not one."""
    config = Path(folder) / "config.json"
    if not config.is_file():
        raise FileNotFoundError(f"{folder} is no folder of a saved network: there is no {config.name}")
    return str(read_json(config).get("model_type"))


def saved_state(folder: str | Path, model_type: str) -> dict[str, torch.Tensor]:
    """Weights of a saved network, of one file or of shards, by their names in what `Architecture.build` gives.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no weights in it.
    ValueError
        If it holds a model of another type, weights that cannot be read, or not all of their files.
    """
    found, (whole, shards, index) = model_type_of(folder), weight_patterns("model")
    if not any(Path(folder, name).is_file() for name in (whole, index)) and not any(Path(folder).glob(shards)):
        raise FileNotFoundError(f"{folder} is no folder of a saved network: there is no {whole}")
    if found != model_type:
        raise ValueError(f"{Path(folder) / 'config.json'} is of a model of the type {found!r}, not {model_type!r}")
    parts = [read_tensors(path) for path in weight_files(Path(folder), "model")]
    return {name.removeprefix(f"{PREFIX}."): tensor for part in parts for name, tensor in part.items()}
