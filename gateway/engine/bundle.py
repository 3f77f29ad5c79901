"""Model directories: find out what one is, read its facts and check its files.

Three layouts are read: our own, described by ``manifest.toml`` (schema 1, below), and the two of
`exported_layouts`. Nothing here loads a graph or a tokenizer, so the site process can read a
bundle cheaply; the worker does the rest.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.engine.bundle_facts import (
    Artifact,
    Bundle,
    BundleDigestMismatch,
    BundleUnreadable,
    Provider,
    ToolFormat,
    UnsupportedLayout,
    file_digest,
    graph_files,
    inside,
    listing_digest,
    read_text,
    tools_digest,
)
from gateway.engine.exported_layouts import read_genai, read_public

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST_NAME = "manifest.toml"
MANIFEST_SCHEMA = 1

_Text = Annotated[str, Meta(min_length=1)]
_Count = Annotated[int, Meta(gt=0)]
_Digest = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]


class _ManifestArtifact(msgspec.Struct, forbid_unknown_fields=True):
    provider: Provider
    precision: _Text
    file: _Text


class _Manifest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The keys of manifest.toml; `files` lists every file of the bundle but the manifest."""

    schema: Literal[1]
    id: _Text
    version: _Text
    licence: _Text
    intended_use: _Text
    limits: _Text
    languages: tuple[str, ...]
    tools: Annotated[str, Meta(pattern=r"^(any|none|fixed:[0-9a-f]{64})\Z")]
    tools_file: str | None = None
    tool_format: ToolFormat
    instructions: Literal["any", "none"]
    max_context_tokens: _Count
    kv_bytes_per_token: _Count
    begin_token: str = ""
    end_tokens: Annotated[tuple[_Text, ...], Meta(min_length=1)]
    tokenizer: _Text
    chat_template: _Text
    artifact: Annotated[tuple[_ManifestArtifact, ...], Meta(min_length=1)]
    files: dict[str, _Digest]


def load_bundle(path: Path, *, verify: bool = True) -> Bundle:
    """Read a model directory of any supported layout.

    With `verify`, every file of a manifest is hashed and compared; without, the files only have
    to exist (for a directory that this process verified before). Raises BundleError.
    """
    if not path.is_dir():
        raise UnsupportedLayout(f"{path} is not a directory; name a directory that holds a model")
    if (path / MANIFEST_NAME).is_file():
        return _read_manifest(path, verify=verify)
    if (path / "genai_config.json").is_file():
        return read_genai(path)
    if (path / "config.json").is_file() and (path / "onnx").is_dir():
        return read_public(path)
    raise UnsupportedLayout(
        f"{path} holds neither {MANIFEST_NAME} nor genai_config.json nor config.json with onnx/; "
        "export the model with: python -m onnxruntime_genai.models.builder -i MODEL -o DIR "
        "-p int4 -e cpu"
    )


def _read_manifest(root: Path, *, verify: bool) -> Bundle:
    manifest = _decode_manifest(root / MANIFEST_NAME)
    paths = {name: inside(root, name) for name in manifest.files}
    if verify:
        for name, path in paths.items():
            actual = file_digest(path)
            if actual != manifest.files[name]:
                raise BundleDigestMismatch(root, name, expected=manifest.files[name], actual=actual)

    def listed(name: str, key: str) -> Path:
        inside(root, name)
        if name not in paths:
            raise BundleUnreadable(
                root / MANIFEST_NAME, f"`{key}` needs {name}, which [files] does not list"
            )
        return paths[name]

    def graph(name: str) -> Path:
        path = listed(name, "artifact.file")
        for part in graph_files(path):
            listed(part.relative_to(root).as_posix(), "artifact.file")
        return path

    return Bundle(
        root=root,
        layout="firsthop",
        name=manifest.id,
        version=manifest.version,
        digest=listing_digest(manifest.files),
        licence=manifest.licence,
        intended_use=manifest.intended_use,
        limits=manifest.limits,
        languages=manifest.languages,
        tools=manifest.tools,
        tools_path=_tools_path(root, manifest),
        tool_format=manifest.tool_format,
        instructions=manifest.instructions,
        max_context_tokens=manifest.max_context_tokens,
        kv_bytes_per_token=manifest.kv_bytes_per_token,
        begin_token=manifest.begin_token,
        end_tokens=manifest.end_tokens,
        tokenizer_path=listed(manifest.tokenizer, "tokenizer"),
        chat_template=read_text(listed(manifest.chat_template, "chat_template")),
        artifacts=tuple(
            Artifact(a.provider, a.precision, graph(a.file)) for a in manifest.artifact
        ),
    )


def _decode_manifest(path: Path) -> _Manifest:
    try:
        return msgspec.convert(tomllib.loads(read_text(path)), _Manifest)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BundleUnreadable(path, str(error)) from error


def _tools_path(root: Path, manifest: _Manifest) -> Path | None:
    """The fixed tool list's path, after its content was compared with the `tools` key."""
    if not manifest.tools.startswith("fixed:"):
        return None
    if manifest.tools_file is None:
        raise BundleUnreadable(root / MANIFEST_NAME, "`tools` is fixed but `tools_file` is missing")
    path = inside(root, manifest.tools_file)
    try:
        actual = f"fixed:{tools_digest(read_text(path))}"
    except ValueError as error:
        raise BundleUnreadable(path, f"is not JSON ({error})") from error
    if actual != manifest.tools:
        raise BundleDigestMismatch(
            root, manifest.tools_file, expected=manifest.tools, actual=actual
        )
    return path
