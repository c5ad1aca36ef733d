"""Load the parts of a checkpoint; errors name the damaged file, and no code of the checkpoint is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.utils.torch_utils import get_device
from safetensors import SafetensorError, safe_open

from ..errors import one_line, shortened, unknown
from ..files import read_json

WEIGHTS = "diffusion_pytorch_model"  # what diffusers calls the files of weights
DTYPES = {
    "float16": torch.float16, "fp16": torch.float16, "half": torch.float16,
    "bfloat16": torch.bfloat16, "bf16": torch.bfloat16,
    "float32": torch.float32, "fp32": torch.float32, "float": torch.float32,
    "float64": torch.float64, "double": torch.float64,
}  # fmt: skip
AUTO = "auto"  # the type that the weights were saved in

_SAFETENSORS = "PKGen reads and writes safetensors only; leave it out"
_SMALL = "the denoiser is too small to be split; pass device_map='cuda' or call pipe.to('cuda')"
_CODE = "no code of a checkpoint is run here; leave it out"
# Arguments of diffusers' from_pretrained that are refused, and what to do instead.
_REFUSED = {
    "subfolder": "name the folder of the pipeline itself; huggingface_hub.snapshot_download fetches a repository",
    "proxies": "set the environment variable HTTPS_PROXY, which the Hub's client reads",
    "mirror": "set the environment variable HF_ENDPOINT, which the Hub's client reads",
    "custom_pipeline": _CODE,
    "custom_revision": _CODE,
    "use_auth_token": "its name is token now",
    "use_onnx": _SAFETENSORS,
    "use_flashpack": _SAFETENSORS,
    "from_flax": _SAFETENSORS,
    "provider": _SAFETENSORS,
    "sess_options": _SAFETENSORS,
    "provider_options": _SAFETENSORS,
    "max_memory": _SMALL,
    "offload_folder": _SMALL,
    "offload_state_dict": _SMALL,
    "quantization_config": "the denoiser is too small to be quantised; pass torch_dtype=torch.bfloat16",
    "output_loading_info": "loading fails where a tensor is missing or left over, so there is nothing to report",
    "load_connected_pipeline": "there is no other pipeline to load",
}
_WITHOUT_EFFECT = ("low_cpu_mem_usage", "disable_mmap", "trust_remote_code")

T = TypeVar("T")


# ---------------------------------------------------------------------- arguments


def check_options(options: Mapping[str, Any], accepted: list[str]) -> None:
    """Refuse arguments of diffusers' `from_pretrained` that are not supported, unless they are None or False.

    Raises
    ------
    ValueError
        The error names the argument, and what to do instead.
    """
    for name, value in options.items():
        if name in _REFUSED:
            if value is not None and value is not False:
                raise ValueError(f"{name} is not taken by PKGenPipeline.from_pretrained: {_REFUSED[name]}")
        elif name not in _WITHOUT_EFFECT:
            raise unknown("argument of PKGenPipeline.from_pretrained", name, accepted)


def dtype_of(torch_dtype: Any, dtype: Any, part: str = "denoiser") -> torch.dtype | str | None:
    """The data type of a part's weights, from either name of the argument, in any form that diffusers takes.

    Returns
    -------
    torch.dtype, ``"auto"`` or None

    Raises
    ------
    ValueError
        For a type that is not floating-point, or two different ones.
    """
    found = [_dtype(value, name, part) for name, value in (("torch_dtype", torch_dtype), ("dtype", dtype))]
    if None not in found and found[0] != found[1]:
        raise ValueError(f"torch_dtype and dtype are the same argument, got {torch_dtype!r} and {dtype!r}")
    return found[1] if found[0] is None else found[0]


def _dtype(value: Any, name: str, part: str) -> torch.dtype | str | None:
    if isinstance(value, dict):
        for key in value:
            if key not in ("denoiser", "scheduler", "default"):
                raise unknown(f"part of the pipeline in {name}", key, ("denoiser", "default"))
        value = value.get(part, value.get("default"))
    if value is None or value == AUTO or value in DTYPES.values():
        return value
    short = str(value).removeprefix("torch.")
    if short not in DTYPES:
        raise unknown(name, str(value), (AUTO, *DTYPES))
    return DTYPES[short]


def device_of(device_map: Any) -> torch.device | None:
    """The one device of a `device_map`, for the whole pipeline; None without one.

    Raises
    ------
    ValueError
        If it is not a single device, or one that this machine does not have.
    """
    if device_map is None:
        return None
    name = get_device() if device_map in (AUTO, "balanced") else device_map
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device_map must be a device of this machine, such as 'cpu', 'cuda' or 'cuda:0', or 'balanced'; "
            f"got {shortened(device_map)} ({one_line(error)[:80]})"
        ) from error
    if device.type == "meta":
        raise ValueError("device_map='meta' has no numbers to generate with; use 'cpu' or 'cuda'")
    return device


def check_files(variant: Any, max_shard_size: Any = None) -> None:
    """ValueError for a variant that is not a name of letters and digits, or a `max_shard_size` that is not a size."""
    if variant is not None and not (isinstance(variant, str) and re.fullmatch(r"[A-Za-z0-9_]+", variant)):
        raise ValueError(f"variant must be a name of letters and digits such as 'fp16', got {shortened(variant)}")
    if max_shard_size is not None and not re.fullmatch(r"[1-9]\d*|\d+(\.\d+)?[KMGT]B", str(max_shard_size).upper()):
        raise ValueError(f"max_shard_size must be bytes, or a size such as '5GB', got {shortened(max_shard_size)}")


# ---------------------------------------------------------------------- files of weights


def weight_patterns(stem: str, variant: str | None = None) -> list[str]:
    """Patterns of the files of weights: a single file, shards, and the index of shards."""
    middle = f".{variant}" if variant else ""
    return [
        f"{stem}{middle}.safetensors",
        f"{stem}{middle}-?????-of-?????.safetensors",
        f"{stem}.safetensors.index{middle}.json",
    ]


def weight_files(folder: Path, stem: str = WEIGHTS, variant: str | None = None) -> list[Path]:
    """The safetensors files of a model: one, or the shards that an index lists.

    Raises
    ------
    ValueError
        If one is missing, or the index is damaged.
    """
    whole, _, index = weight_patterns(stem, variant)
    if (folder / whole).is_file():
        return [folder / whole]
    if not (folder / index).is_file():
        there = " ".join(path.name for path in folder.glob(f"{stem}.*.safetensors"))
        others = sorted(set(re.findall(rf"{stem}\.(\w+?)(?:-\d{{5}}-of-\d{{5}})?\.safetensors", there)))
        hint = f"; there is the variant {' and '.join(map(repr, others))}" if others else ""
        raise ValueError(f"{folder} is not whole: {whole} is missing{hint}")
    places = read_json(folder / index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) and "/" not in name for name in places.values()):
        raise ValueError(f"{folder / index} does not say which file each tensor is in")
    names = sorted(set(places.values()))
    for name in names:
        if not (folder / name).is_file():
            raise ValueError(f"{folder} is not whole: {name} is missing, which {index} lists")
    return [folder / name for name in names]


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file; ValueError, naming it, for a truncated or foreign one."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is truncated or not a safetensors file: {error}") from error


def count_parameters(folder: Path, stem: str = WEIGHTS, variant: str | None = None) -> int:
    """Number of parameters of a saved model, without running statistics; errors as of `weight_files`."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    tensors = [read_tensors(path) for path in weight_files(folder, stem, variant)]
    return sum(tensor.numel() for part in tensors for name, tensor in part.items() if not name.endswith(buffers))


# ---------------------------------------------------------------------- parts


def load_component(
    kind: type[T], folder: Path, name: str, dtype: torch.dtype | str | None = None, variant: str | None = None
) -> T:
    """Load one part of a checkpoint, after checking that it is complete and of the right class.

    Parameters
    ----------
    kind
        Class of the part.
    folder, name
        The checkpoint, and the part's folder in it.
    dtype
        Of a model's weights; ``"auto"``: as they were saved; None: float32, as in diffusers.
    variant
        Of the files of weights.

    Raises
    ------
    ValueError
        For a missing file; a config of another class, with a missing key or an invalid value; weights that are
        truncated or do not fit the config.
    """
    part = folder / name
    is_model = hasattr(kind, "forward")
    config_path = part / ("config.json" if is_model else "scheduler_config.json")
    if not config_path.is_file():
        raise ValueError(f"{folder} is not a whole checkpoint: {config_path.relative_to(folder)} is missing")
    config = read_json(config_path)
    if config.get("_class_name") != kind.__name__:
        raise ValueError(f"{config_path} is the config of {config.get('_class_name')}, expected {kind.__name__}")
    expected = [key for key in kind._get_init_keys(kind) if key not in ("self", "kwargs")]  # type: ignore[attr-defined]
    missing = sorted(key for key in expected if key not in config)
    if missing:
        raise ValueError(f"{config_path} lacks {', '.join(missing)}")
    files = weight_files(part, variant=variant) if is_model else []
    try:
        component = kind.from_config(config)  # type: ignore[attr-defined]
    except (TypeError, ValueError, RuntimeError, ArithmeticError, AssertionError) as error:
        raise ValueError(f"{config_path} has an invalid value: {one_line(error)}") from error
    if is_model:
        _load_weights(component, files, dtype)
    return component


def _load_weights(model: torch.nn.Module, files: list[Path], dtype: torch.dtype | str | None) -> None:
    own = model.state_dict()
    where: dict[str, Path] = {}
    state: dict[str, torch.Tensor] = {}
    for path in files:
        tensors = read_tensors(path)
        state |= tensors
        where |= dict.fromkeys(tensors, path)
        broken = sorted(key for key, tensor in tensors.items() if not tensor.isfinite().all())
        if broken:
            raise ValueError(f"{path} holds values that are not finite, in {broken[0]}")
    wrong = sorted(own.keys() ^ state.keys())
    for key in sorted(own.keys() & state.keys()):
        same_kind = own[key].is_floating_point() == state[key].is_floating_point()
        wrong += [] if same_kind and own[key].shape == state[key].shape else [key]
    if wrong:
        path = where.get(wrong[0], files[0])
        raise ValueError(f"{path} does not fit its config.json; first of {len(wrong)} differing tensors: {wrong[0]}")
    if dtype == AUTO:
        dtype = next(tensor.dtype for tensor in state.values() if tensor.is_floating_point())
    if isinstance(dtype, torch.dtype):
        torch.nn.Module.to(model, dtype=dtype)
    model.load_state_dict(state)
