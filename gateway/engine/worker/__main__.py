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
from gateway.engine.bundle_facts import Bundle, BundleUnreadable, graph_files
from gateway.engine.frames import Failed, Ready, Start, site_frames
from gateway.engine.step_profiles import PREFIX, FollowedProfile
from gateway.engine.worker.ahead_cost import ahead_cost
from gateway.engine.worker.engine import Engine
from gateway.engine.worker.grammar import GrammarCompiler
from gateway.engine.worker.loop import EngineLoop, Wake
from gateway.engine.worker.rounding import grid_tokens, measure_rounding
from gateway.engine.worker.threads import SMALL_BYTES, candidates, fastest_model
from gateway.runtime.frames import encode
from gateway.runtime.garbage import settle_garbage
from gateway.runtime.parent_process import meet_parent

if TYPE_CHECKING:
    from gateway.engine.worker.port import RunnableModel

_MAX_SPARE_ROWS = 256


def main() -> int:
    """Serve the site at the other end; 0 when it is gone, 1 when serving is impossible."""
    began_s = time.monotonic()
    decoder = site_frames()
    sock, (start, *pending) = meet_parent("gateway.engine.worker", __doc__, decoder)
    if not isinstance(start, Start):
        raise ValueError(f"the first frame must be Start, not {type(start).__name__}")
    wake = Wake()
    try:
        engine = build_engine(start, wake)
    except (GatewayError, MemoryError) as error:
        sock.sendall(encode(Failed(str(error) or "not enough memory for the KV cache")))
        return 1
    ready = Ready(
        max_context_tokens=engine.model.max_context_tokens,
        vocab_size=engine.model.layout.vocab_size,
        num_slots=start.num_slots,
        startup_s=time.monotonic() - began_s,
        load=engine.load(),
    )
    sock.sendall(encode(ready))
    sock.setblocking(False)
    gc.freeze()
    EngineLoop(sock, decoder, engine, wake).run(pending)
    engine.close()
    return 0


def build_engine(start: Start, wake: Wake) -> Engine:
    """Load the model and run it once. Raises BundleError, ConfigError, EngineFault."""
    if start.num_slots < 1 or start.chunk_tokens < 1:
        raise ConfigError("an engine needs at least one slot and one token per prefill chunk")
    bundle = load_bundle(Path(start.bundle_path), verify=False)
    context = min(start.max_context_tokens or bundle.max_context_tokens, bundle.max_context_tokens)
    num_spare_rows = min(
        _MAX_SPARE_ROWS, start.cache_bytes // (context * bundle.kv_bytes_per_token)
    )
    model = load_model(
        start,
        bundle,
        num_rows=start.num_slots + num_spare_rows + 1,
        max_context_tokens=context,
    )
    rounding = measure_rounding(model)
    scheduler = Scheduler(
        start.num_slots,
        start.chunk_tokens,
        start.max_num_queued,
        grid_tokens=grid_tokens(start.chunk_tokens, rounding),
        num_spare_rows=num_spare_rows,
        batches_prompts=rounding.is_same_in_batch,
    )
    end_ids = end_token_ids(bundle)
    engine = Engine(
        model,
        scheduler,
        GrammarCompiler(bundle.tokenizer_path, model.layout.vocab_size, end_ids),
        end_ids=frozenset(end_ids),
        frame_interval_s=start.frame_interval_s,
        inter_token_budget_s=start.inter_token_budget_s,
        on_compiled=wake.set,
        ahead_cost=ahead_cost(model),
        resumes_fast=start.resumes_fast,
    )
    engine.measure()
    settle_garbage()
    return engine


def load_model(
    start: Start, bundle: Bundle, *, num_rows: int, max_context_tokens: int
) -> RunnableModel:
    """The bundle's model on the accelerator asked for. Raises BundleError, ConfigError."""
    # Many emulated sites share a host: none of them loads what only a real model needs.
    if start.accelerator.startswith(PREFIX):
        from gateway.engine.worker.emulated import EmulatedModel

        return EmulatedModel.load(
            FollowedProfile(start.accelerator.removeprefix(PREFIX)).times,
            bundle.tokenizer_path,
            num_rows=num_rows,
            max_context_tokens=max_context_tokens,
        )
    from gateway.engine.worker.model import DecoderModel

    artifact = bundle.artifact("cpu")
    size_bytes = sum(path.stat().st_size for path in graph_files(artifact.path))
    is_small = size_bytes <= SMALL_BYTES

    def load(num_threads: int) -> DecoderModel:
        return DecoderModel.load(
            artifact.path,
            num_rows=num_rows,
            max_context_tokens=max_context_tokens,
            num_threads=num_threads,
            spin=start.allow_spinning,
            looks_ahead=start.looks_ahead and is_small,
        )

    if start.num_threads:
        return load(start.num_threads)
    choices = candidates(spare_cores=start.spare_cores, is_small=is_small)
    return fastest_model(load, choices, num_slots=start.num_slots)


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
