"""What of a generation has reached its consumer, wherever the tokens came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from gateway.core.generation import GenerationRequest, TokenFrame


class Delivered:
    """The tokens of one generation that were passed on.

    Tokens are recognised by their index, so whatever a second engine or site repeats is passed on
    once, and what it would have to invent is noticed.
    """

    def __init__(self, request: GenerationRequest) -> None:
        self._request = request
        self._tokens = list(request.resume)

    @property
    def has_begun(self) -> bool:
        """Whether anything was passed on since the request was made."""
        return len(self._tokens) > len(self._request.resume)

    def take(self, frame: TokenFrame) -> TokenFrame | None:
        """What is new in the frame, or None. Raises ValueError when tokens are missing."""
        num_known = len(self._tokens) - frame.first_index
        if num_known < 0:
            raise ValueError(f"{-num_known} tokens of a generation are missing")
        if num_known >= len(frame.ids):
            return None
        fresh = _without_first(frame, num_known)
        self._tokens += fresh.ids
        return fresh

    def remaining_request(self) -> GenerationRequest:
        """What another engine or site needs to go on after the last token."""
        if not self.has_begun:
            return self._request
        return msgspec.structs.replace(
            self._request, resume=tuple(self._tokens), first_token_deadline_s=None
        )


def _without_first(frame: TokenFrame, num_known: int) -> TokenFrame:
    if num_known == 0:
        return frame
    return msgspec.structs.replace(
        frame,
        first_index=frame.first_index + num_known,
        ids=frame.ids[num_known:],
        logprobs=frame.logprobs[num_known:],
    )
