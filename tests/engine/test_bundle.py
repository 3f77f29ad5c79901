from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.errors import GatewayError
from gateway.engine.bundle import load_bundle
from gateway.engine.bundle_facts import (
    Bundle,
    BundleDigestMismatch,
    BundleError,
    BundleFileMissing,
    BundlePathRefused,
    BundleUnreadable,
    UnsupportedLayout,
    file_digest,
    tools_digest,
)
from models.bundle import BundleFacts, write_bundle
from models.gqa_graph import DecoderShape, build_graph, random_weights
from models.make_tiny import write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GRAPH = "model_cpu_fp32.onnx"
TOOLS = '[{"type": "function", "function": {"name": "größe", "parameters": {}}}]'
SHAPE = DecoderShape(32, 32, 1, 2, 1, 16, 32, 16)
FACTS = BundleFacts(
    id="with-tools",
    version='1.0 "beta"',
    licence="Apache-2.0",
    intended_use="Tests.",
    limits="None.",
    languages=("en", "de"),
    tool_format="firsthop",
    max_context_tokens=512,
    kv_bytes_per_token=64,
    end_tokens=("<e>",),
    instructions="none",
)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny")


def edit(root: Path, change: Callable[[str], str]) -> None:
    manifest = root / "manifest.toml"
    manifest.write_text(change(manifest.read_text()))


def with_tools(root: Path) -> Bundle:
    return write_bundle(
        root,
        graphs={("cpu", "int8"): build_graph(SHAPE, random_weights(SHAPE, 0), "int8")},
        tokenizer_json="{}",
        chat_template="{{ messages }}",
        facts=FACTS,
        tools_json=TOOLS,
        extra_files={"README.md": b"A card."},
    )


def test_manifest_facts_come_back_as_written(tiny: Path) -> None:
    bundle = load_bundle(tiny)
    assert (bundle.name, bundle.layout, bundle.tool_format) == ("tiny", "firsthop", "hermes")
    assert (bundle.tools, bundle.fixed_tools_digest, bundle.tools_path) == ("any", None, None)
    assert (bundle.begin_token, bundle.end_tokens) == ("<s>", ("<e>",))
    assert (bundle.max_context_tokens, bundle.kv_bytes_per_token) == (2048, 2 * 2 * 2 * 32 * 4)
    assert bundle.artifact("cpu").path == tiny / GRAPH
    assert bundle.artifact("cpu").precision == "fp32"
    assert bundle.chat_template == (tiny / "chat_template.jinja").read_text()
    with pytest.raises(UnsupportedLayout, match="no graph for the cuda provider, only for cpu"):
        bundle.artifact("cuda")


def test_digest_names_the_content_and_not_the_place(tmp_path: Path) -> None:
    one, two = (load_bundle(write_tiny_bundle(tmp_path / name)) for name in "ab")
    other = load_bundle(write_tiny_bundle(tmp_path / "c", lag_tokens=64))
    assert one.digest == two.digest
    assert one.digest != other.digest
    assert one.digest.startswith("sha256:")
    assert len(one.digest) == 71


def test_changed_file_is_named_with_both_digests(tiny: Path) -> None:
    intended = file_digest(tiny / "tokenizer.json")
    (tiny / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleDigestMismatch) as caught:
        load_bundle(tiny)
    error = caught.value
    assert (error.name, error.expected) == ("tokenizer.json", intended)
    assert error.actual == file_digest(tiny / "tokenizer.json")
    assert "tokenizer.json" in str(error)
    assert error.expected in str(error)
    assert error.actual in str(error)
    assert load_bundle(tiny, verify=False).name == "tiny"


@pytest.mark.parametrize("verify", [True, False])
def test_missing_file_is_named(tiny: Path, verify: bool) -> None:
    (tiny / GRAPH).unlink()
    with pytest.raises(BundleFileMissing, match=GRAPH) as caught:
        load_bundle(tiny, verify=verify)
    assert caught.value.name == GRAPH
    assert isinstance(caught.value, GatewayError)
    assert (caught.value.code, caught.value.retryable) == ("bad_model_directory", False)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret", "..\\\\secret"])
def test_paths_out_of_the_directory_are_refused(tiny: Path, name: str) -> None:
    (tiny.parent / "secret").write_text("s")
    edit(tiny, lambda text: f'{text}"{name}" = "sha256:{"0" * 64}"\n')
    with pytest.raises(BundlePathRefused, match="leads out of the directory"):
        load_bundle(tiny)


def test_links_out_of_the_directory_are_refused(tiny: Path) -> None:
    outside = tiny.parent / "outside.json"
    (tiny / "tokenizer.json").rename(outside)
    (tiny / "tokenizer.json").symlink_to(outside)
    with pytest.raises(BundlePathRefused, match=r"tokenizer\.json"):
        load_bundle(tiny)


BAD_MANIFESTS: dict[str, tuple[str, str, str]] = {
    "syntax": ("schema = 1", "schema = ", "line 1"),
    "newer schema": ("schema = 1", "schema = 2", r"\$\.schema"),
    "missing key": ('licence = "Apache-2.0"', "", "licence"),
    "unknown key": ("schema = 1", "schema = 1\nlicense = 'x'", "license"),
    "wrong type": ("max_context_tokens = 2048", "max_context_tokens = '2k'", "max_context_tokens"),
    "not positive": ("kv_bytes_per_token = 1024", "kv_bytes_per_token = 0", "kv_bytes_per_token"),
    "no end token": ('end_tokens = ["<e>"]', "end_tokens = []", "end_tokens"),
    "tool format": ('"hermes"', '"smoke"', "tool_format"),
    "tools": ('tools = "any"', 'tools = "some"', r"\$\.tools"),
    "provider": ('provider = "cpu"', 'provider = "tpu"', r"artifact\[0\]\.provider"),
    "unlisted": ('tokenizer = "tokenizer.json"', 'tokenizer = "manifest.toml"', "does not list"),
    "digest": ('= "sha256:', '= "md5:', r"\$\.files"),
    "fixed without file": ('tools = "any"', f'tools = "fixed:{"0" * 64}"', "tools_file"),
}


@pytest.mark.parametrize("case", BAD_MANIFESTS)
def test_bad_manifest_names_the_key(tiny: Path, case: str) -> None:
    old, new, message = BAD_MANIFESTS[case]
    assert old in (tiny / "manifest.toml").read_text()
    edit(tiny, lambda text: text.replace(old, new, 1))
    with pytest.raises(BundleUnreadable, match=message) as caught:
        load_bundle(tiny)
    assert "manifest.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fixed_tools_are_bound_by_their_canonical_digest(tmp_path: Path) -> None:
    bundle = with_tools(tmp_path)
    assert (bundle.version, bundle.languages, bundle.instructions) == (
        '1.0 "beta"',
        ("en", "de"),
        "none",
    )
    assert bundle.tools_path == tmp_path / "tools.json"
    assert bundle.fixed_tools_digest == tools_digest(json.dumps(json.loads(TOOLS), indent=2))
    (tmp_path / "tools.json").write_text(TOOLS.replace("größe", "grösse"))
    with pytest.raises(BundleDigestMismatch, match="fixed:") as caught:
        load_bundle(tmp_path, verify=False)
    assert caught.value.expected == bundle.tools
    (tmp_path / "tools.json").write_text("[")
    with pytest.raises(BundleUnreadable, match="is not JSON"):
        load_bundle(tmp_path, verify=False)


def test_extra_files_are_part_of_the_digest(tmp_path: Path) -> None:
    with_tools(tmp_path)
    (tmp_path / "README.md").write_text("Another card.")
    with pytest.raises(BundleDigestMismatch, match=r"README\.md"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("verify", [True, False])
def test_weights_that_the_manifest_does_not_list_are_refused(tiny: Path, verify: bool) -> None:
    (tiny / f"{GRAPH}.data").write_bytes(b"other weights")
    with pytest.raises(BundleUnreadable, match=r"fp32\.onnx\.data, which \[files\] does not list"):
        load_bundle(tiny, verify=verify)


def test_rewriting_a_bundle_replaces_it(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, lag_tokens=64)
    write_tiny_bundle(tmp_path)
    assert load_bundle(tmp_path).digest == load_bundle(write_tiny_bundle(tmp_path / "x")).digest


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def genai_directory(root: Path, template: str, *, provider: str | None = None) -> Path:
    """The files of onnxruntime-genai 0.18's builder for a Qwen2.5-0.5B, graph left empty."""
    options = [{provider: {"enable_cuda_graph": "0"}}] if provider else []
    decoder = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": options},
        "filename": "model.onnx",
        "head_size": 64,
        "hidden_size": 896,
        "num_attention_heads": 14,
        "num_hidden_layers": 24,
        "num_key_value_heads": 2,
    }
    model = {
        "bos_token_id": 0,
        "context_length": 32768,
        "decoder": decoder,
        "eos_token_id": [1, 0],
        "type": "qwen2",
        "vocab_size": 151936,
    }
    write_json(root / "genai_config.json", {"model": model, "search": {"top_k": 1}})
    side_files(root, template)
    (root / "model.onnx").write_bytes(b"graph")
    (root / "model.onnx.data").write_bytes(b"weights")
    return root


def side_files(root: Path, template: str | None, bos: Any = "<s>") -> None:
    added = [{"id": 0, "content": "<end>"}, {"id": 1, "content": "<im_end>"}]
    write_json(root / "tokenizer.json", {"added_tokens": added, "model": {"type": "BPE"}})
    config = {"bos_token": bos, "chat_template": template, "model_max_length": 1e30}
    write_json(root / "tokenizer_config.json", config)


HERMES = "{% if tools %}<tool_call>{% endif %}{{ messages }} system"
LLAMA = '{% if tools %}<|python_tag|>{"name": {% endif %}{{ messages }}'


def test_genai_directory_is_read(tmp_path: Path) -> None:
    bundle = load_bundle(genai_directory(tmp_path / "qwen", HERMES))
    assert (bundle.layout, bundle.name) == ("genai", "qwen")
    assert (bundle.tools, bundle.tool_format, bundle.instructions) == ("any", "hermes", "any")
    assert bundle.end_tokens == ("<im_end>", "<end>")
    assert bundle.begin_token == "<s>"
    assert (bundle.max_context_tokens, bundle.kv_bytes_per_token) == (32768, 24576)
    assert bundle.artifact("cpu").path == tmp_path / "qwen" / "model.onnx"


def test_genai_cuda_directory_has_a_half_precision_cache(tmp_path: Path) -> None:
    bundle = load_bundle(genai_directory(tmp_path, LLAMA, provider="cuda"))
    assert bundle.kv_bytes_per_token == 12288
    assert bundle.artifact("cuda").path == tmp_path / "model.onnx"
    assert (bundle.tool_format, bundle.instructions) == ("llama", "none")


def test_genai_template_beside_the_config_wins(tmp_path: Path) -> None:
    genai_directory(tmp_path, HERMES)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    bundle = load_bundle(tmp_path)
    assert bundle.chat_template == "{{ messages }}"
    assert bundle.tools == "none"


@pytest.mark.parametrize(
    ("template", "instructions"),
    [
        ("{{ '<|' + message['role'] + '|>' }}", "any"),
        ("{% if message.role == 'system' %}{{ message.content }}{% endif %}", "any"),
        ("{{ raise_exception('System role not supported') }}", "none"),
        ("{% if message.role == 'user' %}{{ message.content }}{% endif %}", "none"),
    ],
)
def test_template_tells_whether_system_messages_count(
    tmp_path: Path, template: str, instructions: str
) -> None:
    assert load_bundle(genai_directory(tmp_path, template)).instructions == instructions


def test_computed_digest_covers_weights_and_tokenizer(tmp_path: Path) -> None:
    before = load_bundle(genai_directory(tmp_path / "a", HERMES)).digest
    assert load_bundle(genai_directory(tmp_path / "b", HERMES)).digest == before
    (tmp_path / "a/model.onnx.data").write_bytes(b"other")
    changed = load_bundle(tmp_path / "a").digest
    side_files(tmp_path / "b", HERMES, bos={"content": "<b>"})
    assert len({before, changed, load_bundle(tmp_path / "b").digest}) == 3
    assert load_bundle(tmp_path / "b").begin_token == "<b>"


def test_unusable_genai_directory_says_why(tmp_path: Path) -> None:
    genai_directory(tmp_path, HERMES)
    write_json(tmp_path / "tokenizer.json", {"added_tokens": []})
    with pytest.raises(BundleUnreadable, match="no added token with id 1, 0"):
        load_bundle(tmp_path)
    side_files(tmp_path, None)
    with pytest.raises(BundleFileMissing, match=r"chat template.*instruction-tuned"):
        load_bundle(tmp_path)
    (tmp_path / "genai_config.json").write_text('{"model": {"eos_token_id": "x"}}')
    with pytest.raises(BundleUnreadable, match="eos_token_id"):
        load_bundle(tmp_path)
    genai_directory(tmp_path, HERMES)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(BundleFileMissing, match=r"model\.onnx is missing"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["../outside.onnx", "a/../../outside.onnx", "/etc/hostname"])
def test_genai_graph_out_of_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    root = genai_directory(tmp_path / "qwen", HERMES)
    (tmp_path / "outside.onnx").write_bytes(b"graph")
    config = root / "genai_config.json"
    config.write_text(config.read_text().replace('"model.onnx"', json.dumps(name)))
    with pytest.raises(BundlePathRefused, match="leads out of the directory"):
        load_bundle(root)


def public_directory(root: Path, *graphs: str) -> Path:
    config = {
        "hidden_size": 896,
        "num_attention_heads": 14,
        "num_hidden_layers": 24,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "eos_token_id": 0,
    }
    write_json(root / "config.json", config)
    side_files(root, HERMES)
    (root / "onnx").mkdir()
    for name in graphs:
        (root / "onnx" / name).write_bytes(b"graph")
    return root


def test_public_directory_offers_the_best_graph_for_each_provider(tmp_path: Path) -> None:
    names = ("model.onnx", "model_q4.onnx", "model_fp16.onnx", "model_q4f16.onnx")
    bundle = load_bundle(public_directory(tmp_path, *names))
    assert bundle.layout == "public"
    assert bundle.artifact("cpu").path.name == "model_q4.onnx"
    assert bundle.artifact("cuda").path.name == "model_fp16.onnx"
    assert bundle.kv_bytes_per_token == 24576
    assert bundle.end_tokens == ("<end>",)
    write_json(tmp_path / "generation_config.json", {"eos_token_id": [1, 0]})
    assert load_bundle(tmp_path).end_tokens == ("<im_end>", "<end>")


def test_public_directory_with_cuda_graphs_only(tmp_path: Path) -> None:
    bundle = load_bundle(public_directory(tmp_path, "model_fp16.onnx"))
    assert bundle.kv_bytes_per_token == 12288
    with pytest.raises(UnsupportedLayout, match="only for cuda"):
        bundle.artifact("cpu")


def test_directories_of_no_known_layout_say_how_to_export(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedLayout, match=r"onnxruntime_genai\.models\.builder"):
        load_bundle(tmp_path)
    with pytest.raises(UnsupportedLayout, match="is not a directory"):
        load_bundle(tmp_path / "absent")
    with pytest.raises(BundleError, match=r"model_q4\.onnx"):
        load_bundle(public_directory(tmp_path, "model_quantized.onnx"))
