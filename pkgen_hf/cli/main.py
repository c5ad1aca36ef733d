"""The command line, ``pkgen``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .hub import card, dataset, push
from .options import AsJson, Checkpoint, Quiet, Space, TablePath, Task, friendly

app = typer.Typer(
    help="Generate high-performance neural architectures from prior knowledge, without search.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(dataset, name="dataset")


def _score_table(space: str, source: str | None, quiet: bool) -> Any:
    """The space's table of measurements if it is at hand, else None; with a hint if its package is not installed."""
    from ..benchmarks.score_table import ScoreTable, with_package

    if source is None and space not in with_package():
        return None
    try:
        return ScoreTable.load(space, source)
    except ModuleNotFoundError as error:
        if source is not None:
            raise
        if not quiet:
            Console(stderr=True).print(f"measured scores are not shown: {error}", markup=False)
        return None


@app.command()
@friendly
def generate(
    space: Space = "nas-bench-201",
    task: Task = None,
    number: Annotated[int, typer.Option("--number", "-n", help="How many architectures.")] = 8,
    seed: Annotated[int | None, typer.Option(help="Same seed, same architectures.")] = None,
    candidates: Annotated[int, typer.Option(help="Samples drawn for each; the model keeps what it scores best.")] = 4,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 2,
    guidance: Annotated[float, typer.Option(help="Guidance scale; 0 switches guidance off.")] = 1.0,
    temperature: Annotated[float, typer.Option(help="Below 1 sharpens.")] = 0.5,
    distinct: Annotated[bool, typer.Option(help="No two isomorphic architectures.")] = True,
    prior: Annotated[Path | None, typer.Option(help="Prior to use, a Parquet file as `pkgen prior` writes.")] = None,
    max_parameters: Annotated[float | None, typer.Option(help="Limit on parameters, e.g. 5e5.")] = None,
    max_flops: Annotated[float | None, typer.Option(help="Limit on multiply-adds, e.g. 1e8.")] = None,
    max_latency: Annotated[float | None, typer.Option(help="Limit in milliseconds on --device.")] = None,
    device: Annotated[str | None, typer.Option(help="Device of the table of latencies, e.g. edgegpu.")] = None,
    latency_table: Annotated[str | None, typer.Option(help="Measured latencies: Parquet file or Hub id.")] = None,
    checkpoint: Checkpoint = "pkgen-base",
    draw: Annotated[Path | None, typer.Option(help="Draw the cells to this PNG or SVG file.")] = None,
    table: TablePath = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Generate architectures, best first, and show what they cost and (where measured) how good they are.

    Example: pkgen generate --space nas-bench-201 --task cifar10 -n 8 --seed 0 --draw cells.png
    """
    import torch

    from ..drawing.pictures import draw as draw_cells
    from ..pipeline_pkgen import PKGenPipeline
    from ..priors.prior import Prior
    from ..requests.measured import look_up

    pipe = PKGenPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=quiet or as_json, desc="generating")
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    own = None if prior is None else Prior.load(prior)
    out = pipe(
        space=space,
        task=task,
        prior=own,
        num_architectures=number,
        distinct=distinct,
        num_candidates=candidates,
        num_inference_steps=steps,
        guidance_scale=guidance,
        temperature=temperature,
        generator=generator,
        max_parameters=max_parameters,
        max_flops=max_flops,
        max_latency=max_latency,
        device=device,
        latency_table=latency_table,
    )
    measured = None
    scores = _score_table(space, table, quiet or as_json)
    if scores is not None:
        rows = torch.tensor([architecture.indices for architecture in out.architectures])
        measured = look_up(scores, rows, task, own)
    records: list[dict[str, Any]] = []
    for rank, (architecture, score) in enumerate(zip(out.architectures, out.scores.tolist(), strict=True), 1):
        cost = architecture.cost(task)
        record = {
            "rank": rank,
            "architecture": str(architecture),
            "score": score,
            "parameters": cost.parameters,
            "flops": cost.flops,
        }
        if measured is not None:
            record[measured.field] = measured.scores[rank - 1]
        records.append(record)
    if draw is not None:
        titles = [
            f"{r['rank']}.  {r['parameters'] / 1e6:.2f} M parameters"
            + (f",  {measured.split} {measured.text(k)}" if measured is not None else "")
            for k, r in enumerate(records)
        ]
        draw_cells(out.architectures, draw, titles)
    if as_json:
        head = {"space": space, "task": task, "measured_on": measured.label if measured else None}
        print(json.dumps({**head, "validity": out.validity, "architectures": records}, indent=2))
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"[bold]{space}, {task or 'average over tasks'}[/] ({out.prior.evidence} prior)")
    for k, r in enumerate(records):
        line = f"[bold]{r['rank']:>3}[/]  score {r['score']:6.3f}   {r['parameters'] / 1e6:7.3f} M parameters"
        line += f"   {r['flops'] / 1e6:7.1f} M multiply-adds"
        if measured is not None:
            line += (
                f"   [green]{measured.text(k)} measured[/]" if measured.scores[k] is not None else "   not measured"
            )
        console.print(line)
        console.print(f"     {r['architecture']}", markup=False)
    if not quiet:
        console.print(
            f"ranked by the model's own score; what was measured ({measured.label}) was looked up afterwards"
            if measured is not None
            else "ranked by the model's own score"
        )
        if draw is not None:
            console.print(f"drawn in {draw}")


@app.command()
@friendly
def draw(
    architecture: Annotated[list[str], typer.Argument(help="The benchmark's own string; several may be given.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG or SVG file.")] = Path("cells.png"),
    space: Space = "nas-bench-201",
    quiet: Quiet = False,
) -> None:
    """Draw architectures.

    Example: pkgen draw --space nas-bench-graph 0112:gcn,gin,fc,cheb -o cell.svg
    """
    from ..architecture import Architecture
    from ..drawing.pictures import draw as draw_cells

    cells = [Architecture.from_string(space, text) for text in architecture]
    draw_cells(cells, output, [str(cell) for cell in cells])
    if not quiet:
        print(f"drawn in {output}")


Scale = Annotated[
    list[str] | None,
    typer.Option(help="An option of the space's networks, such as channels=48; may be given several times."),
]
ImageSize = Annotated[int | None, typer.Option(help="Height and width of images in pixels; without it, the task's.")]
NumClasses = Annotated[int | None, typer.Option(help="Width of the output; without it, the task's.")]


def _options(texts: list[str] | None) -> dict[str, Any]:
    """Options of scale from texts like ``channels=48``: values as in JSON, else text."""
    chosen: dict[str, Any] = {}
    for text in texts or []:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise ValueError(f"--scale takes name=value, such as channels=48, got {text!r}")
        try:
            chosen[name] = json.loads(value)
        except ValueError:
            chosen[name] = value
    return chosen


@app.command()
@friendly
def cost(
    architecture: Annotated[str, typer.Argument(help="The benchmark's own string.")],
    space: Space = "nas-bench-201",
    task: Annotated[str | None, typer.Option(help="Data set of the space; without it, the first.")] = None,
    image_size: ImageSize = None,
    num_classes: NumClasses = None,
    scale: Scale = None,
    measure: Annotated[bool, typer.Option("--measure", help="Also multiply-adds and memory of activations.")] = False,
    latency: Annotated[bool, typer.Option("--latency", help="Also time it on this machine's CPU.")] = False,
    runs: Annotated[int, typer.Option(help="Timed runs, of which the median is shown.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Say what a network costs: by formulas at the scale of a task, or measured at any other.

    Example: pkgen cost --space darts --scale stem=imagenet --scale channels=48 --scale cells=14 --scale affine=true
    --num-classes 1000 --image-size 224 "Genotype(...)"
    """
    from ..architecture import Architecture

    found = Architecture.from_string(space, architecture).cost(
        task,
        image_size=image_size,
        num_classes=num_classes,
        measured=measure,
        latency=latency,
        runs=runs,
        **_options(scale),
    )
    values = {name: value for name, value in vars(found).items() if value is not None}
    if as_json:
        print(json.dumps(values, indent=2))
        return
    for name, value in values.items():
        text = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
        print(f"{name.replace('_', ' '):18} {text:>16}")


@app.command()
@friendly
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; one that is there is replaced.")],
    architecture: Annotated[
        str | None, typer.Argument(help="The benchmark's own string; not needed with --weights.")
    ] = None,
    space: Space = "nas-bench-201",
    format: Annotated[
        str | None, typer.Option(help="python, onnx or safetensors; without it, as the suffix of the file says.")
    ] = None,
    num_classes: NumClasses = None,
    image_size: ImageSize = None,
    scale: Scale = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of a trained network (save_pretrained), with its architecture, classes and scale."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of fresh weights.")] = None,
    quiet: Quiet = False,
) -> None:
    """Write a network to one file that needs no PKGen: Python code for torch alone, its weights, or an ONNX model.

    Python code builds the network, and loads the weights that the same command writes with the format safetensors.
    ONNX takes pip install 'pkgen-hf[onnx]'; the model is compared with the network before it is written.

    Example: pkgen export "8:16:24:32:40" --space nats-bench-size -o network.py && python network.py
    """
    from ..architecture import Architecture
    from ..modeling_network import saved_network
    from ..networks.export import export_network

    if weights is not None:
        saved = saved_network(weights)
        if architecture is not None and Architecture.from_string(space, architecture) != saved.architecture:
            raise ValueError(f"{weights} holds {saved.architecture!r}, not {architecture!r} of {space}")
        if num_classes is not None or scale:
            raise ValueError(f"{weights} says what the number of classes and the scale are: leave them out")
        image_size = image_size or saved.image_size
        done = export_network(
            saved.architecture, output, format, saved.num_classes, image_size, saved.state, **saved.scale
        )
    elif architecture is not None:
        chosen = Architecture.from_string(space, architecture)
        done = export_network(chosen, output, format, num_classes, image_size, None, seed, **_options(scale))
    else:
        raise ValueError("an architecture, or --weights with a trained network, is needed")
    if quiet:
        return
    print(f"written to {done.path}")
    if done.difference is not None:
        print(f"largest difference between onnxruntime and torch: {done.difference:.1e}")


@app.command()
@friendly
def prior(
    space: Space = "nas-bench-201",
    task: Task = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the prior to this Parquet file.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Plot contributions to this PNG or SVG file.")] = None,
    evaluations: Annotated[
        Path | None,
        typer.Option(help="Your own results, 5 or more: a CSV file with the columns architecture and score, or JSON."),
    ] = None,
    top_k: Annotated[int, typer.Option(help="How many of the best architectures.")] = 20,
    table: TablePath = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure what every choice contributes in good architectures: its Shapley value.

    Up to 8 operations play one game, whose values are exact; more play restricted games. Reduced networks that were
    not measured have the scores that an additive fit predicts. Where that is so, the line below the table says it.

    From the benchmark, or from your own evaluations: pkgen prior --evaluations results.csv -o mine.parquet, and then
    pkgen generate --prior mine.parquet
    """
    from ..priors.prior import Prior
    from ..requests.evaluations import read_evaluations

    if evaluations is None:
        measured = Prior.from_benchmark(space, task, top_k, table)
    else:
        if not evaluations.is_file():
            raise FileNotFoundError(f"no file {evaluations}")
        try:
            mine = read_evaluations(space, evaluations.read_bytes())
        except ValueError as error:
            raise ValueError(f"{evaluations}, {error}") from error
        measured = Prior.from_evaluations(space, *mine, task, top_k)
    if output is not None:
        measured.save(output)
    if plot is not None:
        measured.plot(plot)
    rows = [
        {
            "slot": slot.name,
            "choice": choice.name,
            "contribution": _number(measured.contributions[s, k]),
            "subgraph_contribution": _number(measured.subgraph_contributions[s, k]),
            "frequency": _number(measured.frequencies[s, k]),
        }
        for s, slot in enumerate(measured.space.slots)
        for k, choice in enumerate(slot.choices)
    ]
    if as_json:
        head = {"space": space, "task": task, "evidence": measured.evidence, "labels_read": measured.labels_read}
        print(json.dumps({**head, "detail": measured.detail, "components": rows}, indent=2))
        return
    view = Table(title=f"{space}, {task or 'average over tasks'}: {measured.evidence}")
    for name in ("slot", "choice", "contribution (points)", "of its subgraphs", "frequency"):
        view.add_column(name, justify="left" if name in ("slot", "choice") else "right")
    for row in rows:
        if row["frequency"] or row["contribution"] is not None:
            numbers = [row["contribution"], row["subgraph_contribution"], row["frequency"]]
            cells = ["" if number is None else f"{number:.2f}" for number in numbers]
            view.add_row(str(row["slot"]), str(row["choice"]), *cells)
    Console().print(view)
    if not quiet:
        Console().print(f"{measured.detail}; labels read: {measured.labels_read:,}", highlight=False)


def _number(value: Any) -> float | None:
    number = float(value)
    return None if number != number else round(number, 6)


@app.command()
@friendly
def spaces(as_json: AsJson = False) -> None:
    """List the search spaces: their slots, choices, sizes and tasks."""
    from ..spaces import get_space, list_spaces

    records: list[dict[str, Any]] = [
        {
            "space": name,
            "slots": [slot.name for slot in space.slots],
            "choices": sorted({choice.name for slot in space.slots for choice in slot.choices}),
            "architectures": space.num_architectures,
            "tasks": list(space.tasks),
            "example": space.example,
        }
        for name in list_spaces()
        for space in [get_space(name)]
    ]
    if as_json:
        print(json.dumps(records, indent=2))
        return
    view = Table(show_lines=True)
    for name in ("space", "slots", "choices", "distinct architectures", "tasks"):
        view.add_column(name, no_wrap=name == "space", overflow="fold")
    for r in records:
        texts = [", ".join(r[key]) for key in ("slots", "choices")]
        view.add_row(r["space"], *texts, f"{r['architectures']:,}", ", ".join(r["tasks"]))
    Console().print(view)


@app.command()
@friendly
def bench(
    space: Space = "nas-bench-201",
    task: Task = None,
    batch: Annotated[int, typer.Option(help="Architectures in a call.")] = 1024,
    candidates: Annotated[int, typer.Option(help="Samples drawn for each.")] = 4,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 2,
    guidance: Annotated[float, typer.Option(help="Guidance scale.")] = 1.0,
    repeats: Annotated[int, typer.Option(help="Timed calls; the median is shown.")] = 7,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    checkpoint: Checkpoint = "pkgen-base",
    table: Annotated[str | None, typer.Option(help="Also time look-ups in this table of the space.")] = None,
    as_json: AsJson = False,
) -> None:
    """Time generation, and the denoiser beside a plain matrix product on this machine; look-ups in a table as well.

    Example: pkgen bench --space nas-bench-101 --table data/nas-bench-101
    """
    from ..evaluation.throughput import measure_look_ups, measure_throughput

    result = measure_look_ups(space, table, repeats) if table is not None else {}
    result |= measure_throughput(
        checkpoint, space, task, batch, candidates, steps, guidance, repeats, threads, dtype, device
    )
    if as_json:
        print(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        text = f"{value:,.1f}" if isinstance(value, float) else str(value)
        Console().print(f"{name.replace('_', ' '):52} {text}", highlight=False)


@app.command("app")
@friendly
def serve(
    port: Annotated[int | None, typer.Option(help="Without it, the first free one from 7860.")] = None,
    host: Annotated[str, typer.Option(help="127.0.0.1 for this machine alone, 0.0.0.0 for others too.")] = "127.0.0.1",
    share: Annotated[bool, typer.Option("--share", help="A public address for a while, by Gradio's servers.")] = False,
    checkpoint: Checkpoint = "pkgen-base",
    tables: Annotated[
        Path | None, typer.Option(help="Folder of benchmark tables, by the names of their spaces; shown as measured.")
    ] = None,
    latencies: Annotated[
        Path | None, typer.Option(help="Folder of tables of latencies, such as nas-bench-201.parquet.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Start the app: the pipeline in a browser. Needs gradio, which the extra named app installs.

    Example: pkgen app --port 7860
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        from ..app.page import LOOK, build_app
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise ModuleNotFoundError("the app needs gradio: pip install 'pkgen-hf[app]'") from error

    built = build_app(checkpoint, tables, latencies)
    built.launch(server_name=host, server_port=port, share=share, quiet=quiet, **LOOK)


app.command()(card)
app.command()(push)


def main() -> None:
    """Entry point."""
    app(prog_name="pkgen", args=sys.argv[1:])


if __name__ == "__main__":
    main()
