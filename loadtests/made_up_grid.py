"""Peers of a grid that is not there: as many as wanted, some of them in trouble."""

from __future__ import annotations

import random

from gateway.core.generation import EngineLoad
from gateway.core.latency_histogram import LatencyHistogram, bucket_of
from gateway.core.load_report import Credits, LoadReport, report_load
from gateway.core.service_report import ClassService, ServiceReport, Tally
from gateway.peers.link import LinkFigures

HOSTILE = '<img src=x onerror="window.harmed = 1"></td><script>window.harmed = 1</script>'
"""What a site, a tool or an error may be called by somebody who means harm."""
MODEL = b"\x3f\xa9\x10\x07\x51\x00\x00\x01"
_LOAD = EngineLoad(0.0, 16, 5, 0.0004, 0.006, 30.0, 40.0)


def service(seed: int, *, met_ratio: float = 0.998, slowness: float = 1.0) -> ServiceReport:
    """How a site served its callers: some hundred turns of the last minute."""
    draw = random.Random(seed)

    def of_class(num_turns: int, usual_s: float) -> ClassService:
        counts: dict[int, int] = {}
        for _ in range(num_turns):
            bucket = bucket_of(usual_s * slowness * draw.lognormvariate(0.0, 0.35))
            counts[bucket] = counts.get(bucket, 0) + 1
        missed = sum(draw.random() > met_ratio for _ in range(num_turns))
        short = Tally(num_turns // 6 - missed // 6, missed // 6)
        return ClassService(
            0.99, short, Tally(num_turns - missed, missed), LatencyHistogram.of(counts)
        )

    voice, agent = of_class(draw.randrange(80, 240), 0.14), of_class(draw.randrange(40, 160), 0.3)
    shed = round((1.0 - met_ratio) * 120)
    fates = (draw.randrange(100, 300), draw.randrange(30), draw.randrange(9), shed, shed // 9)
    tokens_per_s = draw.uniform(50.0, 900.0)
    return ServiceReport(
        (voice, agent, ClassService(0.95)), tokens_per_s, fates, draw.randrange(40)
    )


def peer(number: int, site: str = "") -> LinkFigures:
    """One peer; of each fifty, one is unlinked, one is silent, one is slow and one just so."""
    kind = number % 50
    if kind == 7:
        return LinkFigures(
            site=site or f"edge-{number:03}",
            address=f"10.0.0.{number % 250}:8082",
            is_linked=False,
            is_usable=False,
            last_error=HOSTILE,
        )
    slow, uneasy = kind == 19, kind == 31
    return LinkFigures(
        site=site or f"edge-{number:03}",
        address=f"10.0.0.{number % 250}:8082",
        is_linked=True,
        is_usable=not slow,
        last_error="",
        addresses=(f"http://10.0.0.{number % 250}:8080", "javascript:alert(1)"),
        rtt_s=0.002 + number % 17 / 1e3,
        heard_age_s=0.1,
        report=_report(number),
        report_age_s=0.2,
        service=service(
            number,
            met_ratio=0.7 if slow else 0.985 if uneasy else 0.9995,
            slowness=4.0 if slow else 1.6 if uneasy else 1.0,
        ),
        service_age_s=42.0 if kind == 3 else number % 9 / 10,
        num_turns=number % 4,
        num_offered=number,
        num_accepted=number,
    )


def _report(number: int) -> LoadReport:
    models = (MODEL if number % 50 != 23 else b"\x01" * 8,)
    return report_load(
        _LOAD, now_s=0.0, epoch=7, seq=number, max_num_queued=4, credits=Credits(), models=models
    )
