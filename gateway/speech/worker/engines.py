"""Which engine a speech process loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.core.errors import SetupError
from gateway.speech.worker.espeak import EspeakVoice
from gateway.speech.worker.flite import FliteVoice
from gateway.speech.worker.pocketsphinx_ear import PocketsphinxEar
from gateway.speech.worker.sherpa import SherpaEar, SherpaVoice
from gateway.speech.worker.sherpa_files import TOKENS

if TYPE_CHECKING:
    from gateway.speech.frames import StartRecogniser, StartVoice
    from gateway.speech.worker.port import Ear, Voice


def load_ear(start: StartRecogniser) -> Ear:
    """The recogniser asked for. `auto` looks into the directory. Raises SetupError."""
    directory = Path(start.directory)
    is_sherpa = start.engine == "sherpa"
    if start.engine == "auto":
        is_sherpa = (directory / TOKENS).is_file()
    if is_sherpa:
        return SherpaEar(directory)
    return PocketsphinxEar(directory, max_num_hearings=start.max_num_hearings)


def load_voice(start: StartVoice) -> Voice:
    """The voice asked for.

    `auto` is sherpa where there is a directory, else flite where it is installed, else espeak-ng.
    Raises SetupError.
    """
    match start.engine:
        case "flite":
            return FliteVoice(start.voice)
        case "espeak-ng":
            return EspeakVoice(start.voice)
        case "sherpa":
            return SherpaVoice(Path(start.directory), start.voice)
    if start.directory:
        return SherpaVoice(Path(start.directory), start.voice)
    try:
        return FliteVoice(start.voice)
    except SetupError as no_flite:
        try:
            return EspeakVoice(start.voice)
        except SetupError:
            raise no_flite from None
