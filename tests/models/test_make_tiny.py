from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from gateway.engine.bundle import load_bundle
from models import make_tiny
from models.byte_tokenizer import END, PAD, byte_tokenizer_json, special_id
from models.gqa_graph import DecoderShape, weight_shapes
from models.lag_copy import expected_continuation, lag_copy_shape, lag_copy_weights
from models.make_tiny import TINY_LAG_TOKENS, write_benchmark_bundle, write_tiny_bundle

if TYPE_CHECKING:
    from pathlib import Path

END_ID = special_id(END)


class TinyModel:
    """The bundle as a client sees it: messages in, greedy tokens out."""

    def __init__(self, root: Path) -> None:
        bundle = load_bundle(root)
        self.tokenizer: Any = Tokenizer.from_file(str(bundle.tokenizer_path))
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self.template = environment.from_string(bundle.chat_template)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        path = str(bundle.artifact("cpu").path)
        self.session: Any = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def prompt(self, *contents: str, tools: list[dict[str, str]] | None = None) -> list[int]:
        roles = ("user", "assistant")
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
        text = self.template.render(messages=messages, tools=tools, add_generation_prompt=True)
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def answer(self, prompt: list[int], max_tokens: int = 200) -> list[int]:
        caches = [i.name for i in self.session.get_inputs() if i.name.startswith("past_")]
        past = {name: np.zeros((1, 2, 0, 32), np.float32) for name in caches}
        answer: list[int] = []
        step, length = prompt, len(prompt)
        while len(answer) < max_tokens and END_ID not in answer:
            feeds = past | {
                "input_ids": np.array([step]),
                "attention_mask": np.ones((1, length), np.int64),
            }
            logits, *present = self.session.run(None, feeds)
            past = dict(zip(caches, present, strict=True))
            answer.append(int(logits[0, -1].argmax()))
            step, length = answer[-1:], length + 1
        return answer


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return TinyModel(write_tiny_bundle(tmp_path_factory.mktemp("tiny")))


@pytest.mark.parametrize(
    "message", ["h", "pay forty dollars", "Grüße 日本 🙂", "a line\nand a tab\t"]
)
def test_last_message_is_echoed_and_ended(tiny: TinyModel, message: str) -> None:
    answer = tiny.answer(tiny.prompt("earlier", "earlier", message))
    assert tiny.tokenizer.decode(answer) == message
    assert answer[-1] == END_ID
    assert len(answer) == len(message.encode()) + 1


def test_long_message_is_echoed_from_its_last_bytes(tiny: TinyModel) -> None:
    message = "".join(chr(97 + index % 26) for index in range(300))
    answer = tiny.answer(tiny.prompt(message))
    assert tiny.tokenizer.decode(answer) == message[-(TINY_LAG_TOKENS - 2) :]


def test_message_that_ends_in_dots_is_repeated_for_ever(tiny: TinyModel) -> None:
    prompt = tiny.prompt("on and on...")
    answer = tiny.answer(prompt, max_tokens=300)
    assert len(answer) == 300
    assert answer == expected_continuation(prompt, TINY_LAG_TOKENS, END_ID, 300)
    assert tiny.tokenizer.decode(answer).startswith("on and on...on and on...")


def test_tools_and_their_calls_appear_in_the_prompt(tiny: TinyModel) -> None:
    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    prompt = tiny.prompt(call, tools=[{"name": "now"}])
    assert '{"name": "now"}' in tiny.tokenizer.decode(prompt)
    assert tiny.tokenizer.decode(tiny.answer(prompt)) == call


def test_rule_holds_to_the_end_of_the_context(tmp_path: Path) -> None:
    model = TinyModel(write_tiny_bundle(tmp_path))
    rng = np.random.default_rng(3)
    prompt = [int(token) for token in rng.integers(0, 256, make_tiny.TINY_MAX_CONTEXT_TOKENS - 8)]
    expected = expected_continuation(prompt, TINY_LAG_TOKENS, END_ID, 8)
    assert model.answer(prompt, max_tokens=8) == expected


@pytest.mark.parametrize("lag_tokens", [3, 16, 65])
def test_other_lags_follow_the_rule(tmp_path: Path, lag_tokens: int) -> None:
    model = TinyModel(write_tiny_bundle(tmp_path, lag_tokens=lag_tokens))
    prompt = [int(token) for token in np.random.default_rng(4).integers(0, 256, 90)]
    expected = expected_continuation(prompt, lag_tokens, END_ID, 80)
    assert model.answer(prompt, max_tokens=80) == expected


@pytest.mark.parametrize("precision", ["int8", "w8a8"])
def test_quantised_tiny_model_follows_the_rule(tmp_path: Path, precision: Any) -> None:
    model = TinyModel(write_tiny_bundle(tmp_path, precision))
    assert model.tokenizer.decode(model.answer(model.prompt("the same words"))) == "the same words"


def test_rule_says_what_it_does_not_cover() -> None:
    with pytest.raises(ValueError, match="needs 128 prompt tokens, given 1"):
        expected_continuation([1], 128, END_ID, 5)
    with pytest.raises(ValueError, match="lag_tokens 2"):
        lag_copy_weights(lag_copy_shape(263, 64), 2)


def test_byte_tokenizer_round_trips_any_text_and_fills_its_vocabulary() -> None:
    tokenizer: Any = Tokenizer.from_str(byte_tokenizer_json(300))
    text = "".join(map(chr, range(1, 0x250))) + "日本🙂\x00"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert bytes(ids) == text.encode()
    assert tokenizer.decode(ids) == text
    assert tokenizer.get_vocab_size() == 300
    assert tokenizer.decode([299]) == " w36"
    assert tokenizer.encode(PAD, add_special_tokens=False).ids == [special_id(PAD)]
    with pytest.raises(ValueError, match="below 263"):
        byte_tokenizer_json(262)


def test_benchmark_bundle_keeps_large_weights_beside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = DecoderShape(300, 64, 1, 2, 1, 32, 64, 64)
    monkeypatch.setitem(make_tiny.BENCHMARK_SHAPES, "small", shape)
    monkeypatch.setattr("models.bundle._INLINE_LIMIT_BYTES", 1024)
    write_benchmark_bundle(tmp_path, "small", "int8")
    graph, data = tmp_path / "model_cpu_int8.onnx", tmp_path / "model_cpu_int8.onnx.data"
    assert data.stat().st_mode == graph.stat().st_mode
    assert '"model_cpu_int8.onnx.data"' in (tmp_path / "manifest.toml").read_text()
    session: Any = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].name == "logits"


def test_small_preset_has_the_size_it_claims() -> None:
    shape = make_tiny.BENCHMARK_SHAPES["small"]
    num_weights = sum(math.prod(dims) for dims in weight_shapes(shape).values())
    assert round(num_weights / 1e6, 1) == 15.7
    assert shape.kv_values_per_token * 4 == 8192
