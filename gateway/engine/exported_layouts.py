"""Model directories that other tools export, read as bundles.

Two layouts: what ``python -m onnxruntime_genai.models.builder`` writes (genai_config.json beside
model.onnx), and the public one of converted repositories (config.json, onnx/model*.onnx). Neither
states digests, so theirs are computed, and neither states a tool format, so it is read off the
chat template. Whether the graph itself can be served is for the worker to say.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from gateway.engine.bundle_facts import (
    Artifact,
    Bundle,
    BundleFileMissing,
    BundleUnreadable,
    Provider,
    ToolFormat,
    UnsupportedLayout,
    file_digest,
    graph_files,
    inside,
    listing_digest,
    read_text,
)

if TYPE_CHECKING:
    from pathlib import Path

_T = TypeVar("_T")

# File name, precision: the first that exists is served. The dynamically quantised variants
# (int8, uint8, bnb4) are left out: slower than q4 on the CPU and of no use on CUDA.
_PUBLIC_GRAPHS: dict[Provider, tuple[tuple[str, str], ...]] = {
    "cpu": (("model_q4.onnx", "int4"), ("model.onnx", "fp32")),
    "cuda": (("model_fp16.onnx", "fp16"), ("model_q4f16.onnx", "int4")),
}
_WRITES_ROLES = re.compile(r"\{\{[^}]*\brole\b")
_SIDE_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


class _GenaiDecoder(msgspec.Struct):
    filename: str
    head_size: int
    num_hidden_layers: int
    num_key_value_heads: int
    session_options: dict[str, msgspec.Raw] = {}


class _GenaiModel(msgspec.Struct):
    context_length: int
    decoder: _GenaiDecoder
    eos_token_id: int | list[int]
    type: str = ""


class _GenaiConfig(msgspec.Struct):
    model: _GenaiModel


class _HubConfig(msgspec.Struct):
    hidden_size: int
    max_position_embeddings: int
    num_attention_heads: int
    num_hidden_layers: int
    num_key_value_heads: int
    head_dim: int | None = None
    eos_token_id: int | list[int] | None = None


class _GenerationConfig(msgspec.Struct):
    eos_token_id: int | list[int] | None = None


class _NamedTemplate(msgspec.Struct):
    name: str
    template: str


class _TokenContent(msgspec.Struct):
    content: str


class _TokenizerConfig(msgspec.Struct):
    bos_token: str | _TokenContent | None = None
    chat_template: str | list[_NamedTemplate] | None = None


class _AddedToken(msgspec.Struct):
    id: int
    content: str


class _Tokenizer(msgspec.Struct):
    added_tokens: list[_AddedToken] = []


def read_genai(root: Path) -> Bundle:
    """Read a directory of the onnxruntime-genai builder. Raises BundleError."""
    model = _parse(root, "genai_config.json", _GenaiConfig).model
    decoder = model.decoder
    provider: Provider = (
        "cuda"
        if b'"cuda"' in bytes(decoder.session_options.get("provider_options", b""))
        else "cpu"
    )
    graph = inside(root, decoder.filename)
    kv_value_bytes = 2 if provider == "cuda" else 4
    return _bundle(
        root,
        layout="genai",
        artifacts=(Artifact(provider, "as exported", graph),),
        config_files=("genai_config.json",),
        end_token_ids=_as_ids(model.eos_token_id),
        max_context_tokens=model.context_length,
        kv_bytes_per_token=kv_value_bytes
        * 2
        * decoder.num_hidden_layers
        * decoder.num_key_value_heads
        * decoder.head_size,
    )


def read_public(root: Path) -> Bundle:
    """Read a public directory, config.json beside onnx/model*.onnx. Raises BundleError."""
    config = _parse(root, "config.json", _HubConfig)
    artifacts = tuple(
        artifact for provider in _PUBLIC_GRAPHS if (artifact := _public_artifact(root, provider))
    )
    if not artifacts:
        names = ", ".join(name for graphs in _PUBLIC_GRAPHS.values() for name, _ in graphs)
        raise UnsupportedLayout(f"{root}/onnx holds none of {names}; download one of them")
    generation = _GenerationConfig()
    if (root / "generation_config.json").is_file():
        generation = _parse(root, "generation_config.json", _GenerationConfig)
    head_dim = config.head_dim or config.hidden_size // config.num_attention_heads
    kv_value_bytes = 2 if "16" in artifacts[0].path.stem else 4
    return _bundle(
        root,
        layout="public",
        artifacts=artifacts,
        config_files=("config.json", "generation_config.json"),
        end_token_ids=_as_ids(generation.eos_token_id) or _as_ids(config.eos_token_id),
        max_context_tokens=config.max_position_embeddings,
        kv_bytes_per_token=kv_value_bytes
        * 2
        * config.num_hidden_layers
        * config.num_key_value_heads
        * head_dim,
    )


def _public_artifact(root: Path, provider: Provider) -> Artifact | None:
    for name, precision in _PUBLIC_GRAPHS[provider]:
        path = root / "onnx" / name
        if path.is_file():
            return Artifact(provider, precision, path)
    return None


def _bundle(
    root: Path,
    *,
    layout: Literal["genai", "public"],
    artifacts: tuple[Artifact, ...],
    config_files: tuple[str, ...],
    end_token_ids: tuple[int, ...],
    max_context_tokens: int,
    kv_bytes_per_token: int,
) -> Bundle:
    tokenizer_path = _existing(root, "tokenizer.json")
    begin_token, template = _chat_format(root)
    tools, tool_format = _tool_support(template)
    graphs = [path for artifact in artifacts for path in graph_files(artifact.path)]
    sides = [root / name for name in (*config_files, *_SIDE_FILES) if (root / name).is_file()]
    digest = listing_digest(
        {path.relative_to(root).as_posix(): file_digest(path) for path in (*graphs, *sides)}
    )
    return Bundle(
        root=root,
        layout=layout,
        name=root.resolve().name,
        version=digest.removeprefix("sha256:")[:12],
        digest=digest,
        licence="unknown",
        intended_use="unknown",
        limits="unknown",
        languages=(),
        tools=tools,
        tool_format=tool_format,
        instructions=_instruction_support(template),
        max_context_tokens=max_context_tokens,
        kv_bytes_per_token=kv_bytes_per_token,
        begin_token=begin_token,
        end_tokens=_token_strings(tokenizer_path, end_token_ids),
        tokenizer_path=tokenizer_path,
        chat_template=template,
        artifacts=artifacts,
    )


def _chat_format(root: Path) -> tuple[str, str]:
    """The begin token (may be empty) and the chat template's text."""
    config = _parse(root, "tokenizer_config.json", _TokenizerConfig)
    begin = config.bos_token
    begin_token = begin.content if isinstance(begin, _TokenContent) else begin or ""
    beside = root / "chat_template.jinja"
    if beside.is_file():
        return begin_token, read_text(beside)
    template = config.chat_template
    if isinstance(template, list):
        template = next((t.template for t in template if t.name == "default"), None)
    if template is None:
        raise BundleFileMissing(
            root, "a chat template", "export an instruction-tuned model or add chat_template.jinja"
        )
    return begin_token, template


def _tool_support(template: str) -> tuple[str, ToolFormat]:
    """What the template's text says about tools: which it takes and how calls are written."""
    tools = "any" if "tools" in template else "none"
    return tools, "hermes" if "<tool_call>" in template else "llama"


def _instruction_support(template: str) -> Literal["any", "none"]:
    """Whether the template's text places system messages, by name or by writing every role."""
    if "system role not supported" in template.lower():
        return "none"
    return "any" if "system" in template or _WRITES_ROLES.search(template) else "none"


def _token_strings(tokenizer_path: Path, ids: tuple[int, ...]) -> tuple[str, ...]:
    added = _decode(tokenizer_path, _Tokenizer).added_tokens
    contents = {token.id: token.content for token in added}
    unknown = [str(id_) for id_ in ids if id_ not in contents]
    if unknown or not ids:
        detail = (
            f"has no added token with id {', '.join(unknown)}" if unknown else "has no end token"
        )
        raise BundleUnreadable(tokenizer_path, f"{detail}, which the model's configuration needs")
    return tuple(contents[id_] for id_ in ids)


def _as_ids(ids: int | list[int] | None) -> tuple[int, ...]:
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else tuple(ids)


def _existing(root: Path, name: str) -> Path:
    path = root / name
    if not path.is_file():
        raise BundleFileMissing(root, name)
    return path


def _parse(root: Path, name: str, type_: type[_T]) -> _T:
    return _decode(_existing(root, name), type_)


def _decode(path: Path, type_: type[_T]) -> _T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except (OSError, msgspec.DecodeError) as error:
        raise BundleUnreadable(path, str(error)) from error
