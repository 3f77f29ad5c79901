"""llama.cpp's own server: built from the source package of llama-cpp-python, and run.

Building needs a C++ compiler, CMake and Ninja (`apt-get install g++ cmake ninja-build`), pip, and
some twenty minutes of two cores; the program is kept in `build/llama_cpp`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.error import URLError

from loadtests.command_line import BUILD
from loadtests.local_site import SiteFailed, free_port_base, wait_until
from loadtests.orphan import ending_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE: Final = "llama-cpp-python"
VERSION: Final = "0.3.36"
FOLDER: Final = BUILD / "llama_cpp"
_PROGRAM: Final = FOLDER / "build" / "bin" / "llama-server"
_TOOLS: Final = ("cmake", "ninja", "c++")
_OPTIONS: Final = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
)
_START_LIMIT_S: Final = 120.0
_END_LIMIT_S: Final = 20.0


class CannotBuild(Exception):
    """The server cannot be built here; the message says what is missing."""


class LlamaSettings(NamedTuple):
    """What of its settings may make it faster."""

    micro_batch_tokens: int
    unified_kv: bool
    """One cache for all of its slots."""
    flash_attention: bool

    @property
    def arguments(self) -> tuple[str, ...]:
        """As its command line has them."""
        return (
            *("--ubatch-size", str(self.micro_batch_tokens)),
            "--kv-unified" if self.unified_kv else "--no-kv-unified",
            *("--flash-attn", "on" if self.flash_attention else "off"),
        )


class LlamaServer(NamedTuple):
    """A server that is ready."""

    port: int
    log: Path


def built_server(*, num_jobs: int) -> Path:
    """The program, built if it is not there yet. Raises CannotBuild."""
    if _PROGRAM.exists():
        return _PROGRAM
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise CannotBuild(f"{', '.join(missing)} missing; apt-get install g++ cmake ninja-build")
    FOLDER.mkdir(parents=True, exist_ok=True)
    fetch = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
    _call(*fetch, "--no-binary", PACKAGE, f"{PACKAGE}=={VERSION}")
    (archive,) = FOLDER.glob(f"{PACKAGE.replace('-', '_')}-{VERSION}.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(FOLDER, filter="data")
    source = FOLDER / archive.name.removesuffix(".tar.gz") / "vendor" / "llama.cpp"
    _call("cmake", "-G", "Ninja", "-S", str(source), "-B", str(FOLDER / "build"), *_OPTIONS)
    _call("ninja", "-C", str(FOLDER / "build"), "-j", str(num_jobs), "llama-server")
    return _PROGRAM


def _call(*command: str) -> None:
    if subprocess.run(command, cwd=FOLDER, check=False).returncode:
        raise CannotBuild(f"{' '.join(command)} failed; what it printed says why")


@contextmanager
def running_llama(
    model: Path, settings: LlamaSettings, *, num_slots: int, context_tokens: int, num_threads: int
) -> Iterator[LlamaServer]:
    """A server with so many slots of so many tokens; ended on the way out. Raises SiteFailed."""
    port = free_port_base()
    log = FOLDER / "server.log"
    command = [
        str(_PROGRAM),
        *("--model", str(model), "--alias", "noise", "--jinja", "--no-warmup"),
        "--no-repack",  # its AMX kernels, which repack, crash (0.3.36, Q4_0, one token)
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--threads", str(num_threads), "--parallel", str(num_slots)),
        *("--ctx-size", str(num_slots * context_tokens)),
        *settings.arguments,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            ending_with_parent(command), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: _is_ready(process, port, log), "llama.cpp is ready", _START_LIMIT_S)
        yield LlamaServer(port, log)
    finally:
        process.terminate()
        try:
            process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    if process.poll() is not None:
        raise SiteFailed(f"llama.cpp ended: {log.read_text(errors='replace')}")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except (URLError, OSError):
        return False
