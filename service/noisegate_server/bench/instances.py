"""A service below its seam in this process, and the steps in which a player's instance and a service's meet."""

from __future__ import annotations

import os
import time
from typing import Final

from noisegate_server.engine import handshake
from noisegate_server.engine.outcomes import HandshakeStep
from noisegate_server.engine.parts import INSTANCE, Parts, make_parts
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.noise import KeyPair
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.session.ticket import TicketKey, TicketKeys
from noisegate_server.trust.identity import Identities

__all__ = ["TENANT", "begin", "make_instance", "respond"]

TENANT: Final = "local"


def make_instance() -> Parts:
    """A service as the server makes one, with keys of its own, all in memory."""
    return make_parts(
        instance=os.urandom(INSTANCE),
        endpoint="",
        version="bench",
        identities=Identities({}, default=KeyPair.generate(os.urandom)),
        ticket_keys=TicketKeys(current=TicketKey(key_id=os.urandom(8), key=os.urandom(32))),
        policy=Policy(),
        random_bytes=os.urandom,
        started_wall=time.time(),
    )


def begin(player: Parts, pattern: Pattern, remote_static_key: bytes, now: float, wall: float) -> HandshakeStep:
    """The player's side begins a DATAGRAM handshake; the key of the service where the pattern knows it."""
    initiation = handshake.Initiation(
        mode=RecordMode.DATAGRAM, pattern=pattern, suite=Suite.CHACHA20_POLY1305_X25519, offer=(),
        remote_static_key=remote_static_key, psk=b"", prologue=b"", payload=b"", peer_id="", group="",
        options=Options(),
    )  # fmt: skip
    return handshake.initiate(player, TENANT, initiation, now, wall)


def respond(service: Parts, packet: bytes, peer_id: str, now: float, wall: float) -> HandshakeStep:
    """The service answers a player's first packet."""
    response = handshake.Response(
        mode=RecordMode.DATAGRAM, pattern=0, suite=0, hello=b"", message=packet, psk=b"", prologue=b"", payload=b"",
        peer_id=peer_id, group="match", options=Options(),
    )  # fmt: skip
    return handshake.respond(service, TENANT, response, now, wall)
