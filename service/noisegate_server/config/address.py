"""HOST:PORT, as options and endpoints spell it."""

from __future__ import annotations

from ipaddress import ip_address

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["HostPort", "parse_host_port"]


class HostPort(BaseModel):
    """An address to listen on."""

    model_config = ConfigDict(frozen=True)

    host: str
    """A name or an IP address without brackets."""
    port: int = Field(ge=0, le=65_535)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it; of names, only localhost is such for certain."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_wildcard(self) -> bool:
        """Whether it is every address of the machine, and so none that a caller could be told."""
        try:
            return ip_address(self.host).is_unspecified
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host_port(text: str) -> HostPort:
    """HOST:PORT or [IPv6]:PORT. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("HOST:PORT")
    return HostPort(host=host, port=int(port))
