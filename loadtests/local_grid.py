"""Linked sites of one machine, each its own process, with one account and one grid key."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from loadtests.local_site import ONE_SITE, SiteProcess, free_port_base, starting_site, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

NAMES = ("edge-a", "edge-b", "edge-c")


@contextmanager
def running_grid(
    folder: Path,
    *arguments: str,
    num_threads: int = 1,
    own: Mapping[str, dict[str, str]] | None = None,
    dialled: Callable[[str, str, int], int] = lambda _, __, port: port,
    **environment: str,
) -> Iterator[dict[str, SiteProcess]]:
    """`firsthop up` with these arguments for each of `NAMES`, all linked when it is entered.

    `num_threads` is each engine's: the sites share the machine. `environment` is every site's,
    `own` by name what some have besides. `dialled` says at which port a site reaches another's.
    """
    bases: dict[str, int] = {}
    while len(set(bases.values())) < len(NAMES):
        bases = {name: free_port_base() for name in NAMES}
    key = secrets.token_hex(32)
    with ExitStack() as stack:
        sites = {}
        for name, base in bases.items():
            others = {one: dialled(name, one, bases[one] + 2) for one in NAMES if one != name}
            peers = [f"{one}=127.0.0.1:{port}" for one, port in others.items()]
            told: dict[str, Any] = {
                "FIRSTHOP_SITE_ID": name,
                "FIRSTHOP_GRID_PEERS": ",".join(peers),
                "FIRSTHOP_GRID_KEY": key,
                "FIRSTHOP_ACCOUNT_DATABASE": str(folder / "account.db"),
                "FIRSTHOP_MODEL_THREADS": str(num_threads),
                **environment,
                **(own or {}).get(name, {}),
            }
            command = (*ONE_SITE, "--port-base", str(base), *arguments)
            sites[name] = stack.enter_context(
                starting_site(folder / name, *command, port_base=base, **told)
            )
        for site in sites.values():
            site.wait_ready()
        for site in sites.values():
            wait_until(lambda site=site: num_usable(site) == 2, "all are linked")  # type: ignore[misc]
        yield sites


def num_usable(site: SiteProcess) -> int:
    """Peers that the site can offer turns."""
    return sum(peer["state"] == "usable" for peer in site.admin_json("/v1/grid")["peers"])


def kill(site: SiteProcess) -> None:
    """End a site as a power cut would."""
    site.process.kill()
    site.process.wait()
