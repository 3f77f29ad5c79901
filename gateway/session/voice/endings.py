"""What whole requests look like, from beside the recogniser's model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.core.completeness import Endings
from gateway.core.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

ENDINGS_FILE: Final = "endings.json"


def load_endings(directory: Path) -> Endings | None:
    """The endings in a recogniser's directory; None: it brings none, and turns end by rule.

    Raises SetupError for a file that cannot be read.
    """
    path = directory / ENDINGS_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endings)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise SetupError(f"{path} cannot be read: {error}; remove it or write it anew") from error
