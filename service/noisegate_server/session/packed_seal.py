"""Sealing for an idle session straight from its record (session/record.py): no object is made of it, and it stays idle.

To unpack a session takes many times as long as to seal for it. So where a plain record is all that is asked for, the
case that session/fast_path.py knows, this does on the bytes what `unpack`, `DatagramRecords.seal`, `touch` and `pack`
come to. The invariants are theirs: the counter is written back before any ciphertext exists, and limits are looked at
before every one. The key is derived from the record's secret, used once and wiped.

None, and nothing has changed, for whatever is another case: unpack it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from noisegate_server.noise.primitives import CIPHERS, Cipher, wipe
from noisegate_server.session.constants import KEY
from noisegate_server.session.datagram import RECORD
from noisegate_server.session.fast_path import PLAIN
from noisegate_server.session.hello import Flags
from noisegate_server.session.keys import phase_key
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.network import PROFILES
from noisegate_server.session.packets import RECORD_HEADER, Kind
from noisegate_server.session.record_layout import HEAD, NAMES_AT, NUMBERS, WIDEST, Has, Numbers, Shared
from noisegate_server.session.sealed import Sealed
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import SUITES

__all__ = ["PackedSealing", "seal_packed", "sealing_of"]

SOON_S: Final = 1.0
"""Who was used so short a time before is about to be used again, and better off as an object."""
_SPECIAL: Final = min(Has.FORMER, Has.MASK, Has.DUE)
"""What a record may have here is below."""
_USED: Final = struct.Struct(">2d")
"""A record's first two fields: when it ends, and when it was used last."""
_SENT: Final = tuple(struct.Struct(f">2{width}") for width in "BHIQ")
"""`sealed_bytes` and `send_counter`, which stand side by side."""
_SENT_AT: Final = tuple(each.size * Numbers._fields.index("sealed_bytes") // len(Numbers._fields) for each in NUMBERS)
_KIND: Final = bytes((Kind.DATA,))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedSealing:
    """How sessions of a kind seal, those that share one `Shared`."""

    cipher: Cipher
    nonce: Callable[[int], bytes]
    idle_timeout: float
    due_age: float
    """Seconds after which an epoch is due for a rotation."""
    messages: int
    """From so many records on a limit is passed, or a counter is more than its header says."""
    sent_bytes: int
    """Likewise of bytes."""


def sealing_of(shared: Shared, limits: RotationLimits) -> PackedSealing | None:
    """How sessions of a kind seal; None where every one of them has to be unpacked for it."""
    ratchet, pad = shared.flags & int(Flags.RATCHET), shared.flags & int(Flags.PAD)
    if shared.mode is not RecordMode.DATAGRAM or ratchet or (pad and PROFILES[shared.network].pads):
        return None
    cipher = CIPHERS[SUITES[shared.suite].cipher]
    return PackedSealing(
        cipher=cipher,
        nonce=cipher.nonce,
        idle_timeout=shared.idle_timeout,
        due_age=min(limits.soft_age, limits.hard_age),
        messages=min(limits.soft_messages, limits.data_messages, PLAIN),
        sent_bytes=min(limits.soft_bytes, limits.hard_bytes),
    )


def seal_packed(
    sealing: PackedSealing, record: memoryview, plaintext: bytes, associated_data: bytes, now: float
) -> Sealed | None:
    """Seal data of the game, at most MAX_DATAGRAM_PLAINTEXT bytes, and note in the record what that has changed."""
    expires_at, last_used, lifetime_end, _, _, began_at, _, connection_id, _, has, width, peer_id, group = (
        HEAD.unpack_from(record)
    )
    if has >= _SPECIAL or now >= expires_at or now < last_used + SOON_S or now >= began_at + sealing.due_age:
        return None
    at = NAMES_AT[has] + peer_id + group
    epoch, _, _, sent, counter, _, _, _, phase, _, _, _ = NUMBERS[width].unpack_from(record, at)
    if counter >= sealing.messages or sent >= sealing.sent_bytes:
        return None
    sent += len(plaintext)
    if sent > WIDEST[width] or counter >= WIDEST[width]:
        return None
    # Consumed from here on, whatever comes.
    _SENT[width].pack_into(record, at + _SENT_AT[width], sent, counter + 1)
    _USED.pack_into(record, 0, min(now + sealing.idle_timeout, lifetime_end), now)
    header = RECORD_HEADER.pack(RECORD, connection_id, epoch & 0xFF, phase & 0xFF, counter)
    # The secrets are exporter, root, what seals, what opens.
    key = phase_key(record[-2 * KEY : -KEY])
    body = sealing.cipher.new(key).encrypt(sealing.nonce(counter), plaintext + _KIND, header + associated_data)
    wipe(key)
    return Sealed(header + body, counter, epoch, False, ())
