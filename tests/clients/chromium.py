"""Chromium as tests use it: driven by a script of `tests/clients/node`, with speech to say."""

from __future__ import annotations

import json
import shutil
import subprocess
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loadtests.utterances import sound_of
from tests.requirements import require
from tests.speech.spoken_sound import require_flite

if TYPE_CHECKING:
    from collections.abc import Sequence

NODE_CLIENT: Final = Path(__file__).parent / "node"
_CHROMIUM: Final = shutil.which("chromium") or shutil.which("google-chrome")
_LIMIT_S: Final = 90.0
_HZ: Final = 16_000


def require_chromium() -> None:
    """Skip, or fail in CI, unless a browser and what drives it are there."""
    driver = NODE_CLIENT / "node_modules" / "playwright-core"
    present = _CHROMIUM is not None and shutil.which("node") is not None and driver.is_dir()
    require("chromium", present, "run: make setup-ci")


def microphone(path: Path, *parts: str | float) -> Path:
    """A recording of sentences and, between them, seconds of silence."""
    require_flite()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_HZ)
        for part in parts:
            if isinstance(part, float):
                file.writeframes(bytes(int(part * _HZ) * 2))
            else:
                file.writeframes(sound_of(part, "flite:slt"))
    return path


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
