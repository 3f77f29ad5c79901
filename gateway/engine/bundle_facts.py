"""What a site knows about a model directory once it is read, and how reading one can fail.

    SetupError
    └── BundleError                 code "bad_model_directory"
        ├── BundleFileMissing       a needed file is not there
        ├── BundleDigestMismatch    a file is not the one the manifest describes
        ├── BundleUnreadable        a file is there but cannot be understood
        ├── BundlePathRefused       a file outside the directory is named in it
        └── UnsupportedLayout       no layout this engine can serve

Errors are one line: the cause, then the mend.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import msgspec

from gateway.core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

Provider = Literal["cpu", "cuda"]
ToolFormat = Literal["firsthop", "hermes", "llama"]
DirectoryLayout = Literal["firsthop", "genai", "public"]


class BundleError(SetupError):
    """A model directory cannot be served."""

    code = "bad_model_directory"


class BundleFileMissing(BundleError):
    """A needed file is not in the directory."""

    def __init__(self, root: Path, name: str, mend: str = "copy the whole directory again") -> None:
        super().__init__(f"{root}: {name} is missing; {mend}")
        self.root = root
        self.name = name


class BundleDigestMismatch(BundleError):
    """A file's content differs from the digest in the manifest."""

    def __init__(self, root: Path, name: str, *, expected: str, actual: str) -> None:
        super().__init__(
            f"{root}: {name} has digest {actual}, the manifest says {expected}; "
            "the file was changed or damaged: copy the directory again"
        )
        self.root = root
        self.name = name
        self.expected = expected
        self.actual = actual


class BundleUnreadable(BundleError):
    """A file cannot be parsed, or a key in it is missing or wrong. `detail` names the key."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(f"{path}: {detail}; correct the file or export the model again")
        self.path = path
        self.detail = detail


class BundlePathRefused(BundleError):
    """A file of the directory names one that does not lie in it."""

    def __init__(self, root: Path, name: str) -> None:
        super().__init__(
            f"{root}: a file of it names {name!r}, which leads out of the directory; "
            "use only bundles from a source you trust"
        )
        self.root = root
        self.name = name


class UnsupportedLayout(BundleError):
    """The directory or its graph has no layout that this engine can serve."""


class Artifact(msgspec.Struct, frozen=True):
    """One graph of a bundle: `provider` runs it, `precision` is how its weights are stored."""

    provider: Provider
    precision: str
    path: Path


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A readable model directory: its facts, its files, nothing loaded.

    `digest` is ``sha256:<hex>`` over the listing of the files and names the model exactly.
    `tools` is ``any``, ``none`` or ``fixed:<hex>``; `begin_token` (may be empty) and
    `end_tokens` are token strings; generation stops at any end token. `kv_bytes_per_token` is the
    size of one token's keys and values over all layers, as the first artifact stores them.
    """

    root: Path
    layout: DirectoryLayout
    name: str
    version: str
    digest: str
    licence: str
    intended_use: str
    limits: str
    languages: tuple[str, ...]
    tools: str
    tool_format: ToolFormat
    instructions: Literal["any", "none"]
    max_context_tokens: int
    kv_bytes_per_token: int
    begin_token: str
    end_tokens: tuple[str, ...]
    tokenizer_path: Path
    chat_template: str
    artifacts: tuple[Artifact, ...]
    tools_path: Path | None = None

    @property
    def fixed_tools_digest(self) -> str | None:
        """The hex digest of the only tool list this model was trained on, if it has one."""
        return self.tools.removeprefix("fixed:") if self.tools.startswith("fixed:") else None

    def runs_on(self, provider: Provider) -> bool:
        """Whether there is a graph for this provider."""
        return any(artifact.provider == provider for artifact in self.artifacts)

    def kv_bytes_on(self, provider: Provider) -> int:
        """One token's keys and values there: in single precision on the CPU, in half on CUDA."""
        if self.artifacts[0].provider == provider:
            return self.kv_bytes_per_token
        return self.kv_bytes_per_token // 2 if provider == "cuda" else 2 * self.kv_bytes_per_token

    def artifact(self, provider: Provider) -> Artifact:
        """The graph for this provider. Raises UnsupportedLayout when the bundle has none."""
        for artifact in self.artifacts:
            if artifact.provider == provider:
                return artifact
        offered = ", ".join(sorted({artifact.provider for artifact in self.artifacts}))
        raise UnsupportedLayout(
            f"{self.root}: no graph for the {provider} provider, only for {offered}; "
            f"choose another accelerator or export the model for {provider}"
        )


def tools_digest(tools_json: bytes | str) -> str:
    """SHA-256 (hex) of a JSON tool list in canonical form: sorted keys, compact, UTF-8."""
    canonical = json.dumps(
        json.loads(tools_json), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """``sha256:<hex>`` of a file's content."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def listing_digest(files: Mapping[str, str]) -> str:
    """``sha256:<hex>`` over file names and digests, independent of their order."""
    listing = "".join(f"{name}\0{files[name]}\n" for name in sorted(files))
    return "sha256:" + hashlib.sha256(listing.encode()).hexdigest()


def inside(root: Path, name: str) -> Path:
    """The path of a file that a manifest or another file of the directory names.

    Raises BundlePathRefused for a name that leaves the directory, be it by ``..``, an absolute
    path or a symbolic link, and BundleFileMissing when no such file exists.
    """
    relative = PurePosixPath(name)
    if not name or "\\" in name or relative.is_absolute() or ".." in relative.parts:
        raise BundlePathRefused(root, name)
    path = root / relative
    if not path.resolve().is_relative_to(root.resolve()):
        raise BundlePathRefused(root, name)
    if not path.is_file():
        raise BundleFileMissing(root, name)
    return path


def graph_files(graph: Path) -> list[Path]:
    """The graph and the files of its weights: those beside it whose names begin with its own."""
    beside = graph.parent.iterdir()
    return sorted(path for path in beside if path.name.startswith(graph.name) and path.is_file())


def read_text(path: Path) -> str:
    """A UTF-8 text file's content. Raises BundleUnreadable."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleUnreadable(path, f"cannot be read ({error})") from error
