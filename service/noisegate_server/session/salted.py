"""Salted epochs: how a session goes on after a restore, or after its peer's (docs/protocol.md, section 5).

A restored side knows roots and no counters. It makes an epoch of its own over a root and a fresh salt, and sends SALTED
packets, which name both, until the peer has answered under it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import DATAGRAM_OVERHEAD, MAX_EPOCH, SALT, SALTED_ANSWER_S, SALTED_OVERHEAD
from noisegate_server.session.datagram import HEADER, RECORD, SALTED, DatagramRecords
from noisegate_server.session.epoch import Epoch, begin_epoch, begin_receiver, retire
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.inner import open_inner
from noisegate_server.session.keys import EpochSecrets, derive_salted, salted_hash
from noisegate_server.session.mask import masked
from noisegate_server.session.packets import SALTED_HEADER, Kind
from noisegate_server.session.roots import Root, bound_roots, root_of, wipe_roots
from noisegate_server.session.sealed import Opened

RandomBytes = Callable[[int], bytes]
_RECORD_TYPES: Final = (RECORD, SALTED[0])


def roots_of(records: DatagramRecords) -> list[Root]:
    """Every epoch whose root this side holds, oldest first: the bases that a peer's SALTED may name."""
    roots = list(records.held)
    current = records.current
    if records.previous is not None and not current.confirmed:
        roots.append(root_of(records.previous))
    roots.append(root_of(current, agreed=not current.confirmed and not current.send_tail))
    if records.next is not None:
        roots.append(root_of(records.next))
    return roots


def highest_known(records: DatagramRecords) -> int:
    """The highest epoch number that this side has ever made, or begun to make."""
    begun = 0 if records.begun is None else records.begun.number
    return max(begun, *(root.number for root in roots_of(records)))


def own_epoch(base: Root, number: int, salt: bytes, *, initiator: bool, ratchet: bool, now: float) -> Epoch:
    """A salted epoch of ours: unconfirmed, and sealed in SALTED packets until the peer has answered under it.

    `salt` is 16 fresh random bytes. ValueError for a number above the last.
    """
    epoch = begin_epoch(
        derive_salted(base.root, salt, number),
        number=number,
        h=salted_hash(base.h, salt, number),
        initiator=initiator,
        ratchet=ratchet,
        now=now,
        confirmed=False,
    )
    epoch.send_tail = bytes((base.number & 0xFF,)) + salt
    return epoch


def open_salted(
    records: DatagramRecords,
    packet: bytes,
    associated_data: bytes,
    now: float,
    aeads: AeadCache,
    random_bytes: RandomBytes,
) -> tuple[Opened, tuple[bytes, ...]]:
    """Open a SALTED packet of the peer: the record, and what must go to the peer at once.

    Refuses as `records.open` does, and likewise changes nothing then. A forged one costs at most 7 HMACs and what a
    forged RECORD of its phase and counter does.
    """
    if len(packet) < SALTED_OVERHEAD or packet[0] != SALTED[0]:
        raise DecryptFailed
    header, body = packet[: SALTED_HEADER.size], packet[SALTED_HEADER.size :]
    tail = header[HEADER:]
    if records.mask_key is not None:
        header = masked(header[:HEADER], records.mask_key, body) + tail
    _, _, low_epoch, low_phase, low_counter, low_base, salt = SALTED_HEADER.unpack(header)
    for known in (records.current, records.previous):
        if (
            known is not None
            and known.receive_tail == tail
            and known.number & 0xFF == low_epoch
            and now < known.expires_at
        ):
            return records.open_in(known, header, low_phase, low_counter, body, associated_data, now, aeads), ()
    base, number = _claimed(records, low_epoch, low_base, salt)
    secrets = derive_salted(base.root, salt, number)
    try:
        _verify(records, secrets, header, low_phase, low_counter, body, associated_data, now)
    except DecryptFailed:
        secrets.wipe()
        raise
    h = salted_hash(base.h, salt, number)
    if not base.ours:
        # Both sides were restored. Another owner of our blob could seal under these keys as well as we could: what is
        # in the packet is not taken, and the answer is an epoch with a salt of our own.
        answer = _answer_restored(records, secrets, number, h, now, aeads, random_bytes)
        return Opened(Kind.KEEP_ALIVE, b"", low_counter, number, True, False, False), answer
    epoch = begin_epoch(
        secrets,
        number=number,
        h=h,
        initiator=records.initiator,
        ratchet=records.ratchet,
        now=now,
        confirmed=False,
    )
    epoch.receive_tail = tail
    _give_way(records, base, epoch, aeads)
    return records.open_in(epoch, header, low_phase, low_counter, body, associated_data, now, aeads), ()


def tell(records: DatagramRecords, packet: bytes, now: float, aeads: AeadCache) -> tuple[bytes, ...]:
    """What a record that did not open is answered with while the peer knows nothing of our salted epoch.

    A keep-alive of that epoch, at most every 200 ms; otherwise nothing.
    """
    if (
        not records.current.send_tail
        or now < records.told_at + SALTED_ANSWER_S
        or len(packet) < DATAGRAM_OVERHEAD
        or packet[0] not in _RECORD_TYPES
    ):
        return ()
    records.told_at = now
    return records.aside(Kind.KEEP_ALIVE, b"", aeads)


def _claimed(records: DatagramRecords, low_epoch: int, low_base: int, salt: bytes) -> tuple[Root, int]:
    """The base and the number that a header names. DecryptFailed where it could not be accepted anyway."""
    roots = roots_of(records)
    above = 1 + max(root.number for root in roots if root.confirmed)
    number = above + ((low_epoch - above) & 0xFF)
    own = records.current
    if own.send_tail and (number, salt) <= (own.number, own.send_tail[1:]):
        raise DecryptFailed
    for base in reversed(roots):
        if base.number & 0xFF == low_base and base.number < number < MAX_EPOCH:
            return base, number
    raise DecryptFailed


def _verify(
    records: DatagramRecords,
    secrets: EpochSecrets,
    header: bytes,
    low_phase: int,
    low_counter: int,
    body: bytes,
    associated_data: bytes,
    now: float,
) -> None:
    """DecryptFailed unless the packet opens as a first record under `secrets`, of which nothing changes."""
    # A cache of its own: a forged packet must not push a living context out of ours.
    aside = AeadCache(1)
    secret = bytearray(secrets.r2i if records.initiator else secrets.i2r)
    receiver = begin_receiver(secret, ratchet=records.ratchet)
    try:
        context, _ = receiver.find(low_phase, low_counter, records.cipher, aside, now)
        open_inner(context.decrypt, records.nonce(low_counter), header, body, associated_data)
    finally:
        receiver.wipe(aside)


def _give_way(records: DatagramRecords, base: Root, epoch: Epoch, aeads: AeadCache) -> None:
    """The peer's salted epoch takes the place of every other; of those only the root of its base is kept."""
    kept = Root(
        number=base.number,
        h=base.h,
        root=bytearray(base.root),
        confirmed=base.confirmed,
        agreed=base.agreed,
        ours=base.ours,
    )
    for other in (records.previous, records.current, records.next):
        retire(other, aeads)
    wipe_roots(records.held)
    if records.begun is not None:
        records.begun.wipe()
    records.begun = records.answered = records.previous = records.next = None
    records.current, records.held = epoch, [kept]
    records.wants_rotation = 0
    records.rotated_at = records.answers_from = -math.inf
    records.forget_reminder()
    records.count_anew()


def _answer_restored(
    records: DatagramRecords,
    secrets: EpochSecrets,
    number: int,
    h: bytes,
    now: float,
    aeads: AeadCache,
    random_bytes: RandomBytes,
) -> tuple[bytes, ...]:
    """Hold the root of the peer's salted epoch, and make one of our own over it; the record that tells the peer."""
    base = Root(number=number, h=h, root=bytearray(secrets.root), confirmed=True, agreed=False, ours=False)
    secrets.wipe()
    records.held.append(base)
    bound_roots(records.held)
    retire(records.current, aeads)
    records.current = own_epoch(
        base,
        number + 1,
        random_bytes(SALT),
        initiator=records.initiator,
        ratchet=records.ratchet,
        now=now,
    )
    records.count_anew()
    return (records.ask(now, aeads, random_bytes),)
