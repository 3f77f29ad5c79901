"""``python -m gateway.speech.worker --fd N``: a recogniser or a voice, at one end of a socket."""

from __future__ import annotations

import asyncio
import sys
from threading import Thread
from typing import TYPE_CHECKING

from gateway.core.errors import SetupError
from gateway.runtime.child_process import FramePipe
from gateway.runtime.frames import encode
from gateway.runtime.parent_process import meet_parent
from gateway.speech.frames import Failed, Ready, StartRecogniser, StartVoice, site_frames
from gateway.speech.worker.engines import load_ear, load_voice
from gateway.speech.worker.work import HearingWork, SayingWork

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gateway.runtime.frames import FrameDecoder
    from gateway.speech.frames import SiteFrame, WorkerFrame


def main() -> int:
    """Serve the site at the other end; 0 when it is gone, 1 when serving is impossible."""
    decoder = site_frames()
    sock, frames = meet_parent("gateway.speech.worker", __doc__, decoder)
    return asyncio.run(serve(sock, decoder, frames))


async def serve(
    sock: socket.socket, decoder: FrameDecoder[SiteFrame], frames: list[SiteFrame]
) -> int:
    """Load the engine that the first frame names, and do what the others ask for."""
    loop = asyncio.get_running_loop()

    def tell(frame: WorkerFrame) -> None:
        loop.call_soon_threadsafe(pipe.send, frame)

    start, *pending = frames
    try:
        work, ready = load(start, tell)
    except SetupError as error:
        sock.sendall(encode(Failed(str(error))))
        return 1

    def receive(more: list[SiteFrame]) -> None:
        for frame in more:
            work.take(frame)

    pipe: FramePipe[WorkerFrame, SiteFrame] = FramePipe(decoder, receive, name="site")
    await loop.create_unix_connection(lambda: pipe, sock=sock)
    pipe.send(ready)
    receive(pending)

    def run() -> None:
        try:
            work.run()
        finally:  # an engine that broke ends its process, so that the site starts another
            loop.call_soon_threadsafe(pipe.close)

    Thread(target=run, name="engine", daemon=True).start()
    await pipe.lost.wait()
    return 0


def load(
    start: SiteFrame, tell: Callable[[WorkerFrame], None]
) -> tuple[HearingWork | SayingWork, Ready]:
    """Load what `start` names. Raises SetupError."""
    match start:
        case StartRecogniser():
            ear = load_ear(start)
            return HearingWork(ear, tell), Ready(ear.name, ear.grade)
        case StartVoice():
            voice = load_voice(start)
            return SayingWork(voice, tell), Ready(voice.name, voice.grade)
        case _:
            raise ValueError(f"the first frame must start an engine, not {type(start).__name__}")


if __name__ == "__main__":
    sys.exit(main())
