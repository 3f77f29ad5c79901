"""Tests that are coroutines."""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_P = ParamSpec("_P")


def on_loop(check: Callable[_P, Coroutine[None, None, None]]) -> Callable[_P, None]:
    """Run a test on an event loop of its own, for at most 20 s."""

    @wraps(check)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        async def limited() -> None:
            async with asyncio.timeout(20.0):
                await check(*args, **kwargs)

        asyncio.run(limited())

    return run
