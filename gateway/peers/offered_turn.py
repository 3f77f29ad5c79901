"""A turn that was offered to a peer, and what the peer may say about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.generation import MAX_TOP_LOGPROBS, FinishReason, GenerationEnd
from gateway.core.hops import Admitted
from gateway.runtime.inbox import Inbox
from gateway.wire.peer_frames import BEAT_INTERVAL_S, WINDOW_TOKENS, FrameError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.generation import GenerationEvent, GenerationRequest, TokenFrame
    from gateway.core.peer_errors import PeerError
    from gateway.core.stages import SiteStages, TurnTrail
    from gateway.wire.peer_frames import Accept, End

_LATE_S = 1.0
"""A first token that is overdue, and of which nothing was heard for so long, does not come."""
_PATIENCE_S = {TurnClass.VOICE: 4.0, TurnClass.AGENT: 4.0, TurnClass.BATCH: 60.0}
"""Nor does another token after so long. Batch work gives its slot to others and waits again."""


class OfferedTurn:
    """Checks what comes from the peer and keeps it for the turn's consumer.

    Unread tokens are bounded by the window: the peer may send while there is room for one more.
    Each `receive` raises FrameError for what no honest peer would say.
    """

    def __init__(self, request: GenerationRequest, trail: TurnTrail, *, vocab_size: int) -> None:
        self._request = request
        self._trail = trail
        self._vocab_size = vocab_size
        self._num_sites = 0
        """That the turn goes through from here; 0 until it is accepted."""
        self._next_index = len(request.resume)
        self._room_tokens = WINDOW_TOKENS
        self._read_tokens = 0
        """Since room was last granted."""
        self._items: Inbox[Admitted | GenerationEvent] = Inbox()
        self._seen_index = self._next_index
        self._num_quiet = 0
        """Looks in a row at which nothing was new."""

    async def next(self) -> Admitted | GenerationEvent:
        """What comes next. Raises the error that ended the turn."""
        return await self._items.next()

    def fail(self, error: PeerError) -> None:
        """Nothing more will come."""
        self._items.fail(error)

    def is_stalled(self, now_s: float) -> bool:
        """Whether the peer keeps the turn and its consumer waiting for what will not come.

        To be asked every `BEAT_INTERVAL_S`, which is cheaper than a timer for each token. Whoever
        is nearer to the end of the way gives up sooner, so that the right one is blamed.
        """
        if not self._num_sites or not self._items.is_empty or self._next_index != self._seen_index:
            self._seen_index, self._num_quiet = self._next_index, 0
            return False
        self._num_quiet += 1
        quiet_s = self._num_quiet * BEAT_INTERVAL_S / self._num_sites
        deadline_s = self._request.first_token_deadline_s
        if deadline_s is not None and self._next_index == len(self._request.resume):
            return now_s > deadline_s and quiet_s >= _LATE_S
        return quiet_s >= _PATIENCE_S[self._request.turn_class]

    def grant(self, num_tokens: int) -> int:
        """The consumer has read so many; how much room to grant the peer now, often none."""
        self._read_tokens += num_tokens
        if self._read_tokens < WINDOW_TOKENS // 2:
            return 0
        granted, self._read_tokens = self._read_tokens, 0
        self._room_tokens += granted
        return granted

    def receive_accept(self, frame: Accept) -> None:
        """The turn was taken."""
        if self._num_sites:
            raise FrameError("a turn is accepted once")
        self._num_sites = len(frame.path)
        self._items.put(Admitted(frame.path))

    def receive_tokens(self, frame: TokenFrame) -> None:
        """More tokens: those right after the last."""
        if not self._num_sites or self._room_tokens <= 0:
            raise FrameError("tokens came before there was room for them")
        if not frame.ids or frame.first_index != self._next_index:
            raise FrameError(f"tokens came from {frame.first_index}, not {self._next_index}")
        self._check_ids(frame.ids)
        if frame.logprobs and len(frame.logprobs) != len(frame.ids):
            raise FrameError("there is a logprob for every token or for none")
        for entry in frame.logprobs:
            if len(entry.top) > MAX_TOP_LOGPROBS:
                raise FrameError("there are more logprobs than can be asked for")
            self._check_ids((entry.token_id, *(token_id for token_id, _ in entry.top)))
        self._next_index += len(frame.ids)
        self._room_tokens -= len(frame.ids)
        if self._next_index > self._request.max_tokens:
            raise FrameError(f"there are more than the {self._request.max_tokens} tokens asked for")
        self._items.put(frame)

    def receive_end(self, frame: End) -> None:
        """The turn is over; counts are our own where we can count."""
        end, prompt_tokens = frame.end, len(self._request.prompt)
        if not self._num_sites or end.reason is FinishReason.CANCELLED:
            raise FrameError("a turn ended that was not begun, or was not cancelled here")
        self.note_stages(frame.stages)
        self._items.put(
            msgspec.structs.replace(
                end,
                prompt_tokens=prompt_tokens,
                completion_tokens=self._next_index,
                cached_tokens=min(max(0, end.cached_tokens), prompt_tokens),
            )
        )

    def note_stages(self, stages: Iterable[SiteStages]) -> None:
        """What it took there, and where that site handed it on to."""
        self._trail.peer_stages += stages

    def _check_ids(self, ids: Iterable[int]) -> None:
        if not all(0 <= token_id < self._vocab_size for token_id in ids):
            raise FrameError("a token id is none of the model's")


def is_end(item: Admitted | GenerationEvent) -> bool:
    """Whether nothing follows."""
    return isinstance(item, GenerationEnd)
