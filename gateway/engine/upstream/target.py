"""Which server is asked, and what may be asked of it."""

from __future__ import annotations

import msgspec

from gateway.engine.upstream.http_post import Origin


class UpstreamTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A server with the OpenAI chat completions API, and the bounds it is held to."""

    origin: Origin
    model: str
    """The name by which the server knows the model."""
    api_key: str = ""
    max_concurrent: int = 32
    silence_limit_s: float = 30.0
    """A server that sends nothing for so long is given up."""
    answer_limit_s: float = 300.0
    """A whole answer may take so long."""
    limit_field: str = "max_tokens"
    """What the server calls the longest answer."""

    @property
    def server(self) -> str:
        """What errors call the server: clients have no business with its address."""
        return f"the server of {self.model!r}"

    def __repr__(self) -> str:
        """Without the key."""
        return f"UpstreamTarget({self.model!r} at {self.origin.host_field})"
