"""``python -m gateway.engine.worker --fd N``: the engine process, at one end of a socket pair."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.core.errors import ConfigError, GatewayError
from gateway.core.scheduling import Scheduler
from gateway.engine.bundle import load_bundle
from gateway.engine.bundle_facts import Bundle, BundleUnreadable
from gateway.engine.frames import Failed, Ready, Start, site_frames
from gateway.engine.worker.ahead_cost import ahead_cost
from gateway.engine.worker.engine import Engine
from gateway.engine.worker.grammar import GrammarCompiler
from gateway.engine.worker.loading import Loaded, load_model
from gateway.engine.worker.loop import EngineLoop, Wake
from gateway.engine.worker.rounding import grid_tokens, measure_rounding
from gateway.runtime.frames import encode
from gateway.runtime.garbage import settle_garbage
from gateway.runtime.parent_process import meet_parent

if TYPE_CHECKING:
    from collections.abc import Callable

_DEVICE_CHUNK_TOKENS, _DEVICE_GRID = 1024, 64
"""A run reads all weights once, however many tokens it has, which on a GPU is most of a short run:
so whole prompts run in big batches (assumed; 16 prompts of 64 tokens). Matrix kernels of GPUs round
by the size of a batch, in decode steps too: nothing is exact there that a finer cut could spoil."""


def main() -> int:
    """Serve the site at the other end; 0 when it is gone, 1 when serving is impossible."""
    began_s = time.monotonic()
    decoder = site_frames()
    sock, (start, *pending) = meet_parent("gateway.engine.worker", __doc__, decoder)
    if not isinstance(start, Start):
        raise ValueError(f"the first frame must be Start, not {type(start).__name__}")
    wake = Wake()
    try:
        engine, loaded = build_engine(start, wake)
    except (GatewayError, MemoryError) as error:
        sock.sendall(encode(Failed(str(error) or "not enough memory for the KV cache")))
        return 1
    ready = Ready(
        max_context_tokens=engine.model.max_context_tokens,
        vocab_size=engine.model.layout.vocab_size,
        num_slots=start.num_slots,
        startup_s=time.monotonic() - began_s,
        load=engine.load(),
        accelerator=loaded.accelerator,
        remark=loaded.remark,
    )
    sock.sendall(encode(ready))
    sock.setblocking(False)
    gc.freeze()
    EngineLoop(sock, decoder, engine, wake).run(pending)
    engine.close()
    return 0


def build_engine(start: Start, wake: Wake) -> tuple[Engine, Loaded]:
    """Load the model and run it once; what runs it.

    Raises BundleError, ConfigError, EngineFault and CudaUnavailable.
    """
    if start.num_slots < 1 or start.chunk_tokens < 1:
        raise ConfigError("an engine needs at least one slot and one token per prefill chunk")
    bundle = load_bundle(Path(start.bundle_path), verify=False)
    loaded = load_model(start, bundle)
    engine = engine_over(loaded, start, bundle, wake.set)
    settle_garbage()
    return engine, loaded


def engine_over(
    loaded: Loaded, start: Start, bundle: Bundle, on_compiled: Callable[[], None]
) -> Engine:
    """An engine over a loaded model, which was run once then. Raises BundleError, EngineFault."""
    model, end_ids = loaded.model, end_token_ids(bundle)
    scheduler = _scheduler(start, loaded)
    engine = Engine(
        model,
        scheduler,
        GrammarCompiler(bundle.tokenizer_path, model.layout.vocab_size, end_ids),
        end_ids=frozenset(end_ids),
        frame_interval_s=start.frame_interval_s,
        inter_token_budget_s=start.inter_token_budget_s,
        on_compiled=on_compiled,
        ahead_cost=ahead_cost(model),
        resumes_fast=start.resumes_fast,
    )
    engine.measure()
    return engine


def _scheduler(start: Start, loaded: Loaded) -> Scheduler:
    """Prompts are cut and batched as their bits allow; on a device as it is fast."""
    if loaded.is_apart:
        chunk, grid, batches = _DEVICE_CHUNK_TOKENS, _DEVICE_GRID, True
    else:
        rounding = measure_rounding(loaded.model)
        chunk, batches = start.chunk_tokens, rounding.is_same_in_batch
        grid = grid_tokens(chunk, rounding)
    return Scheduler(
        start.num_slots,
        chunk,
        start.max_num_queued,
        grid_tokens=grid,
        num_spare_rows=loaded.num_spare_rows,
        batches_prompts=batches,
    )


def end_token_ids(bundle: Bundle) -> tuple[int, ...]:
    """The ids of the bundle's end tokens, as its tokenizer.json has them.

    Raises BundleUnreadable for a token that the tokenizer lacks.
    """
    path = bundle.tokenizer_path
    try:
        tokenizer = json.loads(path.read_bytes())
        ids = {token["content"]: int(token["id"]) for token in tokenizer["added_tokens"]}
        vocabulary = tokenizer["model"]["vocab"]
        if isinstance(vocabulary, dict):
            ids = vocabulary | ids
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleUnreadable(path, f"is no tokenizer.json ({error!r})") from error
    for token in bundle.end_tokens:
        if token not in ids:
            raise BundleUnreadable(path, f"has no token {token!r}, which ends an answer")
    return tuple(int(ids[token]) for token in bundle.end_tokens)


if __name__ == "__main__":
    sys.exit(main())
