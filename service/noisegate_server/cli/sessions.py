"""`noisegate sessions`: what lives on a running instance, as a table."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

import noisegate
from noisegate_server.cli.target import credentials, hint

__all__ = ["sessions"]


def sessions(
    target: Annotated[str, typer.Option("--target", envvar="NOISEGATE_TARGET", help="HOST:PORT of the instance.")],
    peer: Annotated[str, typer.Option("--peer", help="Only sessions of this player.")] = "",
    group: Annotated[str, typer.Option("--group", help="Only sessions of this match or table.")] = "",
    tls_ca: Annotated[
        Path | None, typer.Option("--tls-ca", help="PEM file: who signs the server's certificate.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option("--tls-certificate", help="PEM file: your chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="PEM file: your private key.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many rows.")] = 100,
) -> None:
    """List your tenant's sessions on one instance."""
    tls = credentials(target, tls_ca, tls_certificate, tls_key)
    try:
        found = asyncio.run(_list(target, tls, peer, group, limit))
    except noisegate.NoisegateError as error:
        typer.echo(f"noisegate: {error}", err=True)
        if isinstance(error, noisegate.ServiceUnavailable):
            typer.echo(f"noisegate: {hint(target, tls)}", err=True)
        raise typer.Exit(1) from None
    Console().print(_table(found))


async def _list(
    target: str, tls: noisegate.Tls | None, peer: str, group: str, limit: int
) -> list[noisegate.SessionInfo]:
    found: list[noisegate.SessionInfo] = []
    async with noisegate.connect(target, tls=tls) as client:
        async for session in client.list_sessions(peer_id=peer, group=group, page_size=min(limit, 1_000)):
            found.append(session)
            if len(found) == limit:
                break
    return found


def _table(found: list[noisegate.SessionInfo]) -> Table:
    # No frame and one space between columns: it must fit the 80 columns of a pipe. What people look for comes first.
    people = (Column("player", min_width=12, overflow="fold"), Column("group", min_width=8, overflow="fold"))
    rest = ("session", "state", "mode", "epoch", "sealed", "opened", "idle")
    table = Table(*people, *(Column(name, no_wrap=True) for name in rest), box=None, pad_edge=False)
    for session in found:
        table.add_row(
            session.peer_id,
            session.group,
            session.session_id.hex()[:12],
            session.state.name.lower(),
            session.mode.name if session.mode else "",
            str(session.epoch),
            str(session.sealed),
            str(session.opened),
            f"{session.idle:.1f} s",
        )
    return table
