"""The service and the dice example's own player through what a session's life has beside records and rotation.

RETRY in both roles, resume with early data and its fallback, hybrid suites and exporter secrets. The player was written
from docs/protocol.md alone, and its ephemeral keys and the service's come from the system.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from examples.dice.datagram_player import (
    FLAG_DATAGRAM,
    FLAG_MASK,
    FLAG_PAD,
    FLAG_RATCHET,
    FLAG_TICKETS,
    PacketRefusedError,
)
from noisegate_server.engine.outcomes import Early
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.session.errors import SessionError
from noisegate_server.session.network import Network
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import Engines
from tests.support.noise_client import public_key
from tests.support.player_ends import CLASSICAL, PROLOGUE, Ends, a_player, begin, resume
from tests.support.requests import initiation, response

HYBRID = Suite.MLKEM1024_X25519_CHACHA20_POLY1305
EVERY_FLAG = FLAG_DATAGRAM | FLAG_RATCHET | FLAG_MASK | FLAG_PAD | FLAG_TICKETS


# --- suites


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK, Pattern.NK])
@pytest.mark.parametrize("flags", [FLAG_DATAGRAM | FLAG_TICKETS, EVERY_FLAG])
def test_a_hybrid_session_lives(engines: Engines, pattern: Pattern, flags: int) -> None:
    """Handshake, records, a rotation by age, exporter secrets, a resume and a rotation of that, all with ML-KEM."""
    engine = engines.make()
    ends = Ends(engine, a_player(engine, (pattern, HYBRID), flags=flags))
    begin(ends, ends.player.start(ends.now)[0])
    ends.talk()
    ends.run(121.0)
    assert ends.epochs == (1, 1)
    ends.talk()
    packet = ends.player.resume(ends.now)[0]
    assert resume(ends, packet) == (Early.NONE, b"", False)
    ends.talk()
    ends.to_service(ends.player.renegotiate(ends.now))
    assert ends.epochs == (1, 1)
    ends.talk()


def test_a_service_begins_a_hybrid_session_with_a_player(engines: Engines) -> None:
    """The service as initiator: the player answers, and both rotate."""
    engine = engines.make()
    player = a_player(engine, (Pattern.IK, HYBRID), remote=None, flags=EVERY_FLAG)
    public = public_key(player.own.settings.static or b"")
    begun = engine.initiate(
        initiation(
            pattern=Pattern.IK, suite=HYBRID, remote_static_key=public, prologue=PROLOGUE, options=Options(tickets=True)
        )
    )
    ends = Ends(engine, player, begun.session_id)
    ends.to_player(begun.to_peer)
    ends.talk()
    engine.clock.step(20.0)
    ends.to_service(player.renegotiate(ends.now))
    assert ends.epochs == (1, 1)
    ends.talk()


# --- RETRY


def test_a_player_with_a_wrong_choice_and_a_wrong_clock_is_led_to_a_session(engines: Engines) -> None:
    """XX classical by an hour's wrong clock becomes XX hybrid by the service's: two RETRYs, three first packets."""
    engine = engines.make()
    player = a_player(engine, (Pattern.XX, CLASSICAL), (Pattern.XX, HYBRID))
    player.own.wall = lambda: engine.clock.wall - 3_600.0
    ends = Ends(engine, player)
    (packet,) = player.start(ends.now)
    for _ in range(2):
        told = engine.respond(response(packet, prologue=PROLOGUE))
        assert told.session_id == b""
        (packet,) = player.receive(told.to_peer[0], ends.now).to_send
    begin(ends, packet)
    assert player.session is not None
    assert player.session.lasting.terms.suite == HYBRID
    ends.talk()


def test_a_player_tells_the_service_what_it_prefers(engines: Engines) -> None:
    """The service initiates with a choice that is not the player's: it follows the player's RETRY in its own offer."""
    engine = engines.make()
    player = a_player(engine, (Pattern.XX, CLASSICAL), (Pattern.XX, HYBRID), remote=None)
    begun = engine.initiate(
        initiation(
            pattern=Pattern.XX, suite=HYBRID, offer=((Pattern.XX, HYBRID), (Pattern.XX, CLASSICAL)), prologue=PROLOGUE
        )
    )
    ends = Ends(engine, player, begun.session_id)
    ends.to_player(begun.to_peer)
    assert player.session is not None
    assert player.session.lasting.terms.suite == CLASSICAL
    ends.talk()


def test_a_forged_retry_ends_where_the_service_says(engines: Engines) -> None:
    """'Choose classical', by an attacker who sees the first packet: refused by the service, and hybrid keys come."""
    engine = engines.make()
    player = a_player(engine, (Pattern.IK, HYBRID), (Pattern.IK, CLASSICAL))
    ends = Ends(engine, player)
    (packet,) = player.start(ends.now)
    forged = b"\x0e" + bytes(8) + sha256(packet).digest()[:8] + b"\x01\x01\xff"
    (lured,) = player.receive(forged, ends.now).to_send
    mended = engine.respond(response(lured, prologue=PROLOGUE))
    assert mended.session_id == b""
    with pytest.raises(PacketRefusedError):
        player.receive(mended.to_peer[0], ends.now)
    begin(ends, packet)
    assert player.session is not None
    assert player.session.lasting.terms.suite == HYBRID
    ends.talk()


# --- resume


@pytest.mark.parametrize("accept", [True, False])
def test_early_data_of_a_player_is_taken_once_or_told_to_be_dropped(engines: Engines, accept: bool) -> None:
    """Where the game takes it, it has it with the resume; a repeat of the packet has none; the ticket is spent."""
    engine = engines.make(policy=Policy(max_early=64))
    ends = Ends(engine, a_player(engine, (Pattern.IK, CLASSICAL)))
    begun = engine.respond(response(ends.player.start(ends.now)[0], prologue=PROLOGUE, options=Options(max_early=64)))
    ends.session_id = begun.session_id
    ends.to_player(begun.to_peer)
    ends.talk()
    ticket = ends.player.ticket
    assert ticket is not None
    assert ticket.max_early == 64
    packet = ends.player.resume(ends.now, early_data=b"bet 5")[0]
    expected = (Early.ACCEPTED, b"bet 5", False) if accept else (Early.REJECTED, b"", False)
    assert resume(ends, packet, accept_early=accept) == expected
    ends.talk()
    again = ResumeRequested(
        mode=RecordMode.DATAGRAM,
        message=packet,
        ticket=b"",
        hello=b"",
        prologue=PROLOGUE,
        payload=b"",
        accept_early=True,
    )
    assert engine.accept_resume(again).early_data == b""
    second = a_player(engine, (Pattern.IK, CLASSICAL)).resume(ends.now, ticket, early_data=b"bet 5")[0]
    with pytest.raises(SessionError):
        engine.accept_resume(replace(again, message=second))


def test_a_refused_ticket_ends_in_the_full_handshake_beside_it(engines: Engines) -> None:
    """The service has other ticket keys by now: it answers the HANDSHAKE in the RESUME packet, or RETRY for it."""
    engine, later = engines.make(), engines.make()
    ends = Ends(engine, a_player(engine, (Pattern.IK, CLASSICAL)))
    begin(ends, ends.player.start(ends.now)[0])
    ends.talk()
    ticket = ends.player.ticket
    again = Ends(later, a_player(later, (Pattern.IK, CLASSICAL)))
    packet = again.player.resume(again.now, ticket, full=True)[0]
    assert resume(again, packet)[2]
    again.talk()


def test_a_fallback_with_a_wrong_choice_is_told_so(engines: Engines) -> None:
    """RETRY answers it as it would have answered a HANDSHAKE; its echo names the RESUME packet."""
    engine, later = engines.make(), engines.make()
    ends = Ends(engine, a_player(engine, (Pattern.IK, CLASSICAL)))
    begin(ends, ends.player.start(ends.now)[0])
    ends.talk()
    player = a_player(later, (Pattern.IK, CLASSICAL), (Pattern.IK, HYBRID))
    packet = player.resume(ends.now, ends.player.ticket, full=True)[0]
    request = ResumeRequested(
        mode=RecordMode.DATAGRAM, message=packet, ticket=b"", hello=b"", prologue=PROLOGUE, payload=b""
    )
    step = later.accept_resume(request)
    assert step.retry is not None
    again = Ends(later, player)
    begin(again, player.receive(step.to_peer[0], again.now).to_send[0])
    again.talk()


@pytest.mark.parametrize("early_data", [b"", b"deal"])
def test_the_service_resumes_with_a_players_ticket(engines: Engines, early_data: bytes) -> None:
    """The service was the initiator and comes back: its early data is in the player's hands, and it hears that."""
    engine = engines.make()
    player = a_player(engine, (Pattern.IK, CLASSICAL), remote=None, max_early=16)
    public = public_key(player.own.settings.static or b"")
    begun = engine.initiate(
        initiation(
            pattern=Pattern.IK,
            suite=CLASSICAL,
            remote_static_key=public,
            prologue=PROLOGUE,
            options=Options(tickets=True),
        )
    )
    ends = Ends(engine, player, begun.session_id)
    ends.to_player(begun.to_peer)
    ends.talk()
    step = engine.resume(ends.session_id, PROLOGUE, early_data)
    received = player.receive(step.to_peer[0], ends.now)
    assert received.payloads == ([early_data] if early_data else [])
    told = engine.finish_resume(step.session_id, received.to_send[0])
    assert told.early is (Early.ACCEPTED if early_data else Early.NONE)
    ends.session_id = step.session_id
    ends.talk()


# --- networks


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("flags", [FLAG_DATAGRAM, EVERY_FLAG])
def test_a_player_follows_a_change_of_network(engines: Engines, flags: int, lost: bool) -> None:
    """Cellular: no padding. Wi-Fi: a new connection id and new keys, told again where the game calls again."""
    engine = engines.make()
    ends = Ends(engine, a_player(engine, (Pattern.IK, CLASSICAL), flags=flags))
    begin(ends, ends.player.start(ends.now)[0])
    ends.talk()
    engine.clock.step(15.0)
    before, late = ends.player.connection_id, ends.player.send(b"late")
    ends.to_player(ends.change_network(Network.CELLULAR))
    assert len(engine.encrypt(ends.session_id, b"six").ciphertext) == 32 + 3
    told = ends.change_network(Network.WIFI)
    if lost:
        ends.talk()
        engine.clock.step(1.0)
        told = ends.change_network(Network.WIFI)
    ends.to_player(told)
    ends.talk()
    assert ends.player.connection_id != before
    assert ends.epochs == (1, 1)
    assert engine.decrypt(b"", ends.player.send(b"roll")).plaintext == b"roll"
    assert engine.decrypt(b"", late).plaintext == b"late"
