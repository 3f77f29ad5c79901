"""The account store: SQLite, one row per tenant, every tool call exactly once.

A call is applied and its result kept in one transaction, keyed by the call's id. The same id again
returns the kept result and changes nothing, whatever was retried, crashed or resumed in between.
Irreversible calls wait here, with the question that read them back and the reference it named,
until the caller has agreed; agreeing twice is the same call twice.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import msgspec

from gateway.core.errors import CapacityError, SetupError
from gateway.core.turn import ToolCall
from gateway.session.care import (
    CARE_TOOLS,
    DECLINED,
    Account,
    Arguments,
    Result,
    read_back,
    spelled_out,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

P = ParamSpec("P")
T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS account (
    tenant TEXT PRIMARY KEY, state TEXT NOT NULL, num_changes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS call (
    tenant TEXT NOT NULL, call_id TEXT NOT NULL, tool TEXT NOT NULL, arguments TEXT NOT NULL,
    result TEXT NOT NULL, at REAL NOT NULL, num_changes INTEGER NOT NULL,
    PRIMARY KEY (tenant, call_id)
);
CREATE TABLE IF NOT EXISTS held_call (
    tenant TEXT NOT NULL, reference TEXT NOT NULL, tool TEXT NOT NULL, arguments TEXT NOT NULL,
    question TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (tenant, reference)
);
CREATE INDEX IF NOT EXISTS call_at ON call (at);
CREATE INDEX IF NOT EXISTS held_call_at ON held_call (at);
"""

_KEPT_S = 24 * 3600.0
"""How long results answer repeated calls and references stay known."""
_REFERENCE_ALPHABET = "ACDEFGHJKLMNPQRTUVWXY34679"
"""Without letters and digits that are mistaken for one another when read out."""
_REFERENCE_LENGTH = 5
DECLINED_TEXT = msgspec.json.encode(DECLINED).decode()
"""The kept result of a call that the caller decided against."""
_LOCK_WAIT_S, _LOCK_RETRY_S = 1.0, 0.01
"""How long a call waits for another writer of the file before it fails, and how often it looks."""
_NOW = "((julianday('now') - 2440587.5) * 86400.0)"


class PendingCall(msgspec.Struct, frozen=True):
    """An irreversible call that was read back; `result` is set once it was decided."""

    reference: str
    tool: str
    arguments: Arguments
    question: str
    """What the caller was asked, the reference included."""
    result: str | None

    def as_tool_call(self) -> ToolCall:
        """The call as a message of the conversation; its id is its reference."""
        arguments = msgspec.json.encode(self.arguments).decode()
        return ToolCall(call_id=self.reference, name=self.tool, arguments=arguments)


class _Locked(Exception):
    """Another writer has the file now."""


class AccountStore:
    """Accounts on disk. Statements run in one thread of their own, never on the loop.

    Nobody waits in that thread: a call that finds the file locked by another writer tries again
    later, and one that only reads is never locked out. Every call raises CapacityError when the
    file cannot be used or stays locked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="account")
        self._db: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open or create the database. Raises SetupError when the file cannot be used."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connect)

    async def close(self) -> None:
        """Close the database after the statement that is running."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=True)

    async def account(self, tenant: str) -> Account:
        """The tenant's account; the demo subscriber's state at first sight."""
        return await self._reading(_load_account, tenant)

    async def read(self, tenant: str, tool: str, arguments: Arguments) -> str:
        """The result of a tool that changes nothing, as JSON text."""
        account = await self.account(tenant)
        return _text(CARE_TOOLS[tool].apply(account, arguments)[1])

    async def run(
        self,
        tenant: str,
        call_id: str,
        tool: str,
        arguments: Arguments,
        *,
        repeat_s: float | None,
    ) -> str:
        """Apply a tool once and return its result as JSON text.

        The same `call_id` within `repeat_s` is a retry and returns the kept result, unless
        another call has changed the account since: then it is a new call in the same words.
        `repeat_s` None: no other call has this id, whatever happens in between.
        """
        if repeat_s is None:
            return await self._writing(_run_once, tenant, call_id, tool, arguments, _KEPT_S)
        return await self._writing(_run_again, tenant, call_id, tool, arguments, repeat_s)

    async def hold(self, tenant: str, tool: str, arguments: Arguments) -> PendingCall | str:
        """Keep an irreversible call until it is confirmed; returns it with a new reference.

        A call that would fail now is not kept: what it failed with is returned, as JSON text.
        """
        return await self._writing(_hold, tenant, tool, arguments)

    async def pending(self, tenant: str, reference: str) -> PendingCall | None:
        """The call read back under this reference, or None when it is unknown or too old."""
        return await self._reading(_find_pending, tenant, reference)

    async def confirm(self, tenant: str, pending: PendingCall) -> str:
        """Apply a held call, once; returns its result as JSON text."""
        return await self._writing(
            _run_once, tenant, pending.reference, pending.tool, pending.arguments, _KEPT_S
        )

    async def decline(self, tenant: str, pending: PendingCall) -> str:
        """Decide against a held call, unless it was applied already; returns the kept result."""
        return await self._writing(_decline, tenant, pending)

    async def _reading(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """`work` on one state of the file, which others may be changing meanwhile."""
        return await self._in_thread(partial(self._transact, "BEGIN", work, *args, **kwargs))

    async def _writing(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """`work` while nobody else changes the file: sites of a local grid share one."""
        transact = partial(self._transact, "BEGIN IMMEDIATE", work, *args, **kwargs)
        give_up_s = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                return await self._in_thread(transact)
            except _Locked:
                if time.monotonic() >= give_up_s:
                    raise CapacityError("the account is in use by another writer") from None
            await asyncio.sleep(_LOCK_RETRY_S)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        # A cancelled turn must not interrupt a transaction: the thread finishes it regardless.
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, call)
        except sqlite3.Error as error:
            raise CapacityError(f"the account store cannot be used now: {error}") from error

    def _transact(
        self,
        begin: str,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if self._db is None:
            raise sqlite3.ProgrammingError("the account store is closed")
        try:
            self._db.execute(begin)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise _Locked from None
            raise
        try:
            result = work(self._db, *args, **kwargs)
            self._db.commit()
        except BaseException:
            self._db.rollback()
            raise
        return result

    def _connect(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, timeout=5.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_SCHEMA)
            _forget_old(self._db)
            self._db.execute("PRAGMA busy_timeout=0")
        except (OSError, sqlite3.Error) as error:
            raise SetupError(
                f"the account database {self._path} cannot be used: {error}; "
                "set account.database to a writable file"
            ) from error

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def _forget_old(db: sqlite3.Connection) -> None:
    for table in ("call", "held_call"):
        db.execute(f"DELETE FROM {table} WHERE at < {_NOW} - ?", (_KEPT_S,))


def _load_account(db: sqlite3.Connection, tenant: str) -> Account:
    row = db.execute("SELECT state FROM account WHERE tenant = ?", (tenant,)).fetchone()
    return Account() if row is None else msgspec.json.decode(row[0], type=Account)


def _run_again(
    db: sqlite3.Connection,
    tenant: str,
    call_id: str,
    tool: str,
    arguments: Arguments,
    repeat_s: float,
) -> str:
    changed_since = db.execute(
        "SELECT 1 FROM call JOIN account USING (tenant) WHERE tenant=? AND call_id=? "
        "AND call.num_changes < account.num_changes",
        (tenant, call_id),
    ).fetchone()
    if changed_since:
        db.execute("DELETE FROM call WHERE tenant=? AND call_id=?", (tenant, call_id))
    return _run_once(db, tenant, call_id, tool, arguments, repeat_s)


def _run_once(
    db: sqlite3.Connection,
    tenant: str,
    call_id: str,
    tool: str,
    arguments: Arguments,
    repeat_s: float,
) -> str:
    kept = _kept_result(db, tenant, call_id, repeat_s)
    if kept is not None:
        return kept
    before = _load_account(db, tenant)
    after, result = CARE_TOOLS[tool].apply(before, arguments)
    if after != before:
        db.execute(
            "INSERT INTO account VALUES (?, ?, 1) ON CONFLICT (tenant) DO UPDATE "
            "SET state = excluded.state, num_changes = num_changes + 1",
            (tenant, _text(after)),
        )
    return _keep_result(db, tenant, call_id, tool, arguments, result)


def _hold(
    db: sqlite3.Connection, tenant: str, tool: str, arguments: Arguments
) -> PendingCall | str:
    account = _load_account(db, tenant)
    _, result = CARE_TOOLS[tool].apply(account, arguments)
    if "error" in result:
        return _text(result)
    arguments = spelled_out(tool, arguments, account)
    while True:
        reference = "".join(secrets.choice(_REFERENCE_ALPHABET) for _ in range(_REFERENCE_LENGTH))
        question = f"{read_back(tool, arguments, account)} (ref {reference})"
        inserted = db.execute(
            f"INSERT OR IGNORE INTO held_call VALUES (?, ?, ?, ?, ?, {_NOW})",
            (tenant, reference, tool, _text(arguments), question),
        )
        if inserted.rowcount == 1:
            return PendingCall(reference, tool, arguments, question, None)


def _find_pending(db: sqlite3.Connection, tenant: str, reference: str) -> PendingCall | None:
    row = db.execute(
        "SELECT tool, arguments, question FROM held_call "
        f"WHERE tenant=? AND reference=? AND at > {_NOW} - ?",
        (tenant, reference, _KEPT_S),
    ).fetchone()
    if row is None:
        return None
    result = _kept_result(db, tenant, reference, _KEPT_S)
    return PendingCall(reference, row[0], msgspec.json.decode(row[1]), row[2], result)


def _decline(db: sqlite3.Connection, tenant: str, pending: PendingCall) -> str:
    kept = _kept_result(db, tenant, pending.reference, _KEPT_S)
    if kept is not None:
        return kept
    return _keep_result(db, tenant, pending.reference, pending.tool, pending.arguments, DECLINED)


def _kept_result(db: sqlite3.Connection, tenant: str, call_id: str, repeat_s: float) -> str | None:
    row = db.execute(
        f"SELECT result FROM call WHERE tenant=? AND call_id=? AND at > {_NOW} - ?",
        (tenant, call_id, repeat_s),
    ).fetchone()
    return None if row is None else str(row[0])


def _keep_result(
    db: sqlite3.Connection,
    tenant: str,
    call_id: str,
    tool: str,
    arguments: Arguments,
    result: Result,
) -> str:
    text = _text(result)
    _forget_old(db)
    db.execute(
        f"INSERT OR REPLACE INTO call VALUES (?, ?, ?, ?, ?, {_NOW}, "
        "coalesce((SELECT num_changes FROM account WHERE tenant = ?), 0))",
        (tenant, call_id, tool, _text(arguments), text, tenant),
    )
    return text


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
