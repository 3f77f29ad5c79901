"""Escalation to a real llama.cpp server, and a site in front of one."""

from __future__ import annotations

import importlib
import importlib.util
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

import openai
import pytest

from loadtests.local_site import SiteFailed, running_site, wait_until
from tests.flows.tiny_gguf import write_tiny_gguf
from tests.requirements import require

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTSIDE = "how long should I roast a chicken for?"
"""The assistant's model hands this over."""
MEND = "CMAKE_ARGS=-DLLAVA_BUILD=OFF pip install 'llama-cpp-python[server]' gguf"
PARTS = ("llama_cpp", "fastapi", "gguf")


@pytest.fixture(scope="module")
def llama_v1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a llama.cpp server with a model of noise."""
    present = all(importlib.util.find_spec(part) is not None for part in PARTS)
    require("llamacpp", present, MEND)
    folder = tmp_path_factory.mktemp("llama")
    write_tiny_gguf(folder / "tiny.gguf", importlib.import_module("gguf"))
    port = _free_port()
    log = folder / "server.log"
    arguments = ["--model", str(folder / "tiny.gguf"), "--model_alias", "noise"]
    arguments += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "512"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "llama_cpp.server", *arguments, "--n_threads", "1"],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    v1 = f"http://127.0.0.1:{port}/v1"

    def is_ready() -> bool:
        if server.poll() is not None:
            raise SiteFailed(f"llama.cpp ended: {log.read_text()}")
        try:
            with urllib.request.urlopen(f"{v1}/models", timeout=5):
                return True
        except URLError:
            return False

    try:
        wait_until(is_ready, "llama.cpp is ready", 60.0)
        yield v1
    finally:
        server.terminate()
        server.wait(10)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(http: str, text: str, **more: Any) -> tuple[openai.types.chat.ChatCompletion, Any]:
    """The answer, and what it says of itself."""
    with openai.OpenAI(base_url=f"{http}/v1", api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(
            messages=[{"role": "user", "content": text}], **{"model": "default", **more}
        )
    return answer, (answer.model_extra or {})["firsthop"]


def test_the_assistant_hands_over_to_llama_cpp(
    llama_v1: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_site(
        tmp_path_factory.mktemp("edge"), FIRSTHOP_CORE_URL=llama_v1, FIRSTHOP_CORE_MODEL="noise"
    ) as edge:
        answer, told = ask(edge.http, OUTSIDE, max_tokens=24)
        assert answer.choices[0].message.content
        assert (told["escalation"], told["path"]) == ("assistant", ["edge-a", "core"])
        assert (told["model"], told["requested_model"]) == ("noise", "default")
        named, told = ask(edge.http, "hello", model="noise", max_tokens=8, seed=1, temperature=0)
        again, _ = ask(edge.http, "hello", model="noise", max_tokens=8, seed=1, temperature=0)
        assert told["escalation"] == "model_requested"
        assert named.choices[0].finish_reason == "length"
        assert named.choices[0].message.content == again.choices[0].message.content


def test_llama_cpp_behind_a_site(llama_v1: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_site(
        tmp_path_factory.mktemp("front"),
        FIRSTHOP_UPSTREAM_URL=llama_v1,
        FIRSTHOP_UPSTREAM_MODEL="noise",
    ) as front:
        answer, told = ask(front.http, "hello", max_tokens=8)
        assert answer.choices[0].finish_reason == "length"
        assert (told["site"], told["model"]) == ("edge-a", "noise")
        with (
            openai.OpenAI(base_url=f"{front.http}/v1", api_key="none") as client,
            client.chat.completions.create(
                model="noise", messages=[{"role": "user", "content": "on"}], stream=True
            ) as stream,
        ):
            next(iter(stream))
        front.wait_idle()
        # It opens a stream first and then finds that the prompt does not fit.
        with pytest.raises(openai.InternalServerError, match="broke off") as caught:
            ask(front.http, "far too long " * 100)
        assert caught.value.code == "upstream_unavailable"
        assert ask(front.http, "hello", max_tokens=8)[0].choices[0].message.content
