"""Which sites make up a local grid, where they listen, and what each is told.

Every site is a process of its own that is told by its environment what differs.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping  # msgspec resolves field types at run time
from typing import TYPE_CHECKING

import msgspec

from gateway.runtime.own_module import module_command, module_environment

if TYPE_CHECKING:
    from gateway.config.site import SiteConfig

PORTS_OF_SITE = 10
"""From one site's ports to the next site's."""
HTTP_OFFSET, GRPC_OFFSET, PEER_OFFSET, ADMIN_OFFSET, FABRIC_OFFSET = 0, 1, 2, 3, 4
"""From a site's first port to each listener."""
CALLS_OFFSET, CALL_PORTS_OF_SITE = 12_000, 100
"""UDP: from a grid's first port to its first site's calls, and from one site's to the next's."""
MAX_SITES = 16
DEFAULT_SITES = 3
CORE = "core"

_CORE_KEYS, _UPSTREAM_KEYS = "FIRSTHOP_CORE_", "FIRSTHOP_UPSTREAM_"
_FABRIC_KEYS = "FIRSTHOP_FABRIC_"
_SECRETS = ("FIRSTHOP_CORE_API_KEY", "FIRSTHOP_CORE_API_KEY_FILE")
_ONLY_OF_EDGES = ("BUDGET_MS", "REGION", "ESCALATE_ABOVE_CHARS", "ESCALATE_UNSUPPORTED")


class CoreModel(msgspec.Struct, frozen=True):
    """What a core site runs itself."""

    name: str
    directory: str


class PlannedSite(msgspec.Struct, frozen=True):
    """One site of a local grid."""

    name: str
    port_base: int
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """All of it."""

    @property
    def ports(self) -> range:
        """What it listens on, on 127.0.0.1."""
        return range(self.port_base, self.port_base + FABRIC_OFFSET + 1)

    @property
    def http_v1(self) -> str:
        """Base address of its OpenAI API."""
        return f"http://127.0.0.1:{self.port_base + HTTP_OFFSET}/v1"


def edge_names(num_sites: int) -> list[str]:
    """edge-a, edge-b, …"""
    return [f"edge-{chr(ord('a') + number)}" for number in range(num_sites)]


def plan(
    site: SiteConfig,
    *,
    num_sites: int,
    with_core: bool,
    port_base: int,
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    core_model: CoreModel | None = None,
) -> list[PlannedSite]:
    """The edge sites, all linked to each other, then the core site, where there is a core model.

    `site` is what `environment` and `arguments` make of one site. The core site runs `core_model`
    or stands before the server that `site` names.
    """
    core_base = port_base + PORTS_OF_SITE * num_sites
    has_core = with_core and bool(core_model or site.core.url)
    environment = module_environment(environment)
    shared = {"FIRSTHOP_GRID_KEY": secrets.token_hex(32), **environment}
    if not site.model.threads:
        # What each would measure for itself, all at once and on the same cores, says nothing.
        num_engines = num_sites + (core_model is not None)
        shared["FIRSTHOP_MODEL_THREADS"] = str(max(1, (os.cpu_count() or 1) // num_engines))
    core = {**shared} if core_model else _in_place_of_an_engine(environment)
    if has_core:
        for name in _SECRETS:
            shared.pop(name, None)
        shared["FIRSTHOP_CORE_URL"] = f"http://127.0.0.1:{core_base}/v1"
    if core_model:
        shared["FIRSTHOP_CORE_MODEL"] = core_model.name
    sites = _edges(num_sites, port_base, arguments, shared)
    if has_core:
        own = {"FIRSTHOP_SITE_ID": CORE, "FIRSTHOP_VOICE_WORKERS": "0"}
        command = _command(core_base, ("--model", core_model.directory) if core_model else ())
        told = {name: value for name, value in core.items() if not _is_of_edges(name)}
        sites.append(PlannedSite(CORE, core_base, command, {**told, **own}))
    return sites


def _edges(
    num_sites: int, port_base: int, arguments: tuple[str, ...], shared: Mapping[str, str]
) -> list[PlannedSite]:
    bases = {name: port_base + PORTS_OF_SITE * k for k, name in enumerate(edge_names(num_sites))}
    has_fabric = num_sites > 1 and not any(name.startswith(_FABRIC_KEYS) for name in shared)
    sites = []
    for number, (name, base) in enumerate(bases.items()):
        links = [f"{one}=127.0.0.1:{at + PEER_OFFSET}" for one, at in bases.items() if one != name]
        own = {
            "FIRSTHOP_SITE_ID": name,
            "FIRSTHOP_GRID_PEERS": ",".join(links),
            "FIRSTHOP_VOICE_PORT": str(port_base + CALLS_OFFSET + CALL_PORTS_OF_SITE * number),
        }
        if has_fabric:
            # All are routers of it, each connected to those before: it outlives any of them.
            met = [_fabric_endpoint(at) for at in bases.values() if at < base]
            own["FIRSTHOP_FABRIC_LISTEN"] = _fabric_endpoint(base)
            own["FIRSTHOP_FABRIC_CONNECT"] = ",".join(met)
        sites.append(PlannedSite(name, base, _command(base, arguments), {**shared, **own}))
    return sites


def _fabric_endpoint(port_base: int) -> str:
    return f"tcp/127.0.0.1:{port_base + FABRIC_OFFSET}"


def _command(port_base: int, arguments: tuple[str, ...]) -> tuple[str, ...]:
    one = ("up", "--sites", "1", "--no-core", "--port-base", str(port_base))
    return module_command("gateway", *one, *arguments)


def _in_place_of_an_engine(environment: Mapping[str, str]) -> dict[str, str]:
    """The core site's environment: what edges would ask is what answers its turns."""
    told = {}
    for name, value in environment.items():
        key = name.removeprefix(_CORE_KEYS)
        if key == name:
            told[name] = value
        elif key not in _ONLY_OF_EDGES:
            told[_UPSTREAM_KEYS + key] = value
    return told


def _is_of_edges(name: str) -> bool:
    """A core site has no peers and no core tier of its own."""
    return name.startswith((_CORE_KEYS, _FABRIC_KEYS)) or name == "FIRSTHOP_GRID_PEERS"
