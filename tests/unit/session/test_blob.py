"""Blobs of suspended sessions: what comes back is what went in, once, to its tenant, in time."""

from __future__ import annotations

import os
from functools import partial

import pytest

from noisegate_server.engine.policy import limits_of
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.blob import label_of, open_blob, seal_blob
from noisegate_server.session.constants import MAX_BLOB
from noisegate_server.session.frozen import SESSION_ATTRIBUTES, BlobRefused, Tag, freeze, thaw
from noisegate_server.session.sealing import SealingKey, SealingKeys
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, SessionState
from tests.support.engines import TENANT, End, Engines, Link, establish

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
        "aeads", "created_at", "due_told", "expires_at", "export", "handle", "last_used", "lifetime_end", "opening",
        "records", "state", "tenant",
    }  # fmt: skip
    assert set(SESSION_ATTRIBUTES) | made_anew == set(Session.__slots__)
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
