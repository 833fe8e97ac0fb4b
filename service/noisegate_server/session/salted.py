"""Salted epochs: how a session goes on after a restore, or after its peer's (docs/protocol.md, section 5).

A restored side knows roots and no counters. It makes an epoch of its own over a root and a fresh salt, and sends SALTED
packets, which name both, until the peer has answered under it.
"""

from __future__ import annotations

from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.epoch import Epoch, begin_epoch
from noisegate_server.session.keys import EpochSecrets, derive_salted, salted_hash
from noisegate_server.session.roots import Root, root_of


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


def own_epoch(
    base: Root, number: int, salt: bytes, *, initiator: bool, ratchet: bool, aeads: AeadCache, now: float
) -> Epoch:
    """A salted epoch of ours: unconfirmed, and sealed in SALTED packets until the peer has answered under it.

    `salt` is 16 fresh random bytes. ValueError for a number above the last.
    """
    secrets = derive_salted(base.root, salt, number)
    epoch = epoch_of(
        secrets,
        number,
        salted_hash(base.h, salt, number),
        initiator=initiator,
        ratchet=ratchet,
        aeads=aeads,
        now=now,
        confirmed=False,
    )
    epoch.send_tail = bytes((base.number & 0xFF,)) + salt
    return epoch


def epoch_of(
    secrets: EpochSecrets,
    number: int,
    h: bytes,
    *,
    initiator: bool,
    ratchet: bool,
    aeads: AeadCache,
    now: float,
    confirmed: bool,
) -> Epoch:
    """The epoch of `secrets`, which are its own from here on, as this side uses it."""
    return begin_epoch(
        number=number,
        h=h,
        root=secrets.root,
        send_secret=secrets.i2r if initiator else secrets.r2i,
        receive_secret=secrets.r2i if initiator else secrets.i2r,
        ratchet=ratchet,
        aeads=aeads,
        now=now,
        confirmed=confirmed,
    )
