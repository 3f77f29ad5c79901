"""The assistant's own tools, run on the caller's account.

Reads run at once, and so do reversible actions that were asked for. Irreversible ones are read back
first, and so is what was only asked about or told of (`core.request_mood`); the question
carries a short reference, so that a stateless client's next request, which holds the question in
its history, finds the held call again. The references also let the session show the model what
really happened, a call and its result, in place of question and consent. A reply that decides is
answered here: what was done is read out by rule (`read_outs`).
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from gateway.core.caller_check import QUESTION
from gateway.core.confirmation import Consent, read_consent
from gateway.core.request_mood import Mood, read_mood
from gateway.core.turn import Message, Role, ServerToolRun, ToolCall
from gateway.session.account import DECLINED_TEXT
from gateway.session.caller_check import CallerCheck, Review
from gateway.session.care import CARE_TOOLS, Effect
from gateway.session.phrases import (
    HOW_LONG,
    HOW_MUCH,
    LOST_OR_STOLEN,
    WHICH_COUNTRY,
    WHICH_DAY,
    WHICH_DEVICE,
    WHICH_PLAN,
    WHICH_VISIT,
)
from gateway.session.read_outs import read_out
from gateway.session.said_values import utterances
from gateway.session.tool_arguments import check_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.turn import ToolSpec
    from gateway.session.account import AccountStore, PendingCall
    from gateway.session.care import Arguments

_REFERENCE = re.compile(r".* \(ref (?P<reference>[A-Z0-9]{5})\)$", re.DOTALL)
_ASKED = {
    "pay_bill": HOW_MUCH,
    "change_plan": WHICH_PLAN,
    "block_sim": LOST_OR_STOLEN,
    "restart_device": WHICH_DEVICE,
    "book_technician": WHICH_DAY,
    "cancel_technician": WHICH_VISIT,
    "pause_wifi": HOW_LONG,
    "add_roaming": WHICH_COUNTRY,
}
"""What the model is shown of a read-back that was answered with something else, so that a
correction ("fifty", "no, stolen") finds the question it answers."""
_WRONG = re.compile(
    r"^\s*(?:that's|that’s|that is|it's|it’s|it is) (?:wrong|incorrect)[\s,.!:]+(?=\S)",
    re.IGNORECASE,
)
"""Begins a correction; the model knows "no, twenty" for what it is."""
_PRICED = frozenset({"add_roaming"})
"""Reversible, but not free: runs at once on a plain request alone."""
_NOT_FOR_LACK = frozenset({"pay_bill", "restart_device", "book_technician", "add_roaming"})
"""What nobody means who "does not need" something; the others take something away."""
_REPEAT_S = 60.0
"""A reversible call repeated word for word within this time is a client's retry."""


class Confirm(msgspec.Struct, frozen=True):
    """The call is held; the session asks this question instead of running it."""

    question: str


class History(msgspec.Struct, frozen=True):
    """A conversation with its read-backs resolved; `run` is the call that this turn ran.

    `answer` is what to say at once, when the last message was about a read-back and nothing else.
    """

    messages: tuple[Message, ...]
    run: ServerToolRun | None = None
    answer: str = ""


class ServerTools:
    """Runs the tools of `specs` that the account knows."""

    def __init__(
        self, store: AccountStore, specs: Sequence[ToolSpec], *, verifies_callers: bool = False
    ) -> None:
        """`verifies_callers`: ask for the account's code before anything of it is told or done."""
        self._store = store
        self._check = CallerCheck(store) if verifies_callers else None
        self.specs = tuple(specs)
        self._by_name = {spec.name: spec for spec in specs}

    def runs(self, name: str) -> bool:
        """Whether a call of this name can run here."""
        return name in CARE_TOOLS and name in self._by_name

    async def review(self, tenant: str, messages: Sequence[Message]) -> Review:
        """The conversation as far as it is no check of the caller, and what the check found."""
        if self._check is None:
            return Review(tuple(messages), is_verified=True)
        return await self._check.review(tenant, messages)

    def is_left_alone(self, name: str, messages: Sequence[Message]) -> bool:
        """Whether the caller said in `messages` that what the tool does shall not be done."""
        if CARE_TOOLS[name].effect is Effect.READ:
            return False
        match read_mood(utterances(messages)):
            case Mood.REFUSED:
                return True
            case Mood.UNWANTED:
                return name in _NOT_FOR_LACK
            case Mood.PAST:
                return name == "pay_bill"
            case _:
                return False

    async def call(
        self,
        tenant: str,
        call: ToolCall,
        messages: Sequence[Message],
        *,
        run_key: str = "",
        is_verified: bool = True,
    ) -> ServerToolRun | Confirm:
        """Run a call the model made after `messages`, or hold it and ask.

        What an account says is nobody's business but its owner's: unless the caller `is_verified`,
        he is asked for the code, and calls again with it.
        `run_key` is the turn's. Arguments that the tool's schema does not allow are the tool's
        failure, told to the model like any other: {"error": "invalid_arguments"}.
        """
        arguments = check_arguments(self._by_name[call.name], call.arguments)
        if arguments is None:
            return ServerToolRun(call, '{"error":"invalid_arguments"}')
        tool = CARE_TOOLS[call.name]
        if not (is_verified or tool.is_public):
            return Confirm(QUESTION)
        match tool.effect:
            case Effect.READ:
                result = await self._store.read(tenant, call.name, arguments)
            case Effect.REVERSIBLE if _runs_at_once(call.name, messages):
                key = _retry_key(call, arguments, run_key or messages)
                repeat_s = None if run_key else _REPEAT_S
                result = await self._store.run(tenant, key, call.name, arguments, repeat_s=repeat_s)
            case _:
                held = await self._store.hold(tenant, call.name, arguments)
                if not isinstance(held, str):
                    return Confirm(held.question)
                result = held
        return ServerToolRun(call, result)

    async def resolve(
        self, tenant: str, messages: Sequence[Message], *, may_run: bool = True
    ) -> History:
        """Replace read-backs and the replies to them by the calls and results they led to.

        When the last message answers a read-back, the held call is decided here: run on a clear
        yes, asked about again on a hesitation, declined otherwise. It is run or declined once,
        however often the request is repeated. Unless it `may_run`, nothing is decided.
        """
        resolved: list[Message] = []
        run: ServerToolRun | None = None
        answer = ""
        rest = deque(messages)
        while rest:
            message = rest.popleft()
            is_replied_to = bool(rest) and rest[0].role is Role.USER
            pending = await self._read_back_in(tenant, message) if is_replied_to else None
            if pending is None:
                resolved.append(message)
                continue
            if any(later.content.endswith(pending.question) for later in rest):  # it was put again
                rest.popleft()
                resolved += _told_before(message, pending)
                continue
            consent = read_consent(rest[0].content)
            result = pending.result
            if len(rest) == 1 and may_run:
                if result is None and consent is Consent.HESITANT:
                    return History((*resolved, message, *rest), answer=pending.question)
                result = await self._decide(tenant, pending, consent)
                if result != DECLINED_TEXT:
                    run = ServerToolRun(pending.as_tool_call(), result)
                if consent is not Consent.UNCLEAR:
                    answer = read_out(pending.tool, result)
            resolved += _as_it_went(message, pending, result, consent, rest)
        return History(tuple(resolved), run, answer)

    async def _decide(self, tenant: str, pending: PendingCall, consent: Consent) -> str:
        if consent is Consent.YES:
            return await self._store.confirm(tenant, pending)
        return await self._store.decline(tenant, pending)

    async def _read_back_in(self, tenant: str, message: Message) -> PendingCall | None:
        if message.role is not Role.ASSISTANT:
            return None
        found = _REFERENCE.fullmatch(message.content)
        if found is None:
            return None
        pending = await self._store.pending(tenant, found["reference"])
        # The question must be ours, word for word: consent to another sentence is no consent.
        # What other calls of the same turn did may stand before it.
        return pending if pending and message.content.endswith(pending.question) else None


def _runs_at_once(name: str, messages: Sequence[Message]) -> bool:
    """Whether a reversible action was asked for plainly enough to need no read-back."""
    match read_mood(utterances(messages)):
        case Mood.REQUEST:
            return True
        case Mood.STATED:
            return name not in _PRICED
        case Mood.UNWANTED:
            return name == "cancel_technician"
        case _:
            return False


def _as_it_went(
    question: Message,
    pending: PendingCall,
    result: str | None,
    consent: Consent,
    rest: deque[Message],
) -> list[Message]:
    """What the model is shown for a read-back: the call and its result, once it is decided.

    A reply that only consents or declines leaves `rest`; any other is still to be answered.
    """
    if result is None:
        return [question]
    told = _told_before(question, pending)
    if consent is not Consent.UNCLEAR:
        rest.popleft()
        _skip_told(pending, rest)
    elif result == DECLINED_TEXT:
        corrected = _WRONG.sub("no, ", rest[0].content)
        rest[0] = msgspec.structs.replace(rest[0], content=corrected)
        return [*told, Message(Role.ASSISTANT, _ASKED[pending.tool])]
    return [*told, *_call_and_result(pending, result)]


def _told_before(question: Message, pending: PendingCall) -> list[Message]:
    """What the message told of other calls before it asked."""
    told = question.content.removesuffix(pending.question).rstrip()
    return [Message(Role.ASSISTANT, told)] if told else []


def _call_and_result(pending: PendingCall, result: str) -> list[Message]:
    return [
        Message(Role.ASSISTANT, tool_calls=(pending.as_tool_call(),)),
        Message(Role.TOOL, result, tool_call_id=pending.reference),
    ]


def _skip_told(pending: PendingCall, rest: deque[Message]) -> None:
    """A client that keeps the calls it was told of has this one in its history already."""
    if rest and any(call.call_id == pending.reference for call in rest[0].tool_calls):
        rest.popleft()
        if rest and rest[0].tool_call_id == pending.reference:
            rest.popleft()


def _retry_key(call: ToolCall, arguments: Arguments, within: str | Sequence[Message]) -> str:
    """The id under which a second try of the same request finds the same call.

    `within` is the turn's name or, of a stateless client, the conversation. Call ids differ from
    try to try and are left out of its digest.
    """
    name = within if isinstance(within, str) else [(one.role, one.content) for one in within]
    text = msgspec.json.encode((name, call.name, arguments), order="deterministic")
    return f"retry_{hashlib.sha256(text).hexdigest()}"
