"""`noisegate keygen`: a static X25519 key for --identity."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from noisegate_server.noise import KeyPair

__all__ = ["keygen"]


def keygen(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="New file for the private key, readable by you alone; else it is shown."),
    ] = None,
) -> None:
    """Make a static key pair: private key to a file, public key (for players' clients) to standard output."""
    pair = KeyPair.generate(os.urandom)
    private = pair.private_bytes().hex() + "\n"
    if out is None:
        sys.stdout.write(f"private {private}public  {pair.public.hex()}\n")
        return
    try:
        # Never over a file that exists: it may be the only copy of a key that players have pinned.
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        typer.echo(f"noisegate: --out: {out}: {error.strerror}; give the name of a new file", err=True)
        raise typer.Exit(2) from None
    with os.fdopen(handle, "w") as file:
        file.write(private)
    sys.stdout.write(pair.public.hex() + "\n")
