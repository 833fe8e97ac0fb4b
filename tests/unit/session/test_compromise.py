"""Someone seizes all that a live service holds, and has recorded every packet: this is what they can read.

The attack is real: every 32 bytes that can be reached from the service, its caches and tables included, are tried as
each secret of docs/protocol.md, and every AEAD context that it keeps is used as it is (tests.support.attacker).
"""

from __future__ import annotations

import pytest

from noisegate_server.engine.policy import Options
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import GRACE_S
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Suite
from tests.support.attacker import Loot, read, seize
from tests.support.engines import End, Engines, Link, establish, resumed
from tests.support.fingerprint import secrets_of

CHACHA = Suite.CHACHA20_POLY1305_X25519
SIDES = ("initiator", "responder")


def loot_of(end: End) -> Loot:
    """All that one side's service holds."""
    return seize(end.engine.parts)


def record(link: Link, sender: End, count: int) -> list[bytes]:
    """Packets of one end, which the other has opened."""
    packets = [sender.seal(b"%d" % number) for number in range(count)]
    for packet in packets:
        link.peer_of(sender).open(packet)
    return packets


def renew(link: Link) -> None:
    """A whole rotation, and the end of its grace; each end has had a call since."""
    link.initiator.renegotiate()
    link.settle()
    link.clock.step(GRACE_S)
    for end in link.ends:
        end.seal(b"any call")


def end_of(link: Link, side: str) -> End:
    """One of the two, by its name."""
    end: End = getattr(link, side)
    return end


@pytest.mark.parametrize("mode", list(RecordMode))
@pytest.mark.parametrize("ratchet", [True, False])
def test_nothing_that_a_session_holds_escapes_the_seizure(engines: Engines, mode: RecordMode, ratchet: bool) -> None:
    """The net has no hole: the secrets that a session is known to hold are all in the loot."""
    link = establish(engines, mode=mode, options=Options(ratchet=ratchet, mask=mode is RecordMode.DATAGRAM))
    for end in link.ends:
        record(link, end, 2)
    for end in link.ends:
        named = {bytes(secret) for secret in secrets_of(end.session) if len(secret) == 32 and any(secret)}
        assert len(named) >= 3
        assert named <= loot_of(end).secrets


@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("seized", SIDES)
@pytest.mark.parametrize("sender", SIDES)
def test_with_the_ratchet_the_past_stays_closed(engines: Engines, suite: Suite, seized: str, sender: str) -> None:
    """Neither end's memory opens one earlier record, in either direction; it does open the next ones."""
    link = establish(engines, suite=suite, options=Options(ratchet=True))
    past = record(link, end_of(link, sender), 12)
    loot = loot_of(end_of(link, seized))
    future = record(link, end_of(link, sender), 3)
    assert read(loot, suite, future) == {0, 1, 2}
    assert read(loot, suite, past) == set()


@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("seized", SIDES)
@pytest.mark.parametrize("sender", SIDES)
def test_without_the_ratchet_the_phase_s_past_is_open(engines: Engines, suite: Suite, seized: str, sender: str) -> None:
    """With one key for a phase the memory reads all of that phase; of those before only what the grace keeps open."""
    link = establish(engines, suite=suite)
    before = record(link, end_of(link, sender), 4)
    end_of(link, sender).rekey()
    past = record(link, end_of(link, sender), 6)
    within = loot_of(end_of(link, seized))
    link.clock.step(GRACE_S)
    for end in link.ends:
        end.seal(b"any call")
    after = loot_of(end_of(link, seized))
    assert read(after, suite, past) == set(range(6))
    assert read(after, suite, before) == set()
    assert read(within, suite, before) == (set() if seized == sender else set(range(4)))


def test_a_record_that_is_awaited_is_all_that_a_receiver_gives_away(engines: Engines) -> None:
    """A skipped key opens its own record, which may still come, and no other; with the grace it is gone."""
    link = establish(engines, options=Options(ratchet=True))
    packets = [link.initiator.seal(b"%d" % number) for number in range(8)]
    for number in (0, 1, 2, 4, 5, 6, 7):
        link.responder.open(packets[number])
    assert read(loot_of(link.responder), CHACHA, packets) == {3}
    engines.clock.step(GRACE_S)
    link.responder.send(b"any call")
    assert read(loot_of(link.responder), CHACHA, packets) == set()


def test_what_forgeries_made_a_receiver_derive_opens_nothing_of_the_past(engines: Engines) -> None:
    """The look-ahead holds what lies ahead, and is cut off as the session goes on."""
    link = establish(engines, options=Options(ratchet=True))
    packets = [link.initiator.seal(b"%d" % number) for number in range(80)]
    for number in (10, 45, 79):
        with pytest.raises(DecryptFailed):
            link.responder.open(packets[number][:-1] + bytes([packets[number][-1] ^ 1]))
    for packet in packets[:60]:
        link.responder.open(packet)
    assert read(loot_of(link.responder), CHACHA, packets) == set(range(60, 80))


@pytest.mark.parametrize("ratchet", [True, False])
@pytest.mark.parametrize("seized", SIDES)
def test_nothing_before_a_rotation_opens(engines: Engines, ratchet: bool, seized: str) -> None:
    """Once the grace has ended, no memory of either end opens a record of the epoch before, in either direction."""
    link = establish(engines, options=Options(ratchet=ratchet))
    past = [record(link, end, 6) for end in link.ends]
    renew(link)
    loot = loot_of(end_of(link, seized))
    future = [record(link, end, 2) for end in link.ends]
    assert [read(loot, CHACHA, packets) for packets in past] == [set(), set()]
    assert [read(loot, CHACHA, packets) for packets in future] == [{0, 1}, {0, 1}]


@pytest.mark.parametrize("ratchet", [True, False])
def test_in_its_grace_an_epoch_opens_what_was_received_in_it(engines: Engines, ratchet: bool) -> None:
    """The price of late records, said honestly: 30 s without the ratchet; with it nothing that has come opens."""
    link = establish(engines, options=Options(ratchet=ratchet))
    past = record(link, link.initiator, 6)
    link.initiator.renegotiate()
    link.settle()
    assert read(loot_of(link.responder), CHACHA, past) == (set() if ratchet else set(range(6)))
    assert read(loot_of(link.initiator), CHACHA, past) == set()


@pytest.mark.parametrize("ratchet", [True, False])
def test_a_rotation_heals(engines: Engines, ratchet: bool) -> None:
    """Someone who has seized both ends, and then only listens, is out after RENEGOTIATE."""
    link = establish(engines, options=Options(ratchet=ratchet))
    loot = loot_of(link.initiator) | loot_of(link.responder)
    link.initiator.renegotiate()
    link.settle()
    assert read(loot, CHACHA, record(link, link.initiator, 3)) == set()
    assert read(loot, CHACHA, record(link, link.responder, 3)) == set()


@pytest.mark.parametrize("mode", list(RecordMode))
@pytest.mark.parametrize("ratchet", [True, False])
def test_an_ended_session_leaves_nothing(engines: Engines, mode: RecordMode, ratchet: bool) -> None:
    """After CloseSession neither memory opens anything: no cache has kept a context, no table a key."""
    link = establish(engines, mode=mode, options=Options(ratchet=ratchet))
    past = [record(link, end, 5) for end in link.ends]
    unheard = [[end.seal(b"on its way")] for end in link.ends]
    for end in link.ends:
        end.engine.close(end.session_id)
    loot = loot_of(link.initiator) | loot_of(link.responder)
    for packets in past + unheard:
        assert read(loot, CHACHA, packets, noise=mode is RecordMode.NOISE) == set()


@pytest.mark.parametrize("seized", SIDES)
@pytest.mark.parametrize("sender", SIDES)
@pytest.mark.parametrize("ratchet", [True, False])
def test_noise_mode_s_past_is_closed_by_rekey_after_each_message(
    engines: Engines, ratchet: bool, seized: str, sender: str
) -> None:
    """With the ratchet the memory opens what comes next alone; without it every message since the last new key."""
    link = establish(engines, mode=RecordMode.NOISE, options=Options(ratchet=ratchet))
    packets = record(link, end_of(link, sender), 5)
    loot = loot_of(end_of(link, seized))
    packets += record(link, end_of(link, sender), 2)
    assert read(loot, CHACHA, packets, noise=True) == ({5, 6} if ratchet else set(range(7)))


def test_noise_mode_s_rekey_closes_what_was_before(engines: Engines) -> None:
    """REKEY of one direction at both ends: no memory opens what was sent before it."""
    link = establish(engines, mode=RecordMode.NOISE)
    packets = record(link, link.initiator, 5)
    link.initiator.rekey(1)
    link.responder.rekey(2)
    packets += record(link, link.initiator, 2)
    for end in link.ends:
        assert read(loot_of(end), CHACHA, packets, noise=True) == {5, 6}


def test_the_attack_finds_what_a_cache_forgets_to_drop(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter-check: were contexts of spent keys kept, an ended session's records would open."""
    monkeypatch.setattr(AeadCache, "drop", lambda _self, _owner: None)
    link = establish(engines)
    past = record(link, link.initiator, 3)
    link.responder.engine.close(link.responder.session_id)
    assert read(loot_of(link.responder), CHACHA, past) == {0, 1, 2}
    monkeypatch.undo()
    aeads = link.responder.engine.parts.aeads
    for owner in filter(None, list(aeads._owners)):
        aeads.drop(owner)


@pytest.mark.parametrize("ratchet", [True, False])
def test_a_resumed_session_is_closed_to_who_has_seized_the_one_before(engines: Engines, ratchet: bool) -> None:
    """Tickets, their keys and all else of both ends, taken before a resume, open nothing of the session after it."""
    link = establish(engines, options=Options(ratchet=ratchet, tickets=True))
    loot = loot_of(link.initiator) | loot_of(link.responder)
    again = resumed(link)
    assert bytes(link.responder.engine.parts.ticket_keys.current.key) in loot.secrets
    for end in again.ends:
        assert read(loot, CHACHA, record(again, end, 3)) == set()


@pytest.mark.parametrize("seized", SIDES)
def test_a_resumed_session_opens_nothing_of_the_one_before(engines: Engines, seized: str) -> None:
    """What a memory holds after a resume, the spent ticket's table included, is of no use for the session before."""
    link = establish(engines, options=Options(ratchet=True, tickets=True))
    past = [record(link, end, 4) for end in link.ends]
    again = resumed(link)
    past_again = [record(again, end, 4) for end in again.ends]
    loot = loot_of(end_of(again, seized))
    future = record(again, again.initiator, 2)
    assert [read(loot, CHACHA, packets) for packets in past + past_again] == [set()] * 4
    assert read(loot, CHACHA, future) == {0, 1}
