"""`noisegate keygen`: a static X25519 key for --identity, or all keys of a service as one Kubernetes Secret."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from noisegate_server.cli.target import refuse
from noisegate_server.noise import KeyPair

__all__ = ["keygen"]

_KEY_BYTES: Final = 32

_MANIFEST: Final = """\
# All keys of a noisegate service, for every pod of it. Players' clients need the public key alone.
apiVersion: v1
kind: Secret
metadata:
  name: {name}
  labels:
    app.kubernetes.io/name: noisegate
  annotations:
    noisegate/public-key: "{public}"
type: Opaque
stringData:
  identity.key: "{identity}"
  ticket.key: "{ticket}"
  blob.key: "{blob}"
"""
"""The entries are those that the chart mounts (helm/noisegate/values.yaml, `keys`)."""


def keygen(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="New file for what is private, readable by you alone; else it is shown."),
    ] = None,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Make a Secret with identity, ticket key and blob key.")
    ] = False,
    name: Annotated[str, typer.Option("--name", help="Of the Secret.")] = "noisegate-keys",
) -> None:
    """Make a static key pair: private key to a file, public key (for players' clients) to standard output.

    With --kubernetes a manifest for `kubectl create --filename -`, which refuses to replace keys that are in use.
    """
    pair = KeyPair.generate(os.urandom)
    public = pair.public.hex()
    private = pair.private_bytes().hex()
    if kubernetes:
        ticket, blob = os.urandom(_KEY_BYTES).hex(), os.urandom(_KEY_BYTES).hex()
        text = _MANIFEST.format(name=_checked(name), public=public, identity=private, ticket=ticket, blob=blob)
        shown = text
    else:
        text = f"{private}\n"
        shown = f"private {private}\npublic  {public}\n"
    if out is None:
        sys.stdout.write(shown)
        return
    try:
        # Never over a file that exists: it may be the only copy of a key that players have pinned.
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        refuse(f"--out: {out}: {error.strerror}; give the name of a new file")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    sys.stdout.write(f"{public}\n")


def _checked(name: str) -> str:
    """A name that Kubernetes takes (RFC 1123), and that is nothing else in YAML."""
    bare = name.replace("-", "").replace(".", "")
    if not (bare.isascii() and bare.isalnum() and bare.islower() and name[0].isalpha() and name[-1].isalnum()):
        refuse("--name: small letters, digits, '-' and '.', a letter first")
    return name
