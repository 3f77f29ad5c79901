from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.errors import SetupError
from gateway.speech.worker.sherpa_files import EarKind, VoiceKind, ear_files, voice_files

if TYPE_CHECKING:
    from pathlib import Path


def directory_of(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir()
        else:
            path.touch()
    return root


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("encoder.onnx", "decoder.onnx", "joiner.onnx"), EarKind.TRANSDUCER),
        (("encoder.onnx", "decoder.onnx"), EarKind.PARAFORMER),
        (("ctc-epoch-20-avg-1-chunk-16-left-128.onnx",), EarKind.ZIPFORMER_CTC),
        (("model.onnx",), EarKind.ZIPFORMER_CTC),
        (("nemo-streaming-ctc.onnx",), EarKind.NEMO_CTC),
    ],
)
def test_the_kind_of_a_recogniser(tmp_path: Path, names: tuple[str, ...], kind: EarKind) -> None:
    assert ear_files(directory_of(tmp_path, "tokens.txt", *names)).kind is kind


def test_integers_are_taken_where_both_precisions_lie(tmp_path: Path) -> None:
    parts = ("encoder-epoch-99", "decoder-epoch-99", "joiner-epoch-99")
    names = [f"{part}{end}" for part in parts for end in (".onnx", ".int8.onnx")]

    files = ear_files(directory_of(tmp_path, "tokens.txt", *names))

    assert files.encoder.name == "encoder-epoch-99.int8.onnx"


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("en_US-amy.onnx", "espeak-ng-data/"), VoiceKind.VITS),
        (("model.onnx", "voices.bin", "espeak-ng-data/"), VoiceKind.KOKORO),
        (("model-steps-3.onnx", "vocos-22khz.onnx", "espeak-ng-data/"), VoiceKind.MATCHA),
    ],
)
def test_the_kind_of_a_voice(tmp_path: Path, names: tuple[str, ...], kind: VoiceKind) -> None:
    files = voice_files(directory_of(tmp_path, "tokens.txt", *names))

    assert files.kind is kind
    assert files.model.name == names[0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("encoder.onnx",), "has no tokens.txt"),
        (("tokens.txt", "encoder.onnx", "joiner.onnx"), r"lacks decoder\*\.onnx"),
        (("tokens.txt",), "has no recogniser"),
    ],
)
def test_what_a_recogniser_lacks_is_named(
    tmp_path: Path, names: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SetupError, match=said):
        ear_files(directory_of(tmp_path, *names))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("tokens.txt",), "has no voice"),
        (("tokens.txt", "model-steps-3.onnx", "espeak-ng-data/"), "lacks the vocoder"),
        (("tokens.txt", "model.onnx", "voices.bin"), "lacks espeak-ng-data"),
    ],
)
def test_what_a_voice_lacks_is_named(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        voice_files(directory_of(tmp_path, *names))


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"speech\.voice_directory"):
        voice_files(tmp_path / "nowhere")
