"""Network namespaces are the machine's: tests that look at all of them take turns."""

from __future__ import annotations

import fcntl
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from loadtests.links import namespaces
from loadtests.links.namespaces import LinksUnavailable
from tests.requirements import require

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def namespaces_of_ones_own() -> Iterator[None]:
    """Until it is left no other test makes any, of this suite or of another one here.

    Skips the test, or fails it in CI, where namespaces cannot be made.
    """
    with (Path(tempfile.gettempdir()) / "firsthop-test-namespaces.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            namespaces.check_available()
            namespaces.check_tun()
        except LinksUnavailable as error:
            require("netns", False, str(error))
        yield
