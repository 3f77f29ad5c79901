"""Offers come in by lines of JSON, answers go out by lines of JSON; the end of them ends all.

Runs in any framework's interpreter: it imports nothing but Python's own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ANSWER: Final = "answer "
"""Before each answer, since frameworks print things of their own."""
READY: Final = "ready"
_MAX_LINE_BYTES: Final = 1 << 20


def use_loopback() -> None:
    """Have aioice offer 127.0.0.1, which it leaves out otherwise."""
    import aioice.ice

    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


async def serve_offers(answer: Callable[[str], Awaitable[str]]) -> None:
    """Answer every offer, one after the other, until there are no more."""
    reader = asyncio.StreamReader(limit=_MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say(READY)
    while line := await reader.readline():
        _say(ANSWER + json.dumps(await answer(json.loads(line))))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
