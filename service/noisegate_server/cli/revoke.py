"""`noisegate revoke`: end what a player has, at one instance."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

import noisegate
import noisegate.admin
from noisegate_server.cli.target import credentials, hint, refuse

__all__ = ["revoke"]

_KEY_BYTES = 32


def revoke(
    target: Annotated[str, typer.Option("--target", envvar="NOISEGATE_ADMIN", help="HOST:PORT of --admin-listen.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose player it is.")],
    peer_id: Annotated[str, typer.Option("--peer-id", help="The player, as the game names it.")] = "",
    static_key: Annotated[str, typer.Option("--static-key", help="Its static public key, 64 hex digits.")] = "",
    tls_ca: Annotated[
        Path | None, typer.Option("--tls-ca", help="PEM file: who signs the server's certificate.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option("--tls-certificate", help="PEM file: your chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="PEM file: your private key.")] = None,
) -> None:
    """End a player's sessions and tickets; with --static-key, refuse it for good."""
    if bool(peer_id) is bool(static_key):
        refuse("give --peer-id or --static-key, and not both")
    try:
        key = bytes.fromhex(static_key)
    except ValueError:
        key = b"?"
    if static_key and len(key) != _KEY_BYTES:
        refuse("--static-key: 64 hex digits")
    tls = credentials(target, tls_ca, tls_certificate, tls_key)
    try:
        revoked = asyncio.run(_revoke(target, tls, tenant, peer_id, key))
    except noisegate.NoisegateError as error:
        typer.echo(f"noisegate: {error}", err=True)
        if isinstance(error, noisegate.ServiceUnavailable):
            typer.echo(f"noisegate: {hint(target, tls)}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"ended {revoked.sessions_ended} sessions, deleted {revoked.suspended_deleted} suspended ones")


async def _revoke(
    target: str, tls: noisegate.Tls | None, tenant: str, peer_id: str, static_key: bytes
) -> noisegate.admin.Revoked:
    async with noisegate.admin.connect(target, tls=tls) as operator:
        return await operator.revoke_peer(tenant, peer_id=peer_id, static_key=static_key)
