"""Sessions that leave one instance of the service as a record and come back in another.

    record = suspend(link.responder)          # its owner is gone
    link.responder = restore(engines, link.responder, record)
    settle(link)

Whoever is restored has another engine with the same identity, as after a restart; what was on its way still is.
"""

from __future__ import annotations

import os
from functools import partial

from noisegate_server.engine.counts import Cause
from noisegate_server.engine.events import EventKind
from noisegate_server.engine.policy import limits_of
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.frozen import freeze, thaw
from noisegate_server.session.state import TerminationReason
from tests.support.engines import TENANT, End, Engines, Link, outcome_of

ROLES = ("initiator", "responder")


def record_of(end: End) -> bytes:
    """The record of an end's session, which goes on."""
    clock = end.engine.clock
    return bytes(
        freeze(
            end.session,
            blob_id=bytes(16),
            issuer=b"here",
            now=clock.now,
            wall=clock.wall,
            expires_wall=clock.wall + 3_600.0,
        )
    )


def suspend(end: End) -> bytes:
    """The record of an end's session, which is out of memory now."""
    record = record_of(end)
    end.engine.parts.store.end(end.session, TerminationReason.CLOSED, end.engine.clock.now)
    return record


def restore(engines: Engines, end: End, record: bytes, *, tells: bool = True) -> End:
    """An owner of a record, in the place of `end`; where it `tells`, its first SALTED is on its way."""
    former = end.engine
    engine = engines.make(policy=former.parts.policy, identity=former.identity)
    clock = engine.clock
    session = thaw(
        record,
        tenant=TENANT,
        aeads=engine.parts.aeads,
        limits_of=partial(limits_of, engine.parts.policy),
        random_bytes=os.urandom,
        now=clock.now,
        wall=clock.wall,
    )
    engine.parts.store.add(session, clock.now)
    engine.parts.events.happened(EventKind.RESTORED, session)
    owner = End(
        engine=engine,
        session_id=session.session_id,
        inbox=end.inbox,
        outbox=end.outbox,
        received=end.received,
        controls=end.controls,
    )
    if tells and isinstance(session.records, DatagramRecords):
        owner.outbox.append(session.records.ask(clock.now, engine.parts.aeads, os.urandom))
        engine.parts.counts.settle(session, Cause.RESTORE)
    return owner


def end_of(link: Link, role: str) -> End:
    """One of both ends, by name."""
    return link.initiator if role == "initiator" else link.responder


def come_back(engines: Engines, link: Link, role: str, record: bytes | None = None, *, tells: bool = True) -> End:
    """Suspend one end and restore it; or restore it from a record that it left before."""
    end = end_of(link, role)
    owner = restore(engines, end, suspend(end) if record is None else record, tells=tells)
    setattr(link, role, owner)
    return owner


def settle(link: Link, most: int = 200) -> None:
    """As `link.settle`, where what no end can open any more is dropped."""
    for _ in range(most):
        waiting = [end for end in link.ends if end.inbox]
        if not waiting:
            return
        for end in waiting:
            outcome_of(end, end.inbox.popleft())
    raise AssertionError("the two ends never stop talking")


def assert_both_ways(link: Link) -> None:
    """A plaintext of each end reaches the other."""
    for end in link.ends:
        peer = link.peer_of(end)
        end.send(b"on")
        settle(link)
        assert peer.received[-1:] == [b"on"]
        peer.received.clear()
