"""What a step costs on an accelerator, as data.

A step decodes all rows in one batch and then prefills chunks (`gateway.core.scheduling`), so its
time is a sum. Both parts are affine: a fixed cost of launching and reading the weights, plus what
grows with tokens, rows and the context those rows attend to.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

PROFILES = Path(__file__).resolve().parent / "profiles"


class InvalidInput(ValueError):
    """A file that cannot be used; the message names the file and, where known, line and key."""


class StepProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Step time of one model on one accelerator, in seconds. Raises ValueError out of range."""

    name: str
    source: str
    """Where the constants come from: "measured: ..." or "assumed: ..."."""
    prefill_base_s: float
    prefill_s_per_token: float
    decode_base_s: float
    decode_s_per_row: float
    decode_s_per_context_token: float = 0.0
    """Per token of context of every decoding row."""

    def __post_init__(self) -> None:
        """Hold every constant to its range."""
        for field in ("prefill_base_s", "decode_base_s", "decode_s_per_context_token"):
            _check(field, getattr(self, field), above=-math.ulp(0.0))
        for field in ("prefill_s_per_token", "decode_s_per_row"):
            _check(field, getattr(self, field), above=0.0)
        if not self.source.startswith(("measured:", "assumed:")):
            raise ValueError("`source` must begin with measured: or assumed:")

    def prefill_s(self, num_tokens: int) -> float:
        """One chunk of a prompt."""
        return self.prefill_base_s + num_tokens * self.prefill_s_per_token

    def prompt_s(self, prompt_tokens: int, chunk_tokens: int) -> float:
        """A whole prompt, in chunks of at most `chunk_tokens`."""
        num_chunks = -(-prompt_tokens // chunk_tokens)
        return num_chunks * self.prefill_base_s + prompt_tokens * self.prefill_s_per_token

    def decode_s(self, num_rows: int, context_tokens: int, num_steps: int = 1) -> float:
        """`num_steps` decode steps of the same rows, whose contexts sum to `context_tokens` at
        the first of them and grow by a token a row with each.
        """
        step_s = self.decode_base_s + num_rows * self.decode_s_per_row
        grown_tokens = num_rows * (num_steps * (num_steps - 1) // 2)
        attended_tokens = num_steps * context_tokens + grown_tokens
        return num_steps * step_s + attended_tokens * self.decode_s_per_context_token

    def whole_steps(self, num_rows: int, context_tokens: int, passed_s: float) -> int:
        """How many decode steps, as in `decode_s`, are over after `passed_s`."""
        step_s = self.decode_base_s + num_rows * self.decode_s_per_row
        slope_s = self.decode_s_per_context_token * num_rows
        first_s = step_s + self.decode_s_per_context_token * context_tokens - slope_s / 2
        # num_steps * first_s + num_steps^2 * slope_s / 2 = passed_s, in the form that also holds
        # for a slope of zero.
        root = math.sqrt(first_s * first_s + 2.0 * slope_s * passed_s)
        num_steps = max(0, int(2.0 * passed_s / (first_s + root)))
        # Rounding may leave the estimate one off, on either side.
        while num_steps and self.decode_s(num_rows, context_tokens, num_steps) > passed_s:
            num_steps -= 1
        while self.decode_s(num_rows, context_tokens, num_steps + 1) <= passed_s:
            num_steps += 1
        return num_steps


def _check(field: str, value: float, *, above: float) -> None:
    if not above < value < 60.0:
        raise ValueError(
            f"`{field}` must be {'above' if above == 0.0 else 'at least'} 0 "
            f"and below 60 seconds, not {value:g}"
        )


def load_profile(name_or_path: str) -> StepProfile:
    """A profile by name, from those beside this module, or by the path of a TOML file.

    Raises InvalidInput.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = PROFILES / f"{name_or_path}.toml"
    try:
        return msgspec.toml.decode(path.read_bytes(), type=StepProfile)
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in PROFILES.glob("*.toml")))
        raise InvalidInput(f"{path}: no such profile; shipped are {known}") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidInput(f"{path}: {error}") from error
