"""Small grids for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gateway.core.step_time import Curve, StepTimes
from loadtests.sim.faults import schedule
from loadtests.sim.grid import Grid
from loadtests.sim.links import Link, Links
from loadtests.sim.policy import Local
from loadtests.sim.reports import Reporting
from loadtests.sim.site import SiteSpec
from loadtests.sim.ways import Clients
from loadtests.sim.workload import Slo, Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtests.sim.faults import AnyFault
    from loadtests.sim.policy import Policy

TIMES = StepTimes(
    name="test",
    decode=Curve((1, 2), (0.011, 0.012)),
    decode_s_per_context_token=0.0,
    prefill=Curve((1, 11), (0.011, 0.021)),
    prefill_s_per_pair=0.0,
    is_measured=False,
)
SPEC = SiteSpec("test", num_slots=4, chunk_tokens=64, max_num_queued=16, grid_tokens=64)
"""Prompts are cut at whole chunks: every chunk costs this machine as much as ten tokens."""
SITE = (SPEC, TIMES)
SLO, CLIENTS, REPORTING, LINK = Slo(), Clients(), Reporting(), Link(0.02)
ALONE_S = TIMES.prefill_s(50, 0)
"""First token of a prompt of 50 tokens on an idle site."""


def workload(
    sent: Sequence[tuple[float, int]],
    *,
    slo: Slo = SLO,
    prompt_tokens: int | Sequence[int] = 50,
    output_tokens: int | Sequence[int] = 10,
) -> Workload:
    """Requests as (send time, home site), in order of time."""
    count = len(sent)
    return Workload.from_columns(
        (slo,),
        np.array([at_s for at_s, _ in sent], np.float64),
        np.array([home for _, home in sent], np.int64),
        np.broadcast_to(np.array(prompt_tokens, np.int64), count),
        np.broadcast_to(np.array(output_tokens, np.int64), count),
        np.zeros(count, np.int64),
    )


def grid(
    load: Workload,
    *,
    num_sites: int = 2,
    site: tuple[SiteSpec, StepTimes] = SITE,
    policy: Policy | None = None,
    faults: Sequence[AnyFault] = (),
    clients: Clients = CLIENTS,
    reporting: Reporting = REPORTING,
    link: Link = LINK,
    seed: int = 1,
) -> Grid:
    """Sites all alike, all the same way apart."""
    made = Grid(
        load,
        [site] * num_sites,
        Links([(0.0, 0.0)] * num_sites, nearest=link),
        policy or Local(),
        clients=clients,
        reporting=reporting,
        seed=seed,
    )
    schedule(faults, made)
    return made
