"""`noisegate sessions`: what lives on a running instance, as a table."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Column, Table

import noisegate

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
    if not target.rpartition(":")[2].isdigit():
        _refuse(f"--target: {target}: give HOST:PORT")
    if (tls_certificate is None) is not (tls_key is None):
        _refuse("--tls-certificate and --tls-key belong together: give both or neither")
    for option, path in (("--tls-ca", tls_ca), ("--tls-certificate", tls_certificate), ("--tls-key", tls_key)):
        if path is not None and not path.is_file():
            _refuse(f"{option}: {path}: no such file")
    tls = None
    if tls_ca is not None or tls_certificate is not None:
        tls = noisegate.Tls(ca=tls_ca, certificate=tls_certificate, key=tls_key)
    try:
        found = asyncio.run(_list(target, tls, peer, group, limit))
    except noisegate.NoisegateError as error:
        typer.echo(f"noisegate: {error}", err=True)
        if isinstance(error, noisegate.ServiceUnavailable):
            typer.echo(f"noisegate: {_hint(target, tls)}", err=True)
        raise typer.Exit(1) from None
    Console().print(_table(found))


def _refuse(message: str) -> NoReturn:
    typer.echo(f"noisegate: {message}", err=True)
    raise typer.Exit(2)


def _hint(target: str, tls: noisegate.Tls | None) -> str:
    if tls is None:
        return f"is a service running at {target} (noisegate serve --dev)? If it speaks TLS, give --tls-ca"
    return (
        f"is a service running at {target}, and does it speak TLS, with a certificate for that name? "
        "It may demand yours: --tls-certificate and --tls-key"
    )


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
