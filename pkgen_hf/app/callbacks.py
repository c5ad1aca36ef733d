"""Event handlers of the app's page and its API endpoint."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache

from ..budgets import BUDGETS, Bound
from ..spaces import get_space
from ..spaces.cost_effects import DTYPE_BYTES
from .backend import ENDPOINT, Backend, as_zip, python_code
from .views import figures, front_plot, prior_bars, ranking, status

CACHE = {"context": "Tokens in the KV cache", "batch_size": "Sequences in the KV cache"}  # labels of fields
AVERAGE = "average"  # stands for no task, which a list of choices cannot hold


class Example(NamedTuple):
    """What one of the example buttons fills in."""

    space: str
    task: str
    limits: dict[str, float] = {}  # by argument of the pipeline, in the units of the page
    is_own: bool = False  # from evaluations that are filled in


EXAMPLES = {
    "Cells for CIFAR-10": Example("nas-bench-201", "cifar10"),
    "Small cells, at most 0.5 million parameters": Example("nas-bench-201", "cifar10", {"max_parameters": 0.5}),
    "A GPT of at most 40 million parameters": Example("hw-gpt-bench-s", "openwebtext", {"max_parameters": 40}),
    "Graph networks for arXiv": Example("nas-bench-graph", "arxiv"),
    "From 12 results of your own": Example("nas-bench-201", "cifar100", is_own=True),
}


def tasks_of(space: str) -> list[tuple[str, str]]:
    """Labels and values of what a space can be asked for: data sets, kinds of task, and the average."""
    tasks = get_space(space).tasks
    kinds = dict.fromkeys(task.kind for task in tasks.values())
    agreement = [(f"all of {kind}", kind) for kind in kinds] if len(tasks) > 1 else []
    return [(name, name) for name in tasks] + agreement + [("average of the space", AVERAGE)]


def device_choices(names: list[str]) -> list[tuple[str, str]]:
    """Labels and values of the devices; the empty one stands for none."""
    return [("none", ""), *((name, name) for name in names)]


def dtype_choices() -> list[tuple[str, str]]:
    """Labels and values of the types for which memory is counted; the empty one stands for the default."""
    return [("float32, the default", ""), *((name, name) for name in DTYPE_BYTES)]


def limit_label(bound: Bound) -> str:
    """Label of the field that limits a budget."""
    budget, side = bound.budget, "at least" if bound.is_lower else "at most"
    return f"{budget.label.capitalize()} {side}, in {budget.scale_in_words}"


def _number(label: str, text: str, empty: str) -> float | None:
    """The number in a field, None if it is empty, for `empty`: Gradio's own fields of numbers fill in a 0 there."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise ValueError(f"{label}: expected a number, or nothing for {empty}; got {text!r}") from None


class Callbacks:
    """The functions behind buttons and fields.

    Parameters
    ----------
    backend
        What answers.
    folder
        Where Gradio serves files from.
    """

    def __init__(self, backend: Backend, folder: str) -> None:
        self.backend = backend
        self.folder = folder

    def run(self, *fields: Any) -> tuple[Any, ...]:
        """Generate from the fields of the page, which stand in the order of `ENDPOINT`."""
        named = dict(zip(ENDPOINT.parameters, fields, strict=True))
        try:
            bounds = (bound for budget in BUDGETS for bound in budget.bounds)
            for bound in bounds:
                named[bound.argument] = _number(limit_label(bound), named[bound.argument], "no limit")
            for name, label in CACHE.items():
                named[name] = _number(label, named[name], "the default")
            named["task"] = None if named["task"] == AVERAGE else named["task"]
            named |= {name: named[name] or None for name in ("device", "memory_dtype")}
            answer = self.backend.generate(**named)
        except (ValueError, NotImplementedError) as error:
            return status(str(error), is_error=True), *[gr.skip()] * 9
        space, pictures = named["space"], answer.pictures()
        names = [f"{space}-{record['rank']:02}.svg" for record in answer.records]
        files = {
            "architectures.json": answer.as_json().encode(),
            "drawings.zip": as_zip(dict(zip(names, pictures, strict=True))),
        }
        buttons = [gr.update(value=self._served(content, name), visible=True) for name, content in files.items()]
        done = f"{len(pictures)} architectures of {space}; {answer.validity:.0%} of the raw samples were valid."
        page = (
            figures(answer, pictures),
            front_plot(self.backend.front(answer)),
            ranking(answer),
            prior_bars(answer.prior),
        )
        code = gr.update(visible=True), gr.update(visible=False)  # it takes a while, so it is written when asked for
        strings = [record["architecture"] for record in answer.records]
        return status(done), *page, *buttons, *code, (space, named["task"], strings)

    def write_code(self, generated: tuple[str, str | None, list[str]]) -> tuple[Any, Any, str]:
        """Write the networks that were generated as Python code."""
        try:
            files = python_code(*generated)
        except NotImplementedError as error:
            return gr.skip(), gr.skip(), status(str(error), is_error=True)
        path = self._served(as_zip(files), "networks.zip")
        done = status(f"Python code of {len(files)} networks is written: each file needs torch alone.")
        return gr.update(visible=False), gr.update(value=path, visible=True), done

    def fill_in(self, space: str, task: str) -> tuple[Any, str]:
        """Fill in evaluations that were measured."""
        try:
            lines = self.backend.example_evaluations(space, task)
        except ValueError as error:
            return gr.skip(), status(str(error), is_error=True)
        return lines, status("Twelve measured architectures filled in.")

    def choose_space(self, space: str, task: str | None = None) -> list[Any]:
        """What the fields offer after a space is chosen.

        Of the task, of limits that need a device, of devices, and of the KV cache, which only language models have.
        """
        choices, devices = tasks_of(space), self.backend.devices(space)
        with_device = [gr.update(value="", visible=bool(devices)) for budget in BUDGETS if budget.required]
        return [
            gr.update(choices=choices, value=task or choices[0][1]),
            *with_device,
            gr.update(choices=device_choices(devices), value="", visible=bool(devices)),
            *(gr.update(value="", visible=get_space(space).context is not None) for _ in CACHE),
        ]

    def example(self, name: str) -> list[Any]:
        """All fields of the page for one of `EXAMPLES`, and which groups of them are open."""
        chosen = EXAMPLES[name]
        text = self.backend.example_evaluations(chosen.space, chosen.task) if chosen.is_own else ""
        task, *others = self.choose_space(chosen.space, chosen.task)
        *with_device, device = others[: -len(CACHE)]
        limits: list[Any] = []
        for bound in (bound for budget in BUDGETS for bound in budget.bounds):
            limit = chosen.limits.get(bound.argument)
            limits.append(with_device.pop(0) if bound.budget.required else "" if limit is None else f"{limit:g}")
        opened = [gr.update(open=bool(chosen.limits)), gr.update(open=chosen.is_own)]
        return [chosen.space, task, 6, 0, *limits, device, 1, 1, text, *others[-len(CACHE) :], "", *opened]

    def generate(self, *fields: Any, **named: Any) -> str:
        """Architectures, best first, as JSON; limits in millions and milliseconds: see `Backend.request`."""
        try:
            return self.backend.generate(*fields, **named).as_json()
        except (ValueError, NotImplementedError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _served(self, content: bytes, name: str) -> str:
        return save_bytes_to_cache(content, name, self.folder)
