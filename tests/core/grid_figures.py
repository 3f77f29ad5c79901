"""Loads, reports and peers for tests of routing decisions."""

from __future__ import annotations

import msgspec

from gateway.core.generation import Backlog, EngineLoad
from gateway.core.load_report import (
    NOTHING_RECEIVED,
    ByClass,
    Credits,
    LoadReport,
    SiteState,
    report_load,
)
from gateway.core.peer_view import PeerView, Trust

IDLE = EngineLoad(
    as_of_s=0.0,
    num_slots=4,
    num_active=0,
    prefill_s_per_token=0.001,
    decode_step_s=0.010,
    mean_remaining_tokens=20.0,
    answer_tokens=40.0,
)
FULL = msgspec.structs.replace(IDLE, num_active=4, backlog=(Backlog(), Backlog(8, 800), Backlog()))
"""An agent turn waits 1.3 s here, a voice turn 50 ms."""
MODEL = b"\x01" * 8


def report(
    load: EngineLoad = IDLE,
    *,
    epoch: int = 1,
    seq: int = 1,
    now_s: float = 0.0,
    state: SiteState = SiteState.READY,
    received: ByClass = NOTHING_RECEIVED,
    max_num_queued: int = 64,
) -> LoadReport:
    return report_load(
        msgspec.structs.replace(load, as_of_s=now_s),
        now_s=now_s,
        epoch=epoch,
        seq=seq,
        max_num_queued=max_num_queued,
        credits=Credits(),
        state=state,
        received=received,
        models=(MODEL,),
    )


def peer(
    name: str,
    load: EngineLoad | None = IDLE,
    *,
    rtt_s: float = 0.02,
    region: str = "",
    cost_s: float = 0.0,
    state: SiteState = SiteState.READY,
    trust: Trust | None = None,
) -> PeerView:
    """A peer heard from at 0 s; None: it has not said anything yet."""
    view = PeerView(name, region=region, cost_s=cost_s, trust=trust or Trust())
    view.timed(rtt_s, 0.0)
    if load is not None:
        view.take(report(load, state=state), 0.0)
    return view
