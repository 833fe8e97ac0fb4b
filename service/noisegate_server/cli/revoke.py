"""`noisegate revoke`: end what a player has, at every instance that a name leads to."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

import noisegate
import noisegate.admin
from noisegate.admin import Revoked
from noisegate_server.cli.target import credentials, hint, refuse

__all__ = ["addresses", "revoke"]

_KEY_BYTES: Final = 32
_POLICY: Final = noisegate.CallPolicy(control_deadline=5.0)


def revoke(
    target: Annotated[
        list[str],
        typer.Option(
            "--target",
            envvar="NOISEGATE_ADMIN",
            help="HOST:PORT of --admin-listen; of a name all addresses are called. Repeat for more.",
        ),
    ],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose player it is.")],
    peer_id: Annotated[str, typer.Option("--peer-id", help="The player, as the game names it.")] = "",
    static_key: Annotated[str, typer.Option("--static-key", help="Its static public key, 64 hex digits.")] = "",
    expect: Annotated[
        int, typer.Option("--expect", min=0, help="So many instances there are: fewer addresses are an error.")
    ] = 0,
    tls_ca: Annotated[
        Path | None, typer.Option("--tls-ca", help="PEM file: who signs the server's certificate.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option("--tls-certificate", help="PEM file: your chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="PEM file: your private key.")] = None,
    server_name: Annotated[
        str, typer.Option("--server-name", help="The name in the instances' certificate; else that of --target.")
    ] = "",
) -> None:
    """End a player's sessions and tickets; with --static-key, refuse it for good.

    Sessions live at one instance each, so every one is called. Exit code 1 names those that did not answer: run it
    again, since all that has been done is done.
    """
    if bool(peer_id) is bool(static_key):
        refuse("give --peer-id or --static-key, and not both")
    try:
        key = bytes.fromhex(static_key)
    except ValueError:
        key = b"?"
    if static_key and len(key) != _KEY_BYTES:
        refuse("--static-key: 64 hex digits")
    instances: dict[str, noisegate.Tls | None] = {}
    for each in target:
        tls = credentials(each, tls_ca, tls_certificate, tls_key)
        instances |= {address: _for(tls, server_name or name) for address, name in _resolved(each).items()}
    outcomes = asyncio.run(_revoke_all(instances, tenant, peer_id, key))
    failed = [address for address, outcome in outcomes.items() if not isinstance(outcome, Revoked)]
    _report(outcomes, instances)
    if len(instances) < expect:
        typer.echo(f"noisegate: {len(instances)} instances found, and not {expect}", err=True)
    if failed:
        typer.echo(f"noisegate: not revoked at {', '.join(failed)}", err=True)
    if failed or len(instances) < expect:
        raise typer.Exit(1)


def addresses(target: str) -> dict[str, str]:
    """Every address (HOST:PORT) behind a target, with the name to look for in its certificate. OSError for none.

    Those of IPv4, where there are any: in a cluster with both, a pod has one of each, and is called once.
    """
    host, _, port = target.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    families = {family for family, *_ in found}
    family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    numbers = sorted({str(place[0]) for each, _, _, _, place in found if each == family})
    return {f"[{number}]:{port}" if ":" in number else f"{number}:{port}": host for number in numbers}


def _resolved(target: str) -> dict[str, str]:
    try:
        return addresses(target)
    except OSError as error:
        typer.echo(f"noisegate: --target: {target}: {error.strerror}", err=True)
        raise typer.Exit(1) from None


def _for(tls: noisegate.Tls | None, name: str) -> noisegate.Tls | None:
    """The address is called, and the certificate must be for the name."""
    return None if tls is None else replace(tls, server_name=name)


async def _revoke_all(
    instances: dict[str, noisegate.Tls | None], tenant: str, peer_id: str, static_key: bytes
) -> dict[str, Revoked | noisegate.NoisegateError]:
    async def revoke_at(address: str, tls: noisegate.Tls | None) -> Revoked | noisegate.NoisegateError:
        try:
            async with noisegate.admin.connect(address, tls=tls, policy=_POLICY) as operator:
                return await operator.revoke_peer(tenant, peer_id=peer_id, static_key=static_key)
        except noisegate.NoisegateError as error:
            return error

    outcomes = await asyncio.gather(*(revoke_at(address, tls) for address, tls in instances.items()))
    return dict(zip(instances, outcomes, strict=True))


def _report(
    outcomes: dict[str, Revoked | noisegate.NoisegateError], instances: dict[str, noisegate.Tls | None]
) -> None:
    """A line for each instance; its address is there where there are several."""
    for address, outcome in outcomes.items():
        where = f"{address}: " if len(outcomes) > 1 else ""
        if isinstance(outcome, Revoked):
            ended, deleted = outcome.sessions_ended, outcome.suspended_deleted
            typer.echo(f"{where}ended {ended} sessions, deleted {deleted} suspended ones")
            continue
        typer.echo(f"noisegate: {where}{outcome}", err=True)
        if isinstance(outcome, noisegate.ServiceUnavailable):
            typer.echo(f"noisegate: {where}{hint(address, instances[address])}", err=True)
