"""Loads a bundle's model on what is to run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.engine.bundle_facts import graph_files
from gateway.engine.step_profiles import PREFIX, FollowedProfile
from gateway.engine.worker.threads import SMALL_BYTES, candidates, fastest_model

if TYPE_CHECKING:
    from gateway.engine.bundle_facts import Bundle
    from gateway.engine.frames import Start
    from gateway.engine.worker.model import DecoderModel
    from gateway.engine.worker.port import RunnableModel
    from gateway.engine.worker.processor import Processor

_MAX_SPARE_ROWS = 256


class Loaded(NamedTuple):
    """A model, and what runs it."""

    model: RunnableModel
    accelerator: str
    """`cpu`, `cuda` or `emulated:PROFILE`."""
    is_apart: bool
    num_spare_rows: int
    """KV rows beside those of the slots and the one that is always free."""
    remark: str = ""
    """Why `auto` did not take the GPU."""


def load_model(start: Start, bundle: Bundle) -> Loaded:
    """The bundle's model on the accelerator asked for.

    Raises BundleError, EngineFault and CudaUnavailable.
    """
    context = min(start.max_context_tokens or bundle.max_context_tokens, bundle.max_context_tokens)
    # Many emulated sites share a host: none of them loads what only a real model needs.
    if start.accelerator.startswith(PREFIX):
        return _emulated(start, bundle, context)
    from gateway.engine.worker.model import DecoderModel

    processor, remark = _processor(start.accelerator, bundle)
    num_spare_rows = _num_spare_rows(start, context * bundle.kv_bytes_on(processor.name))
    artifact = bundle.artifact(processor.name)
    size_bytes = sum(path.stat().st_size for path in graph_files(artifact.path))
    is_small = size_bytes <= SMALL_BYTES

    def load(num_threads: int) -> DecoderModel:
        return DecoderModel.load(
            artifact.path,
            num_rows=start.num_slots + num_spare_rows + 1,
            max_context_tokens=context,
            num_threads=num_threads,
            spin=start.allow_spinning,
            # Single steps are captured on a device, which runs of several tokens are not.
            looks_ahead=start.looks_ahead and is_small and not processor.is_apart,
            processor=processor,
        )

    if processor.is_apart:
        model: RunnableModel = load(1)
    elif start.num_threads:
        model = load(start.num_threads)
    else:
        choices = candidates(spare_cores=start.spare_cores, is_small=is_small)
        model = fastest_model(load, choices, num_slots=start.num_slots)
    return Loaded(model, processor.name, processor.is_apart, num_spare_rows, remark)


def _emulated(start: Start, bundle: Bundle, context: int) -> Loaded:
    from gateway.engine.worker.emulated import EmulatedModel

    num_spare_rows = _num_spare_rows(start, context * bundle.kv_bytes_per_token)
    model = EmulatedModel.load(
        FollowedProfile(start.accelerator.removeprefix(PREFIX)).times,
        bundle.tokenizer_path,
        num_rows=start.num_slots + num_spare_rows + 1,
        max_context_tokens=context,
    )
    return Loaded(model, start.accelerator, False, num_spare_rows)


def _num_spare_rows(start: Start, row_bytes: int) -> int:
    return min(_MAX_SPARE_ROWS, start.cache_bytes // row_bytes)


def _processor(accelerator: str, bundle: Bundle) -> tuple[Processor, str]:
    """What is to run the model, and why it is not the GPU where that was possible.

    Raises CudaUnavailable, and UnsupportedLayout for a bundle without a graph for it.
    """
    from gateway.engine.worker.processor import CPU, cuda

    if accelerator == "cpu":
        return CPU, ""
    if accelerator == "auto" and not bundle.runs_on("cuda"):
        return CPU, "the model has no graph for CUDA"
    bundle.artifact("cuda")
    from gateway.engine.worker.cuda import CudaUnavailable, what_is_missing

    missing = what_is_missing()
    if not missing:
        return cuda(), ""
    if accelerator == "cuda":
        raise CudaUnavailable(missing)
    return CPU, missing
