"""Whether what a configuration names (files, a model, a profile) can be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config.complaints import Complaints
from gateway.config.keys_file import read_keys
from gateway.core.errors import ConfigError
from gateway.engine.bundle import load_bundle
from gateway.engine.step_profiles import PREFIX, load_profile

if TYPE_CHECKING:
    from gateway.config.load import LoadedConfig


def check_named(loaded: LoadedConfig, *, verify: bool) -> None:
    """Find all that would stop a start; with `verify`, the model's files are hashed as well.

    Raises ConfigError, a line each, with the place where each name was given.
    """
    site, complaints = loaded.site, Complaints()
    is_emulated = site.model.accelerator.startswith(PREFIX)

    def place(dotted: str) -> str:
        return f"{loaded.origins[dotted]}: {dotted}"

    for dotted, name in (("tls.cert", site.tls.cert), ("tls.key", site.tls.key)):
        with complaints.noting(place(dotted)):
            if name and not Path(name).is_file():
                raise ConfigError(f"there is no file {name}")
    for section, server in (("upstream", site.upstream), ("core", site.core)):
        with complaints.noting(place(f"{section}.api_key_file")):
            server.key()
    with complaints.noting(place("model.directory")):
        if not site.upstream.url:
            bundle = load_bundle(site.model.path, verify=verify)
            match site.model.accelerator:
                case "cpu" | "cuda" as provider:
                    bundle.artifact(provider)
    with complaints.noting(place("model.accelerator")):
        if is_emulated:
            load_profile(site.model.accelerator.removeprefix(PREFIX))
    with complaints.noting(place("auth.keys_file")):
        if site.auth.keys_file:
            read_keys(Path(site.auth.keys_file))
    complaints.end()
