"""Where in a TOML file each key stands; the standard library's reader does not say."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gateway.config.allowed import allowed_at
from gateway.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KeyPath = tuple[str, ...]
ValueT = TypeVar("ValueT")

_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)$")
"""In a complaint of tomllib; without it, it is about the end of the document."""
_PLACE = re.compile(r" - at `(?:key` in `)?\$(.*)`$")
_NAMED = re.compile(r"(?:Object contains unknown field )?`([a-z0-9_.]+)`")
"""A complaint may begin with the key it is about, as seen from its place."""


class TomlFile:
    """A parsed TOML file that remembers the line of every key. Lines count from 1."""

    def __init__(self, path: Path, text: str) -> None:
        """Raises ConfigError when the text is not TOML."""
        self.path = path
        try:
            self.document: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            at = _AT_LINE.search(str(error))
            line = int(at[1]) if at else text.count("\n") + 1
            raise ConfigError(f"{path}:{line}: not valid TOML: {error}") from error
        self.lines = key_lines(text)

    @classmethod
    def read(cls, path: Path) -> TomlFile:
        """Raises ConfigError when the file cannot be read or is not TOML."""
        try:
            return cls(path, path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: is not UTF-8 text: {error.reason}") from error

    def convert(self, to: type[ValueT]) -> ValueT:
        """The document as a msgspec type. Raises ConfigError naming file, line and key."""
        try:
            return msgspec.convert(self.document, to)
        except msgspec.ValidationError as error:
            raise ConfigError(self._complaint(str(error), to)) from error

    def _complaint(self, text: str, to: type) -> str:
        """msgspec's words, the place of its key in front and what the key takes behind."""
        place = _PLACE.search(text)
        what = text[: place.start()] if place else text
        # A key of a table whose keys are free is `[...]`: the table has to do.
        known = place[1].partition("[...]")[0] if place else ""
        key = re.findall(r"[^.\[\]]+", known)
        if named := _NAMED.match(what):
            key += named[1].split(".")
            what = what.removeprefix(f"`{named[1]}`: ")
        if allowed := allowed_at(to, key):
            what += f" (allowed: {allowed})"
        return ": ".join([self.origin(*key), *([".".join(key)] if key else []), what])

    def origin(self, *key: str) -> str:
        """`file:line` of a key, or of the nearest table around it."""
        for length in range(len(key), 0, -1):
            if (line := self.lines.get(key[:length])) is not None:
                return f"{self.path}:{line}"
        return str(self.path)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line on which each key or table of a valid document is first given.

    Each statement is found by extending a line until it parses on its own, so strings and arrays
    over several lines, dotted keys and inline tables need no grammar of ours. Tables of an array
    are numbered from 0.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    num_tables: Counter[KeyPath] = Counter()
    for number, statement, parsed in _statements(text):
        if statement.startswith("["):
            table = next(iter(_paths(parsed)))
            lines.setdefault(table, number)
            if statement.startswith("[["):
                num_tables[table] += 1
                table = (*table, str(num_tables[table] - 1))
                lines[table] = number
            continue
        for path in _paths(parsed):
            for length in range(1, len(path) + 1):
                lines.setdefault(table + path[:length], number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Each statement of a valid document with its first line."""
    pending: list[str] = []
    first = 1
    # Not splitlines(): TOML ends a line only here, Python also at U+0085 and others in a text.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not pending:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            first = number
        pending.append(line)
        statement = "\n".join(pending).lstrip()
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        yield first, statement, parsed
        pending.clear()


def _paths(parsed: dict[str, Any]) -> list[KeyPath]:
    """Paths of the innermost keys: `{"a": {"b": 1}}` gives `[("a", "b")]`."""
    found: list[KeyPath] = []
    for name, value in parsed.items():
        inner = value[0] if isinstance(value, list) and value == [{}] else value
        if isinstance(inner, dict) and inner:
            found.extend((name, *rest) for rest in _paths(inner))
        else:
            found.append((name,))
    return found
