"""Which kind of sherpa-onnx model a directory holds, told from its files.

The names are those of the models that the sherpa-onnx project publishes; several precisions may
lie side by side, and 8-bit integers are taken where they do.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

TOKENS: Final = "tokens.txt"
_EAR_KINDS = (
    "encoder*.onnx, decoder*.onnx and joiner*.onnx (transducer), encoder*.onnx and decoder*.onnx "
    "(paraformer), or model*.onnx or *ctc*.onnx (CTC)"
)
_VOICE_KINDS = (
    "one *.onnx (Piper), model*.onnx and voices.bin (Kokoro), or model*.onnx with vocos*.onnx or "
    "hifigan*.onnx (Matcha)"
)


class EarKind(StrEnum):
    """Kinds of streaming recognisers."""

    TRANSDUCER = "transducer"
    PARAFORMER = "paraformer"
    ZIPFORMER_CTC = "zipformer2 ctc"
    NEMO_CTC = "nemo ctc"


class VoiceKind(StrEnum):
    """Kinds of voices."""

    VITS = "vits"
    KOKORO = "kokoro"
    MATCHA = "matcha"


class EarFiles(NamedTuple):
    """A recogniser's files; those that the kind has not are None."""

    kind: EarKind
    tokens: Path
    encoder: Path
    """Of a CTC model, the model."""
    decoder: Path | None = None
    joiner: Path | None = None


class VoiceFiles(NamedTuple):
    """A voice's files; those that the kind or this model has not are None."""

    kind: VoiceKind
    tokens: Path
    model: Path
    voices: Path | None = None
    vocoder: Path | None = None
    lexicon: Path | None = None
    data: Path | None = None
    """The directory `espeak-ng-data`, for voices that take phonemes."""


def ear_files(directory: Path) -> EarFiles:
    """The recogniser in a directory. Raises SetupError that names what is missing."""
    tokens = _tokens(directory, "recogniser")
    encoder, decoder = _one(directory, "*encoder*.onnx"), _one(directory, "*decoder*.onnx")
    joiner = _one(directory, "*joiner*.onnx")
    if encoder and decoder and joiner:
        return EarFiles(EarKind.TRANSDUCER, tokens, encoder, decoder, joiner)
    if encoder and decoder:
        return EarFiles(EarKind.PARAFORMER, tokens, encoder, decoder)
    if encoder or decoder or joiner:
        there = {"encoder": encoder, "decoder": decoder, "joiner": joiner}
        missing = ", ".join(f"{name}*.onnx" for name, path in there.items() if path is None)
        raise SetupError(f"{directory} lacks {missing}; a recogniser is {_EAR_KINDS}")
    model = _one(directory, "*ctc*.onnx") or _one(directory, "model*.onnx")
    if model is None:
        raise SetupError(f"{directory} has no recogniser; it needs {_EAR_KINDS}")
    is_nemo = "nemo" in f"{directory.name} {model.name}".lower()
    return EarFiles(EarKind.NEMO_CTC if is_nemo else EarKind.ZIPFORMER_CTC, tokens, model)


def voice_files(directory: Path) -> VoiceFiles:
    """The voice in a directory. Raises SetupError that names what is missing."""
    tokens = _tokens(directory, "voice")
    vocoder = _one(directory, "vocos*.onnx") or _one(directory, "hifigan*.onnx")
    voices = _there(directory / "voices.bin")
    model = _one(directory, "model*.onnx") or _one(directory, "*.onnx", but=vocoder)
    if model is None:
        raise SetupError(f"{directory} has no voice; it needs {_VOICE_KINDS}")
    if model.name.startswith("model-steps") and vocoder is None:
        raise SetupError(f"{directory} lacks the vocoder of a Matcha voice; add vocos*.onnx")
    kind = VoiceKind.KOKORO if voices else VoiceKind.MATCHA if vocoder else VoiceKind.VITS
    lexicon, data = _there(directory / "lexicon.txt"), _there(directory / "espeak-ng-data")
    if lexicon is None and data is None and kind is not VoiceKind.VITS:
        raise SetupError(f"{directory} lacks espeak-ng-data/ or lexicon.txt; add what it came with")
    return VoiceFiles(kind, tokens, model, voices, vocoder, lexicon, data)


def _tokens(directory: Path, what: str) -> Path:
    if not directory.is_dir():
        raise SetupError(
            f"{directory} is no directory; name the {what}'s in speech.{what}_directory"
        )
    if not (directory / TOKENS).is_file():
        raise SetupError(f"{directory} has no {TOKENS}; it is no sherpa-onnx {what}")
    return directory / TOKENS


def _one(directory: Path, pattern: str, *, but: Path | None = None) -> Path | None:
    found = sorted(path for path in directory.glob(pattern) if path != but)
    return next((path for path in found if "int8" in path.name), found[0] if found else None)


def _there(path: Path) -> Path | None:
    return path if path.exists() else None
