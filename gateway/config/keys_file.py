"""The keys file: who may use a site, for what, and how much.

A key is `fh_<id>_<secret>`. The file holds the id, a random salt and SHA-256(salt + secret); the
secret is 192 random bits, so a fast hash is enough and nothing can be guessed from the file.
The file is TOML with one table per key, `[keys.<id>]`, and readable by its owner only.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import secrets
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from gateway.config.toml_lines import TomlFile
from gateway.core.budget import TurnClass
from gateway.core.errors import ConfigError, SetupError
from gateway.core.hops import MAX_NUM_SITES, SiteName
from gateway.core.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY_PREFIX = "fh"
_ID_BYTES, _SECRET_BYTES, _SALT_BYTES = 4, 24, 16
_HEADER = "# Keys of a Firsthop site, kept by `firsthop key`; comments in this file are not kept.\n"

_Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})+\Z", min_length=32, max_length=64)]
Sites = Annotated[tuple[SiteName, ...], Meta(min_length=1, max_length=MAX_NUM_SITES)]
TENANT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
MAX_REQUESTS_PER_MINUTE, MAX_TOKENS_PER_MINUTE, MAX_CONCURRENT = 1e9, 1e12, 1_000_000


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file says of one key. A limit that is left out does not limit."""

    tenant: Annotated[str, Meta(pattern=TENANT_PATTERN)]
    classes: Annotated[tuple[TurnClass, ...], Meta(min_length=1)]
    salt: _Hex
    hash: _Hex
    created: datetime.date
    requests_per_minute: Annotated[float, Meta(gt=0, le=MAX_REQUESTS_PER_MINUTE)] | None = None
    tokens_per_minute: Annotated[float, Meta(gt=0, le=MAX_TOKENS_PER_MINUTE)] | None = None
    max_concurrent: Annotated[int, Meta(ge=1, le=MAX_CONCURRENT)] | None = None
    sites: Sites | None = None
    """Where its turns may be answered; "core" is the core tier."""

    @property
    def limits(self) -> Limits:
        """What the key may use."""
        return Limits(self.requests_per_minute, self.tokens_per_minute, self.max_concurrent)

    def matches(self, secret: str) -> bool:
        """Whether this is the key's secret, in a time that does not depend on the answer."""
        return hmac.compare_digest(_hash(self.salt, secret), self.hash)


def split_key(key: str) -> tuple[str, str] | None:
    """(id, secret) of `fh_<id>_<secret>`, or None when it has another form."""
    prefix, _, rest = key.partition("_")
    key_id, _, secret = rest.partition("_")
    return (key_id, secret) if prefix == KEY_PREFIX and key_id and secret else None


def new_key(
    *,
    tenant: str,
    classes: tuple[TurnClass, ...],
    limits: Limits,
    created: datetime.date,
    sites: tuple[str, ...] | None = None,
) -> tuple[str, str, KeyEntry]:
    """A fresh key: (the whole key, to be shown once; its id; its entry).

    Raises ConfigError for a tenant or a limit that the file cannot hold.
    """
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    salt = secrets.token_hex(_SALT_BYTES)
    values: dict[str, object] = {
        "tenant": tenant,
        "classes": classes,
        "salt": salt,
        "hash": _hash(salt, secret),
        "created": created,
        **msgspec.structs.asdict(limits),
        "sites": sites,
    }
    try:
        entry = msgspec.convert(values, KeyEntry)
    except msgspec.ValidationError as error:
        raise ConfigError(f"this key cannot be made: {error}") from error
    return f"{KEY_PREFIX}_{key_id}_{secret}", key_id, entry


def read_keys(path: Path) -> dict[str, KeyEntry]:
    """Every key by its id. Raises ConfigError, also for a file that others may read."""
    file = TomlFile.read(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"{path}: others than its owner may use it; run: chmod 600 {path}")
    found: dict[str, KeyEntry] = {}
    tables = file.document.get("keys", {})
    unknown = sorted(set(file.document) - {"keys"})
    if unknown or not isinstance(tables, dict):
        name = unknown[0] if unknown else "keys"
        raise ConfigError(f"{file.origin(name)}: {name}: a keys file has only [keys.<id>] tables")
    for key_id, values in tables.items():
        try:
            found[key_id] = msgspec.convert(values, KeyEntry)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{file.origin('keys', key_id)}: keys.{key_id}: {error}") from error
    return found


@contextmanager
def edit_keys(path: Path) -> Iterator[dict[str, KeyEntry]]:
    """The keys of a file, new or existing; what the block leaves in the mapping is written.

    The file is replaced in one step and only one command edits it at a time. Raises ConfigError,
    or SetupError when another command is at it or the place cannot be written.
    """
    draft = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as error:
        raise SetupError(
            f"{draft} exists: another `firsthop key` is at work; if none is, remove it"
        ) from error
    except FileNotFoundError as error:
        raise SetupError(f"{path}: there is no directory {path.parent}; make it first") from error
    except OSError as error:
        raise SetupError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            keys = read_keys(path) if path.exists() else {}
            yield keys
            file.write(_HEADER + "".join(_table(key_id, entry) for key_id, entry in keys.items()))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + secret.encode()).hexdigest()


def _table(key_id: str, entry: KeyEntry) -> str:
    """One `[keys.<id>]` table; the entry's patterns leave no text that would need quoting."""
    lines = [f"\n[keys.{key_id}]"]
    for name, value in msgspec.structs.asdict(entry).items():
        match value:
            case None:
                continue
            case str():
                lines.append(f'{name} = "{value}"')
            case tuple():
                lines.append(f"{name} = {[str(item) for item in value]}".replace("'", '"'))
            case _:
                lines.append(f"{name} = {value}")
    return "\n".join(lines) + "\n"
