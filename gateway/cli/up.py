"""`firsthop up`: a local site with the shipped assistant, ready to be talked to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import __version__
from gateway.cli.named_files import check_named
from gateway.config.load import Given, load_site
from gateway.core.errors import PortInUse, SetupError
from gateway.engine.bundle import load_bundle
from gateway.engine.step_profiles import PREFIX, shipped_profiles
from gateway.engine.tool_format.toolset import ToolSet
from gateway.session.care import CARE_TOOLS

if TYPE_CHECKING:
    from gateway.cli.main import Subparsers
    from gateway.config.load import LoadedConfig
    from gateway.config.site import SiteConfig

HTTP_OFFSET, GRPC_OFFSET, PEER_OFFSET, ADMIN_OFFSET = 0, 1, 2, 3
"""From the port base to each listener of the first site."""
DEFAULT_PORT_BASE = 8080
_HIGHEST_BASE = 65_535 - ADMIN_OFFSET

_CLIENT_HABITS = ("gpt-4o*", "gpt-realtime*")
"""Model names that clients send when nobody told them another; a local site takes them."""

_EPILOG = """\
examples:
  firsthop up
  firsthop up --port-base 9000 --model ~/models/qwen2.5-0.5b-int4
  firsthop up --accelerator emulated:rtx-pro-6000

FIRSTHOP_SECTION_KEY variables apply as for `firsthop serve`; `firsthop config show --up` prints
what is in force. Ctrl-C lets running turns end, a second Ctrl-C cuts them off.
"""

_READY = """
Firsthop {version}: site {site} is ready.

  HTTP   {http_v1:<32}OpenAI-compatible chat completions
  gRPC   {grpc:<32}firsthop.v1.AgentService, with reflection
  admin  {admin:<32}/metrics, /v1/site, /v1/grid, /v1/requests
  core   {core}

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
{account}
Ctrl-C ends everything; a second Ctrl-C cuts running turns off.
"""

_ACCOUNT = """
The demonstration account is {file}; remove it while no site runs to start afresh.
"""


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add `up`."""
    parser = subparsers.add_parser(
        "up",
        description="Start a local site on loopback: HTTP, gRPC and admin ports.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_port_base(parser)
    parser.add_argument(
        "--model", metavar="DIR", help="model directory (default: the shipped assistant)"
    )
    parser.add_argument(
        "--accelerator",
        type=_accelerator,
        metavar="cpu|emulated:PROFILE",
        help="what runs the model (default: cpu); emulated: made-up answers at a profile's speed",
    )
    parser.set_defaults(run=run)


def add_port_base(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the ports of a local site begin."""
    parser.add_argument(
        "--port-base",
        type=_port_base,
        metavar="PORT",
        help=f"HTTP port; gRPC is one above, peers two, admin three (default {DEFAULT_PORT_BASE})",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    loaded = local_site(port_base=args.port_base, model=args.model, accelerator=args.accelerator)
    check_named(loaded, verify=False)
    upstream = loaded.site.upstream
    model = f"{upstream.model} at {upstream.url}" if upstream.url else loaded.site.model.path
    # The site's libraries take most of a second to load; a wrong start needs none of them.
    from gateway.app import run_site

    print(f"Starting site {loaded.site.site.id} with the model {model} …", flush=True)
    try:
        run_site(loaded.site, announce=lambda site: print(ready_text(site), flush=True))
    except PortInUse as error:
        raise SetupError(
            f"{error.address} is in use by another process; stop it or take other ports: "
            '`firsthop up --port-base N`, `make run ARGS="--port-base N"`'
        ) from error
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
    return load_site(presets=presets, overrides=overrides)


def ready_text(site: SiteConfig) -> str:
    """What a person needs to talk to the site; `site` carries the ports that were bound."""
    scheme = "https" if site.tls.enabled else "http"
    has_account = not site.upstream.url and has_care_tools(site.model.path)
    return _READY.format(
        version=__version__,
        site=site.site.id,
        http_v1=f"{scheme}://{site.http.host}:{site.http.port}/v1",
        grpc=f"{site.grpc.host}:{site.grpc.port}",
        core=_core_text(site),
        admin=f"http://{site.admin.host}:{site.admin.port}",
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


def _port_base(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _HIGHEST_BASE:
        raise argparse.ArgumentTypeError(f"a port from 1 to {_HIGHEST_BASE}, not {text!r}")
    return int(text)


def _accelerator(text: str) -> str:
    if text == "cuda":
        raise argparse.ArgumentTypeError("cuda is not in this version; models run on the CPU")
    profile = text.removeprefix(PREFIX)
    if profile != text and profile not in shipped_profiles() and not profile.endswith(".toml"):
        shipped = ", ".join(shipped_profiles())
        raise argparse.ArgumentTypeError(f"the profiles are {shipped}, or a path ending in .toml")
    if text != "cpu" and profile == text:
        raise argparse.ArgumentTypeError(f"takes cpu or emulated:PROFILE, not {text!r}")
    return text
