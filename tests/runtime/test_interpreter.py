"""A loop does not wait long for the interpreter."""

import subprocess
import sys

_SCRIPT = """
import sys
from gateway.runtime.interpreter import share_interpreter
share_interpreter()
assert sys.getswitchinterval() < 0.001
"""


def test_threads_are_asked_to_make_room_within_a_millisecond() -> None:
    subprocess.run([sys.executable, "-c", _SCRIPT], check=True, timeout=90)
