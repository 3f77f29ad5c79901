from __future__ import annotations

import asyncio
from typing import cast

from gateway.edge.gathering import GatheringTransport

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Recorder:
    """A transport that notes what is written in one piece."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0


def gathered(*written: bytes, turns: int = 0, close: bool = False) -> Recorder:
    async def main() -> Recorder:
        recorder = Recorder()
        transport = GatheringTransport(
            cast("asyncio.Transport", recorder), asyncio.get_running_loop()
        )
        for data in written:
            transport.write(data)
        assert transport.get_write_buffer_size() == (len(written[0]) if written == (HEAD,) else 0)
        if close:
            transport.close()
        for _ in range(turns):
            await asyncio.sleep(0)
        return recorder

    return asyncio.run(main())


def test_a_head_leaves_with_what_follows_it() -> None:
    assert gathered(HEAD, b"body", b"more", turns=2).writes == [HEAD + b"body", b"more"]


def test_a_head_alone_leaves_at_the_next_turn() -> None:
    assert gathered(HEAD, turns=2).writes == [HEAD]


def test_an_interim_response_does_not_wait() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert gathered(interim).writes == [interim]


def test_closing_sends_a_waiting_head_first() -> None:
    recorder = gathered(HEAD, close=True, turns=1)
    assert (recorder.writes, recorder.closed) == ([HEAD], True)
