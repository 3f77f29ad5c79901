"""The format a model directory names, made for its vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.engine.tool_format.firsthop import FirsthopFormat
from gateway.engine.tool_format.hermes import HermesFormat
from gateway.engine.tool_format.llama_json import LlamaFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.engine.bundle_facts import ToolFormat as FormatName
    from gateway.engine.tool_format.parser import ToolFormat

_FORMATS: dict[FormatName, Callable[[frozenset[str]], ToolFormat]] = {
    "firsthop": FirsthopFormat,
    "hermes": HermesFormat,
    "llama": LlamaFormat,
}


def tool_format(name: FormatName, tokens: frozenset[str]) -> ToolFormat:
    """The format of that name; `tokens` are the strings of the vocabulary's added tokens."""
    return _FORMATS[name](tokens)
