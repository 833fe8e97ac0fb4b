"""The ratchet in NOISE mode: Rekey() of each direction after each of its messages (Noise, section 11.3)."""

from __future__ import annotations

from typing import Any

import pytest

from noisegate_server.engine.policy import Options
from noisegate_server.engine.rotate import RECEIVE, RENEGOTIATE, SEND, RotateCommand
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.hello import Flags
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import HYBRID_SUITES, NOISE_NAMES, Pattern, Suite
from tests.support.engines import Engines, Link, establish, outcome_of, resumed
from tests.support.fingerprint import fingerprint
from tests.support.requests import response
from tests.support.vectors import peer_library

RATCHET = Options(ratchet=True)
CLASSICAL = [suite for suite in Suite if suite not in HYBRID_SUITES]
"""What the package noiseprotocol speaks."""


@pytest.fixture(params=list(Suite), ids=lambda suite: suite.name)
def link(request: pytest.FixtureRequest, engines: Engines) -> Link:
    """A session with the ratchet between two engines."""
    return establish(engines, mode=RecordMode.NOISE, suite=request.param, options=RATCHET)


def test_both_ways_and_no_context_is_kept(link: Link) -> None:
    """A hundred messages each way open in order; every key seals one of them."""
    keys = set()
    for number in range(100):
        for end in link.ends:
            keys.add(bytes(end.noise.send.key))
            end.send(b"%d" % number)
        link.settle()
    assert all(end.received == [b"%d" % number for number in range(100)] for end in link.ends)
    assert len(keys) == 200
    assert all(len(end.engine.parts.aeads) == 0 for end in link.ends)


@pytest.mark.parametrize("suite", CLASSICAL)
def test_another_library_s_rekey_after_each_message_follows(engines: Engines, suite: Suite) -> None:
    """The package noiseprotocol with rekey() called after each message, both ways."""
    library: Any = peer_library("noise.connection")
    engine = engines.make()
    pattern = Pattern.XX
    player = library.NoiseConnection.from_name(NOISE_NAMES[pattern, suite].encode())
    player.set_as_initiator()
    static = library.Keypair.STATIC
    player.set_keypair_from_private_bytes(static, bytes(range(1, 33)))
    player.start_handshake()
    begun = engine.respond(
        response(player.write_message(), mode=RecordMode.NOISE, pattern=pattern, suite=suite, options=RATCHET)
    )
    player.read_message(begun.to_peer[0])
    engine.proceed(begun.session_id, bytes(player.write_message()))
    sends = player.noise_protocol.cipher_state_encrypt
    receives = player.noise_protocol.cipher_state_decrypt
    for number in range(20):
        opened = engine.decrypt(begun.session_id, bytes(player.encrypt(b"%d" % number)))
        sends.rekey()
        assert opened.plaintext == b"%d" % number
        assert (
            bytes(player.decrypt(engine.encrypt(begun.session_id, b"no %d" % number).ciphertext)) == b"no %d" % number
        )
        receives.rekey()


def test_a_refused_message_moves_nothing(link: Link) -> None:
    """A forged message leaves the stream's key where it was; the genuine one opens after all."""
    packet = link.initiator.seal(b"roll")
    before = fingerprint(link.responder.session)
    assert outcome_of(link.responder, packet[:-1] + bytes((packet[-1] ^ 1,))) is DecryptFailed
    assert fingerprint(link.responder.session) == before
    assert outcome_of(link.responder, packet) == b"roll"
    assert outcome_of(link.responder, packet) is DecryptFailed


def test_the_key_before_is_wiped(link: Link) -> None:
    """The buffer of a direction's key is overwritten by the next one."""
    key = link.initiator.noise.send.key
    before = bytes(key)
    link.initiator.send(b"roll")
    assert link.initiator.noise.send.key is key
    assert bytes(key) != before


def test_both_ends_must_be_told(engines: Engines) -> None:
    """Nothing in the handshake says it: with one end alone the second message does not open."""
    link = establish(engines, mode=RecordMode.NOISE)
    link.responder.noise.ratchet = True
    first, second = link.initiator.seal(b"1"), link.initiator.seal(b"2")
    assert outcome_of(link.responder, first) == b"1"
    assert outcome_of(link.responder, second) is DecryptFailed


def test_a_hello_s_flag_means_nothing_in_this_mode(engines: Engines) -> None:
    """With a hello too the game's option alone decides, and the hello does not carry it."""
    first, second = engines.make(), engines.make()
    session = establish(engines, mode=RecordMode.NOISE, initiator=first, responder=second, options=RATCHET)
    assert [end.session.flags for end in session.ends] == [Flags.RATCHET] * 2


def test_it_goes_on_through_rekey_renegotiation_and_resume(link: Link) -> None:
    """An agreed REKEY is one more Rekey(); new keys of a renegotiation or a resume are ratcheted as well."""
    link.initiator.rekey(SEND)
    link.responder.rekey(RECEIVE)
    link.talk()
    turn, message = link.initiator, b""
    for _ in range(4):
        done = turn.rotate(RotateCommand(kind=RENEGOTIATE, message=message))
        if not done.to_peer:
            break
        turn, message = link.peer_of(turn), done.to_peer[0]
    for end in link.ends:
        end.rotate(RotateCommand(kind=RENEGOTIATE, switch_send=True, switch_receive=True))
    for _ in range(3):
        link.talk()
    issued = link.responder.engine.issue(link.responder.session_id)
    link.initiator.open(issued.to_peer[0], ticket=True)
    again = resumed(link)
    assert all(end.noise.ratchet for end in again.ends)
    for _ in range(3):
        again.talk()
