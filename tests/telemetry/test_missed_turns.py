"""Which turns are listed as having missed, and to whom; where a site's turns went."""

from __future__ import annotations

import msgspec
import pytest

from gateway.core.service_report import Fate
from gateway.core.slo import Objectives
from gateway.core.stages import Outcome, TurnRecord
from gateway.telemetry.missed_turns import MissedTurns
from gateway.telemetry.records import KeptTurn
from gateway.telemetry.slo import SloKeeper
from tests.telemetry.turns import answered, shed


def changed(record: TurnRecord, **fields: object) -> TurnRecord:
    return msgspec.structs.replace(record, **fields)


def test_late_shed_and_failed_turns_are_kept_and_no_others() -> None:
    missed = MissedTurns()
    for name, record in (
        ("fine", answered()),
        ("late", answered(prefill_s=0.7)),
        ("shed", changed(shed(), budget_s=None)),
        ("failed", changed(answered(budget_s=None), outcome=Outcome.FAILED)),
        ("left", changed(answered(budget_s=None), outcome=Outcome.ABANDONED)),
        ("theirs", changed(shed(), tenant="globex")),
    ):
        missed.keep(KeptTurn(changed(record, request_id=name), 0))
    assert missed.num_seen == 4

    def names(number: int, tenant: str | None = None, limit: int = 9) -> list[str]:
        turns = missed.after(number, tenant=tenant, limit=limit)
        return [turn.record.request_id for turn in turns]

    assert names(0) == ["theirs", "failed", "shed", "late"]
    assert names(3) == ["theirs"]
    assert names(4) == []
    assert names(0, tenant="acme") == ["failed", "shed", "late"]
    assert names(0, limit=2) == ["theirs", "failed"]


@pytest.mark.parametrize(
    ("record", "fate"),
    [
        (answered(), Fate.HERE),
        (changed(answered(), site="edge-b"), Fate.FORWARDED),
        (changed(answered(), site="core", escalation="hard"), Fate.ESCALATED),
        (changed(answered(), escalation="hard", escalation_error="no_core_model"), Fate.HERE),
        (shed(), Fate.SHED),
        (changed(answered(), outcome=Outcome.FAILED), Fate.FAILED),
        (changed(answered(), outcome=Outcome.REJECTED), None),
        (changed(answered(), outcome=Outcome.ABANDONED), None),
    ],
)
def test_where_a_turn_went(record: TurnRecord, fate: Fate | None) -> None:
    slo = SloKeeper("edge-a", Objectives(), monotonic=lambda: 1000.0)
    slo.record(record)
    counts = dict(zip(Fate, slo.report().num_by_fate, strict=True))
    assert counts == {one: int(one is fate) for one in Fate}
