"""What the commands of ``pkgen`` share: options, groups of options, and errors of one line."""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Collection
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.console import Console
from rich.markup import escape

from ..budgets import BUDGETS, Bound

if TYPE_CHECKING:
    from ..architecture import Architecture
    from ..spaces import SearchSpace, TaskLike

# Libraries read this when they are imported. Commands import them late, so that --help answers at once.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

DEFAULT_SPACE = "nas-bench-201"  # that of `pkgen_hf.spaces`, which takes too long to import for --help
LIMITS = "Limits on cost"  # heading in the help of a command
_ARGUMENT = re.compile(r"(?<![\w'\"-])([a-z_]+)=([\w.,+-]*\w)?")  # of a call in Python, with or without its value

Space = Annotated[str, typer.Option(help="Search space; `pkgen spaces` lists them.")]
Task = Annotated[
    str | None, typer.Option(help="Data set or kind of task; without it, the prior is the average over all tasks.")
]
Checkpoint = Annotated[str, typer.Option(help="Bundled name, folder, or Hub id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress bars and no hints.")]
RepoId = Annotated[str | None, typer.Option("--repo-id", help="ORG/NAME on the Hub, for the examples in the card.")]
TablePath = Annotated[str | None, typer.Option("--table", help="Benchmark table: Parquet file, folder, or Hub id.")]


@dataclass(frozen=True)
class TaskOptions:
    """A data set of the space, a kind of task, or with numbers a task of the user's own."""

    task: Task = None
    num_classes: Annotated[
        int | None, typer.Option(help="Classes of a data set of your own, of which --task is the kind.")
    ] = None
    in_channels: Annotated[int | None, typer.Option(help="Channels of its images.")] = None
    image_size: Annotated[int | None, typer.Option(help="Height and width of its images in pixels.")] = None

    def chosen(self, space: SearchSpace) -> TaskLike | None:
        """The task of these options: with numbers a `Task` of that kind, which lacks those of the space's first one.

        Raises
        ------
        ValueError
            For numbers without a kind of task, or other numbers than those of the data set that was named.
        """
        from ..inputs import whole_number
        from ..spaces import Task
        from ..spaces.tasks import kind_of

        numbers = {
            name: whole_number(_flag(name), value)
            for name, value in vars(self).items()
            if name != "task" and value is not None
        }
        task = space.resolved(self.task)
        if not numbers:
            return task
        options = ", ".join(map(_flag, numbers))
        if not isinstance(task, str):
            kinds = ", ".join(dict.fromkeys(known.kind for known in space.tasks.values()))
            raise ValueError(
                f"{options} describes a data set of your own: say by --task of which kind, such as {kinds}"
            )
        data = space.task(space.data_set(task) or Task(kind_of(task) or "other", 0.0))
        if task in space.tasks:
            for name, value in numbers.items():
                if value != (known := getattr(data, name)):
                    raise ValueError(
                        f"{task} has {name}={known}, not {value}: for a data set of your own, --task is {data.kind}"
                    )
            return task
        kind, _, name = task.partition("/")
        chance = data.chance_score if not (self.num_classes or data.num_classes) else None
        sizes = {size: getattr(data, size) for size in ("num_classes", "image_size", "num_features")}
        return Task(kind, chance, **(sizes | numbers), name=name)  # type: ignore[arg-type]  # None follows from classes


@dataclass(frozen=True)
class NetworkOptions:
    """The scale at which a network is built."""

    num_classes: Annotated[int | None, typer.Option(help="Number of classes; without it, that of the task.")] = None
    image_size: Annotated[
        int | None, typer.Option(help="Height and width of images in pixels; without it, those of the task.")
    ] = None
    in_channels: Annotated[int | None, typer.Option(help="Channels of images; without it, those of the task.")] = None
    scale: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Option of the space's networks, e.g. channels=48; may be repeated."),
    ] = None

    def keywords(self, function: Callable[..., Any]) -> dict[str, Any]:
        """`scale` as further keyword arguments of a function; a value that is not JSON is a text."""
        own = inspect.signature(function).parameters
        chosen: dict[str, Any] = {} if self.in_channels is None else {"in_channels": self.in_channels}
        for text in self.scale or []:
            name, sign, value = text.partition("=")
            if not (name and sign and value):
                raise ValueError(f"--scale takes name=value, such as channels=48, got {text!r}")
            if name in own:
                raise ValueError(f"--scale takes options of networks, and {name} is none here: {text!r}")
            try:
                chosen[name] = json.loads(value)
            except ValueError:
                chosen[name] = value
        return chosen


def evaluations_in(path: Path, space: SearchSpace, task: str | None) -> tuple[list[Architecture], list[float]]:
    """Architectures and scores in a file of the user's own results, for a task of the space.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For an unknown task, or a text that `read_evaluations` refuses.
    """
    from ..requests.evaluations import read_evaluations

    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        space.resolved(task)
    except ValueError as error:
        raise ValueError(f"{error} For a data set of your own, leave --task out.") from error
    try:
        return read_evaluations(space, path.read_bytes())
    except ValueError as error:
        is_of_a_place = str(error).startswith(("line", "entry"))
        raise ValueError(f"{path}{', ' if is_of_a_place else ': '}{error}") from error


def friendly(command: Callable[..., None]) -> Callable[..., None]:
    """End with one line on standard error, not a stack trace, for what a user can correct; warnings are one line, too.

    They name options as the command line does.
    """

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        def say(what: str, text: str, style: str = "red") -> None:
            line = f"[bold {style}]{what}:[/] {escape(in_words_of_options(text, kwargs))}"
            Console(stderr=True).print(line, markup=True, highlight=False, soft_wrap=True)

        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_, **__: say("warning", str(message), "yellow")
                command(*args, **kwargs)
        except BrokenPipeError:  # whoever reads, such as `head`, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except (ValueError, FileNotFoundError, ModuleNotFoundError, NotImplementedError, OSError) as error:
            say("error", str(error))
            raise typer.Exit(1) from error

    return run


def _flag(name: str) -> str:
    """An option as it is typed: ``--image-size`` for ``image_size``."""
    return f"--{name.replace('_', '-')}"


def in_words_of_options(text: str, options: Collection[str]) -> str:
    """A message with ``name=value`` of Python, where `name` is one of the options, as ``--name value``."""

    def option(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name not in options:
            return found[0]
        if value == "False":
            return _flag(f"no_{name}")
        return _flag(name) if value is None else f"{_flag(name)} {value}"

    return _ARGUMENT.sub(option, text)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options as objects.

    A parameter that is a dataclass becomes one option for each of its fields, and ``**limits`` one for each limit of
    `BUDGETS`. Other parameters stay options and arguments as they are.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    options: list[Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            options += _fields_as_options(groups[name])
        elif parameter.kind is Parameter.VAR_KEYWORD:
            options += [_option(bound.argument, _limit(bound), None) for budget in BUDGETS for bound in budget.bounds]
        else:
            options.append(_option(name, hints[name], parameter.default))

    @wraps(command)
    def run(**given: Any) -> None:
        objects = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in groups.items()}
        command(**objects, **given)

    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _fields_as_options(group: type) -> list[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    defaults = {f.name: Parameter.empty if f.default is MISSING else f.default for f in fields(group)}
    return [_option(name, hints[name], default) for name, default in defaults.items()]


def _limit(bound: Bound) -> Any:
    def number(text: str) -> float:
        try:
            return bound.budget.number(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    option = typer.Option(help=bound.description, rich_help_panel=LIMITS, parser=number, metavar="NUMBER")
    return Annotated[float | None, option]


def _option(name: str, annotation: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
