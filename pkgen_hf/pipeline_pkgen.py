"""The pipeline: from a space and a prior to ranked architectures."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# ModelMixin and SchedulerMixin are named here because diffusers looks for them in the module of a pipeline's parts
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin  # noqa: F401
from diffusers.utils import BaseOutput

from . import hub, loading, publishing
from .architecture import Architecture
from .errors import unknown
from .files import replace_folder, user_path
from .latency import LatencyTable
from .limits import Limits
from .modeling_denoiser import ArchitectureDenoiser, EncodedCondition
from .pipeline_folder import finish, owned_files
from .prior_files import load_folder, load_priors, save_priors
from .priors import Prior, to_indices
from .scheduling_prior_discrete import GeneratorArg, PriorDiscreteScheduler
from .spaces import TASK_KINDS, SearchSpace, get_space
from .transfer import closeness, select_prior

MAX_BATCH = 4096
MAX_ROUNDS = 50  # without one more architecture within the limits


@dataclass
class PKGenPipelineOutput(BaseOutput):
    """What the pipeline returns.

    Attributes
    ----------
    architectures : list of Architecture
        Every one valid, best first by the model's own ranking.
    scores : FloatTensor (num_architectures,)
        What they were ranked by: the denoiser's score of the clean architecture, averaged with and without the prior,
        and the logarithm of how often it was drawn, each standardised over the distinct ones and added. No measurement
        is read.
    validity : float
        Share of the raw samples that were valid; the others were replaced.
    prior : Prior
        The prior that was used.
    """

    architectures: list[Architecture]
    scores: torch.Tensor
    validity: float
    prior: Prior


class PKGenPipeline(DiffusionPipeline):
    """Generates neural architectures from prior knowledge, without search and without evaluating candidates.

    Parameters
    ----------
    denoiser
        An `ArchitectureDenoiser`.
    scheduler
        A `PriorDiscreteScheduler`.

    Attributes
    ----------
    priors : list of Prior
        Those saved with the checkpoint, for calls that name only a space and a task.
    """

    denoiser: ArchitectureDenoiser
    scheduler: PriorDiscreteScheduler
    model_cpu_offload_seq: Any = "denoiser"
    _callback_tensor_inputs = ["sample"]

    def __init__(self, denoiser: ArchitectureDenoiser, scheduler: PriorDiscreteScheduler) -> None:
        super().__init__()
        self.register_modules(denoiser=denoiser, scheduler=scheduler)
        self._priors: list[Prior] | None = None

    # ------------------------------------------------------------------ loading and saving

    @property
    def priors(self) -> list[Prior]:
        """The priors of the checkpoint; read from its folder when first asked for."""
        if self._priors is None:
            part = self.denoiser.config.get("_name_or_path")
            folder = hub.whole_folder(self.config.get("_name_or_path"), part)
            files = [] if folder is None else sorted((folder / hub.PRIORS_FOLDER).glob("*.parquet"))
            self._priors = [prior for file in files for prior in load_priors(file)]
        return self._priors

    @priors.setter
    def priors(self, priors: Sequence[Prior]) -> None:
        self._priors = list(priors)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path = "pkgen-base",
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool | None = None,
        token: str | bool | None = None,
        force_download: bool = False,
        torch_dtype: torch.dtype | str | dict[str, torch.dtype | str] | None = None,
        dtype: torch.dtype | str | dict[str, torch.dtype | str] | None = None,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        device_map: str | torch.device | None = None,
        denoiser: ArchitectureDenoiser | None = None,
        scheduler: PriorDiscreteScheduler | None = None,
        spaces: Sequence[SearchSpace] = (),
        **kwargs: Any,
    ) -> PKGenPipeline:
        """Load a checkpoint. No code from it is run, and only safetensors, JSON and Parquet are read.

        Parameters
        ----------
        pretrained_model_name_or_path
            The bundled name ``"pkgen-base"``, a folder, or a Hub id.
        revision, cache_dir, local_files_only, token, force_download
            For a Hub id, as in `huggingface_hub.snapshot_download`.
        torch_dtype, dtype
            Of the denoiser, by either name: a type or its name, ``"auto"`` for that of the saved weights, or a
            dictionary with the key ``"denoiser"`` or ``"default"``; float32 by default.
        variant
            Of the files of weights, such as ``"fp16"``, as given to `save_pretrained`.
        use_safetensors
            Only safetensors are read, so False is refused.
        device_map
            Device of the whole pipeline, such as ``"cuda"``; ``"balanced"`` and ``"auto"`` take the accelerator if
            there is one.
        denoiser, scheduler
            To use in place of the checkpoint's, which is then not read.
        spaces
            Search spaces of your own that the checkpoint has priors of. Priors of a space that is not known are left
            out, with a warning; saving the pipeline writes them again.
        **kwargs
            Other arguments of diffusers' `from_pretrained`: those without effect here are taken, such as
            ``trust_remote_code`` and ``low_cpu_mem_usage``, the others refused.

        Raises
        ------
        FileNotFoundError
            If there is no such checkpoint.
        ValueError
            If it is not a checkpoint of this pipeline, or is damaged, and for an argument that cannot be.
        """
        loading.check_options(kwargs, list(inspect.signature(cls.from_pretrained).parameters)[:-1])
        loading.check_files(variant)
        weights_dtype, device = loading.dtype_of(torch_dtype, dtype), loading.device_of(device_map)
        if use_safetensors is False:
            raise ValueError("use_safetensors=False is not possible: PKGen reads and writes safetensors only")
        for name, given, kind in (
            ("denoiser", denoiser, ArchitectureDenoiser),
            ("scheduler", scheduler, PriorDiscreteScheduler),
        ):
            if given is not None and not isinstance(given, kind):
                raise ValueError(f"{name} must be of the class {kind.__name__}, got {type(given).__name__}")
        folder = hub.checkpoint_folder(
            pretrained_model_name_or_path,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=bool(local_files_only),
            token=token,
            force_download=force_download,
        )
        if denoiser is None:
            denoiser = loading.load_component(ArchitectureDenoiser, folder, "denoiser", weights_dtype, variant).eval()
        if scheduler is None:
            scheduler = loading.load_component(PriorDiscreteScheduler, folder, "scheduler")
        pipeline = cls(denoiser, scheduler)
        pipeline.register_to_config(_name_or_path=str(folder))
        pipeline.priors, pipeline._unread_priors = load_folder(folder, spaces)
        return pipeline if device is None else pipeline.to(device)

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | Path,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write the checkpoint, priors included, to a folder: all of it, or nothing if the write is interrupted.

        Both `PKGenPipeline.from_pretrained` and ``DiffusionPipeline.from_pretrained(..., trust_remote_code=True)``
        load it. What else the folder holds stays.

        Parameters
        ----------
        save_directory
            Folder, new or not.
        safe_serialization
            Only safetensors are written, so False is refused.
        variant
            Part of the name of the file of weights; `from_pretrained` takes the same.
        max_shard_size
            Of a file of weights, such as ``"5GB"``; beyond that, several are written.
        push_to_hub
            Upload the folder too, as ``pkgen push`` does, with a card if it has none.
        **kwargs
            For the upload: ``repo_id`` (needed), ``commit_message``, ``private`` and ``token``.

        Raises
        ------
        ValueError
            For an argument that cannot be, or `save_directory` being a file.
        """
        if not safe_serialization:
            raise ValueError("PKGen writes safetensors only; safe_serialization=False is not supported")
        loading.check_files(variant, max_shard_size)
        upload = publishing.upload_options(push_to_hub, kwargs)
        if user_path(save_directory).is_file():
            raise ValueError(f"{save_directory} is a file; save_pretrained needs a folder")
        priors = self.priors
        counts = dict(Counter(prior.space.name for prior in priors))
        with replace_folder(save_directory, owned_files(variant)) as folder:
            super().save_pretrained(str(folder), variant=variant, max_shard_size=max_shard_size)
            for name in counts:
                here = [prior for prior in priors if prior.space.name == name]
                save_priors(here, folder / hub.PRIORS_FOLDER / f"{name}.parquet")
            for name, (number, content) in getattr(self, "_unread_priors", {}).items():
                if name not in counts:
                    counts[name] = number
                    (folder / hub.PRIORS_FOLDER).mkdir(exist_ok=True)
                    (folder / hub.PRIORS_FOLDER / f"{name}.parquet").write_bytes(content)
            finish(folder, counts)
        if upload is not None:
            publishing.push_checkpoint(user_path(save_directory), variant, **upload)

    # ------------------------------------------------------------------ generation

    def check_inputs(
        self,
        space: SearchSpace,
        num_architectures: int,
        num_candidates: int,
        distinct: bool,
        guidance_scale: float,
        temperature: float,
        generator: GeneratorArg,
        callback_inputs: Sequence[str],
    ) -> None:
        """Raise one clear ValueError for the first argument that cannot be."""
        for name, number, most in (
            ("num_architectures", num_architectures, math.inf),
            ("num_candidates", num_candidates, MAX_BATCH),
        ):
            if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
                upto = "" if most == math.inf else f" to {most}"
                raise ValueError(f"{name} must be a whole number from 1{upto}, got {number!r}")
        if distinct and num_architectures > space.num_architectures:
            raise ValueError(
                f"{num_architectures:,} distinct architectures were asked for, but {space.name} holds "
                f"{space.num_architectures:,}; ask for fewer or pass distinct=False"
            )
        if not 0 <= guidance_scale <= 100:
            raise ValueError(f"guidance_scale must be 0 to 100, got {guidance_scale}")
        if not 0 < temperature <= 100:
            raise ValueError(f"temperature must be above 0 and at most 100, got {temperature}")
        if isinstance(generator, list) and len(generator) != num_architectures:
            raise ValueError(f"{len(generator)} generators for {num_architectures} architectures: pass one or as many")
        for name in callback_inputs:
            if name not in self._callback_tensor_inputs:
                raise unknown("tensor in callback_on_step_end_tensor_inputs", name, self._callback_tensor_inputs)

    def select_prior(self, space: SearchSpace, task: str | None, prior: Prior | None) -> Prior:
        """The given prior, checked to be of the space, or the best of the checkpoint's own for the task."""
        if task is not None and task not in TASK_KINDS:
            space.task(task)
        if prior is None:
            return select_prior(self.priors, space, task)
        if prior.space.name != space.name:
            raise ValueError(
                f"this prior is of {prior.space.name}, not of {space.name}; "
                f"Prior.carried_over({space.name!r}, [prior]) makes one of it"
            )
        return prior

    def familiarity(self, space: SearchSpace) -> float:
        """How like a space is to the one of the checkpoint's own that is most like it, 0 to 1; see `Condition`."""
        known = {prior.space.name: prior.space for prior in self.priors}
        if not known or space.name in known:
            return 1.0
        return min(1.0, max(closeness(other, space) for other in known.values()))

    @torch.no_grad()
    def __call__(
        self,
        space: str | SearchSpace,
        task: str | None = None,
        prior: Prior | None = None,
        num_architectures: int = 8,
        num_candidates: int = 4,
        distinct: bool = True,
        num_inference_steps: int = 2,
        guidance_scale: float = 1.0,
        temperature: float = 0.5,
        generator: GeneratorArg = None,
        max_parameters: float | None = None,
        max_flops: float | None = None,
        max_latency: float | None = None,
        device: str | None = None,
        latency_table: LatencyTable | str | Path | None = None,
        return_dict: bool = True,
        callback_on_step_end: Callable[[Any, int, int, dict[str, Any]], dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("sample",),
    ) -> PKGenPipelineOutput:
        """Generate architectures.

        Parameters
        ----------
        space
            A search space or its name; see `list_spaces`.
        task
            A data set of the space, or a kind of task such as ``"image-classification"``. None uses the average prior
            of the space.
        prior
            Prior knowledge to use in place of the checkpoint's own.
        num_architectures
            How many to return.
        num_candidates
            Samples drawn for each of them, of which the one that the denoiser scores highest is returned. They share
            the first half of the steps.
        distinct
            Return architectures no two of which are isomorphic: those ranked highest of all distinct samples, drawing
            again until there are enough. With False, the samples as they come (invalid ones redrawn).
        num_inference_steps
            Denoising steps, each a call of the denoiser (two in the second half, with guidance). In a space of
            few encodings, not all of them valid, the last one draws among those that are.
        guidance_scale
            w in ``(1 + w) * conditional - w * unconditional``; 0 switches guidance off. Only the second half of the
            steps is guided.
        temperature
            Divides the logits: below 1 sharpens.
        generator
            One, or one for each architecture, so that each can be made again alone. With `distinct`, which samples
            are kept depends on the others.
        max_parameters, max_flops
            Limits on trainable parameters, and on multiply-adds of a forward pass, at the scale of the task (of the
            space's first task if it is none of them). Generation is steered below them, see `Limits`, and nothing
            that exceeds one is returned.
        max_latency, device, latency_table
            Limit in milliseconds on a device of the table: a `LatencyTable`, a Parquet file or a Hub id. Only
            networks that the table holds are returned.
        return_dict
            False returns the tuple of the output's fields.
        callback_on_step_end
            ``callback(pipeline, step, timestep, kwargs) -> kwargs`` after every step; it may return a changed
            ``sample``, LongTensor (batch, slots).
        callback_on_step_end_tensor_inputs
            Names of the tensors in `kwargs`.

        Returns
        -------
        PKGenPipelineOutput

        Raises
        ------
        ValueError
            For an unknown space or task, a prior of another space, a number out of range, or limits that no
            architecture obeys, or too few.
        """
        space = get_space(space)
        self.check_inputs(
            space,
            num_architectures,
            num_candidates,
            distinct,
            guidance_scale,
            temperature,
            generator,
            callback_on_step_end_tensor_inputs,
        )
        prior = self.select_prior(space, task, prior)
        limits = None
        if any(given is not None for given in (max_parameters, max_flops, max_latency, device, latency_table)):
            limits = Limits(space, task, max_parameters, max_flops, max_latency, device, latency_table)
            if distinct:
                limits.check_number(num_architectures)
        place = self._execution_device
        condition = self.denoiser.describe(space, prior, task, self.familiarity(space))
        encoded = self.denoiser.encode(condition)
        without_prior = self.denoiser.encode(condition.unconditional())
        unguided = without_prior if guidance_scale > 0 else None
        stationary = self.scheduler.stationary(prior.distribution()).to(place)
        self.scheduler.set_timesteps(num_inference_steps)

        kept = torch.empty(0, space.num_slots, dtype=torch.long, device=place)
        num_raw = num_valid = rounds = 0
        counts = torch.empty(0, device=place)
        generators = generator if isinstance(generator, list) else None
        with self.progress_bar(total=num_architectures) as progress:
            while len(kept) < num_architectures:
                missing = num_architectures - len(kept)
                groups = min(MAX_BATCH // num_candidates, max(missing, 64 // num_candidates) if distinct else missing)
                draw: GeneratorArg = generator
                if generators is not None:  # one generator for each architecture still missing
                    draw = generators[-missing:][:groups]
                    groups = len(draw)
                sample = self._denoise(
                    space, groups, num_candidates, encoded, unguided, stationary, limits, guidance_scale, temperature,
                    draw, callback_on_step_end, callback_on_step_end_tensor_inputs,
                )  # fmt: skip
                valid = space.is_valid(sample)
                num_raw, num_valid = num_raw + len(sample), num_valid + int(valid.sum())
                if limits is not None:
                    limits.learn(sample[valid])
                    valid &= limits.within(sample)
                before, most = len(kept), len(sample) if distinct else groups
                if distinct:
                    kept = torch.cat([kept, sample[valid]])
                    first, which = _first_of_each(space.keys(kept))
                    again = torch.cat([counts, counts.new_ones(len(kept) - before)])
                    kept, counts = kept[first], torch.zeros(len(first), device=place).index_add(0, which, again)
                else:
                    scores = self._scores(space, sample, encoded).masked_fill(~valid, -torch.inf)
                    best = scores.view(groups, -1).argmax(1) + num_candidates * torch.arange(groups, device=place)
                    best = best[valid[best]]
                    kept = torch.cat([kept, sample[best]])
                rounds = rounds + 1 if len(kept) == before else 0
                if limits is not None and rounds == MAX_ROUNDS:
                    limits.give_up(num_architectures, len(kept))
                # where the distribution is nearly used up, or lies outside the space, flatten it
                if len(kept) - before < most / 20:
                    temperature *= 1.5
                progress.update(min(len(kept), num_architectures) - before)

        first, which = _first_of_each(space.keys(kept))  # with `distinct`, each is its own first
        if not distinct:
            counts = which.bincount(minlength=len(first)).float()
        opinions = [_standardised(self._scores(space, kept[first], view)) for view in (encoded, without_prior)]
        scores = (_standardised(opinions[0] + opinions[1]) + _standardised(counts.log()))[which].cpu()
        order = scores.argsort(descending=True, stable=True)[:num_architectures]
        kept = kept.cpu()
        architectures = Architecture.from_batch(space, kept[order])
        validity = num_valid / num_raw
        self.maybe_free_model_hooks()
        if not return_dict:
            return (architectures, scores[order], validity, prior)  # type: ignore[return-value]
        return PKGenPipelineOutput(architectures, scores[order], validity, prior)

    @torch.no_grad()
    def rank(
        self,
        space: str | SearchSpace,
        architectures: Sequence[Architecture] | Sequence[str] | torch.Tensor,
        task: str | None = None,
        prior: Prior | None = None,
    ) -> torch.Tensor:
        """Score architectures by the denoiser alone; no measurement is read.

        Parameters
        ----------
        space, task, prior
            As in a call of the pipeline.
        architectures
            `Architecture` objects, the benchmark's strings, or ``LongTensor (n, slots)``.

        Returns
        -------
        FloatTensor (n,)
            Higher is better, on no scale but its own; isomorphic architectures score alike.
        """
        space = get_space(space)
        prior = self.select_prior(space, task, prior)
        encoded = self.denoiser.encode(self.denoiser.describe(space, prior, task, self.familiarity(space)))
        return self._scores(space, to_indices(space, architectures).to(self._execution_device), encoded).cpu()

    def _denoise(
        self,
        space: SearchSpace,
        groups: int,
        num_candidates: int,
        encoded: EncodedCondition,
        unguided: EncodedCondition | None,
        stationary: torch.Tensor,
        limits: Limits | None,
        guidance_scale: float,
        temperature: float,
        generator: GeneratorArg,
        callback: Callable[[Any, int, int, dict[str, Any]], dict[str, Any]] | None,
        callback_inputs: Sequence[str],
    ) -> torch.Tensor:
        """Raw samples, those of a group beside each other, ``LongTensor (groups * num_candidates, slots)``."""
        rows = space.valid_rows if limits is None else limits.rows
        sample = self.scheduler.initial_sample(stationary, groups, generator)
        steps = len(self.scheduler.timesteps)
        for step, timestep in enumerate(self.scheduler.timesteps):
            # samples share prior and time, so equal ones need the denoiser only once
            those, inverse = _distinct_rows(space, sample)
            logits, _ = self.denoiser(those, timestep, encoded)
            # while most of a sample is noise, guidance changes nothing that the later steps do not
            if unguided is not None and step >= steps // 2:
                free, _ = self.denoiser(those, timestep, unguided)
                allowed = logits.isfinite()
                logits = torch.where(allowed, (1 + guidance_scale) * logits - guidance_scale * free, logits)
            logits = logits.float() / temperature
            if limits is not None:
                evidence = self.scheduler.evidence(timestep, those, stationary)
                at = those[..., None]
                logits = limits.tilt(logits, torch.zeros_like(logits).scatter_(-1, at, evidence[..., None]))
            logits = logits[inverse]
            if step == steps // 2:  # from here on the candidates of a group go ways of their own
                logits, sample = (tensor.repeat_interleave(num_candidates, 0) for tensor in (logits, sample))
                if isinstance(generator, list):
                    generator = [own for own in generator for _ in range(num_candidates)]
            before = sample
            sample = self.scheduler.step(logits, timestep, before, stationary, generator, return_dict=False)[0]
            if step == steps - 1 and rows is not None:
                right = space.is_valid(sample)
                if limits is not None:
                    right &= limits.within(sample)
                wrong = (~right).nonzero()[:, 0]
                own = [generator[i] for i in wrong.tolist()] if isinstance(generator, list) else generator
                if len(wrong):
                    sample[wrong] = self.scheduler.step(
                        logits[wrong], timestep, before[wrong], stationary, own,
                        return_dict=False, rows=rows,
                    )[0]  # fmt: skip
            if callback is not None:
                kwargs = {}
                for name in callback_inputs:
                    kwargs[name] = locals()[name]
                sample = space.check(callback(self, step, int(timestep), kwargs).pop("sample", sample))
        return sample

    def _scores(self, space: SearchSpace, indices: torch.Tensor, encoded: EncodedCondition) -> torch.Tensor:
        """The model's ranking, ``FloatTensor (batch,)``; isomorphic architectures score alike."""
        rows, inverse = _distinct_rows(space, indices)
        scores = [self.denoiser(part, 0.0, encoded)[1] for part in space.canonical(rows).split(MAX_BATCH)]
        return torch.cat(scores).float()[inverse]


def _distinct_rows(space: SearchSpace, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct rows of a batch, and for each row of the batch the number of its distinct row."""
    codes, inverse = space.codes(indices).unique(return_inverse=True)
    rows = indices.new_empty(len(codes), indices.shape[1])
    rows[inverse] = indices
    return rows, inverse


def _first_of_each(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of the first occurrence of each key, in order, and for each key the number of its first occurrence."""
    order = keys.argsort(stable=True)
    is_first = torch.ones_like(keys, dtype=torch.bool)
    is_first[1:] = keys[order][1:] != keys[order][:-1]
    first, place = order[is_first].sort()
    which = torch.empty_like(keys)
    which[order] = place.argsort()[is_first.cumsum(0) - 1]
    return first, which


def _standardised(values: torch.Tensor) -> torch.Tensor:
    """With mean 0 and standard deviation 1; zeros where all are equal."""
    spread = values.std(correction=0)
    return (values - values.mean()) / spread if spread > 1e-6 else torch.zeros_like(values)
