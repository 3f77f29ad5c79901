import subprocess
import sys

_SCRIPT = """
import gc
from gateway.runtime.garbage import settle_garbage
lasting = [[] for _ in range(50_000)]
settle_garbage()
assert gc.get_freeze_count() >= 50_000
assert len(gc.get_objects()) < 10_000
cycle = []
cycle.append(cycle)
marker = type("Marker", (), {})()
cycle.append(marker)
import weakref
seen = weakref.ref(marker)
del cycle, marker
gc.collect()
assert seen() is None
"""


def test_what_lives_is_left_alone_and_new_cycles_are_still_collected() -> None:
    subprocess.run([sys.executable, "-c", _SCRIPT], check=True, timeout=90)
