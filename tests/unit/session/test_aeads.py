"""The cache of AEAD contexts."""

from __future__ import annotations

import os

from noisegate_server.noise.primitives import CIPHERS
from noisegate_server.session.aeads import AeadCache

CIPHER = CIPHERS["ChaChaPoly"]


def test_serials_never_come_twice() -> None:
    """Each key has a serial of its own, also after others were dropped."""
    aeads = AeadCache()
    serials = [aeads.serial() for _ in range(100)]
    for serial in serials:
        aeads.drop(serial)
    assert aeads.serial() not in serials
    assert len(set(serials)) == 100


def test_a_context_is_found_until_it_is_dropped() -> None:
    """What was built is handed out again; what was dropped, or never built, is not there."""
    aeads = AeadCache()
    serial = aeads.serial()
    assert aeads.get(serial) is None
    built = aeads.build(serial, CIPHER, os.urandom(32))
    assert aeads.get(serial) is built
    aeads.drop(serial)
    aeads.drop(serial)
    assert aeads.get(serial) is None
    assert len(aeads) == 0


def test_the_oldest_makes_room() -> None:
    """A full cache drops the context that was built first, and never grows."""
    aeads = AeadCache(capacity=3)
    serials = [aeads.serial() for _ in range(5)]
    for serial in serials:
        aeads.build(serial, CIPHER, os.urandom(32))
    assert len(aeads) == 3
    assert [aeads.get(serial) is not None for serial in serials] == [False, False, True, True, True]


def test_an_evicted_context_is_built_again_from_its_key() -> None:
    """Losing a context loses nothing: the same key opens what the lost one has sealed."""
    aeads = AeadCache(capacity=1)
    serial, key = aeads.serial(), os.urandom(32)
    sealed = aeads.build(serial, CIPHER, key).encrypt(bytes(12), b"roll", b"")
    aeads.build(aeads.serial(), CIPHER, os.urandom(32))
    assert aeads.get(serial) is None
    assert aeads.build(serial, CIPHER, key).decrypt(bytes(12), sealed, b"") == b"roll"
