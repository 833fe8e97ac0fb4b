"""Revocations: a name up to a moment, a key for good."""

from __future__ import annotations

from noisegate_server.trust.revocations import KEPT_S, Revocations

NOW = 1_750_000_000.0
KEY = bytes(range(32))


def test_a_name_is_refused_up_to_the_moment_of_its_revocation() -> None:
    """What was made then or before; not what comes later, nor another player's or tenant's."""
    revocations = Revocations()
    revocations.revoke_name("arena", "eve", NOW)
    assert revocations.refuses("arena", "eve", b"", NOW - 1)
    assert revocations.refuses("arena", "eve", KEY, NOW)
    assert not revocations.refuses("arena", "eve", b"", NOW + 0.001)
    assert not revocations.refuses("arena", "bob", b"", NOW)
    assert not revocations.refuses("cards", "eve", b"", NOW)
    assert not revocations.is_revoked("arena", KEY)


def test_a_key_is_refused_for_good_and_in_its_tenant_alone() -> None:
    """Whatever the player is called, and whenever it was made."""
    revocations = Revocations()
    revocations.revoke_key("arena", KEY)
    assert revocations.is_revoked("arena", KEY)
    assert revocations.refuses("arena", "", KEY, NOW + 1e9)
    assert not revocations.is_revoked("cards", KEY)
    assert not revocations.refuses("arena", "", b"", NOW)
    assert not revocations.is_revoked("arena", b"")


def test_an_earlier_word_does_not_take_a_later_one_back() -> None:
    """A clock that was set back between two revocations leaves the later moment."""
    revocations = Revocations()
    revocations.revoke_name("arena", "eve", NOW)
    revocations.revoke_name("arena", "eve", NOW - 100)
    assert revocations.refuses("arena", "eve", b"", NOW - 1)


def test_names_are_forgotten_when_nothing_of_before_can_come_back() -> None:
    """After 8 days, a few at a time; keys never."""
    revocations = Revocations()
    revocations.revoke_key("arena", KEY)
    for index in range(5):
        revocations.revoke_name("arena", f"p{index}", NOW + index)
    revocations.forget(NOW + KEPT_S, 100)
    assert len(revocations) == 6
    revocations.forget(NOW + KEPT_S + 10, 2)
    assert len(revocations) == 4
    revocations.forget(NOW + KEPT_S + 10, 100)
    assert len(revocations) == 1
    assert revocations.is_revoked("arena", KEY)
