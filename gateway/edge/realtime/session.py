"""A Realtime session: what each of the client's events does to it."""

from __future__ import annotations

import dataclasses
import random
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from gateway.core import turn as core
from gateway.core.errors import InvalidRequest
from gateway.core.realtime_errors import (
    ResponseActive,
    ResponseNotActive,
)
from gateway.edge.realtime.conversation import Conversation, checked, messages_of
from gateway.edge.realtime.early_answer import EarlyAnswer
from gateway.edge.realtime.kept_session import kept_session, owed_response
from gateway.edge.realtime.responses import ResponseRun, ResponseTerms
from gateway.edge.realtime.spoken_side import SpokenSide
from gateway.session import phrases
from gateway.wire.realtime import client_events as given
from gateway.wire.realtime import server_events as said
from gateway.wire.realtime.items import fresh_id, session_of_call

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gateway.core.voice_stages import HeardTiming
    from gateway.edge.desk import Desk
    from gateway.edge.realtime.answer_items import Send
    from gateway.edge.realtime.call_channel import OngoingCall
    from gateway.edge.realtime.caller import Caller
    from gateway.edge.realtime.kept_session import KeptSession
    from gateway.edge.realtime.lasting import LastingSession
    from gateway.edge.realtime.responses import StopReason
    from gateway.edge.realtime.session_terms import SessionTerms
    from gateway.edge.realtime.voices import Voices

_MAX_ASIDE: Final = 4
"""Responses beside the conversation at the same time."""


class RealtimeSession:
    """Takes events one after the other; responses are made beside them, in `tasks`."""

    def __init__(
        self,
        send: Send,
        tasks: asyncio.TaskGroup,
        *,
        desk: Desk,
        caller: Caller,
        terms: SessionTerms,
        voices: Voices,
        call: OngoingCall | None,
        lasting: LastingSession,
        limit_s: float,
        on_response_end: Callable[[], None],
    ) -> None:
        self.session_id = fresh_id("sess") if call is None else session_of_call(call.call_id)
        self.send = send
        self._lasting = lasting
        self.conversation = _conversation(lasting)
        self.terms = terms
        self._tasks = tasks
        self._desk = desk
        self._caller = caller
        self._expires_at = _unix_s(limit_s)
        self._spoken = SpokenSide(
            send,
            weakref.proxy(self),  # so that a session that is over is gone at once, with its words
            tasks,
            voices=voices,
            call=call,
            conversation=self.conversation,
            terms=terms,
            max_call_s=limit_s,
        )
        self._deferred: HeardTiming | None = None
        """Of the turn that is answered next."""
        self._early: ResponseRun | None = None
        """Begun for a turn that has only probably ended."""
        self._discarded: ResponseRun | None = None
        """The last one that was begun early for nothing; it may still be ending."""
        self._on_response_end = on_response_end
        self._active: ResponseRun | None = None
        self._aside: dict[str, ResponseRun] = {}
        self._is_call = call is not None
        self._num_responses = 0 if lasting.found is None else lasting.found.num_responses
        self._running: set[asyncio.Task[None]] = set()

    @property
    def is_answering(self) -> bool:
        """Whether a response is being made."""
        return self._active is not None or bool(self._aside)

    async def begin(self, *, gives_notice: bool = False) -> None:
        """Tell what the session is; in a call, listen.

        One that was cut off goes on where it was. With `gives_notice` a new one begins with the
        words that an AI speaks.
        """
        await self.send(said.SessionCreated(session=self._facts()))
        conversation = said.ConversationFacts(self.conversation.id)
        await self.send(said.ConversationCreated(conversation=conversation))
        if self._is_call:
            await self._spoken.begin()
        if (found := self._lasting.found) is not None:
            await self._go_on(found)
        self._lasting.keep_up(self._kept)
        if gives_notice and not self._num_responses:
            await self.say(phrases.AI_NOTICE)

    async def take(self, event: given.ClientEvent) -> None:
        """Do what the client asks. Raises GatewayError for what cannot be done; nothing is then."""
        match event:
            case given.SessionUpdate(session=changes):
                await self._update(changes)
            case given.ItemCreate() | given.ItemDelete() | given.ItemRetrieve():
                await self._take_item(event)
            case given.ResponseCreate(response=wishes):
                await self._create_response(wishes)
            case given.ResponseCancel(response_id=response_id):
                self._cancel(response_id)
            case _:
                await self._take_sound(event)

    async def begin_early(self, text: str, timing: HeardTiming) -> None:
        """Begin to answer what the caller has probably said; nobody is told before he has."""
        self.discard_early()
        if self._active is None:
            said = (*self.conversation.messages(), core.Message(core.Role.USER, text))
            self._early = await self._start(self._answering(said, timing, EarlyAnswer(self._tasks)))

    def discard_early(self) -> None:
        """The caller goes on: what was begun early is for nothing."""
        if self._early is not None:
            self._early.stop("turn_detected")
            self._discarded, self._early = self._early, None

    async def answer_turn(self, timing: HeardTiming) -> None:
        """Answer what the caller has said; after the response that is being made, if there is."""
        if self._active is not None:
            self._deferred = timing
            return
        terms = self._answering(self.conversation.messages(), timing)
        if self._early is not None and self._early.may_become(terms):
            self._active, self._early = self._early, None
            self._active.confirm(timing)
            self.conversation.changed()
            return
        await self._respond(terms)

    async def say(self, sentence: str, *, is_aside: bool = False) -> None:
        """Respond with a sentence of the session's own, unless something is being answered.

        An aside is no part of the conversation for a model.
        """
        config = self.terms.config
        if self._active is None and not config.only_hears:
            await self._respond(
                ResponseTerms(config=config, messages=(), sentence=sentence, is_aside=is_aside)
            )

    def stop(self, reason: StopReason) -> None:
        """End the response in the conversation, if there is one."""
        if self._active is not None:
            self._active.stop(reason)

    def abandon(self) -> None:
        """Answer nothing any more: the session goes on elsewhere."""
        self._deferred = None
        self.discard_early()
        for run in (self._active, *self._aside.values()):
            if run is not None:
                run.stop("client_cancelled")

    def end(self) -> None:
        """Abandon what is being made: the client is gone."""
        self._spoken.end()
        for task in self._running:
            task.cancel()

    def _facts(self) -> dict[str, object]:
        facts = self.terms.facts(self.session_id, self._expires_at)
        facts["firsthop"] |= self._lasting.facts
        return facts

    async def _update(self, changes: dict[str, Any]) -> None:
        kind = self.terms.config.type
        if changes.get("type", kind) != kind:
            raise InvalidRequest(
                f"session.type: this is a {kind} session; open another with ?intent=transcription, "
                "or a client secret or call of that type",
                param="session.type",
            )
        await self.terms.update(changes, check=self._spoken.check)
        self._spoken.configure()
        self.conversation.changed()
        await self.send(said.SessionUpdated(session=self._facts()))

    async def _take_item(
        self, event: given.ItemCreate | given.ItemDelete | given.ItemRetrieve
    ) -> None:
        conversation = self.conversation
        match event:
            case given.ItemCreate(item=item, previous_item_id=previous):
                made = conversation.create(item, previous)
                before = conversation.previous_id(made.id or "")
                await self.send(said.ItemAdded(item=made, previous_item_id=before))
                await self.send(said.ItemDone(item=made, previous_item_id=before))
            case given.ItemDelete(item_id=item_id):
                conversation.delete(item_id)
                await self.send(said.ItemDeleted(item_id=item_id))
            case given.ItemRetrieve(item_id=item_id):
                await self.send(said.ItemRetrieved(item=conversation.get(item_id)))

    async def _take_sound(self, event: given.ClientEvent) -> None:
        match event:
            case given.AudioAppend(audio=sound):
                await self._spoken.append(sound)
            case given.AudioCommit():
                await self._spoken.commit()
            case given.AudioClear():
                await self._spoken.clear()
            case given.OutputClear():
                self._spoken.hush()
            case given.ItemTruncate(item_id=item_id, content_index=index, audio_end_ms=end_ms):
                await self._spoken.truncate(item_id, index, end_ms / 1e3)
                await self.send(
                    said.ItemTruncated(item_id=item_id, content_index=index, audio_end_ms=end_ms)
                )

    async def _create_response(self, wishes: given.ResponseWishes | None) -> None:
        if self.terms.config.only_hears:
            raise InvalidRequest("a transcription session answers nothing", param="type")
        is_aside = wishes is not None and wishes.conversation == "none"
        if not is_aside and self._active is not None:
            await self._active.over()
        if not is_aside and self._active is not None:
            raise ResponseActive(self._active.response_id)
        if len(self._aside) >= _MAX_ASIDE:
            raise InvalidRequest(f"{_MAX_ASIDE} responses beside the conversation are being made")
        clock = await self._spoken.settled()
        config = await self.terms.of_response(wishes)
        self._spoken.check(config)
        messages = self.terms.messages(config, self._asked(wishes))
        if not messages:
            raise InvalidRequest("nothing was said yet; create an item first", param="response")
        metadata = wishes.metadata if wishes is not None else None
        terms = ResponseTerms(config=config, messages=messages, metadata=metadata, clock=clock)
        if not is_aside:
            await self._respond(terms)
            return
        run = await self._start(terms, is_aside=True)
        self._aside[run.response_id] = run

    def _asked(self, wishes: given.ResponseWishes | None) -> tuple[core.Message, ...]:
        if wishes is None or wishes.input is None:
            return self.conversation.messages()
        return messages_of(
            self.conversation.get(item.id, param="response.input")
            if isinstance(item, given.ItemReference)
            else checked(item)
            for item in wishes.input
        )

    def _answering(
        self,
        said: tuple[core.Message, ...],
        timing: HeardTiming,
        early: EarlyAnswer | None = None,
    ) -> ResponseTerms:
        """The terms of the answer to a turn that was spoken."""
        config = self.terms.config
        return ResponseTerms(
            config=config,
            messages=self.terms.messages(config, said),
            clock=timing.new_clock(),
            early=early,
        )

    async def _respond(self, terms: ResponseTerms) -> None:
        """Begin the response in the conversation; whatever was begun early gives way to it."""
        self.discard_early()
        self._active = await self._start(terms)
        self.conversation.changed()

    async def _start(self, terms: ResponseTerms, *, is_aside: bool = False) -> ResponseRun:
        if not terms.number:
            self._num_responses += 1
            terms = dataclasses.replace(
                terms, number=self._num_responses, seed=random.getrandbits(63)
            )
        terms = dataclasses.replace(terms, run_key=self._lasting.run_key(terms.number))
        voice = await self._spoken.begin() if terms.config.wants_audio else None
        run = ResponseRun(
            self.send,
            desk=self._desk,
            caller=self._caller,
            session_id=self.session_id,
            terms=terms,
            conversation=None if is_aside else self.conversation,
            new_mouth=None if voice is None else voice.mouth,
            on_whole=self._lasting.tell,
        )
        task = self._tasks.create_task(self._run(run, terms, after=self._discarded))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return run

    async def _run(
        self, run: ResponseRun, terms: ResponseTerms, *, after: ResponseRun | None
    ) -> None:
        if after is not None:
            await after.over()  # what it held is free for this one
        status = await run.run()  # cut off with the whole session, it stays open: see `_kept`
        if self._active is run:
            self._active = None
        self._aside.pop(run.response_id, None)
        self.conversation.changed()
        self._on_response_end()
        if status == "discarded":
            return
        for item in run.items.items:
            self._spoken.cut(item.id or "")
        await self.send(said.RateLimitsUpdated())
        timing, self._deferred = self._deferred, None
        if timing is not None:
            await self.answer_turn(timing)
        elif status == "failed" and terms.config.wants_audio and not terms.sentence:
            await self.say(phrases.NO_ANSWER)

    def _kept(self) -> KeptSession:
        """How the session stands, for another site."""
        run = self._active
        return kept_session(
            self._caller,
            self.terms.config,
            self.conversation,
            None if run is None or run.is_whole else run,
            num_responses=self._num_responses,
            unheard=self._spoken.unheard,
        )

    async def _go_on(self, found: KeptSession) -> None:
        """Tell the client the conversation, and say what it was owed where it was cut off.

        A caller who was owed nothing is told that he was, and has the turn again: what he has said
        meanwhile nobody has heard.
        """
        conversation = self.conversation
        owed = owed_response(found, conversation, self.terms)
        before = None
        for item in conversation.items:
            await self.send(said.ItemAdded(item=item, previous_item_id=before))
            await self.send(said.ItemDone(item=item, previous_item_id=before))
            before = item.id
        if owed is not None:
            await self._respond(owed)
        elif self._is_call and self._num_responses and self.terms.config.wants_audio:
            await self.say(conversation.again(phrases.CUT_OFF), is_aside=True)

    def _cancel(self, response_id: str | None) -> None:
        run = self._active
        if response_id is not None and (run is None or run.response_id != response_id):
            run = self._aside.get(response_id)
        if run is None:
            raise ResponseNotActive
        run.stop("client_cancelled")


def _conversation(lasting: LastingSession) -> Conversation:
    if (found := lasting.found) is None:
        return Conversation(on_change=lasting.changed)
    return Conversation.restored(found.conversation, found.items, found.asides, lasting.changed)


def _unix_s(from_now_s: float) -> int:
    return int(time.time() + from_now_s)  # noqa: TID251 - `expires_at` is wall-clock time
