"""Steps in which a session leaves memory as a record and comes back: once, twice, from an old one, on both sides.

What a store that works lets happen is `come_back`, at any moment of a rotation, and `both_come_back`. The others fork a
session, as a store does that was rolled back: two owners live at one time, or the peer is further than the owner is.
"""

from __future__ import annotations

import os
from functools import partial

from noisegate_server.engine.policy import limits_of
from noisegate_server.session.frozen import BlobRefused, freeze, thaw
from noisegate_server.session.state import TerminationReason
from tests.support.engines import TENANT
from tests.support.life import Life
from tests.support.owners import Owner


def come_back(life: Life, side: int, tells: bool = True) -> None:
    """The rightful owner suspends, and another instance restores; where it `tells`, its first SALTED is on its way."""
    owner = life.owner(side)
    if owner is None or owner is not life.sides[side].owners[-1]:
        return
    record = _freeze(life, owner)
    owner.engine.parts.store.end(owner.held_session, TerminationReason.CLOSED, life.clock.now)
    life.sides[side].owners.remove(owner)
    _restore(life, owner, record, tells=tells)


def both_come_back(life: Life, tells: bool = True) -> None:
    """Both services were restarted at once."""
    for side in (0, 1):
        come_back(life, side, tells)


def keep_a_record(life: Life, side: int) -> None:
    """The rightful owner's record is stored, and the session goes on."""
    owner = life.owner(side)
    if owner is not None:
        _freeze(life, owner)


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


def _freeze(life: Life, owner: Owner) -> bytes:
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


def _restore(life: Life, former: Owner, record: bytes, *, tells: bool) -> None:
    """Another instance with the identity and policy of `former` has the session from here on."""
    parts = former.engine.parts
    engine = life.engines.make(policy=parts.policy, identity=former.engine.identity, ticket_keys=parts.ticket_keys)
    now = life.clock.now
    try:
        session = thaw(
            record,
            tenant=TENANT,
            aeads=engine.parts.aeads,
            limits_of=partial(limits_of, parts.policy),
            random_bytes=os.urandom,
            now=now,
            wall=life.clock.wall,
        )
    except BlobRefused:
        # The wall clock was set past the session's life.
        return
    life.has_returned = True
    engine.parts.store.add(session, now)
    owner = life.take_over(former.side, engine, session.session_id)
    if tells:
        records = owner.records
        assert records is not None
        life.emit(owner, (records.ask(now, engine.parts.aeads, os.urandom),))
    session.settle()
    life.check(owner)
