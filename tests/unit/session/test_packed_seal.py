"""Sealing straight from a record against its session as an object: the same bytes, and the same record after it.

At each edge: of a limit, of the width of the record's counts, of a moment from which on something is due.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.packed_seal import SOON_S, seal_packed, sealing_of
from noisegate_server.session.record import pack, unpack
from tests.support.engines import Engines, establish

SOFT = RotationLimits(
    soft_age=30.0, hard_age=60.0, soft_messages=1_000, hard_messages=9_000, soft_bytes=5_000, hard_bytes=9_000
)
HARD = RotationLimits(
    soft_age=60.0, hard_age=30.0, soft_messages=1_000, hard_messages=9_000, soft_bytes=9_000, hard_bytes=5_000
)
WIDE = RotationLimits(soft_messages=2**33, hard_messages=2**34, soft_bytes=2**40, hard_bytes=2**41)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A packed session, whatever is not said of it far from every edge; times in seconds."""

    limits: RotationLimits = SOFT
    sealed: int = 3
    sent: int = 7
    age: float = 20.0
    unused: float = 16.0
    ends_in: float = 10.0
    lives: float = 1e4
    phase: int = 2
    plaintext: bytes = b"x"


SEALS = [
    Case(),
    Case(phase=63),
    Case(plaintext=b""),
    Case(unused=SOON_S),
    Case(ends_in=0.001),
    Case(lives=10.0),
    *(Case(limits=limits, sealed=999) for limits in (SOFT, HARD)),
    *(Case(limits=limits, sent=4_999, plaintext=bytes(100)) for limits in (SOFT, HARD)),
    *(Case(limits=limits, age=29.999) for limits in (SOFT, HARD)),
    *(Case(sealed=count) for count in (254, 256)),
    *(Case(limits=WIDE, sealed=count) for count in (65_534, 65_536, 2**31 - 1)),
    *(Case(limits=WIDE, sent=size) for size in (254, 256, 65_534, 65_536, 2**32 - 2, 2**32)),
]
LEFT_ALONE = [
    Case(unused=SOON_S - 0.001),
    Case(ends_in=0.0),
    *(Case(limits=limits, sealed=1_000) for limits in (SOFT, HARD)),
    *(Case(limits=limits, sent=5_000) for limits in (SOFT, HARD)),
    *(Case(limits=limits, age=30.0) for limits in (SOFT, HARD)),
    Case(sealed=255),
    *(Case(limits=WIDE, sealed=count) for count in (65_535, 2**31)),
    *(Case(limits=WIDE, sent=size) for size in (255, 65_535, 2**32 - 1)),
]


@pytest.mark.fixed_ephemeral
@pytest.mark.parametrize(
    ("case", "seals"), [*((case, True) for case in SEALS), *((case, False) for case in LEFT_ALONE)], ids=repr
)
def test_a_record_seals_as_its_object_does_up_to_every_edge(case: Case, seals: bool, engines: Engines) -> None:
    """Past it, it is left as it is."""
    link = establish(engines)
    now, session, records = engines.clock.now, link.responder.session, link.responder.datagrams
    epoch = records.current
    epoch.sender.counter, epoch.sender.sent_bytes, epoch.sender.phase = case.sealed, case.sent, case.phase
    epoch.began_at, session.last_used = now - case.age, now - case.unused
    session.expires_at, session.lifetime_end = now + case.ends_in, now + case.lives
    shared, record = pack(session)
    before, aeads = bytes(record), link.responder.engine.parts.aeads
    sealing = sealing_of(shared, case.limits)
    assert sealing is not None
    straight = seal_packed(sealing, memoryview(record), case.plaintext, b"tick", now)
    assert (straight is not None) is seals
    if not seals:
        assert bytes(record) == before
        return
    twin = unpack(shared, before, aeads=aeads, limits_of=lambda _: case.limits)
    assert twin.records is not None
    assert now < min(twin.expires_at, twin.records.due_at)
    assert twin.records.seal(case.plaintext, b"tick", now, aeads) == straight
    twin.touch(now)
    assert pack(twin) == (shared, record)
    twin.wipe()
