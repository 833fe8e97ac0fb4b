"""Steps in which a session leaves memory as a record and comes back: once, twice, from an old one, on both sides.

What a store that works lets happen is `come_back`, at any moment of a rotation, and `both_come_back`. The others fork a
session, as a store does that was rolled back: two owners live at one time, or the peer is further than the owner is.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Final

import pytest

from noisegate_server.engine.counts import Cause
from noisegate_server.engine.events import EventKind
from noisegate_server.engine.policy import limits_of
from noisegate_server.session.errors import BlobRejected, SessionClosed
from noisegate_server.session.fields import BlobRefused
from noisegate_server.session.frozen import freeze, thaw
from noisegate_server.session.state import TerminationReason
from tests.support.engine import TENANT, Engine
from tests.support.life import Life
from tests.support.owners import Owner

UNHEARD: Final = 6
"""So often a side comes back while nothing reaches it: eight roots are held, and with them lives what both have."""


def come_back(life: Life, side: int, way: str = "id") -> None:
    """The rightful owner suspends its session, and it comes back.

    The ways: by its `id`, from the same instance; by its `blob`, in another one, and the blob is good for nothing more;
    `silent`, from the record alone, and nobody tells the peer.
    """
    owner = life.owner(side)
    if owner is None or owner is not life.sides[side].owners[-1] or life.sides[side].unheard >= UNHEARD:
        return
    life.sides[side].unheard += 1
    if way == "silent":
        record = freeze_session(life, owner)
        owner.engine.parts.store.end(owner.held_session, TerminationReason.CLOSED, life.clock.now)
        life.sides[side].owners.remove(owner)
        _restore(life, owner, record, tells=False)
        return
    freeze_session(life, owner)
    blob = owner.engine.suspend(owner.session_id, return_blob=way == "blob").blob
    engine = _another_instance(life, owner) if blob else owner.engine
    life.sides[side].owners.remove(owner)
    life.has_returned = True
    try:
        restored = engine.restore_blob(blob) if blob else engine.restore(owner.session_id)
    except (BlobRejected, SessionClosed):
        # The wall clock was set past the session's life, or back.
        return
    if blob:
        with pytest.raises(BlobRejected):
            engine.restore_blob(blob)
    life.emit(life.take_over(side, engine, owner.session_id), restored.to_peer)


def both_come_back(life: Life, way: str) -> None:
    """Both services were restarted at once."""
    for side in (0, 1):
        come_back(life, side, way)


def keep_a_record(life: Life, side: int) -> None:
    """The rightful owner's record is stored, and the session goes on."""
    owner = life.owner(side)
    if owner is not None:
        freeze_session(life, owner)


def take_over(life: Life, side: int, place: int, tells: bool = True) -> None:
    """A record that was stored once is restored beside whoever has the session, who does not know of it."""
    frozen, owner = life.sides[side].frozen, life.owner(side)
    if frozen and owner is not None and len(life.sides[side].owners) < 4:
        life.is_forked = True
        _restore(life, owner, frozen[place % len(frozen)], tells=tells)


def twice(life: Life, side: int) -> None:
    """One record is restored by two instances at once."""
    owner = life.owner(side)
    if owner is not None and owner is life.sides[side].owners[-1] and len(life.sides[side].owners) < 3:
        come_back(life, side)
        take_over(life, side, -1)


def freeze_session(life: Life, owner: Owner) -> bytes:
    """A record of a session that goes on; somebody may find it later."""
    now, wall = life.clock.now, life.clock.wall
    record = bytes(
        freeze(
            owner.held_session,
            blob_id=os.urandom(16),
            issuer=b"here",
            now=now,
            wall=wall,
            expires_wall=wall + 3_600.0,
        )
    )
    life.sides[owner.side].frozen.append(record)
    return record


def _another_instance(life: Life, owner: Owner) -> Engine:
    """One with the identity, keys and vault of the owner's, and a memory of its own."""
    parts = owner.engine.parts
    return life.engines.make(
        policy=parts.policy,
        identity=owner.engine.identity,
        ticket_keys=parts.ticket_keys,
        vault=parts.vault,
        blob_keys=parts.blob_keys,
    )


def _restore(life: Life, former: Owner, record: bytes, *, tells: bool) -> None:
    """Another instance with the identity and policy of `former` has the session from here on."""
    engine, now = _another_instance(life, former), life.clock.now
    try:
        session = thaw(
            record,
            tenant=TENANT,
            aeads=engine.parts.aeads,
            limits_of=partial(limits_of, engine.parts.policy),
            random_bytes=os.urandom,
            now=now,
            wall=life.clock.wall,
        )
    except BlobRefused:
        # The wall clock was set past the session's life.
        return
    life.has_returned = True
    engine.parts.store.add(session, now)
    engine.parts.events.happened(EventKind.RESTORED, session)
    owner = life.take_over(former.side, engine, session.session_id)
    if tells:
        records = owner.records
        assert records is not None
        life.emit(owner, (records.ask(now, engine.parts.aeads, os.urandom),))
    engine.parts.counts.settle(session, Cause.RESTORE)
    life.check(owner)
