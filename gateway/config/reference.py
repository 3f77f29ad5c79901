"""The configuration in print: the reference page and the effective values with their origins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.config.keys import section_help, section_keys, site_keys
from gateway.config.site import SiteConfig

if TYPE_CHECKING:
    from gateway.config.load import LoadedConfig

_INTRODUCTION = """\
# Configuration

<!-- Written by `firsthop config reference`; edit gateway/config/site.py instead. -->

A site takes its configuration from, each stronger than the one before: the defaults below, a TOML
file (`firsthop serve --config site.toml`), environment variables, the command line. An unknown key
or a bad value stops the start and is named with file, line and key. `firsthop config check FILE`
tries a file; `firsthop config show` prints what is in force and where each value came from.

Lists are separated by commas in environment variables. A relative path in a file is relative to
that file. A site that binds anything but loopback must have `auth.keys_file`, `tls.cert` and
`tls.key`; the admin port is never public.

```toml
[site]
id = "edge-a"
region = "eu-north"

[model]
directory = "models/subscriber_care/bundle"
num_slots = 8
```
"""


def render_reference() -> str:
    """docs/configuration.md: every section and key, with defaults, ranges and help."""
    parts = [_INTRODUCTION]
    for section in SiteConfig.__struct_fields__:
        parts.append(f"## [{section}]\n\n{section_help(section)}\n")
        rows = ["| key | takes | default | what it is |", "|---|---|---|---|"]
        rows += [
            f"| `{key.name}` | {key.accepts().replace('|', chr(92) + '|')} "
            f"| `{toml_value(key.default)}` | {key.help} |"
            for key in section_keys(section)
        ]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def render_effective(loaded: LoadedConfig) -> str:
    """The values in force as TOML that can be read back, each with its origin in a comment."""
    lines: list[str] = []
    for section in SiteConfig.__struct_fields__:
        lines.append(f"[{section}]")
        assignments = [
            (f"{key.name} = {toml_value(shown)}", loaded.origins[key.dotted])
            for key in section_keys(section)
            for shown in (key.shown(getattr(getattr(loaded.site, section), key.name)),)
        ]
        width = max(len(text) for text, _ in assignments)
        lines += [f"{text:<{width}}  # {origin}" for text, origin in assignments]
        lines.append("")
    return "\n".join(lines)


def effective_json(loaded: LoadedConfig) -> str:
    """The values in force by dotted key: `{"http.port": {"value": 8080, "origin": "default"}}`."""
    return json.dumps(
        {
            dotted: {
                "value": key.shown(getattr(getattr(loaded.site, key.section), key.name)),
                "origin": loaded.origins[dotted],
            }
            for dotted, key in site_keys().items()
        },
        indent=2,
        ensure_ascii=False,
    )


def toml_value(value: object) -> str:
    """A text, number, boolean or list of texts as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case tuple() | list():
            return f"[{', '.join(toml_value(item) for item in value)}]"
        case _:
            return str(value)
