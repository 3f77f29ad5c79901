"""A site's voice, as sessions need it: engines that hear and speak, and lines to callers."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from gateway.core.call_errors import VoiceUnavailable
from gateway.media.client import VoiceWorkers, starts_of
from gateway.session import phrases
from gateway.session.voice.endings import load_endings
from gateway.speech.client import SpeechService
from gateway.speech.ready_voice import ReadyVoice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.config.site import SiteConfig
    from gateway.core.completeness import Endings
    from gateway.media.frames import LaneFormat, WorkerStats
    from gateway.media.lines import CallLine, LaneLine
    from gateway.speech.client import EngineState
    from gateway.speech.port import Recogniser, Synthesiser

_Part = TypeVar("_Part")
_log = logging.getLogger(__name__)


class Lines(Protocol):
    """Where lines come from: `media.client.VoiceWorkers`."""

    async def accept(self, offer_sdp: str, *, is_spare: bool = False) -> tuple[CallLine, str]:
        """A call and the answer to its offer. Raises OfferRefused."""
        ...

    async def open_lane(self, format_: LaneFormat, *, is_paced: bool = False) -> LaneLine:
        """A line whose sound comes and goes in pieces. Raises OfferRefused."""
        ...

    def keep(self, prompt: int, pcm: bytes) -> None:
        """Have a prompt ready on all lines."""
        ...

    @property
    def stats(self) -> dict[int, WorkerStats]:
        """What the processes that carry them say of themselves, by their place."""
        ...

    @property
    def num_restarts(self) -> int:
        """How often one of these was started again."""
        ...


class Voices:
    """All of it, once it has begun; `missing` says in a few words why a site has none."""

    def __init__(
        self,
        lines: Lines | None,
        recogniser: Recogniser | None,
        synthesiser: Synthesiser | None,
        *,
        endings: Endings | None = None,
        missing: str = "",
    ) -> None:
        self._lines = lines
        self._recogniser = recogniser
        self._synthesiser = None
        if lines is not None and synthesiser is not None:
            self._synthesiser = ReadyVoice(synthesiser, lines.keep)
        self.endings = endings
        """What whole requests of the assistant's callers look like."""
        self.missing = missing

    @classmethod
    async def begin(cls, config: SiteConfig, stack: AsyncExitStack) -> Self:
        """Start engines and workers as configured. What is `auto` and not to be had is missing.

        Raises SetupError for an engine that is named and not to be had.
        """
        if not config.voice.workers:
            return cls(None, None, None, missing="voice.workers is 0")
        speech = await stack.enter_async_context(SpeechService(config.speech))
        if speech.recogniser is None or speech.synthesiser is None:
            states = {"recogniser": speech.recogniser_state, "voice": speech.voice_state}
            reasons = (_reason(name, state) for name, state in states.items())
            missing = "; ".join(reason for reason in reasons if reason)
            _log.warning("sessions are in text only: %s", missing)
            return cls(None, None, None, missing=missing)
        try:
            lines = await stack.enter_async_context(VoiceWorkers(starts_of(config.voice)))
        except VoiceUnavailable as error:
            _log.warning("sessions are in text only: %s", error)
            return cls(None, None, None, missing=error.message)
        endings = load_endings(config.speech.hearing_path)
        return cls(lines, speech.recogniser, speech.synthesiser, endings=endings)

    async def prepare(self) -> None:
        """Make ready what is said in many calls; they need not wait for it."""
        if self._synthesiser is not None:
            await self._synthesiser.prepare(phrases.PROMPTS)

    @property
    def lines(self) -> Lines:
        """Lines to callers. Only where nothing is missing, as the engines."""
        return _there(self._lines)

    @property
    def recogniser(self) -> Recogniser:
        """Hears."""
        return _there(self._recogniser)

    @property
    def synthesiser(self) -> Synthesiser:
        """Speaks."""
        return _there(self._synthesiser)


@asynccontextmanager
async def voices_beside(config: SiteConfig) -> AsyncIterator[asyncio.Future[Voices]]:
    """A site's voice, which starts while the site goes on starting: both load models.

    Raises SetupError, which cuts the body off.
    """
    begun = asyncio.get_running_loop().create_future()
    ended = asyncio.Event()

    async def live() -> None:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as beside:
            voices = await Voices.begin(config, stack)
            begun.set_result(voices)
            preparing = beside.create_task(voices.prepare())
            await ended.wait()
            preparing.cancel()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(live())
        try:
            yield begun
        finally:
            ended.set()


def _reason(name: str, state: EngineState) -> str:
    """Why there is no such engine; empty when there is."""
    return "" if state.name else state.problem or f"speech.{name} is none"


def _there(part: _Part | None) -> _Part:
    if part is None:
        raise RuntimeError("this site has no voice")
    return part
