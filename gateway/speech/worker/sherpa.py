"""The operator's own recogniser and voice, run by sherpa-onnx (the extra `sherpa`)."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway.core.errors import SetupError
from gateway.core.voice_line import HEARD_HZ, SAID_HZ
from gateway.speech.port import Heard, SpeechGrade, Spoken
from gateway.speech.resample import Resampler
from gateway.speech.worker.port import EngineFailed
from gateway.speech.worker.sherpa_files import EarKind, VoiceKind, ear_files, voice_files

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

    from gateway.speech.worker.port import Emit
    from gateway.speech.worker.sherpa_files import EarFiles, VoiceFiles

MEND: Final = "pip install 'firsthop[sherpa]'"
_TAIL_S = 0.4
"""Silence after the last sound: streaming models hold back what the future may change."""


class SherpaEar:
    """A streaming recogniser; all hearings share the model."""

    grade = SpeechGrade.OPERATOR

    def __init__(self, directory: Path) -> None:
        files = ear_files(directory)
        _require()
        self.name = f"sherpa-onnx {files.kind} {directory.name}"
        self._recogniser = _recogniser(files)

    def begin(self, caller: str) -> SherpaHearing:
        """Begin a hearing; these models need to know nothing of the caller."""
        return SherpaHearing(self._recogniser)


class SherpaHearing:
    """One stream of the recogniser."""

    caller = ""

    def __init__(self, recogniser: Any) -> None:
        self._recogniser = recogniser
        self._stream = recogniser.create_stream()

    def feed(self, pcm: bytes) -> None:
        """More sound: int16, mono, 16 kHz."""
        sound = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        self._stream.accept_waveform(HEARD_HZ, sound)
        self._decode()

    def so_far(self) -> Heard:
        """The best words until now."""
        return Heard(str(self._recogniser.get_result(self._stream)).strip().lower())

    def finish(self) -> Heard:
        """The final words."""
        self._stream.accept_waveform(HEARD_HZ, np.zeros(int(_TAIL_S * HEARD_HZ), np.float32))
        self._stream.input_finished()
        self._decode()
        return Heard(self.so_far().text, is_final=True)

    def drop(self) -> None:
        """The stream ends with its last reference."""

    def _decode(self) -> None:
        while self._recogniser.is_ready(self._stream):
            self._recogniser.decode_stream(self._stream)


class SherpaVoice:
    """A voice; a number chooses among the speakers of one that has several."""

    grade = SpeechGrade.OPERATOR

    def __init__(self, directory: Path, speaker: str = "") -> None:
        files = voice_files(directory)
        _require()
        if speaker and not speaker.isdecimal():
            raise SetupError(f"speech.voice_name is {speaker!r}; with sherpa it is a number from 0")
        self._speaker = int(speaker or 0)
        self.name = f"sherpa-onnx {files.kind} {directory.name}"
        self._tts = _tts(files)
        if self._speaker >= max(1, self._tts.num_speakers):
            raise SetupError(f"{directory} has {self._tts.num_speakers} speakers; take one of them")

    def say(self, text: str, emit: Emit) -> None:
        """Make a clause's sound, sentence by sentence. Raises EngineFailed."""
        resampler = Resampler(self._tts.sample_rate, SAID_HZ)
        has_sound = False

        def take(samples: ArrayLike, progress: float) -> int:
            nonlocal has_sound
            has_sound = True
            scaled = np.clip(np.asarray(samples) * 32767, -32768, 32767)
            return int(emit(Spoken(resampler.feed(scaled.astype("<i2").tobytes()))))

        self._tts.generate(text, sid=self._speaker, speed=1.0, callback=take)
        if not has_sound:
            raise EngineFailed("the voice made no sound of it")
        emit(Spoken(resampler.flush()))


def _require() -> None:
    if importlib.util.find_spec("sherpa_onnx") is None:
        raise SetupError(f"sherpa-onnx is not installed; {MEND}")


def _recogniser(files: EarFiles) -> Any:
    import sherpa_onnx

    tokens, model = str(files.tokens), str(files.encoder)
    build = sherpa_onnx.OnlineRecognizer
    match files.kind:
        case EarKind.TRANSDUCER:
            parts = {"decoder": str(files.decoder), "joiner": str(files.joiner)}
            return build.from_transducer(tokens=tokens, encoder=model, num_threads=1, **parts)
        case EarKind.PARAFORMER:
            return build.from_paraformer(
                tokens=tokens, encoder=model, decoder=str(files.decoder), num_threads=1
            )
        case EarKind.NEMO_CTC:
            return build.from_nemo_ctc(tokens=tokens, model=model, num_threads=1)
        case EarKind.ZIPFORMER_CTC:
            return build.from_zipformer2_ctc(tokens=tokens, model=model, num_threads=1)


def _tts(files: VoiceFiles) -> Any:
    import sherpa_onnx

    paths = {"tokens": str(files.tokens), "lexicon": _path(files.lexicon)}
    paths["data_dir"] = _path(files.data)
    model = str(files.model)
    part: dict[str, Any]
    match files.kind:
        case VoiceKind.KOKORO:
            voices = _path(files.voices)
            kokoro = sherpa_onnx.OfflineTtsKokoroModelConfig(model=model, voices=voices, **paths)
            part = {"kokoro": kokoro}
        case VoiceKind.MATCHA:
            vocoder = _path(files.vocoder)
            part = {
                "matcha": sherpa_onnx.OfflineTtsMatchaModelConfig(
                    acoustic_model=model, vocoder=vocoder, **paths
                )
            }
        case VoiceKind.VITS:
            part = {"vits": sherpa_onnx.OfflineTtsVitsModelConfig(model=model, **paths)}
    config = sherpa_onnx.OfflineTtsConfig(
        model=sherpa_onnx.OfflineTtsModelConfig(num_threads=1, **part)
    )
    if not config.validate():
        raise SetupError(f"sherpa-onnx does not take {files.model.parent} as a {files.kind} voice")
    return sherpa_onnx.OfflineTts(config)


def _path(path: Path | None) -> str:
    return "" if path is None else str(path)
