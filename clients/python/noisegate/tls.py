"""How the SDK proves who it is and checks who answers: TLS credentials, and the rule for going without."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from os import PathLike
from pathlib import Path

import grpc

from .errors import InsecureTarget

Pem = bytes | str | PathLike[str]
"""A PEM text as bytes, or the path of a file that holds one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS to the service; with `certificate` and `key` also mutual TLS, which names the caller (a SPIFFE id as a rule).

    Files are read once, when the client is made: after a rotation of certificates make a new client.
    """

    ca: Pem | None = None
    """Certificates that may sign the service's; None for those of the system."""
    certificate: Pem | None = None
    """The caller's certificate chain, leaf first; only together with `key`."""
    key: Pem | None = field(default=None, repr=False)
    """The caller's private key. Secret."""
    server_name: str = ""
    """The name in the service's certificate where it is not the host of the address; holds for every endpoint."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """The gRPC form. Reads the files; OSError where one cannot be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=_pem(self.ca), private_key=_pem(self.key), certificate_chain=_pem(self.certificate)
        )


def _pem(source: Pem | None) -> bytes | None:
    if source is None or isinstance(source, bytes):
        return source
    return Path(source).read_bytes()


def is_loopback(target: str) -> bool:
    """Whether HOST:PORT, [IPv6]:PORT or a `unix:` address stays on this machine; of names only localhost does."""
    if target.startswith("unix:"):
        return True
    host = target.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_plaintext(target: str, *, tls: Tls | None, insecure: bool) -> None:
    """Plaintext is for loopback; anything else needs TLS or the word `insecure`. Raises InsecureTarget."""
    if tls is None and not insecure and not is_loopback(target):
        raise InsecureTarget(target)
