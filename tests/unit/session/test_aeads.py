"""The cache of AEAD contexts."""

from __future__ import annotations

import os

from noisegate_server.noise.primitives import CIPHERS
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.phases import PhaseSender

CIPHER = CIPHERS["ChaChaPoly"]


def owner() -> PhaseSender:
    """Who has a key, and no context of it yet."""
    return PhaseSender(bytearray(os.urandom(32)))


def test_an_owner_has_its_context_until_it_is_dropped() -> None:
    """What was built is found on its owner; what was dropped, or never built, is not."""
    aeads, one = AeadCache(), owner()
    found = [one.aead]
    built = aeads.build(one, CIPHER, os.urandom(32))
    found.append(one.aead)
    assert len(aeads) == 1
    aeads.drop(one)
    aeads.drop(one)
    found.append(one.aead)
    assert found == [None, built, None]
    assert len(aeads) == 0


def test_a_drop_takes_no_context_of_another() -> None:
    """Who lost its context to the bound, and whose place another one has, takes nothing from that one."""
    aeads, first, second = AeadCache(capacity=1), owner(), owner()
    for each in (first, second, second):
        aeads.build(each, CIPHER, os.urandom(32))
    assert first.aead is None
    aeads.drop(first)
    assert second.aead is not None
    aeads.drop(second)
    assert len(aeads) == 0


def test_the_oldest_makes_room() -> None:
    """A full cache takes the context that was kept first from its owner, and never grows."""
    aeads = AeadCache(capacity=3)
    owners = [owner() for _ in range(5)]
    for each in (*owners, *owners[3:]):
        aeads.build(each, CIPHER, os.urandom(32))
    assert len(aeads) == 3
    assert [each.aead is not None for each in owners] == [False, False, True, True, True]


def test_who_is_seldom_asked_for_pushes_nobody_out() -> None:
    """However many come by in any order, those stay that are in use; and of the many each still gets its context."""
    aeads, cold = AeadCache(capacity=4), [owner() for _ in range(20)]
    hot = [owner() for _ in range(4)]
    for each in hot:
        aeads.build(each, CIPHER, os.urandom(32))
    for each in 5 * cold:
        assert aeads.build(each, CIPHER, os.urandom(32)).encrypt(bytes(12), b"roll", b"")
    assert all(each.aead is not None for each in hot)
    assert not any(each.aead for each in cold)


def test_a_free_place_is_for_whoever_comes() -> None:
    """Where a context was dropped the next one is kept at once."""
    aeads = AeadCache(capacity=2)
    first, second, third = owner(), owner(), owner()
    for each in (first, second):
        aeads.build(each, CIPHER, os.urandom(32))
    aeads.drop(first)
    aeads.build(third, CIPHER, os.urandom(32))
    assert [each.aead is not None for each in (first, second, third)] == [False, True, True]


def test_no_owner_is_kept_that_has_no_context() -> None:
    """However many keys come and go, the cache holds on to none of them."""
    aeads = AeadCache(capacity=3)
    for _ in range(10):
        each = owner()
        aeads.build(each, CIPHER, os.urandom(32))
        aeads.drop(each)
    assert len(aeads) == 0
    assert not any(aeads._owners)


def test_an_evicted_context_is_built_again_from_its_key() -> None:
    """Losing a context loses nothing: the same key opens what the lost one has sealed."""
    aeads, one, other, key = AeadCache(capacity=1), owner(), owner(), os.urandom(32)
    sealed = aeads.build(one, CIPHER, key).encrypt(bytes(12), b"roll", b"")
    for _ in range(2):
        aeads.build(other, CIPHER, os.urandom(32))
    assert one.aead is None
    assert aeads.build(one, CIPHER, key).decrypt(bytes(12), sealed, b"") == b"roll"
