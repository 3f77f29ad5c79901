"""How both sides of a peer link prove who they are."""

from __future__ import annotations

from pathlib import Path

import grpc
import msgspec

from gateway.core.errors import SetupError


class PeerTls(msgspec.Struct, frozen=True):
    """PEM: the site's certificate chain and key, and who signs the certificates of all sites."""

    chain: bytes
    private_key: bytes
    authority: bytes

    @classmethod
    def read(cls, chain: str, private_key: str, authority: str) -> PeerTls:
        """From files. Raises SetupError."""
        try:
            return cls(*(Path(file).read_bytes() for file in (chain, private_key, authority)))
        except OSError as error:
            raise SetupError(f"a TLS file of the peer port cannot be used: {error}") from error

    def for_caller(self) -> grpc.ChannelCredentials:
        """For links to peers."""
        return grpc.ssl_channel_credentials(self.authority, self.private_key, self.chain)

    def for_listener(self) -> grpc.ServerCredentials:
        """For the peer port, which lets nobody in without a certificate."""
        pairs = [(self.private_key, self.chain)]
        return grpc.ssl_server_credentials(pairs, self.authority, require_client_auth=True)
