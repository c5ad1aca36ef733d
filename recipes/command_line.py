"""Command lines of trainings: an option for each setting, a progress bar, and errors in one line."""

from __future__ import annotations

import argparse
import sys
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from tqdm.auto import tqdm

from network_training import OnStep
from settings import TrainingSettings

ERRORS = (ValueError, OSError, ModuleNotFoundError, RuntimeError, SafetensorError)


def add_settings(
    parser: argparse.ArgumentParser,
    default: TrainingSettings,
    texts: Mapping[str, str],
    choices: Mapping[str, list[str]],
) -> None:
    """Add an option for each setting.

    Parameters
    ----------
    parser
        To add them to.
    default
        Settings whose values are the defaults.
    texts
        Help text of each option, by its name.
    choices
        Allowed values of some of them.
    """
    kinds = typing.get_type_hints(type(default))
    for name, text in texts.items():
        value, kind = getattr(default, name), kinds[name]
        shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
        options: dict[str, Any] = {"default": value, "help": f"{text} (default: {shown})".replace("%", "%%")}
        if isinstance(value, dict):
            shown = " ".join(f"{key}={item}" for key, item in value.items()) or "the space's own"
            options |= {"nargs": "+", "default": [], "metavar": "NAME=VALUE", "help": f"{text} (default: {shown})"}
        elif kind is bool:
            options |= {"action": argparse.BooleanOptionalAction, "help": text}
        elif isinstance(value, tuple):
            options |= {"nargs": len(value), "type": float}
        else:
            named = [part for part in typing.get_args(kind) if part is not type(None)]
            options |= {"type": named[0] if named else kind, "choices": choices.get(name)}
        parser.add_argument(f"--{name}", **options)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the program with one line for an error that a user can cause; leave the group of processes in any case."""
    try:
        yield
    except ERRORS as error:
        sys.exit(f"error: {error}")
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextmanager
def training_bar(show: bool) -> Iterator[OnStep]:
    """A progress bar, and the function that moves it after a step."""
    with tqdm(desc="training", unit="step", disable=not show) as bar:

        def on_step(step: int, total: int, values: dict[str, float]) -> None:
            bar.total = total
            bar.set_postfix({name: f"{value:,.4g}" for name, value in values.items()}, refresh=False)
            bar.update(step - bar.n)

        yield on_step
