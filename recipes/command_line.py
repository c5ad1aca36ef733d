"""Command lines of trainings: options of settings and of what is generated, a progress bar, errors in one line."""

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
from pkgen_hf import Architecture, PKGenPipeline
from pkgen_hf.budgets import BUDGETS
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


# Limits that need nothing else, as those on latency need a table.
LIMITS = [bound for budget in BUDGETS if not budget.required for bound in budget.bounds]


def add_generation_options(parser: argparse.ArgumentParser) -> None:
    """Options of what the pipeline ranks first."""
    parser.add_argument("--task", help="with --generate: data set of the space whose prior is used")
    parser.add_argument("--checkpoint", default="pkgen-base", help="with --generate: pipeline (default: pkgen-base)")
    for bound in LIMITS:
        text = f"with --generate: {bound.description[0].lower()}{bound.description[1:]}"
        parser.add_argument(f"--{bound.argument}", type=bound.budget.number, metavar="NUMBER", help=text)


def generate(options: argparse.Namespace, space: str, task: Any, seed: int, **others: Any) -> Architecture:
    """What the pipeline ranks first, by the options of `add_generation_options`.

    Parameters
    ----------
    options
        The command line.
    space
        Name of the space.
    task
        As of the pipeline.
    seed
        Of the generator.
    **others
        Options of budgets that are limited.

    Raises
    ------
    ValueError
        For a limit that nothing obeys.
    """
    pipe = PKGenPipeline.from_pretrained(options.checkpoint)
    pipe.set_progress_bar_config(disable=True)
    given = {bound: getattr(options, bound.argument) for bound in LIMITS}
    needed = {name for bound, limit in given.items() if limit is not None for name in bound.budget.options}
    limits = {bound.argument: limit for bound, limit in given.items()}
    limits |= {name: value for name, value in others.items() if name in needed}
    generator = torch.Generator().manual_seed(seed)
    out: Any = pipe(space, task, num_architectures=1, generator=generator, **limits)
    architecture: Architecture = out.architectures[0]
    return architecture


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
