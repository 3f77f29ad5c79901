"""Chromium as tests use it: driven by a script of `tests/clients/node`, with speech to say."""

from __future__ import annotations

import json
import shutil
import subprocess
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.core.voice_line import HEARD_HZ
from tests.requirements import require
from tests.speech.spoken_sound import require_flite, sound_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NODE_CLIENT: Final = Path(__file__).parent / "node"
_CHROMIUM: Final = shutil.which("chromium") or shutil.which("google-chrome")
_LIMIT_S: Final = 100.0


def require_chromium() -> None:
    """Skip, or fail in CI, unless a browser and what drives it are there."""
    driver = NODE_CLIENT / "node_modules" / "playwright-core"
    present = _CHROMIUM is not None and shutil.which("node") is not None and driver.is_dir()
    require("chromium", present, "run: make setup-ci")


def sentences(folder: Path, *texts: str) -> Path:
    """The folder, with what a script says into its microphone: each text as a WAV file."""
    require_flite()
    folder.mkdir()
    for place, text in enumerate(texts):
        with wave.open(str(folder / f"{place}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(HEARD_HZ)
            file.writeframes(sound_of(text))
    return folder


def drive(script: str, arguments: Sequence[str]) -> Any:
    """What a script prints, as JSON. Its first argument is the browser."""
    require_chromium()
    ended = subprocess.run(
        ["node", str(NODE_CLIENT / script), str(_CHROMIUM), *arguments],
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)
