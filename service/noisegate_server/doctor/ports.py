"""Ports: free, or taken by a service that answers."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Final

import noisegate
import noisegate.health
from noisegate_server.config import Config, HostPort, option_name, parse_host_port
from noisegate_server.doctor.findings import Findings

__all__ = ["examine_ports"]

_SECONDS: Final = 2.0
_ADMIN: Final = "noisegate.v1.AdminService"


def examine_ports(findings: Findings, config: Config) -> None:
    """Every address of the configuration that is listened on; a port that the system chooses is left alone."""
    for name in type(config).model_fields:
        text = getattr(config, name)
        if (name == "listen" or name.endswith("_listen")) and text:
            address = parse_host_port(text)
            if address.port:
                _examine(findings, config, name, address)


def _examine(findings: Findings, config: Config, name: str, address: HostPort) -> None:
    option = option_name(name)
    refusal = _cannot_bind(address)
    if refusal is None:
        findings.ok(option, f"{address}: free, so no service runs there")
    elif refusal.errno != errno.EADDRINUSE:
        findings.mend(
            option, f"{address}: {refusal.strerror}", "give an address of this machine, and a port above 1023"
        )
    elif name == "metrics_listen":
        findings.note(option, f"{address}: taken, which is right if the service runs already")
    else:
        _examine_service(findings, config, name, address)


def _cannot_bind(address: HostPort) -> OSError | None:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, place in found:
            with socket.socket(family, kind, protocol) as probe:
                # As gRPC does it: connections that are over do not keep the port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
    except OSError as error:
        return error
    return None


def _examine_service(findings: Findings, config: Config, name: str, address: HostPort) -> None:
    """A port that is taken is as it should be where it is this service that has it."""
    option = option_name(name)
    authority = config.admin_client_ca if name == "admin_listen" else config.tls_client_ca
    if authority is not None and name != "health_listen":
        findings.note(
            option,
            f"{address}: taken; whether by a service, only a caller with a certificate can find out",
            "" if config.health_listen else "give --health-listen HOST:PORT, where it can be asked without",
        )
        return
    host = "127.0.0.1" if address.is_wildcard else address.host
    target = str(HostPort(host=host, port=address.port))
    tls = None
    if config.tls_certificate is not None and name == "listen":
        tls = noisegate.Tls(ca=config.tls_certificate)
    service = {"service": _ADMIN} if name == "admin_listen" else {}
    try:
        serves = asyncio.run(noisegate.health.is_serving(target, tls=tls, insecure=True, seconds=_SECONDS, **service))
    except noisegate.NoisegateError as error:
        findings.mend(
            option,
            f"{address}: taken, and no healthy service answers there ({error.code.name})",
            "stop what listens there, or give another port",
        )
        return
    if serves:
        findings.ok(option, f"{address}: a service runs there and takes calls")
    else:
        findings.note(option, f"{address}: a service runs there that is about to stop")
