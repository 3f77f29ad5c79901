"""What a site offers of the Realtime API: its routes, over one set of places, keys and calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import WebSocketRoute

from gateway.edge.realtime.call_routes import CallRoutes
from gateway.edge.realtime.calls import Calls
from gateway.edge.realtime.client_secrets import ClientSecrets
from gateway.edge.realtime.secret_route import SecretRoute
from gateway.edge.realtime.sessions import Sessions
from gateway.edge.realtime.websocket import REALTIME_PATH, RealtimeSockets

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from gateway.edge.desk import Desk
    from gateway.edge.realtime.live_session import SessionLimits
    from gateway.edge.realtime.voices import Voices
    from gateway.session.surviving import SurvivingSessions


class RealtimeSite:
    """All of it. Without voice sessions are in text, and there are no calls; without `surviving`
    they end with the site."""

    def __init__(
        self,
        desk: Desk,
        *,
        voices: Voices,
        limits: SessionLimits,
        max_sessions: int,
        max_starts_per_s: float,
        stall_limit_s: float,
        surviving: SurvivingSessions | None = None,
    ) -> None:
        self._voices = voices
        self.sessions = Sessions(max_num=max_sessions, max_starts_per_s=max_starts_per_s)
        self.calls = Calls(desk, self.sessions, voices, limits, surviving)
        secrets = ClientSecrets()
        sockets = RealtimeSockets(
            desk,
            self.sessions,
            secrets,
            self.calls,
            voices=voices,
            limits=limits,
            stall_limit_s=stall_limit_s,
            surviving=surviving,
        )
        self.routes: list[BaseRoute] = [
            SecretRoute(desk, secrets, voices).route,
            *CallRoutes(self.calls, secrets).routes,
            WebSocketRoute(REALTIME_PATH, sockets.serve),
        ]
        """Of the public port."""

    def drain(self) -> None:
        """End each session as soon as nothing is being answered in it; take no new ones."""
        self.sessions.drain()
        self._voices.drain()
