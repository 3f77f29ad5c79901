"""The configuration of speech engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

SHIPPED_HEARING: Final = Path(__file__).parents[2] / "models" / "subscriber_care" / "hearing"
"""What the shipped assistant's callers say, for the default recogniser."""


class Speech(msgspec.Struct, frozen=True):
    """The engines that hear callers and speak to them."""

    recogniser: Annotated[
        Literal["auto", "pocketsphinx", "sherpa", "none"],
        Meta(
            description="What makes text of speech. `auto`: sherpa where the directory holds such a"
            " model, else pocketsphinx, which is of demonstration grade."
        ),
    ] = "auto"
    recogniser_directory: Annotated[
        str,
        Meta(
            description="The recogniser's model: a streaming one of sherpa-onnx, or language.lm.bin"
            " and words.dict for pocketsphinx; empty: those of the shipped assistant.",
            extra={"path": True},
        ),
    ] = ""
    num_recognisers: Annotated[int, Meta(ge=1, le=64, description="Recogniser processes.")] = 1
    max_num_hearings: Annotated[
        int,
        Meta(
            ge=1,
            le=256,
            description="Callers who may speak at a time, for each recogniser process. One second "
            "of speech takes pocketsphinx about 0.1 s of a core and each of them some 12 MiB.",
        ),
    ] = 8
    voice: Annotated[
        Literal["auto", "flite", "espeak-ng", "sherpa", "none"],
        Meta(
            description="What speaks. `auto`: sherpa where a directory is set, else flite or "
            "espeak-ng, whichever is installed; with neither, callers read the answers."
        ),
    ] = "auto"
    voice_directory: Annotated[
        str,
        Meta(
            description="A sherpa-onnx voice: Piper, Kokoro or Matcha.",
            extra={"path": True},
        ),
    ] = ""
    voice_name: Annotated[
        str,
        Meta(
            max_length=40,
            description="Which of the engine's voices: `slt`, `rms`, `awb`, `kal16` (flite), "
            "`en-us+f3` (espeak-ng), a speaker's number (sherpa); empty: its first choice.",
        ),
    ] = ""
    num_voices: Annotated[int, Meta(ge=1, le=64, description="Voice processes.")] = 1

    @property
    def names_an_engine(self) -> bool:
        """Whether an engine is asked for that may not be missing."""
        return not {self.recogniser, self.voice} <= {"auto", "none"}

    @property
    def hearing_path(self) -> Path:
        """The recogniser's directory."""
        return Path(self.recogniser_directory) if self.recogniser_directory else SHIPPED_HEARING
