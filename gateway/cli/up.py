"""`firsthop up`: a local grid with the shipped assistant, ready to be talked to."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from gateway import __version__
from gateway.cli.grid_plan import (
    ADMIN_OFFSET,
    CALLS_OFFSET,
    CORE,
    DEFAULT_SITES,
    GRPC_OFFSET,
    HTTP_OFFSET,
    MAX_SITES,
    PEER_OFFSET,
    PORTS_OF_SITE,
    CoreModel,
    PlannedSite,
    plan,
)
from gateway.cli.named_files import check_named
from gateway.config.load import Given, load_site
from gateway.core.errors import ConfigError, PortInUse, SetupError
from gateway.engine.bundle import load_bundle
from gateway.engine.step_profiles import PREFIX, shipped_profiles
from gateway.engine.tool_format.toolset import ToolSet
from gateway.session.care import CARE_TOOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli.main import Subparsers
    from gateway.config.load import LoadedConfig
    from gateway.config.site import SiteConfig

DEFAULT_PORT_BASE = 8080
_HIGHEST_PORT = 65_535
_HIGHEST_BASE = _HIGHEST_PORT - ADMIN_OFFSET

_ACCELERATORS = ("auto", "cpu", "cuda")
_CLIENT_HABITS = ("gpt-4o*", "gpt-realtime*")
"""Model names that clients send when nobody told them another; a local site takes them."""

_EPILOG = """\
examples:
  firsthop up
  firsthop up --sites 1 --no-core
  firsthop up --core-model ~/models/qwen2.5-7b-int4
  firsthop up --port-base 9000 --model ~/models/qwen2.5-0.5b-int4
  firsthop up --accelerator emulated:rtx-pro-6000

FIRSTHOP_SECTION_KEY variables apply to every site as for `firsthop serve`; `firsthop config show
--up` prints what is in force. Ctrl-C lets running turns end, a second Ctrl-C cuts them off.
"""

_READY = """
Firsthop {version}: site {site} is ready.

  talk   {talk:<32}speak with it in a browser, or type
  HTTP   {http_v1:<32}OpenAI-compatible chat completions and Realtime
  gRPC   {grpc:<32}firsthop.v1.AgentService, with reflection
  admin  {admin:<32}/metrics, /v1/site, /v1/grid, /v1/requests
  core   {core}
"""

_GRID_READY = """
Firsthop {version}: {num_sites} sites are ready. Each takes any request, and hands on what it \
cannot answer in time.

{sites}
  {talk_name:<8} {talk}
  {core_name:<8} {core}

They share this machine's {num_cores} cores: together they are no faster than one.
"""

_TRY = """
Try it:

curl -N {http_v1}/chat/completions -H 'content-type: application/json' {tools}\
-d '{{"stream": true, "messages": [{{"role": "user", "content": "{question}"}}]}}'

Or in Python, after `pip install openai`:

from openai import OpenAI
client = OpenAI(base_url="{http_v1}", api_key="none")
answer = client.chat.completions.create(
    model="default", messages=[{{"role": "user", "content": "What can you do for me?"}}]
)
print(answer.choices[0].message.content)

See it work: {console}
{account}
Ctrl-C ends everything; a second Ctrl-C cuts running turns off.
"""

_STARTING = "Starting {sites} with the model {model} …"

_ACCOUNT = """
The demonstration account is {file}; remove it while no site runs to start afresh.
"""


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add `up`."""
    parser = subparsers.add_parser(
        "up",
        description="Start a local grid on loopback: edge sites and, where there is a model for it,"
        " a core site.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--sites",
        type=_num_sites,
        default=DEFAULT_SITES,
        metavar="N",
        help=f"edge sites, linked to each other (default {DEFAULT_SITES})",
    )
    parser.add_argument(
        "--no-core",
        action="store_true",
        help="no core site in front of FIRSTHOP_CORE_URL: edge sites ask that server themselves",
    )
    parser.add_argument(
        "--core-model",
        metavar="DIR",
        help="a core site that runs this larger model; FIRSTHOP_CORE_URL names one elsewhere",
    )
    add_port_base(parser)
    parser.add_argument(
        "--model", metavar="DIR", help="model directory (default: the shipped assistant)"
    )
    parser.add_argument(
        "--accelerator",
        type=_accelerator,
        metavar="auto|cpu|cuda|emulated:PROFILE",
        help="what runs the model (default: cpu); emulated: made-up answers at a profile's speed",
    )
    parser.set_defaults(run=run)


def add_port_base(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the ports of a local site begin."""
    parser.add_argument(
        "--port-base",
        type=_port_base,
        metavar="PORT",
        help="HTTP port of the first site; gRPC is one above, peers two, admin three, the next site"
        f" {PORTS_OF_SITE} (default {DEFAULT_PORT_BASE})",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    loaded = local_site(port_base=args.port_base, model=args.model, accelerator=args.accelerator)
    check_named(loaded, verify=False)
    site = loaded.site
    if args.core_model and (args.no_core or site.core.url):
        other = "--no-core" if args.no_core else "FIRSTHOP_CORE_URL"
        raise ConfigError(f"--core-model and {other} say different things; give one of them")
    has_core = bool(args.core_model or site.core.url) and not args.no_core
    if args.sites == 1 and not has_core:
        return _run_one(site)
    if site.upstream.url:
        raise ConfigError("upstream.url: sites of a grid run a model; use --sites 1 --no-core")
    return _run_grid(args, site)


def _run_grid(args: argparse.Namespace, site: SiteConfig) -> int:
    from gateway.cli.site_processes import run_sites

    port_base = args.port_base or DEFAULT_PORT_BASE
    arguments = [("--model", args.model), ("--accelerator", args.accelerator)]
    given = tuple(word for pair in arguments if pair[1] is not None for word in pair)
    core_model = _core_model(args.core_model) if args.core_model else None
    sites = plan(
        site,
        num_sites=args.sites,
        with_core=not args.no_core,
        port_base=port_base,
        arguments=given,
        environment=os.environ,
        core_model=core_model,
    )
    _check_ports(sites)
    names = ", ".join(one.name for one in sites)
    print(_STARTING.format(sites=names, model=site.model.path), flush=True)
    # The first of them says what to try, with its own ports.
    first = local_site(port_base=port_base, model=args.model, accelerator=args.accelerator).site
    if core_model is not None:
        core = replace(first.core, url=sites[-1].http_v1, model=core_model.name)
        first = replace(first, core=core)
    text = grid_ready_text(sites, first)
    asyncio.run(run_sites(sites, announce=lambda: print(text, flush=True)))
    return 0


def _core_model(directory: str) -> CoreModel:
    """Raises BundleError."""
    return CoreModel(load_bundle(Path(directory), verify=False).name, directory)


def _check_ports(sites: Sequence[PlannedSite]) -> None:
    """Find a port that cannot be had before anything starts. Raises SetupError, ConfigError."""
    from gateway.edge.http_server import bind_listener

    if sites[-1].ports[-1] > _HIGHEST_PORT:
        raise ConfigError(f"--port-base: the ports of {len(sites)} sites end above {_HIGHEST_PORT}")
    for port in (port for one in sites for port in one.ports):
        try:
            bind_listener("127.0.0.1", port).close()
        except PortInUse as error:
            raise _other_ports(error) from error


def _other_ports(error: PortInUse) -> SetupError:
    return SetupError(
        f"{error.address} is in use by another process; stop it or take other ports: "
        '`firsthop up --port-base N`, `make run ARGS="--port-base N"`'
    )


def _run_one(site: SiteConfig) -> int:
    upstream = site.upstream
    model = f"{upstream.model} at {upstream.url}" if upstream.url else site.model.path
    # The site's libraries take most of a second to load; a wrong start needs none of them.
    from gateway.app import run_site

    print(_STARTING.format(sites=f"site {site.site.id}", model=model), flush=True)
    try:
        run_site(site, announce=lambda bound: print(ready_text(bound), flush=True))
    except PortInUse as error:
        raise _other_ports(error) from error
    return 0


def local_site(
    *, port_base: int | None = None, model: str | None = None, accelerator: str | None = None
) -> LoadedConfig:
    """The configuration of the first site of a local grid. Raises ConfigError."""
    overrides: dict[str, object] = {}
    if port_base is not None:
        overrides["http.port"] = port_base + HTTP_OFFSET
        overrides["grpc.port"] = port_base + GRPC_OFFSET
        overrides["peer.port"] = port_base + PEER_OFFSET
        overrides["admin.port"] = port_base + ADMIN_OFFSET
    if model is not None:
        overrides["model.directory"] = model
    if accelerator is not None:
        overrides["model.accelerator"] = accelerator
    presets = {"model.aliases": Given(_CLIENT_HABITS, "firsthop up")}
    if port_base is not None:
        presets["voice.port"] = Given(port_base + CALLS_OFFSET, "firsthop up")
    return load_site(presets=presets, overrides=overrides)


def ready_text(site: SiteConfig) -> str:
    """What a person needs to talk to the site; `site` carries the ports that were bound."""
    addresses = _READY.format(
        version=__version__,
        site=site.site.id,
        talk=_talk(site),
        http_v1=_http_v1(site),
        grpc=f"{site.grpc.host}:{site.grpc.port}",
        core=_core_text(site),
        admin=f"http://{site.admin.host}:{site.admin.port}",
    )
    return addresses + _try_text(site)


def grid_ready_text(sites: Sequence[PlannedSite], first: SiteConfig) -> str:
    """What a person needs to talk to a grid, of which `first` is the first edge site."""
    head = "  {:<8} {:<26} {:<16} {}"
    lines = [head.format("site", "HTTP", "gRPC", "admin")]
    lines += [
        head.format(
            one.name,
            one.http_v1,
            f"127.0.0.1:{one.port_base + GRPC_OFFSET}",
            f"http://127.0.0.1:{one.port_base + ADMIN_OFFSET}",
        )
        for one in sites
    ]
    addresses = _GRID_READY.format(
        version=__version__,
        num_sites=len(sites),
        sites="\n".join(lines),
        talk_name="talk",
        talk=f"{_talk(first)} in a browser",
        core_name="answers" if sites[-1].name == CORE else CORE,
        core=_core_text(first),
        num_cores=os.cpu_count(),
    )
    return addresses + _try_text(first)


def _http_v1(site: SiteConfig) -> str:
    return f"{_origin(site)}/v1"


def _talk(site: SiteConfig) -> str:
    return f"{_origin(site)}/talk"


def _origin(site: SiteConfig) -> str:
    scheme = "https" if site.tls.enabled else "http"
    return f"{scheme}://{site.http.host}:{site.http.port}"


def _try_text(site: SiteConfig) -> str:
    has_account = not site.upstream.url and has_care_tools(site.model.path)
    return _TRY.format(
        http_v1=_http_v1(site),
        console=_http_v1(site).removesuffix("v1"),
        tools="-H 'x-firsthop-tools: server' " if has_account else "",
        question="What is my balance?" if has_account else "Hello!",
        account=_ACCOUNT.format(file=Path(site.account.database).absolute()) if has_account else "",
    )


def _core_text(site: SiteConfig) -> str:
    if site.core.url:
        return f"{site.core.model} at {site.core.url}"
    return "none; FIRSTHOP_CORE_URL and FIRSTHOP_CORE_MODEL connect any OpenAI-compatible server"


def has_care_tools(model: Path) -> bool:
    """Whether the model was trained on the tools of the demonstration account."""
    tools_path = load_bundle(model, verify=False).tools_path
    if tools_path is None:
        return False
    tools = ToolSet.from_json(tools_path.read_text(encoding="utf-8"))
    return CARE_TOOLS.keys() <= {tool.name for tool in tools}


def _num_sites(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_SITES:
        raise argparse.ArgumentTypeError(f"takes 1 to {MAX_SITES} sites, not {text!r}")
    return int(text)


def _port_base(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _HIGHEST_BASE:
        raise argparse.ArgumentTypeError(f"a port from 1 to {_HIGHEST_BASE}, not {text!r}")
    return int(text)


def _accelerator(text: str) -> str:
    profile = text.removeprefix(PREFIX)
    if profile != text and profile not in shipped_profiles() and not profile.endswith(".toml"):
        shipped = ", ".join(shipped_profiles())
        raise argparse.ArgumentTypeError(f"the profiles are {shipped}, or a path ending in .toml")
    if text not in _ACCELERATORS and profile == text:
        known = ", ".join(_ACCELERATORS)
        raise argparse.ArgumentTypeError(f"takes {known} or emulated:PROFILE, not {text!r}")
    return text
