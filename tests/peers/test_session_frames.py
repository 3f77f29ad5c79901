"""Session snapshots over real links."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.core.route_choice import Here
from gateway.core.session_snapshot import MAX_CONTENT_BYTES, SealedSnapshot, Version
from gateway.edge import peer_link
from gateway.edge.peer_grpc import PeerServer
from gateway.peers.link import PeerSite
from gateway.peers.links import PeerLinks
from gateway.session.surviving import SurvivingSessions
from gateway.wire.peer_frames import KeepSession, SessionFound, caller_frames, messages
from tests.core.snapshots import KEY, session_id, snapshot
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.grid import VOCAB_SIZE, contract_of, free_port, grid, hello_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.peers.grid import Site

pytestmark = pytest.mark.flow


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes longer than callers are let wait."""
    monkeypatch.setattr("gateway.peers.links._ANSWER_LIMIT_S", 30.0)


def sealed(number: int, *, epoch: int = 1, text: str = "hi") -> SealedSnapshot:
    return KEY.seal(snapshot(session_id(number), text), Version(epoch, "edge-a", 1))


@asynccontextmanager
async def keeping(*, keeps: bool = True) -> AsyncIterator[tuple[PeerLinks, SurvivingSessions]]:
    """The links of edge-a to edge-k, and what edge-k keeps."""
    async with grid("edge-z") as sites, AsyncExitStack() as stack:
        links, port = await _keeper(sites["edge-z"], stack, keeps=keeps)
        peer = PeerSite("edge-k", f"127.0.0.1:{port}")
        own = PeerLinks([peer], hello_of("edge-a"), vocab_size=VOCAB_SIZE)
        await stack.enter_async_context(own)
        await until(lambda: bool(own.staying()))
        yield own, links


async def _keeper(
    site: Site, stack: AsyncExitStack, *, keeps: bool
) -> tuple[SurvivingSessions, int]:
    none = PeerLinks([], hello_of("edge-k"), vocab_size=VOCAB_SIZE)
    sessions = await stack.enter_async_context(SurvivingSessions(KEY, "edge-k", none))
    contract = msgspec.structs.replace(
        contract_of(Here("edge-k", max_num_queued=8), site.engine),
        sessions=sessions if keeps else None,
    )
    server, port = PeerServer(site.router, contract), free_port()
    await server.start("127.0.0.1", port, None)
    stack.push_async_callback(server.stop, grace_s=0.0)
    return sessions, port


async def found_at_once(links: PeerLinks, sessions: list[str]) -> list[list[SealedSnapshot]]:
    async with asyncio.TaskGroup() as asking:
        asked = [asking.create_task(links.find_session(session)) for session in sessions]
    return [task.result() for task in asked]


@on_uvloop
async def test_snapshots_are_kept_and_found_whatever_their_size() -> None:
    async with keeping() as (links, _):
        long = "x" * (MAX_CONTENT_BYTES - 1000)
        given = [sealed(number, text=long) for number in range(1, 41)]
        for one in given:
            links.keep_session("edge-k", one)
        found = await found_at_once(links, [one.session for one in given])
        assert found == [[one] for one in given]
        assert await links.find_session(session_id(99)) == []


@on_uvloop
async def test_what_is_older_or_forged_is_not_kept() -> None:
    async with keeping() as (links, sessions):
        taken: list[SealedSnapshot] = []
        links.on_session_taken = taken.append
        newer = sealed(1, epoch=2)
        for one in (newer, msgspec.structs.replace(newer, signature=b"x"), sealed(1)):
            links.keep_session("edge-k", one)
        await until(lambda: bool(taken))
        assert taken == [newer]
        assert sessions.newest(session_id(1)) == newer


@on_uvloop
async def test_a_site_without_the_key_keeps_nothing_and_says_so() -> None:
    async with keeping(keeps=False) as (links, _):
        links.keep_session("edge-k", sealed(1))
        assert await links.find_session(session_id(1)) == []


@on_uvloop
async def test_unread_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_link, "_MAX_SNAPSHOT_BYTES", 1)
    async with keeping() as (links, _):
        links.keep_session("edge-k", sealed(1))
        both = await found_at_once(links, [session_id(1)] * 2)
        assert sorted(map(len, both)) == [0, 1]


def test_large_snapshots_travel_in_messages_of_their_own() -> None:
    frames = [KeepSession(sealed(number, text="x" * 200_000)) for number in range(1, 12)]
    sent = list(messages(frames))
    assert len(sent) == 3
    reader = caller_frames()
    assert [frame for message in sent for frame in reader.read(message)] == frames
    assert len(list(messages([SessionFound(1, None)] * 100))) == 1
