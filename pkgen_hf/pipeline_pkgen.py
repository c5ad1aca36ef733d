"""The pipeline: from a space and a prior to ranked architectures."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

# diffusers looks for ModelMixin and SchedulerMixin in the module that a published index names
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin  # noqa: F401

from .architecture import Architecture
from .benchmarks.latencies import LatencyTable
from .budgets.limits import Limits
from .files import replace_folder, user_path
from .generation.hooks import InterruptibleCalls
from .generation.output import PKGenPipelineOutput
from .generation.refinement import sampled_and_ranked
from .generation.sampler import Sampler
from .generation.settings import GUIDANCE, STEPS, TEMPERATURE, Callback, GenerationSettings, check_inputs
from .generation.with_posterior import WithPosterior
from .hub import download as hub
from .hub import loading
from .inputs import Architectures, on_cpu
from .modeling_denoiser import ArchitectureDenoiser
from .priors.files import Priors, load_folder
from .priors.prior import Prior
from .publishing import push as publishing
from .publishing.pipeline_folder import check_parts, finish, load_parts, owned_files, write_priors
from .scheduling_prior_discrete import GeneratorArg, PriorDiscreteScheduler
from .spaces import SearchSpace, TaskLike, get_space


class PKGenPipeline(WithPosterior, InterruptibleCalls, DiffusionPipeline):
    """Generates neural architectures from prior knowledge, without search and without evaluating candidates.

    Parameters
    ----------
    denoiser, scheduler
        An `ArchitectureDenoiser` and a `PriorDiscreteScheduler`. Threads can share a pipeline.
    priors
        Prior knowledge for calls that name only a space and a task; by default that of the checkpoint from which the
        denoiser was loaded. A call for which there is none warns.

    Attributes
    ----------
    priors : list of Prior
    """

    denoiser: ArchitectureDenoiser
    scheduler: PriorDiscreteScheduler
    model_cpu_offload_seq: Any = "denoiser"
    _callback_tensor_inputs = ["sample"]
    check_inputs = staticmethod(check_inputs)

    def __init__(
        self,
        denoiser: ArchitectureDenoiser,
        scheduler: PriorDiscreteScheduler,
        priors: Sequence[Prior] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(denoiser=denoiser, scheduler=scheduler)
        self._priors: Priors | None = None if priors is None else Priors(priors)

    @property
    def components(self) -> dict[str, Any]:
        """Arguments of the class: ``PKGenPipeline(**pipe.components)`` generates as `pipe` does."""
        return {**super().components, "priors": self.priors}

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, **kwargs: Any) -> PKGenPipeline:
        """Make a pipeline of the same parts, priors included; see `DiffusionPipeline.from_pipe`."""
        if isinstance(pipeline, PKGenPipeline):
            kwargs.setdefault("priors", pipeline.priors)
        return super().from_pipe(pipeline, **kwargs)

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
        """Load a checkpoint. None of its code is run, and only safetensors, JSON and Parquet files are read.

        Parameters
        ----------
        pretrained_model_name_or_path
            The bundled name ``"pkgen-base"``, a folder, or a Hub id.
        revision, cache_dir, local_files_only, token, force_download
            For a Hub id, as in `huggingface_hub.snapshot_download`.
        torch_dtype, dtype
            Type of the denoiser's weights, by either name of the argument: a type or its name, ``"auto"`` for the
            saved type, or a dictionary with the key ``"denoiser"`` or ``"default"``; float32 by default.
        variant
            Variant of the weights, such as ``"fp16"``, as given to `save_pretrained`.
        use_safetensors
            Must not be False.
        device_map
            Device of the pipeline, such as ``"cuda"``; ``"balanced"`` and ``"auto"`` mean the accelerator, if any.
        denoiser, scheduler
            Used in place of those of the checkpoint, which are then not read.
        spaces
            Your own search spaces that the checkpoint has priors of. Priors of unknown spaces are left out, with a
            warning; saving the pipeline writes them again.
        **kwargs
            Other arguments of diffusers' `from_pretrained`. Those without effect here are accepted, such as
            ``trust_remote_code`` and ``low_cpu_mem_usage``; others are refused.

        Raises
        ------
        FileNotFoundError
            If there is no such checkpoint.
        ValueError
            If it is damaged or of another pipeline, or for an invalid argument.
        """
        loading.check_options(kwargs, list(inspect.signature(cls.from_pretrained).parameters)[:-1])
        loading.check_files(variant)
        weights_dtype, device = loading.dtype_of(torch_dtype, dtype), loading.device_of(device_map)
        if use_safetensors is False:
            raise ValueError("use_safetensors=False is not possible: PKGen reads and writes safetensors only")
        check_parts(denoiser, scheduler)
        folder = hub.checkpoint_folder(
            pretrained_model_name_or_path, revision, cache_dir, bool(local_files_only), token, force_download
        )
        denoiser, scheduler = load_parts(folder, denoiser, scheduler, weights_dtype, variant)
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
        """Write the checkpoint, priors included, to a folder: all of it, or nothing if writing is interrupted.

        `PKGenPipeline.from_pretrained` loads it, without running any code of it.

        Parameters
        ----------
        save_directory
            A new or existing folder. Files in it that are not of a checkpoint stay.
        safe_serialization
            False is refused: only safetensors are written.
        variant
            Part of the names of the files of weights; `from_pretrained` takes the same.
        max_shard_size
            Maximum size of one file of weights, such as ``"5GB"``.
        push_to_hub
            Also upload the folder, as ``pkgen push`` does, with a card if it has none.
        **kwargs
            For the upload: ``repo_id`` (required), ``commit_message``, ``private`` and ``token``.

        Raises
        ------
        ValueError
            For an invalid argument, or if `save_directory` is a file.
        """
        if not safe_serialization:
            raise ValueError("PKGen writes safetensors only; safe_serialization=False is not supported")
        loading.check_files(variant, max_shard_size)
        upload = publishing.upload_options(push_to_hub, kwargs)
        if user_path(save_directory).is_file():
            raise ValueError(f"{save_directory} is a file; save_pretrained needs a folder")
        priors = self.priors
        with replace_folder(save_directory, owned_files(variant)) as folder:
            super().save_pretrained(str(folder), variant=variant, max_shard_size=max_shard_size)
            finish(folder, write_priors(priors, folder))
        if upload is not None:
            publishing.push_checkpoint(user_path(save_directory), variant, **upload)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> None:  # type: ignore[override]
        """Upload the checkpoint, priors included, with a card; `kwargs` as of an upload by `save_pretrained`."""
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, push_to_hub=True, repo_id=repo_id, **kwargs)

    @torch.no_grad()
    @on_cpu
    def __call__(
        self,
        space: str | SearchSpace,
        task: TaskLike | None = None,
        prior: Prior | None = None,
        num_architectures: int = 8,
        distinct: bool = True,
        num_inference_steps: int = STEPS,
        guidance_scale: float = GUIDANCE,
        temperature: float = TEMPERATURE,
        generator: GeneratorArg = None,
        max_parameters: float | None = None,
        max_flops: float | None = None,
        max_latency: float | None = None,
        device: str | None = None,
        latency_table: LatencyTable | str | Path | None = None,
        min_parameters: float | None = None,
        max_memory: float | None = None,
        context: int | None = None,
        batch_size: int | None = None,
        memory_dtype: str | None = None,
        evaluations: tuple[Architectures, Sequence[float] | torch.Tensor] | None = None,
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
            A data set of the space, a kind of task such as ``"image-classification"``, a `Task` of your own, which has
            the prior of its kind and costs at its own shape, or None for the average prior of the space.
        prior
            Prior knowledge to use in place of the checkpoint's. Choices that are not drawn (see `Choice.is_drawn`),
            such as ``none`` in DARTS cells, are generated where the good architectures of the prior have them.
        num_architectures
            How many to return.
        distinct
            Return no two isomorphic architectures: those that `rank` scores highest among the samples, random
            architectures, and what changing one slot of the best leads to, round by round; the next four arguments
            then only choose where it starts. If False, return the samples as they come, best first, invalid ones
            replaced.
        num_inference_steps
            Denoising steps, each a call of the denoiser (two in the second half, with guidance). One is as good as
            more by the ablations. In a space of few encodings, the last step replaces an invalid sample by a draw
            among the valid ones.
        guidance_scale
            w in ``(1 + w) * conditional - w * unconditional``, 0 to 100, for the second half of the steps.
        temperature
            Divides the logits: values below 1 sharpen. After a round in which hardly any sample is new (without
            `distinct`: valid and within the limits) it is multiplied by 1.5; the output holds its last value.
        generator
            One, or one for each architecture. With a list and ``distinct=False``, each architecture depends on its own
            generator alone, also under limits; with `distinct`, samples of all generators are pooled.
        max_parameters, min_parameters, max_flops
            Limits on trainable parameters and multiply-adds at the scale of the task (of a kind or of None, that of
            the space's first data set). Samples are steered towards them, and only what obeys them is returned.
        max_latency, device, latency_table
            Limit in milliseconds on a device of the table: a `LatencyTable`, a Parquet file or a Hub id. Only
            architectures in the table are returned.
        max_memory, context, batch_size, memory_dtype
            Limit on the bytes of weights and, in spaces of language models, the KV cache of `batch_size` (1) sequences
            of `context` tokens (the benchmark's), in ``"float32"`` (the default), ``"bfloat16"`` or ``"float16"``.
        evaluations
            What you have measured here: architectures, in any form that `rank` takes, and a score for each, higher is
            better (NaN of a failed training). From a few on they count more than what is carried over from elsewhere,
            which is left where it contradicts them. Not with ``distinct=False``.
        return_dict
            If False, return the tuple of architectures, scores, validity and prior.
        callback_on_step_end
            ``callback(pipeline, step, timestep, kwargs)`` after every step. It may return a dictionary with a changed
            ``sample``, LongTensor (batch, slots). Its `pipeline` is a copy for this call; if its ``_interrupt`` is set
            to True, the call ends and returns what it has found.
        callback_on_step_end_tensor_inputs
            Names of the tensors in `kwargs`.

        Returns
        -------
        PKGenPipelineOutput

        Raises
        ------
        ValueError
            For an unknown space or task, a prior of another space, a number out of range, or limits that no
            architecture obeys (with the nearest costs that there are).
        TooFew
            A ValueError: the space (within the limits) has fewer architectures, or no more were found.
        """
        space = get_space(space)
        task = space.resolved(task)
        settings = GenerationSettings(
            num_architectures, distinct, num_inference_steps, guidance_scale, temperature, generator,
            callback_on_step_end, callback_on_step_end_tensor_inputs,
        )  # fmt: skip
        self.check_inputs(space, settings.num_architectures, distinct, callback_on_step_end_tensor_inputs)
        model, prior = self._conditioned(space, task, prior, evaluations is not None)
        limits = Limits(
            space, task, max_parameters=max_parameters, min_parameters=min_parameters, max_flops=max_flops,
            max_latency=max_latency, device=device, latency_table=latency_table, max_memory=max_memory,
            context=context, batch_size=batch_size, memory_dtype=memory_dtype,
        )  # fmt: skip
        if evaluations is not None and not distinct:
            raise ValueError("evaluations= ranks distinct architectures and is not possible with distinct=False")
        known = self._known(space, evaluations)
        if distinct:
            limits.check_number(settings.num_architectures)
        with self._running_call(settings.num_inference_steps, settings.num_architectures) as hooks:
            sampler = Sampler(settings, model, hooks.view.scheduler, self._stationary(prior), limits, hooks)
            posterior = self._posterior_of(model, prior, task, known)
            samples, indices, scores = sampled_and_ranked(sampler, posterior)
        limits.confirm(indices)
        architectures = Architecture.from_batch(space, indices)
        self.maybe_free_model_hooks()
        if not return_dict:
            return architectures, scores, samples.validity, prior  # type: ignore[return-value]
        return PKGenPipelineOutput(architectures, scores, samples.validity, prior, sampler.highest_temperature, task)
