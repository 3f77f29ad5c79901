"""What a call held is free when it has ended, and does not wait for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from gateway.media.frames import Answer, Close, Offer, Start
from gateway.media.worker.exchange import Exchange
from gateway.media.worker.secure import Identity
from gateway.media.worker.udp_port import UdpPort
from gateway.media.worker.voice_call import VoiceCall
from loadtests.voice_peer import VoicePeer

if TYPE_CHECKING:
    from gateway.media.frames import WorkerFrame


@pytest.mark.parametrize("has_channel", [False, True])
def test_an_ended_call_is_gone_at_once(has_channel: bool) -> None:
    async def call() -> None:
        said: list[WorkerFrame] = []
        port = await UdpPort.open("127.0.0.1", 0)
        exchange = Exchange(Start("127.0.0.1", 0), port, said.append)
        client = VoicePeer(Identity(), has_channel=has_channel)
        exchange.receive([Offer(1, client.offer())])
        (answer,) = [frame for frame in said if isinstance(frame, Answer)]
        line = exchange._lines.get(1)
        assert isinstance(line, VoiceCall)
        parts = [line, line._peer, line._peer._link, line.ears, line.mouth, line._stream]
        if has_channel:
            assert line._peer._channel is not None
            parts.append(line._peer._channel)
        held = [weakref.ref(part) for part in parts]
        del line, parts
        await client.connect(answer.sdp)
        exchange.receive([Close(1, "done")])
        client.close()
        await asyncio.sleep(0)  # the loop lets go of what it has called
        assert [one() for one in held] == [None] * len(held)
        exchange.close()
        port.close()

    gc.disable()
    try:
        asyncio.run(call())
    finally:
        gc.enable()
