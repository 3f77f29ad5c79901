"""Rules that hold between the keys of a site's configuration."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.config.complaints import Complaints
from gateway.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.site import SiteConfig, UpstreamModel


def check_site(site: SiteConfig, origins: Mapping[str, str]) -> None:
    """Raise ConfigError for a whole that is unsafe or cannot work, though each value is fine."""
    complaints = Complaints()
    checks = (_check_tls, _check_public, _check_peers, _check_fabric, _check_ports, _check_capacity)
    for check in checks:
        with complaints.noting():
            check(site, origins)
    for section, server in (("upstream", site.upstream), ("core", site.core)):
        with complaints.noting():
            _check_upstream(section, server, origins)
    complaints.end()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. A name other than localhost may not be."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_tls(site: SiteConfig, origins: Mapping[str, str]) -> None:
    if bool(site.tls.cert) == bool(site.tls.key):
        return
    given, missing = ("cert", "key") if site.tls.cert else ("key", "cert")
    raise ConfigError(
        f"{origins[f'tls.{given}']}: tls.{given}: set tls.{missing} too; one without the other is "
        "of no use"
    )


def _check_public(site: SiteConfig, origins: Mapping[str, str]) -> None:
    """A public address needs keys and TLS; the admin port has neither, so it is never public."""
    if not is_loopback(site.admin.host):
        raise ConfigError(
            f"{origins['admin.host']}: admin.host: {site.admin.host} is not a loopback address and "
            "the admin port asks for no key; bind 127.0.0.1 and reach it through a tunnel"
        )
    missing = " and ".join(
        name
        for name, is_set in (
            ("auth.keys_file", site.auth.keys_file),
            ("tls.cert with tls.key", site.tls.enabled),
        )
        if not is_set
    )
    for section, listener in (("http", site.http), ("grpc", site.grpc)):
        if missing and not is_loopback(listener.host):
            raise ConfigError(
                f"{origins[f'{section}.host']}: {section}.host: {listener.host} is a public "
                f"address, which needs keys and TLS: set {missing}, or bind 127.0.0.1"
            )


def _check_peers(site: SiteConfig, origins: Mapping[str, str]) -> None:
    peer, names = site.peer, [one.partition("=")[0] for one in site.grid.peers]
    if peer.authority and not site.tls.enabled:
        raise ConfigError(
            f"{origins['peer.authority']}: peer.authority: set tls.cert and tls.key too, which the "
            "peers are to check"
        )
    if not (peer.authority or peer.allow_plaintext or is_loopback(peer.host)):
        raise ConfigError(
            f"{origins['peer.host']}: peer.host: {peer.host} is a public address; set "
            "peer.authority so that peers prove who they are, or bind 127.0.0.1"
        )
    if len(set(names)) < len(names) or site.site.id in names:
        raise ConfigError(
            f"{origins['grid.peers']}: grid.peers: a site is listed twice, or is this site itself"
        )


def _check_fabric(site: SiteConfig, origins: Mapping[str, str]) -> None:
    """The fabric keeps to the rules of the peer port, and others must learn where that is."""
    fabric, peer = site.fabric, site.peer
    for key, endpoints in (("listen", fabric.listen), ("connect", fabric.connect)):
        for endpoint in endpoints:
            scheme, _, address = endpoint.partition("/")
            host = address.rpartition(":")[0].strip("[]")
            if scheme == "tls" and not peer.authority:
                raise ConfigError(
                    f"{origins[f'fabric.{key}']}: fabric.{key}: {endpoint} needs peer.authority, "
                    "tls.cert and tls.key, with which sites prove who they are"
                )
            if scheme == "tcp" and not (peer.allow_plaintext or is_loopback(host)):
                raise ConfigError(
                    f"{origins[f'fabric.{key}']}: fabric.{key}: {endpoint} leaves this machine; "
                    "write tls/ so that sites prove who they are, or set peer.allow_plaintext"
                )
    if fabric.enabled and not fabric.peer_address and _is_wildcard(peer.host):
        raise ConfigError(
            f"{origins['peer.host']}: peer.host: {peer.host} is every address of this machine; set "
            "fabric.peer_address to the one at which other sites reach it"
        )


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _check_ports(site: SiteConfig, origins: Mapping[str, str]) -> None:
    taken: dict[int, str] = {}
    for section, port in (
        ("http", site.http.port),
        ("grpc", site.grpc.port),
        ("peer", site.peer.port),
        ("admin", site.admin.port),
    ):
        if port and port in taken:
            raise ConfigError(
                f"{origins[f'{section}.port']}: {section}.port: {port} is also {taken[port]}.port; "
                "give each listener its own"
            )
        taken[port] = section


def _check_capacity(site: SiteConfig, origins: Mapping[str, str]) -> None:
    if site.upstream.url and site.limits.capacity_file:
        raise ConfigError(
            f"{origins['limits.capacity_file']}: limits.capacity_file: another server runs this "
            "site's model (upstream.url); its capacity is not this site's to cut"
        )


def _check_upstream(section: str, server: UpstreamModel, origins: Mapping[str, str]) -> None:
    """A server is asked for a model by name, and a key does not travel in the clear."""
    if not server.url:
        return
    at = f"{origins[f'{section}.url']}: {section}.url"
    if not server.model:
        raise ConfigError(
            f"{at}: set {section}.model too, the name by which that server knows its model"
        )
    if server.api_key and server.api_key_file:
        raise ConfigError(
            f"{origins[f'{section}.api_key_file']}: {section}.api_key_file: {section}.api_key is "
            "set as well; set one of them"
        )
    try:
        parts = urlsplit(server.url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{at}: {error}") from error
    has_key = server.api_key or server.api_key_file
    if has_key and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ConfigError(f"{at}: a key goes to another machine over https:// only")
