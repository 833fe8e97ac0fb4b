"""The options with which a command reaches a running instance."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer

import noisegate

__all__ = ["credentials", "hint", "refuse"]


def refuse(message: str) -> NoReturn:
    """End the command: it cannot be meant so. Exit code 2."""
    typer.echo(f"noisegate: {message}", err=True)
    raise typer.Exit(2)


def credentials(target: str, ca: Path | None, certificate: Path | None, key: Path | None) -> noisegate.Tls | None:
    """What the TLS options give, None for plaintext; refuses a target and files that cannot be meant."""
    if not target.rpartition(":")[2].isdigit():
        refuse(f"--target: {target}: give HOST:PORT")
    if (certificate is None) is not (key is None):
        refuse("--tls-certificate and --tls-key belong together: give both or neither")
    for option, path in (("--tls-ca", ca), ("--tls-certificate", certificate), ("--tls-key", key)):
        if path is not None and not path.is_file():
            refuse(f"{option}: {path}: no such file")
    if ca is None and certificate is None:
        return None
    return noisegate.Tls(ca=ca, certificate=certificate, key=key)


def hint(target: str, tls: noisegate.Tls | None) -> str:
    """What may be wrong where nothing answers."""
    if tls is None:
        return f"is a service running at {target} (noisegate serve --dev)? If it speaks TLS, give --tls-ca"
    return (
        f"is a service running at {target}, and does it speak TLS, with a certificate for that name? "
        "It may demand yours: --tls-certificate and --tls-key"
    )
