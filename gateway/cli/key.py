"""`firsthop key`: make, list and revoke the keys of a site."""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gateway.cli.action import add_action
from gateway.config.keys_file import (
    MAX_CONCURRENT,
    MAX_REQUESTS_PER_MINUTE,
    MAX_TOKENS_PER_MINUTE,
    TENANT_PATTERN,
    KeyEntry,
    Sites,
    edit_keys,
    new_key,
    read_keys,
)
from gateway.core.budget import TurnClass
from gateway.core.errors import SetupError
from gateway.core.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.cli.main import Subparsers

_EPILOG = """\
examples:
  firsthop key create --tenant acme --file keys.toml
  firsthop key create --tenant acme --classes agent,voice --requests-per-minute 600 \\
      --tokens-per-minute 100000 --max-concurrent 20 --file keys.toml
  firsthop key list --file keys.toml
  firsthop key revoke 3f9a21bc --file keys.toml

A running site reads its keys file again on SIGHUP.
"""


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add `key` with its actions."""
    parser = subparsers.add_parser(
        "key",
        description="Make, list and revoke the keys of a site (auth.keys_file).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    create = add_action(
        actions,
        "create",
        "make a key and print it, once",
        "firsthop key create --tenant acme --file keys.toml",
        "firsthop key create --tenant acme --classes agent,voice --max-concurrent 20 "
        "--file keys.toml",
    )
    create.add_argument("--tenant", type=_tenant, required=True, help="whom the key belongs to")
    create.add_argument(
        "--classes",
        type=_classes,
        default=(TurnClass.AGENT,),
        help="comma-separated: voice, agent, batch (default agent)",
    )
    create.add_argument(
        "--requests-per-minute",
        type=_rate(MAX_REQUESTS_PER_MINUTE),
        metavar="N",
        help="default: no limit",
    )
    create.add_argument(
        "--tokens-per-minute",
        type=_rate(MAX_TOKENS_PER_MINUTE),
        metavar="N",
        help="default: no limit",
    )
    create.add_argument("--max-concurrent", type=_count, metavar="N", help="default: no limit")
    create.add_argument(
        "--sites",
        type=_sites,
        metavar="NAMES",
        help="comma-separated: the sites that may answer, `core` the core tier (default: all)",
    )
    create.set_defaults(run=run_create)

    listing = add_action(
        actions,
        "list",
        "print the keys without their secrets",
        "firsthop key list --file keys.toml",
        "firsthop key list --file keys.toml --json",
    )
    listing.set_defaults(run=run_list)

    revoke = add_action(
        actions, "revoke", "remove a key", "firsthop key revoke 3f9a21bc --file keys.toml"
    )
    revoke.add_argument("key_id", metavar="ID", help="the id, as `key list` prints it")
    revoke.set_defaults(run=run_revoke)

    for action in (create, listing, revoke):
        action.add_argument("--file", type=Path, required=True, help="the site's keys file")
        action.add_argument("--json", action="store_true", help="print JSON")


def run_create(args: argparse.Namespace) -> int:
    """Add a key to the file and print it."""
    key, key_id, entry = new_key(
        tenant=args.tenant,
        classes=args.classes,
        limits=Limits(args.requests_per_minute, args.tokens_per_minute, args.max_concurrent),
        created=datetime.datetime.now(tz=datetime.UTC).date(),
        sites=args.sites,
    )
    with edit_keys(args.file) as keys:
        keys[key_id] = entry
    if args.json:
        print(json.dumps({"key": key, **_facts(key_id, entry)}))
    else:
        print(key)
        print(
            f"The key {key_id} of {entry.tenant} is kept in {args.file} as a hash only: "
            "this is the one time it is shown.",
            file=sys.stderr,
        )
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print what the file says of each key."""
    keys = read_keys(args.file)
    facts = [_facts(key_id, entry) for key_id, entry in keys.items()]
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    print(
        f"{'id':<10}{'tenant':<20}{'classes':<20}{'req/min':>9}{'tok/min':>10}{'at once':>9}  sites"
    )
    for key_id, entry in keys.items():
        limits = (entry.requests_per_minute, entry.tokens_per_minute, entry.max_concurrent)
        per_minute, tokens, at_once = ("-" if limit is None else f"{limit:g}" for limit in limits)
        print(
            f"{key_id:<10}{entry.tenant:<20}{','.join(entry.classes):<20}"
            f"{per_minute:>9}{tokens:>10}{at_once:>9}  {','.join(entry.sites or ('all',))}"
        )
    return 0


def run_revoke(args: argparse.Namespace) -> int:
    """Remove a key from the file. Raises SetupError when it is not there."""
    if not args.file.exists():
        raise SetupError(f"{args.file}: there is no such keys file")
    with edit_keys(args.file) as keys:
        if keys.pop(args.key_id, None) is None:
            raise SetupError(
                f"{args.file}: no key has the id {args.key_id}; see `firsthop key list`"
            )
    print(json.dumps({"revoked": args.key_id}) if args.json else f"revoked {args.key_id}")
    return 0


def _facts(key_id: str, entry: KeyEntry) -> dict[str, object]:
    """An entry without its salt and hash."""
    return {
        "id": key_id,
        "tenant": entry.tenant,
        "classes": list(entry.classes),
        "requests_per_minute": entry.requests_per_minute,
        "tokens_per_minute": entry.tokens_per_minute,
        "max_concurrent": entry.max_concurrent,
        "sites": entry.sites,
        "created": entry.created.isoformat(),
    }


def _tenant(text: str) -> str:
    if not re.match(TENANT_PATTERN, text):
        raise argparse.ArgumentTypeError(
            f"up to 64 letters, digits and . _ -, a letter or digit first, not {text!r}"
        )
    return text


def _classes(text: str) -> tuple[TurnClass, ...]:
    try:
        return tuple(dict.fromkeys(TurnClass(part.strip()) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"choose from {', '.join(TurnClass)}, with commas between them, not {text!r}"
        ) from None


def _sites(text: str) -> tuple[str, ...]:
    try:
        return msgspec.convert(list(dict.fromkeys(text.split(","))), Sites)
    except msgspec.ValidationError as error:
        raise argparse.ArgumentTypeError(
            f"site names with commas between them, not {text!r}: {error}"
        ) from None


def _rate(highest: float) -> Callable[[str], float]:
    def rate(text: str) -> float:
        try:
            given = float(text)
        except ValueError:
            given = 0.0
        if not 0.0 < given <= highest:
            raise argparse.ArgumentTypeError(
                f"a number above 0 and at most {highest:,.0f}, not {text!r}"
            )
        return given

    return rate


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_CONCURRENT):
        raise argparse.ArgumentTypeError(
            f"a whole number from 1 to {MAX_CONCURRENT:,}, not {text!r}"
        )
    return int(text)
