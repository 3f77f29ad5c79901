"""Where every inbound turn passes, whichever protocol it came in by.

A visit authenticates the caller, stamps the budget, takes a lease on the key's limits, runs the
turn and closes its record exactly once, whatever happens on the way. It knows no protocol.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Protocol, Self

from gateway.core.budget import Budget, BudgetDefaults, TurnClass, budget_for
from gateway.core.errors import (
    AccessError,
    ClientStalled,
    DeadlineExceeded,
    GatewayError,
    InvalidRequest,
    RegionNotAllowed,
    RequestError,
    SiteDraining,
    SloUnattainable,
    TurnCutOff,
)
from gateway.core.hops import MAX_NAME_CHARS, MAX_NUM_REGIONS
from gateway.core.stages import Outcome, Stage, StageClock, TurnSink, TurnTrail
from gateway.core.turn import Principal, TurnEnd, model_named
from gateway.telemetry.logs import turn_in_logs
from gateway.telemetry.trace_context import TraceContext, TurnTrace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from types import TracebackType

    from gateway.core.turn import Turn, TurnEvent
    from gateway.session.port import TurnRunner

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_MAX_PATH = 8
_SITE = r"[a-z0-9-]{1,63}"
_PATH = re.compile(rf"{_SITE}(,{_SITE}){{0,{_MAX_PATH - 1}}}")


def is_request_id(text: str) -> bool:
    """Whether this can be a request's id."""
    return _REQUEST_ID.fullmatch(text) is not None


class Lease(Protocol):
    """A turn's hold on its key's limits."""

    def charge_tokens(self, num_tokens: int) -> None:
        """Count tokens used against the key's token limit."""
        ...

    def release(self) -> None:
        """Give the concurrency place back; safe to call once only."""
        ...


class Gatekeeper(Protocol):
    """Knows keys, classes and limits."""

    def authenticate(self, authorization: str | None) -> Principal:
        """Who calls, from an `Authorization` value. Raises Unauthenticated."""
        ...

    def admit(self, principal: Principal, turn_class: TurnClass) -> Lease:
        """Take a place. Raises ClassNotAllowed or RateLimited."""
        ...


class Desk:
    """Opens visits; knows how many are under way and whether the site drains."""

    def __init__(
        self,
        *,
        runner: TurnRunner,
        gatekeeper: Gatekeeper,
        sink: TurnSink,
        defaults: BudgetDefaults,
        region: str = "",
        alternates: Callable[[], tuple[str, ...]] = tuple,
        pseudonym: Callable[[str, str], str] = lambda _, __: "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.runner = runner
        self.gatekeeper = gatekeeper
        self.sink = sink
        self.defaults = defaults
        self.region = region
        """Where the site stands; empty: not said."""
        self.alternates = alternates
        """Addresses of other sites, for clients that this one sends away."""
        self.pseudonym = pseudonym
        """What a tenant's caller is called in records."""
        self.monotonic = monotonic
        self.draining = False
        self.num_sessions = 0
        """Conversations open now."""
        self._visits: set[Visit] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def num_active(self) -> int:
        """Visits under way."""
        return len(self._visits)

    def visit(
        self,
        *,
        interface: str,
        request_id: str | None = None,
        traceparent: str = "",
        session: str = "",
        clock: StageClock | None = None,
    ) -> Visit:
        """Begin a turn of that session now, or when `clock` began: when a caller fell silent.

        Raises InvalidRequest for a malformed request id.
        """
        if request_id is not None and not is_request_id(request_id):
            raise InvalidRequest(
                "x-request-id takes up to 128 letters, digits and . _ : / -", param="x-request-id"
            )
        caller = TraceContext.parse(traceparent) if traceparent else None
        trail = TurnTrail(
            request_id=request_id or secrets.token_hex(16),
            clock=clock or StageClock(self.monotonic()),
            interface=interface,
            traceparent="" if caller is None else caller.traceparent,
            session=session,
        )
        return Visit(self, trail)

    @contextmanager
    def session(self) -> Iterator[None]:
        """A conversation is open for as long as this."""
        self.num_sessions += 1
        try:
            yield
        finally:
            self.num_sessions -= 1

    def drain(self) -> None:
        """Take nothing new from now on."""
        self.draining = True

    def cut_off(self) -> None:
        """End the visits under way, each with TurnCutOff where it stands."""
        for visit in self._visits:
            visit.cut_off()

    async def wait_idle(self) -> None:
        """Return when no visit is under way."""
        await self._idle.wait()

    def enter(self, visit: Visit) -> None:
        """A visit begins."""
        self._visits.add(visit)
        self._idle.clear()

    def leave(self, visit: Visit) -> None:
        """It is over."""
        self._visits.discard(visit)
        if not self._visits:
            self._idle.set()


class Visit:
    """One turn at the desk. A context manager: leaving it writes the turn's record.

    It belongs to the task that enters it.
    """

    def __init__(self, desk: Desk, trail: TurnTrail) -> None:
        self._desk = desk
        self.trail = trail
        self.principal = Principal()
        self._authenticated = False
        self._lease: Lease | None = None
        self._finish = ""
        self._task: asyncio.Task[object] | None = None
        self._is_cut_off = False
        trace = TurnTrace.of(trail.request_id, trail.clock.started_s, trail.traceparent)
        self._logs = turn_in_logs(trail.request_id, trace)

    def __enter__(self) -> Self:
        """Count the visit."""
        self._logs.__enter__()
        self._task = asyncio.current_task()
        self._desk.enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the lease and write the record; the exception goes on.

        Where the visit was cut off, and its task is not cancelled for another reason too, that is
        raised as TurnCutOff.
        Callers without a key leave no record, or they could push out everyone else's.
        """
        if isinstance(error, asyncio.CancelledError) and self._was_only_cut_off():
            error = TurnCutOff(self._desk.alternates())
        trail = self.trail
        if self._lease is not None:
            if trail.is_certain:  # the caller does not pay for what was begun on a guess
                self._lease.charge_tokens(trail.prompt_tokens + trail.completion_tokens)
            self._lease.release()
        code = error.code if isinstance(error, GatewayError) else kind.__name__ if kind else ""
        record = trail.close(self._outcome(error), self._finish, self._desk.monotonic(), error=code)
        if self._authenticated:
            self._desk.sink.record(record)
        self._logs.__exit__(None, None, None)
        self._desk.leave(self)  # last: an idle desk has recorded everything
        if isinstance(error, TurnCutOff):
            raise error from None

    def cut_off(self) -> None:
        """Cancel what the visit waits for. Once is enough."""
        if self._task is not None and not self._is_cut_off:
            self._is_cut_off = True
            self._task.cancel()

    def authenticate(self, authorization: str | None) -> None:
        """Find out who calls. Raises Unauthenticated, SiteDraining."""
        self.principal = self._desk.gatekeeper.authenticate(authorization)
        self._authenticated = True
        self.trail.tenant = self.principal.tenant
        self.trail.allowed_sites = self.principal.sites
        if self._desk.draining:
            raise SiteDraining(self._desk.alternates())

    def speaks_for(self, caller: object) -> None:
        """Whom the client says it speaks for, if it is a text; kept as a pseudonym only."""
        if isinstance(caller, str) and caller:
            self.trail.caller = self._desk.pseudonym(self.principal.tenant, caller)

    def keep_to_regions(self, residency: str | None) -> None:
        """Hold the site to the regions the caller allows: names with commas between, None: all.

        Raises RegionNotAllowed, and InvalidRequest for a list without a name or too long a one.
        """
        if residency is None:
            return
        allowed = tuple(name for part in residency.split(",") if (name := part.strip()))
        is_too_long = any(len(name) > MAX_NAME_CHARS for name in allowed)
        if is_too_long or not 0 < len(allowed) <= MAX_NUM_REGIONS:
            raise InvalidRequest(
                f"x-firsthop-residency takes up to {MAX_NUM_REGIONS} regions, each of at most "
                f"{MAX_NAME_CHARS} characters, with commas between them",
                param="x-firsthop-residency",
            )
        if self._desk.region not in allowed:
            raise RegionNotAllowed(self._desk.region, allowed)
        self.trail.allowed_regions = allowed

    def came_through(self, path: str | None) -> None:
        """The sites that escalated the turn to this one: names with commas between, None: none.

        Raises InvalidRequest.
        """
        if path is None:
            return
        if not _PATH.fullmatch(path):
            raise InvalidRequest(
                f"x-firsthop-path takes up to {_MAX_PATH} site names, with commas between them",
                param="x-firsthop-path",
            )
        self.trail.path = path.split(",")

    def budget(
        self,
        turn_class: TurnClass,
        *,
        requested_s: float | None = None,
        call_deadline_s: float | None = None,
    ) -> Budget:
        """The turn's budget, counted from the visit's start. Raises InvalidRequest."""
        return budget_for(
            turn_class,
            self._desk.defaults,
            started_s=self.trail.clock.started_s,
            requested_s=requested_s,
            call_deadline_s=call_deadline_s,
        )

    async def run(
        self, turn: Turn, told: AsyncGenerator[TurnEvent, None] | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """The turn's events; `told` are those of one that was answered before.

        Raises what TurnRunner.run raises, ClassNotAllowed, RateLimited.
        """
        trail = self.trail
        trail.turn_class = turn.turn_class
        trail.requested_model = turn.model[:MAX_NAME_CHARS]
        promised_s = turn.budget.promised_s
        trail.budget_s = turn.budget.first_token_s if promised_s is None else promised_s
        self._lease = self._desk.gatekeeper.admit(self.principal, turn.turn_class)
        trail.clock.mark(Stage.INGRESS, self._desk.monotonic())
        if told is None:
            told = self._desk.runner.run(turn, trail)
        elif info := model_named(turn.model, self._desk.runner.models):
            trail.model = info.full_name
        async with aclosing(told) as events:
            async for event in events:
                if isinstance(event, TurnEnd):
                    self._finish = event.finish.value
                yield event

    def content_out(self) -> None:
        """A content or tool-call delta left for the client, or went into the body it waits for."""
        self.trail.clock.mark_first_content(self._desk.monotonic())

    def _was_only_cut_off(self) -> bool:
        return self._is_cut_off and self._task is not None and not self._task.uncancel()

    def _outcome(self, error: BaseException | None) -> Outcome:
        match error:
            case None:
                return Outcome.ANSWERED if self._finish else Outcome.ABANDONED
            case SloUnattainable() | SiteDraining():
                return Outcome.SHED
            case RequestError() | AccessError():
                return Outcome.REJECTED
            case ClientStalled() | DeadlineExceeded():
                return Outcome.ABANDONED
            case GatewayError():
                return Outcome.FAILED
            case Exception():
                return Outcome.FAILED
            case _:  # cancellation and generator exit: the client went away
                return Outcome.ABANDONED
