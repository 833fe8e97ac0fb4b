"""Blobs in their callers' hands: good once, here, and for nobody else."""

from __future__ import annotations

import pytest

from noisegate_server.noise import KeyPair
from noisegate_server.session.errors import (
    BlobRejected,
    InvalidField,
    SessionNotFound,
    SessionQuota,
)
from noisegate_server.session.state import RecordMode
from noisegate_server.store.base import StoreLimits
from tests.support.engines import Engine, Engines, establish
from tests.support.slow_vault import SlowVault


def test_a_blob_brings_its_session_back_once(engines: Engines) -> None:
    """The service keeps nothing; the second use, while the session lives or after it, is refused."""
    link = establish(engines)
    end = link.responder
    blob = end.engine.suspend(end.session_id, return_blob=True).blob
    assert 0 < len(blob) <= 4_096
    with pytest.raises(SessionNotFound):
        end.engine.view(end.session_id)
    assert end.engine.parts.store.counts().suspended == 0
    end.outbox.extend(end.engine.restore_blob(blob).to_peer)
    link.settle()
    link.talk()
    with pytest.raises(BlobRejected):
        end.engine.restore_blob(blob)
    link.talk()
    end.engine.suspend(end.session_id, return_blob=True)
    with pytest.raises(BlobRejected):
        end.engine.restore_blob(blob)


def test_a_noise_session_gives_no_blob_away(engines: Engines) -> None:
    """It would hold the keys of records; nothing has changed."""
    link = establish(engines, mode=RecordMode.NOISE)
    with pytest.raises(InvalidField, match="return_blob"):
        link.responder.engine.suspend(link.responder.session_id, return_blob=True)
    link.talk()


def test_a_blob_is_refused_by_whoever_cannot_know_that_it_is_unused(engines: Engines) -> None:
    """By another tenant, another key, a vault of another age, another identity; and with a bit flipped."""
    vault = SlowVault()
    vault.gate.set()
    engine = engines.make(vault=vault)
    link = establish(engines, responder=engine)
    end = link.responder
    blob = engine.suspend(end.session_id, return_blob=True).blob
    keys = engine.parts.blob_keys
    same = {"identity": engine.identity, "blob_keys": keys, "vault": vault}
    strangers: list[Engine] = [
        engines.make(**(same | {"blob_keys": None})),  # type: ignore[arg-type]  # a table of different types
        engines.make(**(same | {"vault": SlowVault()})),  # type: ignore[arg-type]
        engines.make(**(same | {"identity": KeyPair.generate(lambda size: bytes(range(1, size + 1)))})),  # type: ignore[arg-type]
    ]
    for stranger in strangers:
        with pytest.raises(BlobRejected):
            stranger.restore_blob(blob)
    with pytest.raises(BlobRejected):
        engine.restore_blob(blob, tenant="cards")
    with pytest.raises(BlobRejected):
        engine.restore_blob(blob[:-1] + bytes((blob[-1] ^ 1,)))
    heir = engines.make(**same)  # type: ignore[arg-type]
    end.engine = heir
    end.outbox.extend(heir.restore_blob(blob).to_peer)
    link.settle()
    link.talk()


def test_a_blob_that_finds_no_room_stays_usable(engines: Engines) -> None:
    """A quota says so before the blob is used up."""
    engine = engines.make(limits=StoreLimits(sessions_per_tenant=1))
    link = establish(engines, responder=engine)
    blob = engine.suspend(link.responder.session_id, return_blob=True).blob
    other = establish(engines, responder=engine)
    with pytest.raises(SessionQuota):
        engine.restore_blob(blob)
    engine.close(other.responder.session_id)
    link.responder.outbox.extend(engine.restore_blob(blob).to_peer)
    link.settle()
    link.talk()
