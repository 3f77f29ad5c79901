"""What keeps a peer from doing a turn. The router goes on elsewhere; no client sees these."""

from __future__ import annotations

from gateway.core.errors import GatewayError


class PeerError(GatewayError):
    """A peer did not do, or did not finish, a turn; another site can. Never reaches a client."""

    def __init__(self, site: str, message: str) -> None:
        super().__init__(f"peer {site}: {message}")
        self.site = site
        self.cause = message


class PeerRefused(PeerError):
    """The peer does not take the turn, or gives it back; `reason` is a word for records.

    `estimate_s` is the time to first token it would have needed, 0 when it did not estimate.
    """

    def __init__(self, site: str, *, reason: str, estimate_s: float = 0.0) -> None:
        super().__init__(site, f"refused ({reason})")
        self.reason = reason
        self.estimate_s = estimate_s


class PeerLost(PeerError):
    """The link to the peer is not there or broke, or the peer broke the link's rules.

    `was_sent` says whether the peer may have got the turn, `is_over` whether it will do no more
    for it.
    """

    def __init__(
        self, site: str, message: str, *, was_sent: bool = True, is_over: bool = True
    ) -> None:
        super().__init__(site, message)
        self.was_sent = was_sent
        self.is_over = is_over
