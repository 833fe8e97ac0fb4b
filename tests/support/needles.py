"""The secrets of a session, as its player derives them: what a search of the service's memory looks for."""

from __future__ import annotations

import hmac
from typing import Any

from examples.dice.datagram_player import DatagramPlayer
from examples.dice.noise_player import NoisePlayer
from tests.support.written_out import expand, schedule

IN_CONTEXTS = frozenset({"seals", "opens"})
"""Keys of which AEAD contexts, which are the library's, hold copies while they live."""


def of_noise(player: NoisePlayer) -> dict[str, bytes]:
    """Of a NOISE session whose service responds: both cipher keys, root, export, and the key before them all."""
    sends: Any = player._sends
    receives: Any = player._receives
    found = schedule(player.handshake_hash, sends.k, receives.k)
    assert hmac.compare_digest(bytes.fromhex(found["export"]), player.export_secret)
    return {
        "seals": receives.k,
        "opens": sends.k,
        "root": bytes.fromhex(found["root"]),
        "export": player.export_secret,
        "prk": bytes.fromhex(found["prk"]),
    }


def of_datagram(player: DatagramPlayer) -> dict[str, bytes]:
    """Of a DATAGRAM session without the ratchet: its epoch's traffic secrets, their keys, root, export, mask."""
    session = player.session
    assert session is not None
    epoch: Any = session.current
    sealed, opened = epoch._receiver._chain, epoch.sender._chain
    return {
        "P(0) of what it seals": sealed,
        "P(0) of what it opens": opened,
        "seals": expand(sealed, "ng1 key"),
        "opens": expand(opened, "ng1 key"),
        "root": epoch.root,
        "export": session.lasting.export,
        "mask": session.lasting.mask,
    }
