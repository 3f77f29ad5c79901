"""Reads the step-time profiles of emulated accelerators: TOML, one accelerator and model each.

    basis = "measured"              # or "assumed"
    about = "one line"
    [decode]
    rows = [1, 2, 4]                # points of the curve
    step_ms = [1.0, 1.2, 1.5]       # at an empty context
    context_us_per_token = 0.1      # for every token of every row's context
    [prefill]
    tokens = [1, 16, 64]
    chunk_ms = [1.0, 2.0, 7.0]      # over no past
    past_ns_per_pair = 2.0          # for every pair of a chunk's token and one before the chunk
    [sources]                       # where each constant is from; a measured profile names the
    measurement = "results/x.json"  # committed measurement instead

A complaint names file, line and key.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from gateway.config.toml_lines import TomlFile
from gateway.core.errors import ConfigError
from gateway.core.step_time import Curve, StepTimes

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "emulated:"
"""How an emulated accelerator is named: `emulated:PROFILE`."""

_LOOK_INTERVAL_S = 0.1
_SHIPPED = Path(__file__).with_name("profiles")
_CONSTANTS = (
    "decode.step_ms",
    "decode.context_us_per_token",
    "prefill.chunk_ms",
    "prefill.past_ns_per_pair",
)


_Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_TimeMs = Annotated[float, msgspec.Meta(gt=0.0, le=3_600_000.0)]


class _Decode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rows: tuple[_Count, ...]
    step_ms: tuple[_TimeMs, ...]
    context_us_per_token: float


class _Prefill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tokens: tuple[_Count, ...]
    chunk_ms: tuple[_TimeMs, ...]
    past_ns_per_pair: float


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    basis: Literal["measured", "assumed"]
    about: str
    decode: _Decode
    prefill: _Prefill
    sources: dict[str, str]


def shipped_profiles() -> tuple[str, ...]:
    """The names that need no file."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def load_profile(name: str) -> StepTimes:
    """A shipped profile by its name, or any by the path of its file, which ends in `.toml`.

    Raises ConfigError.
    """
    return read_profile(profile_path(name))


class FollowedProfile:
    """A profile that is in use: when its file is replaced, the accelerator is another one.

    So a load test slows a site down that knows nothing of it.
    """

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic) -> None:
        """Of a profile as `load_profile` names it. Raises ConfigError."""
        self._path = profile_path(name)
        self._now = now
        self._look_at_s = now()
        self._read()

    def times(self) -> StepTimes:
        """As of now. Raises ConfigError when the file is no profile any more."""
        if self._now() >= self._look_at_s:
            self._look_at_s = self._now() + _LOOK_INTERVAL_S
            if self._path.stat().st_mtime_ns != self._seen:
                self._read()
        return self._times

    def _read(self) -> None:
        self._times = read_profile(self._path)
        self._seen = self._path.stat().st_mtime_ns


def profile_path(name: str) -> Path:
    """Where a profile is, as `load_profile` names it. Raises ConfigError."""
    if name.endswith(".toml"):
        return Path(name)
    if name not in shipped_profiles():
        raise ConfigError(
            f"there is no step-time profile {name!r}; shipped are {', '.join(shipped_profiles())}, "
            "others are given as the path of a .toml file"
        )
    return _SHIPPED / f"{name}.toml"


def read_profile(path: Path) -> StepTimes:
    """The profile in a file. Raises ConfigError."""
    file = TomlFile.read(path)
    read = file.convert(_File)
    _check_sources(file, read)
    decode, prefill = read.decode, read.prefill
    return StepTimes(
        name=path.stem,
        decode=_curve(file, "decode", ("rows", decode.rows), ("step_ms", decode.step_ms)),
        decode_s_per_context_token=_slope(
            file, ("decode", "context_us_per_token"), decode.context_us_per_token, 1e-6
        ),
        prefill=_curve(file, "prefill", ("tokens", prefill.tokens), ("chunk_ms", prefill.chunk_ms)),
        prefill_s_per_pair=_slope(
            file, ("prefill", "past_ns_per_pair"), prefill.past_ns_per_pair, 1e-9
        ),
        is_measured=read.basis == "measured",
    )


def _curve(
    file: TomlFile,
    table: str,
    counts: tuple[str, tuple[int, ...]],
    times_ms: tuple[str, tuple[float, ...]],
) -> Curve:
    """The curve of two keys and their values."""
    key = counts[0]
    try:
        Curve(counts[1], tuple(map(float, range(1, len(counts[1]) + 1))))  # as such, whatever times
        key = times_ms[0]
        return Curve(counts[1], tuple(time_ms / 1e3 for time_ms in times_ms[1]))
    except ValueError as error:
        raise ConfigError(f"{file.origin(table, key)}: {table}.{key}: {error}") from error


def _slope(file: TomlFile, key: tuple[str, str], value: float, unit_s: float) -> float:
    if not 0 <= value < 1e9:
        raise ConfigError(f"{file.origin(*key)}: {'.'.join(key)}: must be at least 0, not {value}")
    return value * unit_s


def _check_sources(file: TomlFile, read: _File) -> None:
    """A figure without a source is worth nothing: each constant's, or the whole measurement's."""
    needed = ("measurement",) if read.basis == "measured" else _CONSTANTS
    for name in needed:
        if not read.sources.get(name, "").strip():
            raise ConfigError(
                f"{file.origin('sources')}: sources: basis {read.basis!r} needs {name!r} there"
            )
