"""`noisegate health`: whether an instance takes calls; the exit code says it to scripts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

import noisegate
import noisegate.health
from noisegate_server.cli.target import credentials

__all__ = ["health"]


def health(
    target: Annotated[str, typer.Option("--target", envvar="NOISEGATE_TARGET", help="HOST:PORT of the instance.")],
    alive: Annotated[bool, typer.Option("--alive", help="Ask only whether the process lives.")] = False,
    seconds: Annotated[float, typer.Option("--timeout", min=0.1, max=60, help="Seconds to wait for an answer.")] = 5.0,
    tls_ca: Annotated[
        Path | None, typer.Option("--tls-ca", help="PEM file: who signs the server's certificate.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option("--tls-certificate", help="PEM file: your chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="PEM file: your private key.")] = None,
) -> None:
    """Ask an instance whether it takes calls: at --listen, or without TLS at --health-listen. Exit code 1 if not."""
    tls = credentials(target, tls_ca, tls_certificate, tls_key)
    service = "" if alive else noisegate.health.SERVICE
    try:
        # The answer is no secret, and the address of --health-listen knows no TLS.
        serving = asyncio.run(
            noisegate.health.is_serving(target, service=service, tls=tls, insecure=tls is None, seconds=seconds)
        )
    except noisegate.NoisegateError as error:
        typer.echo(f"noisegate: {target}: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo("serving" if serving else "not serving")
    if not serving:
        raise typer.Exit(1)
