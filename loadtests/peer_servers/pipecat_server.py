"""Pipecat's SmallWebRTC transport: a pipeline of input, Silero VAD, echo and output per call."""

from __future__ import annotations

import asyncio
import sys

from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport

from loadtests.peer_servers.offers import serve_offers, use_loopback

_RATE_HZ = 16_000


class Echo(FrameProcessor):
    """Says what it hears."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Sound goes on as sound to be said, all else as it is."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.push_frame(
                OutputAudioRawFrame(frame.audio, frame.sample_rate, frame.num_channels)
            )
        else:
            await self.push_frame(frame, direction)


async def _run(connection: SmallWebRTCConnection) -> None:
    params = TransportParams(
        audio_in_enabled=True,
        audio_in_sample_rate=_RATE_HZ,
        audio_out_enabled=True,
        audio_out_sample_rate=_RATE_HZ,
    )
    transport = SmallWebRTCTransport(connection, params)
    judge = VADProcessor(vad_analyzer=SileroVADAnalyzer(sample_rate=_RATE_HZ))
    pipeline = Pipeline([transport.input(), judge, Echo(), transport.output()])
    task = PipelineTask(pipeline, cancel_on_idle_timeout=False)
    await PipelineRunner(handle_sigint=False).run(task)


async def _main() -> None:
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    use_loopback()
    async with asyncio.TaskGroup() as calls:

        async def answer(offer: str) -> str:
            connection = SmallWebRTCConnection(ice_servers=[])
            await connection.initialize(sdp=offer, type="offer")
            calls.create_task(_run(connection))
            return str(connection.get_answer()["sdp"])

        await serve_offers(answer)


if __name__ == "__main__":
    asyncio.run(_main())
