"""The pipeline: from a space and a prior to ranked architectures."""

from __future__ import annotations

import contextlib
import copy
import inspect
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# ModelMixin and SchedulerMixin are named here because diffusers looks for them in the module of a pipeline's parts
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin  # noqa: F401
from diffusers.utils import BaseOutput

from .architecture import Architecture
from .benchmarks.latencies import LatencyTable
from .budgets.limits import Limits
from .errors import TooFew, unknown
from .files import replace_folder, user_path
from .generation import MAX_BATCH, Callback, Sampler, first_of_each, scores_of, standardised
from .hub import download as hub
from .hub import loading
from .inputs import Architectures, generators, on_cpu, real_number, to_indices, whole_number
from .modeling_denoiser import ArchitectureDenoiser
from .priors.files import Priors, load_folder, save_priors
from .priors.prior import Prior, select_prior
from .priors.transfer import space_similarity
from .publishing import push as publishing
from .publishing.pipeline_folder import finish, owned_files
from .scheduling_prior_discrete import GeneratorArg, PriorDiscreteScheduler
from .spaces import SearchSpace, get_space


@dataclass
class PKGenPipelineOutput(BaseOutput):
    """What the pipeline returns.

    Attributes
    ----------
    architectures : list of Architecture
        Every one valid, best first by the model's own ranking.
    scores : FloatTensor (num_architectures,)
        What they were ranked by: the denoiser's score of the clean architecture, averaged with and without the prior,
        and the logarithm of how often it was drawn, each standardised over the distinct ones of this call and added.
        They order the architectures of one call and mean nothing outside it: in another call, or in
        `PKGenPipeline.rank`, the same architecture has another score. No measurement is read.
    validity : float
        Share of the raw samples that were valid; the others were replaced.
    prior : Prior
        The prior that was used.
    temperature : float
        At which the last samples were drawn: the one that was asked for, or a higher one where that hardly gave
        anything new any more. With a generator for each architecture, the highest of theirs.
    """

    architectures: list[Architecture]
    scores: torch.Tensor
    validity: float
    prior: Prior
    temperature: float


class PKGenPipeline(DiffusionPipeline):
    """Generates neural architectures from prior knowledge, without search and without evaluating candidates.

    Parameters
    ----------
    denoiser
        An `ArchitectureDenoiser`.
    scheduler
        A `PriorDiscreteScheduler`. Calls use copies of it, so that several threads can share a pipeline.
    priors
        What calls that name only a space and a task start from; by default those of the checkpoint that the parts
        were loaded from. Without any, a call warns.

    Attributes
    ----------
    priors : list of Prior
    """

    denoiser: ArchitectureDenoiser
    scheduler: PriorDiscreteScheduler
    model_cpu_offload_seq: Any = "denoiser"
    _callback_tensor_inputs = ["sample"]
    _interrupt = False
    _lock = threading.RLock()  # of what calls in several threads change: priors read late, and how many calls run
    _running = 0

    def __init__(
        self,
        denoiser: ArchitectureDenoiser,
        scheduler: PriorDiscreteScheduler,
        priors: Sequence[Prior] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(denoiser=denoiser, scheduler=scheduler)
        self._priors: Priors | None = None if priors is None else Priors(priors)

    # ------------------------------------------------------------------ loading and saving

    @property
    def priors(self) -> Priors:
        """The priors of the checkpoint; read from its folder when first asked for."""
        with self._lock:  # a file that is damaged is an error each time
            if self._priors is None:
                part = self.denoiser.config.get("_name_or_path")
                folder = hub.whole_folder(self.config.get("_name_or_path"), part) or hub.folder_of_part(part)
                self._priors = Priors() if folder is None else Priors(*load_folder(folder))
            return self._priors

    @priors.setter
    def priors(self, priors: Sequence[Prior]) -> None:
        self._priors = Priors(priors)

    @property
    def components(self) -> dict[str, Any]:
        """What the pipeline is made of: ``PKGenPipeline(**pipe.components)`` generates as `pipe` does."""
        return {**super().components, "priors": self.priors}

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, **kwargs: Any) -> PKGenPipeline:
        """A pipeline of the same parts, priors included; see `DiffusionPipeline.from_pipe`."""
        if isinstance(pipeline, PKGenPipeline):
            kwargs.setdefault("priors", pipeline.priors)
        return super().from_pipe(pipeline, **kwargs)

    @property
    def interrupt(self) -> bool:
        """Whether calls are to stop; a callback sets ``_interrupt`` of the pipeline it is given."""
        return self._interrupt

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
            denoiser.register_to_config(_name_or_path=str(folder / "denoiser"))
        if scheduler is None:
            scheduler = loading.load_component(PriorDiscreteScheduler, folder, "scheduler")
        pipeline = cls(denoiser, scheduler, Priors(*load_folder(folder, spaces)))
        pipeline.register_to_config(_name_or_path=str(folder))
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
            for name, (number, content) in priors.unread.items():
                if name not in counts:
                    counts[name] = number
                    (folder / hub.PRIORS_FOLDER).mkdir(exist_ok=True)
                    (folder / hub.PRIORS_FOLDER / f"{name}.parquet").write_bytes(content)
            finish(folder, counts)
        if upload is not None:
            publishing.push_checkpoint(user_path(save_directory), variant, **upload)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> None:  # type: ignore[override]
        """Upload the checkpoint, priors included, with a card; `kwargs` as of an upload by `save_pretrained`."""
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, push_to_hub=True, repo_id=repo_id, **kwargs)

    # ------------------------------------------------------------------ generation

    @contextlib.contextmanager
    def _running_call(self) -> Iterator[None]:
        """What asks to stop counts for the calls that run; the first of new ones begins without it."""
        with self._lock:
            if not self._running:
                self._interrupt = False
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    def check_inputs(
        self, space: SearchSpace, num_architectures: int, distinct: bool, callback_inputs: Sequence[str]
    ) -> None:
        """Raise one clear ValueError if the space holds too few architectures, or for an unknown tensor."""
        holds, listed = space.num_architectures, space.valid_rows
        if distinct and num_architectures > holds:
            advice = "ask for fewer or pass distinct=False" if holds else "its is_valid refuses all"
            raise TooFew(
                f"{num_architectures:,} distinct architectures were asked for, but {space.name} holds {holds:,}; "
                f"{advice}",
                space.classes(listed)[0] if listed is not None else torch.empty(0, space.num_slots, dtype=torch.long),
            )
        if listed is not None and not len(listed):
            raise TooFew(f"{space.name} holds no valid architecture: its is_valid refuses all", listed)
        for name in callback_inputs:
            if name not in self._callback_tensor_inputs:
                raise unknown("tensor in callback_on_step_end_tensor_inputs", name, self._callback_tensor_inputs)

    def select_prior(self, space: SearchSpace, task: str | None, prior: Prior | None) -> Prior:
        """The given prior, checked to be of the space, or the best of the checkpoint's own for the task.

        Warns if the pipeline has no prior that applies: samples are then close to uniform.
        """
        space.data_set(task)
        if prior is None:
            chosen = select_prior(self.priors, space, task)
            if chosen.evidence == "absent":
                warnings.warn(
                    f"no prior for {space.name}: none of the {len(self.priors)} priors of this pipeline applies, so "
                    "that samples are hardly better than uniform ones. Load the pipeline with "
                    "PKGenPipeline.from_pretrained, give it priors=, or pass prior=",
                    stacklevel=3,
                )
            return chosen
        if not isinstance(prior, Prior):
            raise ValueError(f"prior must be a Prior, got {prior!r}; Prior.load reads one from a file")
        hint = f"; Prior.carried_over({space.name!r}, [prior]) makes one of it"
        space.check_same(prior.space, "this prior", hint)
        return prior

    def familiarity(self, space: SearchSpace) -> float:
        """How like a space is to the one of the checkpoint's own that is most like it, 0 to 1; see `Condition`."""
        known = {prior.space for prior in self.priors}
        if not known or space in known:
            return 1.0
        return min(1.0, max(space_similarity(other, space) for other in known))

    @torch.no_grad()
    @on_cpu
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
        callback_on_step_end: Callback | None = None,
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
            Samples drawn for each of them, which share the first half of the steps. Without `distinct`, the one of
            them that the denoiser scores highest is returned; with it, all of them are samples like any other.
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
            Divides the logits: below 1 sharpens. Where hardly any sample of a round is new (or, without `distinct`,
            valid and within the limits), the next is drawn at 1.5 times the temperature; the output says at which the
            last was.
        generator
            One, or one for each architecture. With ``distinct=False`` each architecture depends on its own generator
            alone, and can be made again alone, also under limits; with `distinct`, the samples of all are put
            together, and which are kept depends on the others.
        max_parameters, max_flops
            Limits on trainable parameters, and on multiply-adds of a forward pass, at the scale of the task (of a kind
            of task, of the space's first data set of that kind; else of its first task). Generation is steered below
            them, see `Limits`, and nothing that exceeds one is returned.
        max_latency, device, latency_table
            Limit in milliseconds on a device of the table: a `LatencyTable`, a Parquet file or a Hub id. Only
            networks that the table holds are returned.
        return_dict
            False returns the tuple of architectures, scores, validity and prior.
        callback_on_step_end
            ``callback(pipeline, step, timestep, kwargs)`` after every step; it may return a dict with a changed
            ``sample``, LongTensor (batch, slots). The pipeline that it is given is a copy for this call; setting its
            ``_interrupt`` to True ends the call, which returns what it has found by then.
        callback_on_step_end_tensor_inputs
            Names of the tensors in `kwargs`.

        Returns
        -------
        PKGenPipelineOutput

        Raises
        ------
        ValueError
            For an unknown space or task, a prior of another space, a number out of range, or limits that no
            architecture obeys.
        TooFew
            A ValueError, if the space (within the limits) has fewer architectures, or so few of its encodings are
            valid that no more can be found.
        """
        space = get_space(space)
        num_architectures = whole_number("num_architectures", num_architectures)
        num_candidates = whole_number("num_candidates", num_candidates, most=MAX_BATCH)
        guidance_scale = real_number("guidance_scale", guidance_scale, "0 to 100", 0, 100)
        temperature = real_number("temperature", temperature, "above 0 and at most 100", 5e-324, 100)
        generator = generators(generator, num_architectures)
        if distinct not in (True, False):
            raise ValueError(f"distinct must be True or False, got {distinct!r}")
        self.check_inputs(space, num_architectures, distinct, callback_on_step_end_tensor_inputs)
        prior = self.select_prior(space, task, prior)
        limits = None
        if any(given is not None for given in (max_parameters, max_flops, max_latency, device, latency_table)):
            limits = Limits(
                space,
                task,
                max_parameters=max_parameters,
                max_flops=max_flops,
                max_latency=max_latency,
                device=device,
                latency_table=latency_table,
            )
            if distinct:
                limits.check_number(num_architectures)
        view = copy.copy(self)  # all that a call changes is its own
        view._interrupt = False
        view.scheduler = copy.copy(self.scheduler)
        view.scheduler.set_timesteps(num_inference_steps)

        place = self._execution_device
        condition = self.denoiser.make_condition(space, prior, task, self.familiarity(space))
        encoded = self.denoiser.encode(condition)
        without_prior = self.denoiser.encode(condition.unconditional())
        rows = space.valid_rows if limits is None else limits.pool if limits.is_complete else None
        with self._running_call(), self.progress_bar(total=num_architectures) as progress:
            sampler = Sampler(
                view=view,
                pipeline=self,
                space=space,
                denoiser=self.denoiser,
                scheduler=view.scheduler,
                encoded=encoded,
                unguided=without_prior if guidance_scale > 0 else None,
                stationary=self.scheduler.stationary(prior.distribution()).to(place),
                limits=limits,
                rows=None if rows is None else rows.to(place),
                num_candidates=num_candidates,
                guidance_scale=guidance_scale,
                generator=generator,
                temperature=temperature,
                callback=callback_on_step_end,
                callback_inputs=callback_on_step_end_tensor_inputs,
                on_kept=progress.update,
            )
            drawn = (sampler.distinct if distinct else sampler.independent)(num_architectures)

        kept = drawn.rows
        first, which = first_of_each(space.keys(kept))  # with `distinct`, each is its own first
        counts = drawn.counts if distinct else which.bincount(minlength=len(first)).float()
        opinions = [standardised(sampler.scores(kept[first], view)) for view in (encoded, without_prior)]
        scores = (standardised(opinions[0] + opinions[1]) + standardised(counts.log()))[which].cpu()
        order = scores.argsort(descending=True, stable=True)[:num_architectures]
        architectures = Architecture.from_batch(space, kept.cpu()[order])
        validity = drawn.num_valid / max(1, drawn.num_raw)
        self.maybe_free_model_hooks()
        if not return_dict:
            return architectures, scores[order], validity, prior  # type: ignore[return-value]
        warmest = max(temperature, float(sampler.temperatures.max()))
        return PKGenPipelineOutput(architectures, scores[order], validity, prior, warmest)

    @torch.no_grad()
    @on_cpu
    def rank(
        self,
        space: str | SearchSpace,
        architectures: Architectures,
        task: str | None = None,
        prior: Prior | None = None,
    ) -> torch.Tensor:
        """Score architectures by the denoiser alone; no measurement is read.

        The order is not the one of a call, which also counts how often an architecture was drawn and what the denoiser
        thinks of it without the prior.

        Parameters
        ----------
        space, task, prior
            As in a call of the pipeline.
        architectures
            `Architecture` objects, the benchmark's strings, or indices ``(n, slots)``; see `pkgen_hf.inputs`.

        Returns
        -------
        FloatTensor (n,)
            Higher is better, on no scale but that of this space, task and prior; isomorphic architectures score alike.
        """
        space = get_space(space)
        prior = self.select_prior(space, task, prior)
        encoded = self.denoiser.encode(self.denoiser.make_condition(space, prior, task, self.familiarity(space)))
        indices = to_indices(space, architectures).to(self._execution_device)
        scores = scores_of(self.denoiser, space, indices, encoded).cpu()
        self.maybe_free_model_hooks()
        return scores
