"""Blobs of suspended sessions: what comes back is what went in, once, to its tenant, in time."""

from __future__ import annotations

import os
from functools import partial

import pytest

from noisegate_server.engine.policy import Options, limits_of
from noisegate_server.engine.tickets import _content
from noisegate_server.noise.primitives import wipe
from noisegate_server.session import fields
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.blob import label_of, open_blob, seal_blob
from noisegate_server.session.constants import MAX_BLOB
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.fields import SESSION_ATTRIBUTES, BlobRefused, Tag
from noisegate_server.session.frozen import freeze, thaw
from noisegate_server.session.roots import Root
from noisegate_server.session.sealing import SealingKey, SealingKeys
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, SessionState
from noisegate_server.session.tagged import SECRET
from noisegate_server.session.ticket import TicketUnusable, decode_ticket_content, open_ticket
from tests.support.engines import ALL_OPTIONS, TENANT, End, Engines, Link, establish
from tests.support.fingerprint import secrets_of, slots_of

KEYS = SealingKeys(current=SealingKey(key_id=b"blob-key", key=bytes(range(32))))
BLOB_ID = bytes(range(16))


def frozen(end: End) -> bytearray:
    """The record of an end's session."""
    clock = end.engine.clock
    return freeze(
        end.session, blob_id=BLOB_ID, issuer=b"here", now=clock.now, wall=clock.wall, expires_wall=clock.wall + 600.0
    )


def test_no_two_fields_have_one_tag() -> None:
    """The later one would take the other's place in silence."""
    tags = [*Tag, *(tag for tag, _ in SESSION_ATTRIBUTES.values())]
    assert len(tags) == len(set(tags))


def thawed(end: End, record: bytes | bytearray) -> Session:
    """The session of a record, in another process: another monotonic clock, the same wall clock."""
    return thaw(
        record,
        tenant=TENANT,
        aeads=AeadCache(),
        limits_of=partial(limits_of, end.engine.parts.policy),
        random_bytes=os.urandom,
        now=5.0,
        wall=end.engine.clock.wall,
    )


@pytest.fixture(params=list(RecordMode), ids=lambda mode: mode.name)
def link(request: pytest.FixtureRequest, engines: Engines) -> Link:
    """A session of either mode that has lived for ten seconds."""
    link = establish(engines, mode=request.param)
    engines.clock.step(10.0)
    return link


def test_every_attribute_of_a_session_is_kept_or_named_here(link: Link) -> None:
    """Who adds a field to Session decides whether it outlives a suspension."""
    made_anew = {
        "aeads", "created_at", "due_told", "expires_at", "expiry_second", "export", "handle", "idle_second",
        "last_used", "lifetime_end", "open_path", "opening", "records", "rotation_cause", "seal_path", "state",
        "tenant", "tend_at", "tend_second",
    }  # fmt: skip
    assert set(SESSION_ATTRIBUTES) | made_anew == set(slots_of(Session))
    assert not set(SESSION_ATTRIBUTES) & made_anew


def test_what_comes_back_is_the_session(link: Link) -> None:
    """Every attribute that is kept is the same, the state ESTABLISHED, the age and the remaining life as they were."""
    end = link.initiator
    before = end.session
    record = open_blob(KEYS, TENANT, seal_blob(KEYS, TENANT, frozen(end), os.urandom), end.engine.clock.wall)
    after = thawed(end, record)
    for name in SESSION_ATTRIBUTES:
        assert getattr(after, name) == getattr(before, name), name
    assert after.export == before.export
    assert after.state is SessionState.ESTABLISHED
    assert after.created_at == pytest.approx(5.0 - (end.engine.clock.now - before.created_at))
    assert after.lifetime_end == pytest.approx(5.0 + before.lifetime_end - end.engine.clock.now)
    after.wipe()


def test_the_label_is_read_without_thawing(link: Link) -> None:
    """Who it was, until when, and under which id it is marked as used."""
    end = link.responder
    label = label_of(frozen(end))
    assert (label.blob_id, label.issuer, label.session_id) == (BLOB_ID, b"here", end.session_id)
    assert (label.peer_id, label.remote_static) == (end.session.peer_id, end.session.remote_static)
    assert label.mode is end.session.mode
    assert label.expires_wall - label.frozen_wall == 600.0


def test_a_blob_opens_for_its_tenant_its_key_and_in_time_alone(link: Link) -> None:
    """Another tenant, a key that has left the ring, a flipped bit, or the end of its time: one refusal."""
    wall = link.clock.wall
    blob = seal_blob(KEYS, TENANT, frozen(link.initiator), os.urandom)
    assert len(blob) <= MAX_BLOB
    other = SealingKey(key_id=b"next-key", key=bytes(32))
    assert open_blob(SealingKeys(current=other, previous=KEYS.current), TENANT, blob, wall)
    for keys, tenant, spoiled, at in (
        (KEYS, "other", blob, wall),
        (SealingKeys(current=other), TENANT, blob, wall),
        (KEYS, TENANT, blob[:-1], wall),
        (KEYS, TENANT, bytes((blob[0] ^ 1,)) + blob[1:], wall),
        (KEYS, TENANT, blob, wall + 600.0),
    ):
        with pytest.raises(BlobRefused):
            open_blob(keys, tenant, spoiled, at)


def test_a_blob_is_no_ticket_and_a_ticket_no_blob(link: Link) -> None:
    """Under one key neither opens as the other: they are bound to something else."""
    blob = seal_blob(KEYS, TENANT, frozen(link.initiator), os.urandom)
    with pytest.raises(TicketUnusable):
        open_ticket(KEYS, TENANT, blob[:1_024], link.clock.wall)
    parts = link.responder.engine.parts
    content = decode_ticket_content(_content(parts, link.responder.session, 60.0, link.clock.wall))
    with pytest.raises(BlobRefused):
        open_blob(parts.ticket_keys, TENANT, content.ticket, link.clock.wall)


def test_a_life_that_is_over_is_not_given_back(engines: Engines) -> None:
    """At the end of the lifetime there is nothing to thaw, and a clock that was put back makes none longer."""
    link = establish(engines, options=Options(lifetime=100.0))
    end = link.initiator
    record = frozen(end)
    after = thawed(end, record)
    assert after.lifetime_end == pytest.approx(105.0)
    engines.clock.wall -= 50.0
    back = thawed(end, record)
    assert back.lifetime_end == pytest.approx(105.0)
    assert back.created_at <= 5.0
    engines.clock.wall += 149.0
    late = thawed(end, record)
    assert late.lifetime_end == pytest.approx(6.0)
    engines.clock.wall += 1.0
    with pytest.raises(BlobRefused):
        thawed(end, record)
    for session in (after, back, late):
        session.wipe()


def test_no_secret_is_in_a_repr(link: Link) -> None:
    """Keys of the ring, the label, roots and epochs show no secret bytes."""
    session = thawed(link.initiator, frozen(link.initiator))
    records = session.records
    shown = f"{KEYS!r} {label_of(frozen(link.initiator))!r} {session!r} {records!r}"
    if isinstance(records, DatagramRecords):
        shown += repr(records.held) + repr(records.current)
    # A key that was not needed yet is an empty buffer.
    for secret in filter(None, [*secrets_of(session), KEYS.current.key]):
        assert bytes(secret).hex() not in shown
        assert repr(bytes(secret))[2:-1] not in shown
    session.wipe()


def test_secrets_go_from_buffer_to_buffer(link: Link) -> None:
    """Wiping the record leaves the session whole, and wiping that leaves none of its secrets."""
    record = frozen(link.initiator)
    session = thawed(link.initiator, record)
    copies = [bytes(secret) for secret in secrets_of(session)]
    wipe(record)
    assert not any(record)
    assert [bytes(secret) for secret in secrets_of(session)] == copies
    buffers = secrets_of(session)
    session.wipe()
    assert not any(map(any, buffers))


def test_the_largest_session_fits_a_blob(engines: Engines) -> None:
    """Names, handshake packet and roots as long as they can be: under 4,096 bytes sealed, by far."""
    link = establish(engines, options=ALL_OPTIONS)
    session, records = link.initiator.session, link.initiator.datagrams
    names = session.peer_id, session.group
    session.peer_id = session.group = "p" * 64
    records.last_step = bytes(1_024)
    records.held = [
        Root(number=n, h=bytes(32), root=bytearray(32), confirmed=True, agreed=False, ours=True) for n in range(8)
    ]
    records.former_connection_ids = (bytes(8),)
    blob = seal_blob(KEYS, TENANT, frozen(link.initiator), os.urandom)
    session.peer_id, session.group = names
    assert len(blob) < 2_560 < MAX_BLOB
    with pytest.raises(ValueError, match="4096"):
        seal_blob(KEYS, TENANT, bytes(4_061), os.urandom)


def test_what_is_refused_is_wiped(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """A label reads no secret, and a record that is refused after its secrets were read leaves none behind."""
    link = establish(engines, options=ALL_OPTIONS)
    record = frozen(link.initiator)
    copies: list[bytearray] = []

    def keep(buffer: memoryview) -> bytearray:
        copies.append(bytearray(buffer))
        return copies[-1]

    for tag, codec in list(fields.VALUES.items()):
        if codec is SECRET:
            monkeypatch.setitem(fields.VALUES, tag, codec._replace(read=keep))
    label_of(record)
    assert copies == []
    engines.clock.wall += 1e6
    with pytest.raises(BlobRefused):
        thawed(link.initiator, record)
    assert len(copies) == 2
    assert not any(map(any, copies))
