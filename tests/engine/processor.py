"""How kernels round is a fact about a processor; the tests name the one it was measured on."""

from __future__ import annotations

from pathlib import Path

import pytest

_CPUINFO = Path("/proc/cpuinfo")

avx512_vnni = pytest.mark.skipif(  # other processors round otherwise: nothing is claimed there
    not (_CPUINFO.exists() and "avx512_vnni" in _CPUINFO.read_text()),
    reason="measured on processors with AVX512-VNNI only",
)
