"""One answer of another server, while it comes."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from gateway.core.errors import UpstreamTimeout
from gateway.core.turn import TurnFinish
from gateway.engine.upstream.chat_chunks import ChatChunks
from gateway.engine.upstream.sse_events import SseEvents

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.core.turn import ToolCall, Usage
    from gateway.engine.upstream.chat_chunks import AnswerDelta
    from gateway.engine.upstream.http_post import Answer
    from gateway.engine.upstream.stopwatch import Stopwatch
    from gateway.engine.upstream.target import UpstreamTarget

_SITES = re.compile(rb"[a-z0-9-]{1,63}(,[a-z0-9-]{1,63}){0,15}")
_FULL_NAME = re.compile(rb"[\x21-\x2b\x2d-\x7e]{1,192}")


class UpstreamAnswer:
    """Iterate `deltas`; `finish` and `calls` hold once they are over. `close` it in any case.

    Closing it before its end closes the connection, which ends the generation.
    """

    def __init__(self, answer: Answer, target: UpstreamTarget, stopwatch: Stopwatch) -> None:
        self._answer = answer
        self._target = target
        self._stopwatch = stopwatch
        self._chunks = ChatChunks()
        self.finish = TurnFinish.STOP
        self.calls: tuple[ToolCall, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        """The sites the turn passed, when the server is a site; the last one answers."""
        path = self._answer.headers.get(b"x-firsthop-path", b"")
        return tuple(path.decode().split(",")) if _SITES.fullmatch(path) else ()

    @property
    def model(self) -> str:
        """What answers, by its own account: `name@digest` of a site, the name of any other."""
        name = self._answer.headers.get(b"x-firsthop-model", b"")
        if _FULL_NAME.fullmatch(name):
            return name.decode()
        return self._chunks.model or self._target.model

    @property
    def num_deltas(self) -> int:
        """About the number of tokens so far."""
        return self._chunks.num_deltas

    async def deltas(self) -> AsyncGenerator[AnswerDelta, None]:
        """The answer as it comes. Raises UpstreamError."""
        events, more = SseEvents(), True
        while more and not self._chunks.is_done:
            piece = await self._read()
            more = bool(piece)
            for data in events.feed(piece) if more else events.finish():
                for delta in self._chunks.feed(data):
                    self._stopwatch.content()
                    yield delta
        self.finish, self.calls = self._chunks.end()
        self._stopwatch.ended(self.num_deltas)

    def usage(self, prompt_chars: int) -> Usage:
        """Its token counts, or what can be guessed from the length of the prompt."""
        return self._chunks.usage(prompt_chars)

    def close(self) -> None:
        """Keep the connection after a whole answer, end it otherwise. Once only."""
        self._stopwatch.left()
        self._answer.close()

    async def _read(self) -> bytes:
        """More of the body. Raises UpstreamTimeout."""
        target, left_s = self._target, self._stopwatch.left_s
        try:
            async with asyncio.timeout(min(target.silence_limit_s, left_s)):
                return await self._answer.read()
        except TimeoutError as error:
            what = (
                f"sent nothing for {target.silence_limit_s:g} s"
                if target.silence_limit_s < left_s
                else f"did not come to an end in {target.answer_limit_s:g} s"
            )
            raise UpstreamTimeout(f"{target.server} {what}") from error
