"""From a finished handshake to records: Split, the key schedule, and nothing left of the handshake but h.

docs/protocol.md, section 3. NOISE mode seals with Split's own keys; DATAGRAM mode derives traffic secrets from them and
wipes them.
"""

from __future__ import annotations

from noisegate_server.noise import HandshakeState
from noisegate_server.noise.primitives import CIPHERS, wipe
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.epoch import begin_epoch
from noisegate_server.session.hello import Flags
from noisegate_server.session.keys import derive_epoch, derive_session
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.noise_records import NoiseRecords, Replacement, Stream
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, Role
from noisegate_server.session.suites import SUITES


def establish(
    session: Session,
    handshake: HandshakeState,
    *,
    connection_id: bytes,
    remote_static: bytes,
    anonymous_initiator: bool,
    limits: RotationLimits,
    now: float,
) -> None:
    """Give `session` the records of its finished `handshake`.

    `remote_static` is 32 bytes or empty; after a resume it is the ticket's. `connection_id` is 8 bytes in DATAGRAM
    mode.
    """
    cipher = CIPHERS[SUITES[session.suite].cipher]
    h = handshake.handshake_hash
    first, second = handshake.split()
    k1, k2 = first.take_key(), second.take_key()
    secrets, kept = derive_session(h, k1, k2)
    initiator = session.role is Role.INITIATOR
    ratchet = bool(session.flags & Flags.RATCHET)
    session.remote_static = remote_static
    session.anonymous_initiator = anonymous_initiator
    records: NoiseRecords | DatagramRecords
    if session.mode is RecordMode.NOISE:
        send, receive = (k1, k2) if initiator else (k2, k1)
        records = NoiseRecords(
            cipher=cipher,
            send=Stream(send),
            receive=Stream(receive),
            ratchet=ratchet,
            root=bytearray(secrets.root),
            h=h,
            limits=limits,
            now=now,
        )
        secrets.wipe()
    else:
        records = DatagramRecords(
            cipher=cipher,
            connection_id=connection_id,
            mask_key=bytearray(kept.mask) if session.flags & Flags.MASK else None,
            padded=bool(session.flags & Flags.PAD),
            ratchet=ratchet,
            initiator=initiator,
            epoch=begin_epoch(
                secrets,
                number=0,
                h=h,
                initiator=initiator,
                ratchet=ratchet,
                now=now,
                confirmed=True,
            ),
            limits=limits,
        )
        wipe(k1)
        wipe(k2)
    session.establish(records, handshake_hash=h, export=bytearray(kept.export), now=now)
    kept.wipe()


def replacement(handshake: HandshakeState, *, initiator: bool) -> Replacement:
    """NOISE mode: the keys of a finished renegotiation, for each direction to change to when the game says so."""
    h = handshake.handshake_hash
    first, second = handshake.split()
    k1, k2 = first.take_key(), second.take_key()
    secrets = derive_epoch(h, k1, k2)
    root = bytearray(secrets.root)
    secrets.wipe()
    send, receive = (k1, k2) if initiator else (k2, k1)
    return Replacement(send=Stream(send), receive=Stream(receive), root=root, h=h)
