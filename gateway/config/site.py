"""The configuration of one site: the only table of its keys.

Each annotation carries the key's range, its unit and its help; each section's docstring says what
the section is about. The reader, `firsthop config show` and docs/configuration.md take them from
here. A key is written `section.name`, in the environment `FIRSTHOP_SECTION_NAME`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.config.grid import FabricPlace, Grid, Routing
from gateway.config.realtime import Realtime
from gateway.config.speech import Speech
from gateway.config.telemetry import Slo, Telemetry
from gateway.config.voice import Voice
from gateway.core.budget import BudgetDefaults
from gateway.core.errors import ConfigError

SHIPPED_MODEL = Path(__file__).parents[2] / "models" / "subscriber_care" / "bundle"
"""The assistant that comes with a checkout of the repository."""

Host = Annotated[str, Meta(min_length=1, description="Address to listen on: a name or an IP.")]
Port = Annotated[int, Meta(ge=0, le=65_535, description="TCP port; 0 takes a free one.")]


class Identity(msgspec.Struct, frozen=True):
    """Who this site is."""

    id: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z",
            description="The site's name in headers, records and metrics.",
        ),
    ] = "edge-a"
    region: Annotated[
        str, Meta(description="Where the site stands, for residency rules; empty: not said.")
    ] = ""


class Listener(msgspec.Struct, frozen=True):
    """An address the site listens on."""

    host: Host
    port: Port


class HttpListener(Listener, frozen=True):
    """The OpenAI-compatible API."""

    host: Host = "127.0.0.1"
    port: Port = 8080


class GrpcListener(Listener, frozen=True):
    """The agent API."""

    host: Host = "127.0.0.1"
    port: Port = 8081


class AdminListener(Listener, frozen=True):
    """Metrics, the site's state and recent turns, for operators; it asks for no key."""

    host: Host = "127.0.0.1"
    port: Port = 8083


class PeerListener(Listener, frozen=True):
    """The port on which the grid's other sites hand turns to this one."""

    host: Host = "127.0.0.1"
    port: Port = 8082
    authority: Annotated[
        str,
        Meta(
            description="PEM file of the authority that signs the certificates of all sites, whose"
            " names they carry; with `tls.cert` and `tls.key` it makes links prove both sides.",
            extra={"path": True},
        ),
    ] = ""
    allow_plaintext: Annotated[
        bool,
        Meta(
            description="Listen on a public address without certificates: for a network on which"
            " every machine is trusted."
        ),
    ] = False


class Tls(msgspec.Struct, frozen=True):
    """The certificate of the HTTP and gRPC listeners; both keys or neither."""

    cert: Annotated[
        str,
        Meta(description="PEM file: certificate chain.", extra={"path": True}),
    ] = ""
    key: Annotated[
        str,
        Meta(description="PEM file: private key.", extra={"path": True}),
    ] = ""

    @property
    def enabled(self) -> bool:
        """Whether the site speaks TLS."""
        return bool(self.cert and self.key)


class Model(msgspec.Struct, frozen=True):
    """The language model and how it is run."""

    directory: Annotated[
        str,
        Meta(
            description="Model directory; empty: the assistant shipped with the repository.",
            extra={"path": True},
        ),
    ] = ""
    accelerator: Annotated[
        str,
        Meta(
            pattern="^(auto|cpu|cuda|emulated:.+)$",
            description="What runs the model. `cuda` needs an NVIDIA GPU, the libraries of `pip "
            "install 'firsthop[cuda]'` and a model with a graph for CUDA, in half precision; `auto`"
            " takes the GPU where all of that is there, else the CPU. This version's CUDA has not "
            "been run on a GPU yet. `emulated:PROFILE` makes up answers at the speed of a step-time"
            " profile (for load tests).",
            extra={"words": "`auto`, `cpu`, `cuda` or `emulated:PROFILE`"},
        ),
    ] = "cpu"
    num_slots: Annotated[
        int, Meta(ge=1, le=1024, description="Generations that run at the same time.")
    ] = 8
    max_context_tokens: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 20,
            description="Prompt and answer together; 0: as much as the model has.",
            extra={"unit": "tokens"},
        ),
    ] = 0
    cache_mib: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 20,
            description="Memory that keeps the prompts of earlier turns, so that a conversation "
            "goes on without reading them again; 0: only slots that are free keep theirs.",
            extra={"unit": "MiB"},
        ),
    ] = 64
    threads: Annotated[
        int,
        Meta(
            ge=0,
            le=1024,
            description="Compute threads; 0: as many as are fastest, of the cores not spared.",
        ),
    ] = 0
    spare_cores: Annotated[
        int,
        Meta(ge=0, le=1024, description="Cores that compute threads leave to the site's own work."),
    ] = 1
    spinning: Annotated[
        bool,
        Meta(description="Compute threads spin while idle: a little faster, busy cores."),
    ] = False
    resume: Annotated[
        Literal["exact", "fast"],
        Meta(
            description="How a stream goes on here that began elsewhere: `exact` computes what it "
            "has said as it was computed there, a step for each token, so that it goes on as if "
            "unbroken; `fast` reads it like a prompt, and later tokens may differ from those of an "
            "unbroken stream."
        ),
    ] = "exact"
    aliases: Annotated[
        tuple[str, ...],
        Meta(description="Further model names that mean this model; `*` stands for any text."),
    ] = ()

    @property
    def path(self) -> Path:
        """The model directory. Raises ConfigError when none is set and none is shipped."""
        if self.directory:
            return Path(self.directory)
        if not SHIPPED_MODEL.is_dir():
            raise ConfigError(
                f"model.directory is not set and there is no shipped assistant at {SHIPPED_MODEL}; "
                "name a model directory with --model or model.directory"
            )
        return SHIPPED_MODEL


class UpstreamModel(msgspec.Struct, frozen=True):
    """A model that another server runs."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s@]+)?\Z",
            description="The server's OpenAI-compatible API, `http://host:8000/v1`; empty: none.",
            extra={"url": True},
        ),
    ] = ""
    model: Annotated[
        str,
        Meta(pattern=r"^[!-~]{0,128}\Z", description="The name the server knows the model by."),
    ] = ""
    api_key: Annotated[
        str,
        Meta(
            pattern=r"^[!-~]*\Z",
            description="The key this site shows there; empty: none, or the one in the file.",
            extra={"secret": True},
        ),
    ] = ""
    api_key_file: Annotated[
        str, Meta(description="File that holds the key and nothing else.", extra={"path": True})
    ] = ""
    max_concurrent: Annotated[
        int, Meta(ge=1, le=4096, description="Turns that are there at the same time.")
    ] = 32
    silence_limit_s: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="A server that sends nothing for this long is given up.",
            extra={"unit": "s"},
        ),
    ] = 30.0
    answer_limit_s: Annotated[
        float,
        Meta(
            gt=0, le=86_400, description="A whole answer may take this long.", extra={"unit": "s"}
        ),
    ] = 300.0
    limit_field: Annotated[
        Literal["max_tokens", "max_completion_tokens"],
        Meta(description="What the server calls the longest answer a turn wants."),
    ] = "max_tokens"

    def key(self) -> str:
        """The key in force, or nothing. Raises ConfigError when its file cannot be used."""
        if not self.api_key_file:
            return self.api_key
        try:
            key = Path(self.api_key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"api_key_file {self.api_key_file}: {error}") from error
        if not (key and key.isascii() and key.isprintable() and " " not in key):
            raise ConfigError(f"api_key_file {self.api_key_file}: holds no key on one line")
        return key


class Upstream(UpstreamModel, frozen=True):
    """The server that runs the site's model in place of an engine; of [model], `aliases` count."""


class Core(UpstreamModel, frozen=True):
    """The core tier: a larger model elsewhere, which answers what is beyond the site's own."""

    region: Annotated[
        str,
        Meta(description="Where the server stands, for residency rules; empty: not said."),
    ] = ""
    budget_ms: Annotated[
        float,
        Meta(
            gt=0,
            lt=86_400_000,
            description="Time to its first content, for turns that do not set a budget.",
            extra={"unit": "ms"},
        ),
    ] = 20_000.0
    escalate_unsupported: Annotated[
        bool,
        Meta(
            description="Turns go there whose tools, instructions or length the site's model would "
            "have to refuse."
        ),
    ] = False
    escalate_above_chars: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 30,
            description="Longer conversations go there; 0: none for their length.",
            extra={"unit": "characters"},
        ),
    ] = 0


class Budgets(msgspec.Struct, frozen=True):
    """Time to the first content of an answer, where a request does not set its own."""

    voice_ms: Annotated[
        float,
        Meta(gt=0, lt=86_400_000, description="Budget of class voice.", extra={"unit": "ms"}),
    ] = 500.0
    agent_ms: Annotated[
        float,
        Meta(gt=0, lt=86_400_000, description="Budget of class agent.", extra={"unit": "ms"}),
    ] = 2000.0

    voice_token_ms: Annotated[
        float,
        Meta(
            gt=0,
            le=60_000,
            description="A turn of class voice whose tokens come further apart goes on, once, at a "
            "site where they do not.",
            extra={"unit": "ms"},
        ),
    ] = 200.0

    def defaults(self) -> BudgetDefaults:
        """The same in seconds, as the core counts."""
        return BudgetDefaults(voice_s=self.voice_ms / 1e3, agent_s=self.agent_ms / 1e3)


class SiteLimits(msgspec.Struct, frozen=True):
    """What the site puts up with from all its clients together."""

    max_body_bytes: Annotated[
        int,
        # With the largest context, what a turn brings still fits a message to another site.
        Meta(ge=1024, le=1 << 21, description="Largest request body.", extra={"unit": "bytes"}),
    ] = 1 << 20
    stall_limit_s: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="A client that reads nothing for this long loses its stream.",
            extra={"unit": "s"},
        ),
    ] = 30.0
    session_idle_limit_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86_400,
            description="A session in which nobody says anything for this long is ended.",
            extra={"unit": "s"},
        ),
    ] = 600.0
    max_connections: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 20,
            description="HTTP connections at a time; 0: half the open-files limit, at most 8192. "
            "gRPC has the rest, at most as many for agents and for peers.",
        ),
    ] = 0
    max_queued: Annotated[
        int, Meta(ge=0, le=1 << 20, description="Turns that may wait for a slot.")
    ] = 512
    capacity_file: Annotated[
        str,
        Meta(
            description="File that says how much of the site's capacity may be used, 0 to 1: "
            "followed within a second; no file: all of it; empty: there is none to follow.",
            extra={"path": True},
        ),
    ] = ""
    drain_timeout_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="At shutdown, how long running turns may take to end.",
            extra={"unit": "s"},
        ),
    ] = 30.0


class Auth(msgspec.Struct, frozen=True):
    """Who may use the site."""

    keys_file: Annotated[
        str,
        Meta(
            description="Keys made by `firsthop key create`; empty: no keys, loopback only.",
            extra={"path": True},
        ),
    ] = ""


class Account(msgspec.Struct, frozen=True):
    """The demonstration account that the assistant's own tools work on."""

    database: Annotated[
        str,
        Meta(
            min_length=1,
            description="SQLite file; this default, too, is relative to the configuration file, "
            "without one to the current directory. Removing the file resets the account.",
            extra={"path": True},
        ),
    ] = ".firsthop/account.sqlite"
    verify_callers: Annotated[
        bool,
        Meta(
            description="Ask callers for the account's security code before anything of it is told "
            "or changed. The demonstration account's is 4277; five wrong ones lock it for 15 min."
        ),
    ] = False


class SiteConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a site is started with."""

    site: Identity = Identity()
    http: HttpListener = HttpListener()
    grpc: GrpcListener = GrpcListener()
    peer: PeerListener = PeerListener()
    admin: AdminListener = AdminListener()
    grid: Grid = Grid()
    routing: Routing = Routing()
    fabric: FabricPlace = FabricPlace()
    tls: Tls = Tls()
    model: Model = Model()
    upstream: Upstream = Upstream()
    core: Core = Core()
    voice: Voice = Voice()
    speech: Speech = Speech()
    budgets: Budgets = Budgets()
    slo: Slo = Slo()
    limits: SiteLimits = SiteLimits()
    auth: Auth = Auth()
    telemetry: Telemetry = Telemetry()
    account: Account = Account()
    realtime: Realtime = Realtime()
