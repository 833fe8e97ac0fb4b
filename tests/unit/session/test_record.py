"""The record of a session: what comes back is what went in, and goes on where it was."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace as replace_fields
from functools import partial
from typing import Any

import pytest

from noisegate_server.engine import sessions
from noisegate_server.engine.packed_view import packed_view
from noisegate_server.engine.policy import Options, limits_of
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import GRACE_S
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.epoch import Epoch
from noisegate_server.session.errors import CounterTooOld, ReplayDetected
from noisegate_server.session.frozen import freeze
from noisegate_server.session.frozen_record import freeze_record
from noisegate_server.session.limits import LowerLimits
from noisegate_server.session.network import Network
from noisegate_server.session.noise_records import NoiseRecords
from noisegate_server.session.packets import Kind
from noisegate_server.session.phases import PhaseSender
from noisegate_server.session.ratchet import RatchetSender
from noisegate_server.session.record import RecordRefused, pack, packable, unpack
from noisegate_server.session.record_layout import Glance, glance
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import ALL_OPTIONS, End, Engines, Link, establish
from tests.support.fingerprint import fingerprint, secrets_of, slots_of

CASES = list(itertools.product(RecordMode, [Pattern.XX, Pattern.NK], Suite, [False, True], [False, True]))


@pytest.fixture(params=CASES, ids=str)
def link(request: pytest.FixtureRequest, engines: Engines) -> Link:
    """A session of every kind that has lived a little, and is at rest."""
    mode, pattern, suite, all_options, ratchet = request.param
    options = ALL_OPTIONS if all_options and mode is RecordMode.DATAGRAM else Options(lifetime=5_000.0)
    options = replace_fields(options, ratchet=ratchet)
    link = establish(engines, mode=mode, pattern=pattern, suite=suite, options=options)
    engines.clock.step(3.0)
    link.talk()
    if mode is RecordMode.DATAGRAM:
        for end in link.ends:
            end.rekey()
        link.initiator.renegotiate()
        link.settle()
        link.initiator.rekey()
        link.talk()
        engines.clock.step(GRACE_S)
        link.talk()
    return link


def repacked(end: End) -> tuple[Session, Session]:
    """The session before, and the one from its record, which takes its place in the store."""
    before = end.session
    return before, unpacked(end, end.engine.parts.aeads)


def unpacked(end: End, aeads: AeadCache) -> Session:
    """The session from the record of the end's."""
    shared, record = pack(end.session)
    return unpack(shared, record, aeads=aeads, limits_of=partial(limits_of, end.engine.parts.policy))


def replace(end: End) -> None:
    """Pack the session, drop the object, and go on with what its record gives."""
    before, after = repacked(end)
    shown = fingerprint_at_rest(before), fingerprint_at_rest(after)
    assert shown[0] == shown[1]
    _give(before, after)


def _give(before: Session, after: Session) -> None:
    # The store hands out the object that it has: what stands in it is exchanged.
    assert before.records is not None
    before.records.wipe(before.aeads)
    for name in Session.__slots__:
        if name not in OF_THE_STORE:
            setattr(before, name, getattr(after, name))


def fingerprint_at_rest(session: Session) -> str:
    """As fingerprint, but for what is found anew: the store's number, and when `seal` next looks at the limits."""
    records = session.records
    assert records is not None
    # When `seal` looks at the limits again is worked out at its next call.
    kept: list[tuple[Any, str, Any]] = [(records, "look_at", records.look_at)]
    kept += [(session, name, getattr(session, name)) for name in OF_THE_STORE]
    for part, name, _ in kept:
        setattr(part, name, 0)
    try:
        return fingerprint(session)
    finally:
        for part, name, value in kept:
            setattr(part, name, value)


def test_what_comes_back_is_what_went_in(link: Link) -> None:
    """Every field of the session, whatever its mode, pattern, suite and options, is in its record."""
    for end in link.ends:
        before, after = repacked(end)
        assert fingerprint_at_rest(after) == fingerprint_at_rest(before)
        after.wipe()


def both_frozen(session: Session, now: float) -> tuple[bytearray, bytearray]:
    """What a suspended session's record is when it is made of the session, and when of its idle record."""
    label = {"blob_id": bytes(range(16)), "issuer": b"issuer and identity", "now": now, "wall": 1.8e9}
    shared, record = pack(session)
    straight, seen = freeze_record(shared, memoryview(record), 7, **label)  # type: ignore[arg-type]
    require_shown(seen, session, bytes(record), now)
    assert seen.handle == 7
    return straight, freeze(session, expires_wall=1.8e9 + session.expires_at - now, **label)  # type: ignore[arg-type]


def require_shown(seen: Glance, session: Session, record: bytes, now: float) -> None:
    """All of it is as in the session, and of the record nothing is in it that is secret."""
    assert packed_view(seen, now) == sessions.view(session, now)
    assert seen.remote_static == session.remote_static
    assert seen.connection_ids() == session.connection_ids()
    assert record.startswith(seen.shown)
    assert not [secret for secret in secrets_of(session) if bytes(secret) in seen.shown]


def test_it_is_frozen_as_the_session_would_be(link: Link) -> None:
    """At a stop idle sessions leave memory straight from their records: byte for byte the same."""
    for end in link.ends:
        straight, frozen = both_frozen(end.session, link.clock.now)
        assert straight == frozen


UNUSUAL: dict[str, Any] = {
    "network": Network.CELLULAR,
    "own_idle_timeout": True,
    "rotation": LowerLimits(soft_messages=100, hard_age=900.0),
    "max_early": 512,
    "early": True,
    "anonymous_initiator": True,
    "follows_connection_id": True,
    "ticket_owed": True,
    "ticket_given": True,
    "due_told": 7,
    "refused": 2**36,
    "chain_end_wall": 1_234.5,
    "last_used": 70_000.25,
    "remote_static": bytes(range(32)),
    "prologue_hash": bytes(range(1, 33)),
    "peer_id": "\u00fc" * 32,
    "group": "g" * 64,
}
"""Attributes of Session that are seldom other than at its making, and a value that each may have."""
USUAL = {
    "created_at", "expires_at", "export", "flags", "handshake_hash", "idle_timeout", "lifetime", "lifetime_end",
    "mode", "pattern", "records", "role", "session_id", "state", "suite", "tenant",
}  # fmt: skip
OF_THE_STORE = ("expiry_second", "handle", "idle_second", "tend_at", "tend_second")
NOT_KEPT = {"aeads", "open_path", "opening", "rotation_cause", "seal_path", *OF_THE_STORE}
"""The store's, a handshake's, a rotation's, what a batch has found out, and the cache of contexts."""
OF_RECORDS: dict[type, set[str]] = {
    DatagramRecords: {
        "answered", "answers_from", "begun", "cipher", "connection_id", "connection_id_given", "control_limit",
        "current", "due", "due_at", "former_connection_ids", "former_until", "given_timer", "held", "initiator",
        "last_step", "limits", "look_at", "mask_key", "next", "nonce", "open_path", "padded", "previous", "ratchet",
        "reminder", "repeat_timer", "rotate_at", "rotated_at", "seal_path", "told_at", "wants_rotation", "wipe_at",
    },
    NoiseRecords: {
        "began_at", "cipher", "due", "due_at", "epoch", "h", "limits", "look_at", "nonce", "opened", "ratchet",
        "receive", "renegotiation", "replacement", "reserve", "root", "sealed", "sealed_bytes", "send",
    },
    Epoch: {
        "began_at", "confirmed", "expires_at", "h", "number", "opened", "receive_tail", "receiver", "root", "send_tail",
        "sender", "window",
    },
    PhaseSender: {
        "aead", "asked", "cached_key", "counter", "fast_until", "holds", "phase", "place", "secret", "sent_bytes",
    },
    RatchetSender: {
        "counter", "phase", "ratchet", "sent_bytes",
    },
}  # fmt: skip


def test_no_field_is_unknown_to_the_record() -> None:
    """Who gives a session another field has to say here, and in the record, what becomes of it when it is packed."""
    assert set(slots_of(Session)) == {*UNUSUAL, *USUAL, *NOT_KEPT}
    for kind, known in OF_RECORDS.items():
        assert set(slots_of(kind)) == known


def test_what_is_seldom_set_comes_back_too(link: Link) -> None:
    """Each field of the session has a value that it has not at first, and keeps it."""
    for end in link.ends:
        keys = end.session.peer_id, end.session.group
        for name, value in UNUSUAL.items():
            setattr(end.session, name, value)
        records = end.session.records
        if isinstance(records, DatagramRecords):
            records.connection_id_given = (3, 2**64 - 2)
            records.former_connection_ids, records.former_until = (b"formerly",), 90_000.5
            records.padded = False
            records.reschedule()
        before, after = repacked(end)
        for name in UNUSUAL:
            assert getattr(after, name) == getattr(before, name), name
        assert isinstance(records, DatagramRecords) == isinstance(after.records, DatagramRecords)
        if isinstance(records, DatagramRecords) and isinstance(after.records, DatagramRecords):
            for name in ("connection_id_given", "former_connection_ids", "former_until", "padded", "due_at"):
                assert getattr(after.records, name) == getattr(records, name), name
            straight, frozen = both_frozen(before, link.clock.now)
            assert straight == frozen
            records.former_connection_ids = ()
        before.peer_id, before.group = keys
        after.wipe()


def test_both_directions_go_on_with_the_next_counter(link: Link) -> None:
    """After both ends were packed, records flow on, and none has a counter that was used before."""
    last = [end.engine.encrypt(end.session_id, b"before") for end in link.ends]
    for end, sealed in zip(link.ends, last, strict=True):
        link.peer_of(end).open(sealed.ciphertext)
    for end in link.ends:
        replace(end)
    for end, before in zip(link.ends, last, strict=True):
        sealed = end.engine.encrypt(end.session_id, b"after")
        assert sealed.counter == before.counter + 1
        assert link.peer_of(end).open(sealed.ciphertext).plaintext == b"after"


def test_what_was_opened_before_is_refused_afterwards(engines: Engines) -> None:
    """The window is in the record: a replay stays a replay, and a hole in it still opens."""
    link = establish(engines)
    packets = [link.initiator.seal(b"%d" % number) for number in range(1_100)]
    for packet in packets[:50] + packets[51:]:
        link.responder.open(packet)
    replace(link.responder)
    with pytest.raises(CounterTooOld):
        link.responder.open(packets[3])
    with pytest.raises(ReplayDetected):
        link.responder.open(packets[1_000])
    link = establish(engines)
    packets = [link.initiator.seal(b"%d" % number) for number in range(100)]
    for packet in packets[:50] + packets[51:]:
        link.responder.open(packet)
    replace(link.responder)
    assert link.responder.open(packets[50]).plaintext == b"50"


def test_deadlines_stay_as_they_were(engines: Engines) -> None:
    """Packing neither puts off nor hastens a session's end."""
    link = establish(engines, options=Options(idle_timeout=60.0, lifetime=200.0))
    engines.clock.step(20.0)
    link.initiator.seal(b"roll")
    before, after = repacked(link.initiator)
    names = ("created_at", "last_used", "idle_timeout", "lifetime", "lifetime_end", "expires_at", "chain_end_wall")
    assert [getattr(after, name) for name in names] == [getattr(before, name) for name in names]
    after.touch(engines.clock.now + 10.0)
    assert after.expires_at == engines.clock.now + 70.0
    after.wipe()


def test_a_packed_session_rotates_and_gives_tickets(engines: Engines) -> None:
    """Roots, hashes and static keys are in the record: a renegotiation works after both ends were packed."""
    link = establish(engines, pattern=Pattern.XX)
    for end in link.ends:
        replace(end)
    link.initiator.renegotiate()
    link.settle()
    assert link.epochs() == (1, 1)
    for packet in link.responder.engine.issue(link.responder.session_id).to_peer:
        assert link.initiator.open(packet).control == 2


def test_a_former_connection_id_is_kept(engines: Engines) -> None:
    """What the peer sent under its old connection id is still found after packing."""
    link = establish(engines)
    records = link.initiator.datagrams
    new = os.urandom(8)
    link.responder.open(records.control(Kind.CONNECTION_ID, new, link.initiator.engine.parts.aeads))
    before, after = repacked(link.responder)
    assert after.connection_ids() == before.connection_ids() == (new, records.connection_id)
    after.wipe()


def test_it_is_small(link: Link) -> None:
    """A record has the secrets that the mode has, and no more than 300 bytes beside them."""
    for end in link.ends:
        _, record = pack(end.session)
        assert len(record) <= 300 + 32 * len(secrets_of(end.session))


def test_a_glance_shows_what_a_store_asks(link: Link) -> None:
    """Names, connection ids, epoch and times are read from a record as they were in the session."""
    for end in link.ends:
        before = end.session
        shared, record = pack(before)
        seen = glance(shared, memoryview(record), 77)
        require_shown(seen, before, bytes(record), link.clock.now)
        names = ("session_id", "tenant", "peer_id", "group", "ticket_given", "expires_at", "last_used", "lifetime_end")
        assert [getattr(seen, name) for name in names] == [getattr(before, name) for name in names]
        assert seen.connection_ids() == before.connection_ids()
        assert before.records is not None
        assert (seen.epoch, seen.handle) == (before.records.epoch, 77)
        assert [seen.expiry_cause(at) for at in (0.0, before.lifetime_end)] == [
            before.expiry_cause(at) for at in (0.0, before.lifetime_end)
        ]


def test_packing_builds_and_keeps_no_context(engines: Engines) -> None:
    """A record holds no AEAD context, and a session from one has built none."""
    link = establish(engines)
    aeads = AeadCache()
    after = unpacked(link.initiator, aeads)
    assert len(aeads) == 0
    after.wipe()


def test_its_secrets_are_its_own(engines: Engines) -> None:
    """Wiping the record, or the first object, leaves the session from it whole, and wiping that leaves none."""
    link = establish(engines, options=ALL_OPTIONS)
    shared, record = pack(link.initiator.session)
    after = unpack(shared, record, aeads=AeadCache(), limits_of=partial(limits_of, link.initiator.engine.parts.policy))
    copies = [bytes(secret) for secret in secrets_of(after)]
    record[:] = bytes(len(record))
    assert [bytes(secret) for secret in secrets_of(after)] == copies
    buffers = secrets_of(after)
    after.wipe()
    assert not any(map(any, buffers))


def test_a_session_that_is_not_at_rest_is_not_packable(engines: Engines) -> None:
    """A handshake, a rotation, a living previous epoch, passed keys: none of them has a record."""
    link = establish(engines, settle=False)
    assert packable(link.initiator.session)
    link.initiator.renegotiate()
    assert not packable(link.initiator.session)
    with pytest.raises(ValueError, match="not at rest"):
        pack(link.initiator.session)
    link.settle()
    assert not packable(link.responder.session)
    engines.clock.step(GRACE_S)
    link.talk()
    assert packable(link.responder.session)
    link.initiator.rekey()
    link.talk()
    assert not packable(link.responder.session)
    engines.clock.step(GRACE_S)
    link.talk()
    assert packable(link.responder.session)


def test_a_ratchet_that_waits_for_a_skipped_record_is_not_at_rest(engines: Engines) -> None:
    """Skipped keys have no place in a record: the session is packable once they, and what led to them, were wiped."""
    link = establish(engines, options=Options(ratchet=True))
    first, second = link.initiator.seal(b"1"), link.initiator.seal(b"2")
    link.responder.open(second)
    assert not packable(link.responder.session)
    link.responder.open(first)
    # What it has derived on the way waits for its time, so that the next such record costs no more.
    assert not packable(link.responder.session)
    engines.clock.step(GRACE_S)
    link.talk()
    assert packable(link.responder.session)
    link.initiator.seal(b"lost")
    link.initiator.send(b"3")
    link.settle()
    assert not packable(link.responder.session)
    engines.clock.step(GRACE_S)
    link.talk()
    assert packable(link.responder.session)


def test_a_packed_ratchet_goes_on_across_its_phases(engines: Engines) -> None:
    """Wherever in a phase it is packed, both ends go on with the next message's key, and no forgery is dearer."""
    link = establish(engines, options=Options(ratchet=True, mask=True))
    for number in range(520):
        for end in link.ends:
            end.send(b"%d" % number)
        link.settle()
        if number % 64 in (0, 62, 63) or number > 500:
            for end in link.ends:
                replace(end)
    assert all(len(end.received) == 520 for end in link.ends)
    assert link.initiator.datagrams.current.sender.phase == 2


def test_anything_else_is_refused(link: Link) -> None:
    """Another length, wherever it is cut: RecordRefused, and no session."""
    for end in link.ends:
        shared, packed = pack(end.session)
        for spoiled in (*(packed[:length] for length in range(len(packed))), packed + b"\0", packed + bytes(32)):
            with pytest.raises(RecordRefused):
                unpack(shared, spoiled, aeads=AeadCache(), limits_of=partial(limits_of, end.engine.parts.policy))
