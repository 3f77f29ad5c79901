"""The turns of the last days, on disk: found by request, session, caller and time."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from gateway.telemetry.records import KeptTurn
from gateway.telemetry.segment_log import LogBounds, SegmentLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


_END_OF_TIME_NS = (1 << 63) - 1


class TurnQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which turns are wanted; what is None does not matter."""

    request_id: str | None = None
    session: str | None = None
    caller: str | None = None
    """The pseudonym."""
    since_ns: int = 0
    until_ns: int = _END_OF_TIME_NS
    limit: int = 50

    def takes(self, turn: KeptTurn) -> bool:
        """Whether a turn is one of them."""
        record = turn.record
        return (
            (self.request_id is None or record.request_id == self.request_id)
            and (self.session is None or record.session == self.session)
            and (self.caller is None or record.caller == self.caller)
            and self.since_ns <= turn.started_ns <= self.until_ns
        )

    @property
    def is_open(self) -> bool:
        """Whether neither a time nor anything else narrows it down."""
        times = (self.since_ns, self.until_ns)
        return self.key is None and times == (0, _END_OF_TIME_NS)

    @property
    def key(self) -> str | None:
        """What the index knows it by; None: time alone."""
        for kind, value in zip("rsc", (self.request_id, self.session, self.caller), strict=True):
            if value is not None:
                return kind + value
        return None


class RecordStore:
    """Every turn's record for as long as `bounds` allows. It has no user text."""

    def __init__(self, directory: Path, bounds: LogBounds) -> None:
        self.pseudonyms = Pseudonyms.of_site(directory)
        self._log = SegmentLog(
            directory, KeptTurn, at_ns=lambda turn: turn.started_ns, keys=_keys, bounds=bounds
        )
        self.keep = self._log.append
        """Takes a turn; never waits, never raises."""

    @property
    def num_dropped(self) -> int:
        """Turns that are not on disk because it was full, slow or not there."""
        return self._log.num_dropped

    def search(
        self, query: TurnQuery, takes: Callable[[KeptTurn], bool] = lambda _: True
    ) -> list[KeptTurn]:
        """The newest turns of the query that `takes` takes too; not for the event loop."""
        return self._log.search(
            key=query.key,
            since_ns=query.since_ns,
            until_ns=query.until_ns,
            takes=lambda turn: query.takes(turn) and takes(turn),
            limit=query.limit,
        )

    def close(self) -> None:
        """Write what waits, and end."""
        self._log.close()


def _keys(turn: KeptTurn) -> Iterator[str]:
    record = turn.record
    for kind, value in zip("rsc", (record.request_id, record.session, record.caller), strict=True):
        if value:
            yield kind + value


class Pseudonyms:
    """What callers are called in records: nobody without the secret can tell who they are.

    The same caller has the same pseudonym wherever the secret is the same. The tenant is part of
    it, so that one tenant's callers cannot be found by another's names for them.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret[: blake2b.MAX_KEY_SIZE]

    @classmethod
    def of_site(cls, directory: Path) -> Pseudonyms:
        """With the secret kept in `directory`; where none can be, one for as long as this runs."""
        path, secret = directory / "pseudonyms.secret", secrets.token_bytes(32)
        with suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileExistsError):
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with open(file, "wb") as new:
                    new.write(secret)
            secret = path.read_bytes() or secret
        return cls(secret)

    def of(self, tenant: str, caller: str) -> str:
        """The pseudonym of a tenant's caller, 16 hexadecimal digits."""
        named = f"{tenant}\n{caller}".encode("utf-8", "surrogatepass")
        return blake2b(named, key=self._secret, digest_size=8).hexdigest()
