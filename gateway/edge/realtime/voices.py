"""A site's voice, as sessions need it: engines that hear and speak, and lines to callers."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from gateway.core.call_errors import VoiceUnavailable
from gateway.core.errors import SiteDraining
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
    """All of it. Sessions wait for `begun`; then `missing` says in a few words why there is none.

    Before that it is missing, too.
    """

    def __init__(self) -> None:
        self.missing = "voice is starting"
        self.endings: Endings | None = None
        """What whole requests of the assistant's callers look like."""
        self._lines: Lines | None = None
        self._recogniser: Recogniser | None = None
        self._synthesiser: ReadyVoice | None = None
        self._tried = asyncio.Event()
        self._drains = False

    async def begun(self) -> None:
        """Return when it has begun, or is known to be missing. Raises SiteDraining."""
        await self._tried.wait()
        if self._drains:
            raise SiteDraining

    def drain(self) -> None:
        """Whoever waits for it, waits for nothing."""
        self._drains = True
        self._tried.set()

    async def begin(self, config: SiteConfig, stack: AsyncExitStack) -> None:
        """Start engines and workers as configured. What is `auto` and not to be had is missing.

        Raises SetupError for an engine that is named and not to be had.
        """
        try:
            await self._begin(config, stack)
        except VoiceUnavailable as error:
            _log.warning("sessions are in text only: %s", error)
            await stack.aclose()  # half a voice serves nobody
            self.lack(error.message)

    async def _begin(self, config: SiteConfig, stack: AsyncExitStack) -> None:
        if not config.voice.workers:
            self.lack("voice.workers is 0")
            return
        speech = await stack.enter_async_context(SpeechService(config.speech))
        if speech.recogniser is None or speech.synthesiser is None:
            states = {"recogniser": speech.recogniser_state, "voice": speech.voice_state}
            reasons = (_reason(name, state) for name, state in states.items())
            raise VoiceUnavailable("; ".join(reason for reason in reasons if reason))
        lines = await stack.enter_async_context(VoiceWorkers(starts_of(config.voice)))
        self.have(lines, speech.recogniser, speech.synthesiser)

    def have(self, lines: Lines, recogniser: Recogniser, synthesiser: Synthesiser) -> None:
        """It has begun with these."""
        self._lines, self._recogniser = lines, recogniser
        self._synthesiser = ReadyVoice(synthesiser, lines.keep)
        self.missing = ""
        self._tried.set()

    def lack(self, reason: str) -> None:
        """It will not begin."""
        self.missing = reason
        self._tried.set()

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
async def voices_beside(config: SiteConfig) -> AsyncIterator[Voices]:
    """A site's voice, which starts while the site already takes requests: half of all that is
    loaded at a start is for it.

    Who names an engine, or has a file that cannot be read, is told before the site is ready.
    Raises SetupError, which cuts the body off.
    """
    voices = Voices()
    if config.voice.workers:
        voices.endings = load_endings(config.speech.hearing_path)

    async def live() -> None:
        async with AsyncExitStack() as stack:
            await voices.begin(config, stack)
            await voices.prepare()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        living = tasks.create_task(live())
        try:
            if config.speech.names_an_engine:
                await voices.begun()
            yield voices
        finally:
            living.cancel()


def _reason(name: str, state: EngineState) -> str:
    """Why there is no such engine; empty when there is."""
    return "" if state.name else state.problem or f"speech.{name} is none"


def _there(part: _Part | None) -> _Part:
    if part is None:
        raise RuntimeError("this site has no voice")
    return part
