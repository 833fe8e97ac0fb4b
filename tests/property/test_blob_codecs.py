"""The parsers of suspended sessions: whatever the bytes, a session that is whole or one refusal."""

from __future__ import annotations

import contextlib
import os
from functools import cache, partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisegate_server.engine.policy import Policy, limits_of
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.blob import label_of, open_blob, seal_blob
from noisegate_server.session.fields import BlobRefused
from noisegate_server.session.frozen import thaw
from noisegate_server.session.sealing import SealingKey, SealingKeys
from noisegate_server.session.state import RecordMode
from tests.support.engines import ALL_OPTIONS, TENANT, Engines, establish
from tests.support.restored import record_of

KEYS = SealingKeys(current=SealingKey(key_id=b"blob-key", key=bytes(range(32))))


@cache
def record_in(mode: RecordMode) -> bytes:
    """The record of a session of this mode."""
    options = ALL_OPTIONS if mode is RecordMode.DATAGRAM else None
    return record_of(establish(Engines(), mode=mode, options=options).initiator)


@cache
def blob() -> bytes:
    """A blob that opens."""
    return seal_blob(KEYS, TENANT, record_in(RecordMode.DATAGRAM), os.urandom)


def thaw_and_wipe(record: bytes) -> None:
    """A session of the record, for a moment."""
    thaw(
        record,
        tenant=TENANT,
        aeads=AeadCache(),
        limits_of=partial(limits_of, Policy()),
        random_bytes=os.urandom,
        now=5.0,
        wall=label_of(record).frozen_wall,
    ).wipe()


@given(data=st.data())
def test_garbage_and_truncated_blobs_are_refused(data: st.DataObject) -> None:
    """Bytes of any length, and every beginning of a genuine blob."""
    whole = blob()
    spoilt = data.draw(st.binary(max_size=200) | st.integers(0, len(whole) - 1).map(lambda length: whole[:length]))
    with pytest.raises(BlobRefused):
        open_blob(KEYS, TENANT, spoilt, 0.0)


@given(data=st.data())
def test_a_blob_with_a_flipped_bit_is_refused(data: st.DataObject) -> None:
    """At every position: key id, nonce, body, tag."""
    spoilt = bytearray(blob())
    bit = data.draw(st.integers(0, len(spoilt) * 8 - 1))
    spoilt[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BlobRefused):
        open_blob(KEYS, TENANT, bytes(spoilt), 0.0)


@given(record=st.binary(max_size=100))
def test_a_record_that_nobody_wrote_is_refused(record: bytes) -> None:
    """The parser behind the seal raises BlobRefused and nothing else."""
    with pytest.raises(BlobRefused):
        thaw_and_wipe(b"\x01" + record)


@pytest.mark.parametrize("mode", RecordMode)
@given(data=st.data())
def test_a_spoilt_record_is_refused_or_whole(mode: RecordMode, data: st.DataObject) -> None:
    """Bytes changed, cut out or put in, anywhere in it: BlobRefused, or a session that can be wiped."""
    record = record_in(mode)
    at = data.draw(st.integers(0, len(record) - 1))
    middle = data.draw(st.binary(max_size=3))
    with contextlib.suppress(BlobRefused):
        thaw_and_wipe(record[:at] + middle + record[at + data.draw(st.integers(0, 3)) :])


@pytest.mark.parametrize("mode", RecordMode)
def test_a_truncated_record_is_refused(mode: RecordMode) -> None:
    """At every length, but where what is cut are whole fields that not every session has."""
    record = record_in(mode)
    whole = 0
    for length in range(len(record)):
        try:
            thaw_and_wipe(record[:length])
        except BlobRefused:
            continue
        whole += 1
    assert whole <= 1
