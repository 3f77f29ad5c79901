"""What keeps a caller's words from being heard, or an answer from being said."""

from __future__ import annotations

from gateway.core.errors import GatewayError, SetupError


class SpeechError(GatewayError):
    """A speech engine did not do its work."""

    code = "speech_error"


class SpeechLost(SpeechError):
    """The speech process ended in the middle of it and is started again: say it once more."""

    code = "speech_lost"
    retryable = True


class SpeechUnavailable(SpeechError, SetupError):
    """A speech process does not start, for a reason that is not a matter of configuration."""

    code = "speech_unavailable"


class SpeechBusy(SpeechError):
    """The speech processes have as many utterances under way as they may."""

    code = "speech_busy"
    retryable = True

    def __init__(self, *, limit: int) -> None:
        super().__init__(f"{limit} utterances are under way, as many as the site takes at a time")
        self.limit = limit
