"""Reading a site's configuration: defaults, then a TOML file, the environment, the command line.

Every value remembers where it came from; every complaint names that place, the key and the mend.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.config.checks import check_site
from gateway.config.complaints import Complaints
from gateway.config.keys import Key, section_keys, site_keys
from gateway.config.site import SiteConfig
from gateway.config.toml_lines import TomlFile
from gateway.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMAND_LINE = "command line"
DEFAULT = "default"
_OTHER_VARIABLES = ("FIRSTHOP_REQUIRE",)
"""No keys: what the project's tests are told."""


class Given(NamedTuple):
    """A value before it is checked, and where it was given."""

    value: object
    origin: str
    is_text: bool = False
    """From the environment: numbers, booleans and lists are still text."""


class LoadedConfig(msgspec.Struct, frozen=True):
    """A checked configuration; `origins` says for every dotted key where its value came from."""

    site: SiteConfig
    origins: dict[str, str]


def load_site(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    presets: Mapping[str, Given] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> LoadedConfig:
    """The effective configuration of a site.

    `presets` stand in for the defaults and yield to everything else; `overrides` come from the
    command line and win. Raises ConfigError, a line for each unknown key and bad value, or else
    for an unsafe whole.
    """
    complaints = Complaints()
    command_line = {key: Given(value, COMMAND_LINE) for key, value in (overrides or {}).items()}
    layers = (
        presets or {},
        _given_in_file(file, complaints) if file is not None else {},
        _given_in_environment(os.environ if environ is None else environ, complaints),
        command_line,
    )
    merged: dict[str, Given] = {}
    for layer in layers:
        merged.update(layer)
    return _assembled(merged, complaints)


def _assembled(merged: Mapping[str, Given], complaints: Complaints) -> LoadedConfig:
    keys = site_keys()
    sections: dict[str, dict[str, object]] = {}
    for dotted, given in merged.items():
        with complaints.noting():
            if dotted not in keys:
                raise ConfigError(f"{given.origin}: {dotted}: unknown key{_suggestion(dotted)}")
            key = keys[dotted]
            sections.setdefault(key.section, {})[key.name] = _checked(key, given)
    complaints.end()
    site = SiteConfig(
        **{
            section: msgspec.structs.replace(getattr(SiteConfig(), section), **values)
            for section, values in sections.items()
        }
    )
    origins = {dotted: merged[dotted].origin if dotted in merged else DEFAULT for dotted in keys}
    check_site(site, origins)
    return LoadedConfig(site, origins)


def _given_in_file(path: Path, complaints: Complaints) -> dict[str, Given]:
    """What a TOML file says. Raises ConfigError when it is no TOML."""
    file = TomlFile.read(path)
    keys = site_keys()
    beside = path.absolute().parent
    # A site keeps what it writes beside its file, wherever it is started from.
    found = {
        dotted: Given(str(beside / str(key.default)), DEFAULT)
        for dotted, key in keys.items()
        if key.is_path and key.default
    }
    for section, values in file.document.items():
        with complaints.noting(f"{file.origin(section)}: {section}"):
            if not section_keys(section):
                raise ConfigError(f"unknown section{_suggestion(section)}")
            if not isinstance(values, dict):
                raise ConfigError(f"a section, written [{section}]")
            for name, value in values.items():
                dotted = f"{section}.{name}"
                if dotted in keys and keys[dotted].is_path and isinstance(value, str) and value:
                    value = str(beside / Path(value).expanduser())
                found[dotted] = Given(value, file.origin(section, name))
    return found


def _given_in_environment(environ: Mapping[str, str], complaints: Complaints) -> dict[str, Given]:
    """What `FIRSTHOP_SECTION_NAME` variables say; any other is a key misspelt."""
    by_variable = {key.variable: key for key in site_keys().values()}
    found: dict[str, Given] = {}
    for variable, text in environ.items():
        key = by_variable.get(variable)
        if key is not None:
            found[key.dotted] = Given(text, f"environment {variable}", is_text=True)
        elif variable.startswith("FIRSTHOP_") and not variable.startswith(_OTHER_VARIABLES):
            close = difflib.get_close_matches(variable, by_variable, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            with complaints.noting(f"environment {variable}"):
                raise ConfigError(f"unknown key{hint}")
    return found


def _checked(key: Key, given: Given) -> object:
    value: Any = given.value
    if given.is_text and key.is_list:
        value = [part.strip() for part in str(value).split(",") if part.strip()]
    try:
        return msgspec.convert(value, key.annotation, strict=not given.is_text)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{given.origin}: {key.dotted}: takes {key.accepts()}, not {key.shown(value)!r}"
        ) from error


def _suggestion(given: str) -> str:
    known = [*site_keys(), *SiteConfig.__struct_fields__]
    close = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {close[0]}?" if close else "; see docs/configuration.md"
