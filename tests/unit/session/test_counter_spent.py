"""A counter is spent before its ciphertext exists: where the crypto library fails, the next record has the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from noisegate_server.session.batch import SealedRecords, seal_each, seal_run, seal_same
from noisegate_server.session.constants import DATAGRAM_OVERHEAD
from noisegate_server.session.datagram import HEADER
from noisegate_server.session.in_place import seal_into
from noisegate_server.session.phases import PhaseSender
from noisegate_server.session.room import prepare_room
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
    end.datagrams.seal(TEXT, b"", end.engine.clock.now, end.engine.parts.aeads)


def in_place(end: End) -> None:
    """A record where its content lies."""
    buffer = bytearray(len(TEXT) + DATAGRAM_OVERHEAD)
    seal_into(end.datagrams, buffer, HEADER, len(TEXT), b"", end.engine.clock.now, end.engine.parts.aeads)


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


@pytest.mark.parametrize("way", [one, in_place, each, same, run, room])
def test_a_counter_whose_record_came_to_nothing_is_not_used_again(way: Callable[[End], None], engines: Engines) -> None:
    """Whatever has become of the ciphertext, no other one may come to be under its nonce."""
    link = establish(engines)
    link.initiator.send(b"here")
    link.responder.send(b"welcome")
    link.settle()
    end, sender = link.responder, link.responder.datagrams.current.sender
    assert isinstance(sender, PhaseSender)
    before, context = sender.counter, sender.aead
    assert context is not None
    failing: Any = Failing()
    sender.aead = failing
    with pytest.raises(MemoryError):
        way(end)
    sender.aead = context
    sealed = end.datagrams.seal(TEXT, b"", end.engine.clock.now, end.engine.parts.aeads)
    assert sealed.counter == before + 1
    assert link.initiator.open(sealed.ciphertext).plaintext == TEXT
