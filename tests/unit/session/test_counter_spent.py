"""A counter is spent before its ciphertext exists: where the crypto library fails, the next record has the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from noisegate_server.engine.policy import Options
from noisegate_server.noise import primitives
from noisegate_server.session.aeads import Keyed
from noisegate_server.session.batch import SealedRecords, seal_each, seal_run, seal_same
from noisegate_server.session.constants import DATAGRAM_OVERHEAD
from noisegate_server.session.datagram import HEADER
from noisegate_server.session.in_place import seal_into
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.packed_seal import SOON_S, seal_packed, sealing_of
from noisegate_server.session.packets import Kind
from noisegate_server.session.record import pack
from noisegate_server.session.room import prepare_room
from noisegate_server.session.state import RecordMode
from tests.support.engines import End, Engines, establish

TEXT: Final = b"tick"


class Failing:
    """An AEAD context whose library has no memory left."""

    def encrypt(self, *_: Any) -> bytes:
        raise MemoryError

    def encrypt_into(self, *_: Any) -> int:
        raise MemoryError


def one(end: End) -> None:
    """A record by itself."""
    records = end.session.records
    assert records is not None
    records.seal(TEXT, b"", end.engine.clock.now, end.engine.parts.aeads)


def control(end: End) -> None:
    """One that is not the game's."""
    end.datagrams.control(Kind.KEEP_ALIVE, b"", end.engine.parts.aeads)


def in_place(end: End) -> None:
    """A record where its content lies."""
    records, buffer = end.session.records, bytearray(len(TEXT) + DATAGRAM_OVERHEAD)
    assert records is not None
    seal_into(records, buffer, HEADER, len(TEXT), b"", end.engine.clock.now, end.engine.parts.aeads)


def each(end: End) -> None:
    """One of a batch."""
    now, aeads = end.engine.clock.now, end.engine.parts.aeads
    seal_each([end.session], [TEXT], [len(TEXT)], [b""], now, aeads, SealedRecords())


def same(end: End) -> None:
    """One of a broadcast."""
    seal_same([end.session], TEXT, b"", end.engine.clock.now, end.engine.parts.aeads, SealedRecords())


def run(end: End) -> None:
    """One of several for the same session."""
    now, aeads = end.engine.clock.now, end.engine.parts.aeads
    seal_run(end.session, [TEXT], [len(TEXT)], [b""], now, aeads, SealedRecords())


def room(end: End) -> None:
    """One of a room that is sealed for again."""
    now, aeads = end.engine.clock.now, end.engine.parts.aeads
    path = prepare_room([end.session], now)
    assert path is not None
    path.seal_same(TEXT, b"", now, aeads)


Way = Callable[[End], None]
DATAGRAM: Final[tuple[Way, ...]] = (one, control, in_place, each, same, run, room)
WAYS: Final = [
    *((RecordMode.DATAGRAM, Options(), way) for way in DATAGRAM),
    *((RecordMode.DATAGRAM, Options(ratchet=True), way) for way in (one, control, in_place)),
    *((RecordMode.NOISE, options, way) for options in (Options(), Options(ratchet=True)) for way in (one, in_place)),
]


@pytest.mark.parametrize(("mode", "options", "way"), WAYS)
def test_a_counter_whose_record_came_to_nothing_is_not_used_again(
    mode: RecordMode, options: Options, way: Way, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has become of the ciphertext, no other one may come to be under its nonce."""
    link = establish(engines, mode=mode, options=options)
    link.initiator.send(b"here")
    link.responder.send(b"welcome")
    link.settle()
    end, records, aeads = link.responder, link.responder.session.records, link.responder.engine.parts.aeads
    assert records is not None
    before = records.sealed
    sender = end.datagrams.current.sender if mode is RecordMode.DATAGRAM else end.noise.send
    if isinstance(sender, Keyed):
        aeads.drop(sender)
    with monkeypatch.context() as patch:
        patch.setattr(primitives, "new_aead", lambda *_: Failing())
        with pytest.raises(MemoryError):
            way(end)
    if isinstance(sender, Keyed):
        aeads.drop(sender)
    sealed = records.seal(TEXT, b"", end.engine.clock.now, aeads)
    assert sealed.counter == before + 1
    if mode is RecordMode.DATAGRAM:
        assert link.initiator.open(sealed.ciphertext).plaintext == TEXT


def test_nor_is_one_of_a_session_at_rest(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the record that says which comes next."""
    link = establish(engines)
    link.initiator.send(b"here")
    link.settle()
    shared, record = pack(link.responder.session)
    sealing, view = sealing_of(shared, RotationLimits()), memoryview(record)
    assert sealing is not None
    now = engines.clock.now + SOON_S
    first = seal_packed(sealing, view, TEXT, b"", now)
    now += SOON_S
    with monkeypatch.context() as patch:
        patch.setattr(primitives, "new_aead", lambda *_: Failing())
        with pytest.raises(MemoryError):
            seal_packed(sealing, view, TEXT, b"", now)
    last = seal_packed(sealing, view, TEXT, b"", now + SOON_S)
    assert first is not None
    assert last is not None
    assert last.counter == first.counter + 2
    assert link.initiator.open(last.ciphertext).plaintext == TEXT
