"""Records of suspended sessions: what a NOISE session goes on with, and what a DATAGRAM session leaves out."""

from __future__ import annotations

import pytest

from noisegate_server.engine.policy import Options
from noisegate_server.engine.rotate import RECEIVE, RENEGOTIATE, SEND, RotateCommand
from noisegate_server.session.state import RecordMode, SessionState
from noisegate_server.session.suites import Suite
from tests.support.attacker import Loot, read, seize
from tests.support.engines import Engines, establish
from tests.support.restored import ROLES, come_back, end_of, record_of, restore, settle, suspend


@pytest.mark.parametrize("ratchet", [False, True])
def test_a_noise_session_goes_on_at_its_very_counters(engines: Engines, ratchet: bool) -> None:
    """Both directions, with keys that were changed before, and while a renegotiation waits for its switches."""
    link = establish(engines, mode=RecordMode.NOISE, options=Options(ratchet=ratchet))
    link.talk()
    link.initiator.rekey(SEND)
    link.responder.rekey(RECEIVE)
    counters = link.initiator.noise.send.n, link.initiator.noise.receive.n
    link.initiator = restore(engines, link.initiator, suspend(link.initiator))
    assert (link.initiator.noise.send.n, link.initiator.noise.receive.n) == counters
    link.talk()
    first = link.initiator.renegotiate().to_peer[0]
    second = link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=first)).to_peer[0]
    link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, message=second))
    link.responder.rotate(RotateCommand(kind=RENEGOTIATE, switch_receive=True))
    for role in ROLES:
        come_back(engines, link, role)
    link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, switch_send=True, switch_receive=True))
    link.responder.rotate(RotateCommand(kind=RENEGOTIATE, switch_send=True))
    link.talk()
    assert [end.noise.replacement for end in link.ends] == [None, None]


def test_a_noise_renegotiation_whose_handshake_is_under_way_begins_anew(engines: Engines) -> None:
    """Its ephemeral key is in no record: the session comes back as it was before, and the initiator begins again."""
    link = establish(engines, mode=RecordMode.NOISE)
    link.initiator.renegotiate()
    states = [link.initiator.session.state]
    come_back(engines, link, "initiator")
    states.append(link.initiator.session.state)
    assert states == [SessionState.ROTATING, SessionState.ESTABLISHED]
    link.talk()
    assert link.initiator.renegotiate().to_peer


def test_a_record_has_no_key_of_what_was_sent(engines: Engines) -> None:
    """DATAGRAM: whoever seizes a record, without and with the ratchet, opens nothing that either side has sealed."""
    for ratchet in (False, True):
        link = establish(engines, options=Options(ratchet=ratchet))
        packets = [end.seal(b"%d" % number) for end in link.ends for number in range(6)]
        for packet in packets[:6]:
            link.responder.open(packet)
        loot = Loot()
        loot.add(record_of(link.responder), every_offset=True)
        # Its roots are found in it, and lead to no traffic key.
        assert bytes(link.responder.datagrams.current.root) in loot.secrets
        assert read(loot, Suite.CHACHA20_POLY1305_X25519, packets) == set()
        live = read(seize(link.responder.engine.parts), Suite.CHACHA20_POLY1305_X25519, packets)
        assert live == (set() if ratchet else set(range(12)))


@pytest.mark.parametrize("ratchet", [False, True])
@pytest.mark.parametrize("role", ROLES)
def test_a_record_opens_a_salted_epoch_until_its_base_is_wiped(engines: Engines, ratchet: bool, role: str) -> None:
    """Suspended again too soon, either side's record has base and root: what was sent in the epoch is open, no more.

    Once both sides have settled on new keys nothing of it is.
    """
    link = establish(engines, options=Options(ratchet=ratchet))
    suite = Suite.CHACHA20_POLY1305_X25519
    before = [link.responder.seal(b"before")]
    owner = come_back(engines, link, "responder", tells=False)
    packets = [owner.seal(b"%d" % number) for number in range(3)]
    for packet in packets:
        link.initiator.open(packet)
    soon, late = Loot(), Loot()
    soon.add(record_of(end_of(link, role)), every_offset=True)
    assert read(soon, suite, before + packets) == {1, 2, 3}
    settle(link)
    assert link.epochs() == (2, 2)
    late.add(record_of(end_of(link, role)), every_offset=True)
    assert read(late, suite, before + packets) == set()
