"""Write a model directory: graphs, tokenizer, chat template and the manifest that binds them.

The manifest's schema is defined by its reader, ``gateway.engine.bundle``; what is written is read
back through it, so a bundle that this module returns can be served.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import onnx

from gateway.engine.bundle import MANIFEST_NAME, MANIFEST_SCHEMA, load_bundle
from gateway.engine.bundle_facts import Bundle, Provider, ToolFormat, file_digest, tools_digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnx import ModelProto

    from models.matrices import Precision

# Above this size the weights lie in a file of their own, which the runtime maps instead of
# parsing; protobuf itself ends at 2 GiB.
_INLINE_LIMIT_BYTES = 64 << 20
_EXTERNAL_TENSOR_BYTES = 1024


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """What the manifest says beside its files; the keys' meaning is the reader's.

    `tools` holds for a bundle without a fixed tool list only.
    """

    id: str
    version: str
    licence: str
    intended_use: str
    limits: str
    languages: tuple[str, ...]
    tool_format: ToolFormat
    max_context_tokens: int
    kv_bytes_per_token: int
    end_tokens: tuple[str, ...]
    begin_token: str = ""
    tools: Literal["any", "none"] = "any"
    instructions: Literal["any", "none"] = "any"


def provider_of(precision: Precision) -> Provider:
    """What runs a graph in this precision."""
    return "cuda" if precision == "fp16" else "cpu"


def kv_value_bytes(precision: Precision) -> int:
    """Of a number in the KV cache of a graph in this precision."""
    return 2 if precision == "fp16" else 4


def write_bundle(
    out_dir: Path,
    *,
    graphs: Mapping[tuple[Provider, Precision], ModelProto],
    tokenizer_json: str,
    chat_template: str,
    facts: BundleFacts,
    tools_json: str | None = None,
    extra_files: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write the bundle and return it as the reader sees it.

    `tools_json` is the only tool list the model was trained on. `extra_files` (a model card, a
    licence) are listed in the manifest like the rest. Existing files of the same names are
    replaced; the weights of a large graph move from `graphs` to their file. Raises
    BundleError when the result would not be readable.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    texts = {"tokenizer.json": tokenizer_json, "chat_template.jinja": chat_template}
    if tools_json is not None:
        texts["tools.json"] = tools_json
    contents = {name: text.encode() for name, text in texts.items()} | dict(extra_files or {})
    for name, content in contents.items():
        (out_dir / name).write_bytes(content)
    artifacts: list[tuple[Provider, Precision, str]] = []
    names = list(contents)
    for (provider, precision), graph in graphs.items():
        name = f"model_{provider}_{precision}.onnx"
        names += _write_graph(graph, out_dir / name)
        artifacts.append((provider, precision, name))
    manifest = _manifest(facts, artifacts, tools_json)
    manifest += ["", "[files]"]
    manifest += [f"{_toml(name)} = {_toml(file_digest(out_dir / name))}" for name in sorted(names)]
    (out_dir / MANIFEST_NAME).write_text("\n".join(manifest) + "\n", "utf-8")
    return load_bundle(out_dir)


def _write_graph(graph: ModelProto, path: Path) -> list[str]:
    """Write one graph; return the names of the files it takes."""
    data_path = path.with_name(f"{path.name}.data")
    data_path.unlink(missing_ok=True)
    weight_bytes = sum(len(tensor.raw_data) for tensor in graph.graph.initializer)
    if weight_bytes <= _INLINE_LIMIT_BYTES:
        path.write_bytes(graph.SerializeToString())
        return [path.name]
    onnx.save_model(
        graph,
        str(path),
        save_as_external_data=True,
        location=data_path.name,
        size_threshold=_EXTERNAL_TENSOR_BYTES,
    )
    # onnx makes the data file readable for its owner only.
    data_path.chmod(path.stat().st_mode)
    return [path.name, data_path.name]


def _manifest(
    facts: BundleFacts, artifacts: list[tuple[Provider, Precision, str]], tools_json: str | None
) -> list[str]:
    values: dict[str, object] = {
        "schema": MANIFEST_SCHEMA,
        "id": facts.id,
        "version": facts.version,
        "licence": facts.licence,
        "intended_use": facts.intended_use,
        "limits": facts.limits,
        "languages": facts.languages,
        "tools": facts.tools if tools_json is None else f"fixed:{tools_digest(tools_json)}",
        "tool_format": facts.tool_format,
        "instructions": facts.instructions,
        "max_context_tokens": facts.max_context_tokens,
        "kv_bytes_per_token": facts.kv_bytes_per_token,
        "begin_token": facts.begin_token,
        "end_tokens": facts.end_tokens,
        "tokenizer": "tokenizer.json",
        "chat_template": "chat_template.jinja",
    }
    if tools_json is not None:
        values["tools_file"] = "tools.json"
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    for provider, precision, name in artifacts:
        table = {"provider": provider, "precision": precision, "file": name}
        lines += ["", "[[artifact]]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return lines


def _toml(value: object) -> str:
    """JSON's strings, integers and arrays are TOML's too, but for the unescaped DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
