"""Chromium as the client: microphone and events, an ICE restart under way, and its goodbye."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.media.worker.audio_terms import Codec
from gateway.media.worker.udp_port import UdpPort
from tests.media.raw_client import Heard
from tests.requirements import require

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gateway.media.worker.peer_call import PeerCall

pytestmark = pytest.mark.flow

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MAX_WAIT_S = 60.0
FLAGS = """--headless=new --no-sandbox --disable-gpu --use-fake-ui-for-media-stream
    --use-fake-device-for-media-stream --autoplay-policy=no-user-gesture-required
    --allow-loopback-in-peer-connection --no-first-run""".split()
PAGE = """<script>
(async () => {
  const microphone = await navigator.mediaDevices.getUserMedia({audio: true});
  const pc = new RTCPeerConnection();
  const events = pc.createDataChannel('oai-events');
  const negotiate = async () => {
    await pc.setLocalDescription(await pc.createOffer());
    const body = pc.localDescription.sdp;
    const answer = await (await fetch('/offer', {method: 'POST', body})).text();
    await pc.setRemoteDescription({type: 'answer', sdp: answer});
  };
  pc.ontrack = ({streams}) => { window.heard = streams[0].id; };
  events.onopen = () => events.send('hello from ' + window.heard);
  events.onmessage = async ({data}) => {
    if (data === 'restart') { pc.restartIce(); await negotiate(); }
    else if (data === 'close') pc.close();
    else events.send('' + data.length);
  };
  pc.addTrack(microphone.getTracks()[0], microphone);
  await negotiate();
})();
</script>"""


@asynccontextmanager
async def browser(profile: Path, answer: Callable[[str], str]) -> AsyncIterator[None]:
    """A browser on the page above; its offers go to `answer`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = PAGE
        if head.startswith("post /offer"):
            length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0])
            body = answer((await reader.readexactly(length)).decode())
        writer.write(
            f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\n"
            f"connection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    assert CHROMIUM is not None
    nowhere = asyncio.subprocess.DEVNULL
    chromium = await asyncio.create_subprocess_exec(
        CHROMIUM, *FLAGS, f"--user-data-dir={profile}", url, stdout=nowhere, stderr=nowhere
    )
    try:
        yield
    finally:
        chromium.terminate()
        await chromium.wait()
        server.close()
        await server.wait_closed()


def test_a_browsers_call(tmp_path: Path) -> None:
    require("chromium", CHROMIUM is not None, "run make setup-ci")

    async def main() -> None:
        port = await UdpPort.open("127.0.0.1", 0)
        heard = Heard()
        calls: list[PeerCall] = []
        answers: list[str] = []

        def answer(offer: str) -> str:
            if calls:
                answers.append(calls[0].restart(offer))
            else:
                calls.append(port.accept(offer, heard, call_id="a"))
                answers.append(calls[0].answer_sdp)
            return answers[-1]

        async with asyncio.timeout(MAX_WAIT_S), browser(tmp_path / "profile", answer):
            await heard.until(lambda: heard.messages == ["hello from firsthop"])
            await heard.until(lambda: len(heard.packets) > 10)
            call = calls[0]
            assert call.audio.codec is Codec.OPUS
            assert {packet[1] & 0x7F for packet in heard.packets} == {call.audio.payload_type}
            call.send_message("x" * 200_000)
            await heard.until(lambda: heard.messages[-1] == "200000")
            call.send_message("restart")
            await heard.until(lambda: len(answers) == 2 and len(call.names) == 1)
            num_before = len(heard.packets)
            await heard.until(lambda: len(heard.packets) > num_before + 10)
            call.send_message("close")
            await heard.until(lambda: heard.states == ["connected", "closed: "])
        port.close()

    asyncio.run(main())
