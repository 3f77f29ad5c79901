"""Inbox and outbox: what one connection's readers and writers hand to each other."""

from __future__ import annotations

import asyncio

import pytest

from gateway.runtime.inbox import Inbox
from gateway.runtime.outbox import Outbox


def test_an_inbox_gives_what_it_has_before_its_error() -> None:
    async def scenario() -> None:
        inbox: Inbox[int] = Inbox()
        inbox.put(1)
        inbox.fail(ValueError("over"))
        assert await inbox.next() == 1
        for _ in range(2):
            with pytest.raises(ValueError, match="over"):
                await inbox.next()

    asyncio.run(scenario())


def test_an_inbox_wakes_who_waits() -> None:
    async def scenario() -> None:
        inbox: Inbox[int] = Inbox()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(inbox.next())
            await asyncio.sleep(0)
            inbox.put(2)
            assert await waiting == 2

    asyncio.run(scenario())


def test_what_is_put_in_one_round_of_the_loop_leaves_together() -> None:
    async def scenario() -> None:
        outbox: Outbox[int] = Outbox(max_num_items=8)
        async with asyncio.TaskGroup() as tasks:
            taking = tasks.create_task(outbox.take())
            await asyncio.sleep(0)
            for item in (1, 2, 3):
                outbox.put(item)
            assert await taking == [1, 2, 3]

    asyncio.run(scenario())


def test_a_full_outbox_stops_who_asks_for_room_until_it_is_taken() -> None:
    async def scenario() -> None:
        outbox: Outbox[int] = Outbox(max_num_items=2)
        outbox.put(1)
        await outbox.room()
        outbox.put(2)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(outbox.room())
            await asyncio.sleep(0)
            assert not waiting.done()
            assert await outbox.take() == [1, 2]
            await waiting

    asyncio.run(scenario())


def test_a_closed_outbox_gives_what_is_left_and_then_nothing() -> None:
    async def scenario() -> None:
        outbox: Outbox[int] = Outbox(max_num_items=2)
        outbox.put(1)
        outbox.close()
        assert await outbox.take() == [1]
        assert await outbox.take() == []

    asyncio.run(scenario())
