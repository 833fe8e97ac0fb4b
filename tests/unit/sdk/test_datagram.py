"""The receive path of a UDP game, against a real server that answers from a script."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from grpc import StatusCode

import noisegate
from noisegate import Admission, DatagramReceiver, Received
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.receiving import (
    ANSWER,
    AWAY,
    DONE,
    DONE_AT_ONCE,
    HANDSHAKE_3,
    HELLO,
    HOME,
    PENDING,
    RECORD,
    RESUME_1,
    RESUME_2,
    STRANGER,
    Address,
    Game,
)
from tests.unit.sdk.scripted_service import (
    CONNECTION_ID,
    SESSION_ID,
    Refusal,
    established,
    pending,
)


async def test_a_player_shakes_hands_and_is_heard(game: Game) -> None:
    """Packets go to the RPC of their type; each answer says what to send where."""
    game.scripted.answer("Handshake", PENDING, DONE)
    first = await game.receiver.receive(HELLO, HOME)
    assert first.to_send == ((ANSWER, HOME),)
    assert (first.new_session, first.established) == (True, False)
    third = await game.receiver.receive(HANDSHAKE_3, HOME)
    assert third.session is first.session
    assert (third.new_session, third.established, third.payload) == (False, True, b"player's payload")
    game.opens(counter=0, to_peer=(b"ticket",))
    heard = await game.receiver.receive(RECORD, HOME)
    assert heard.plaintexts == (b"hi",)
    assert heard.to_send == ((b"ticket", HOME),)
    assert [name for name, _ in game.scripted.raw] == ["Handshake", "Handshake", "Decrypt"]
    begin, proceed = game.scripted.requests("Handshake")
    assert begin.respond.message == HELLO
    assert (proceed.proceed.session_id, proceed.proceed.message) == (SESSION_ID, HANDSHAKE_3)
    assert game.scripted.requests("Decrypt")[0].session_id == SESSION_ID


async def test_the_game_names_its_players_and_may_refuse_them(game: Game) -> None:
    """`admit` sees the packet and the source before the service does."""
    seen: list[tuple[bytes, Address]] = []

    def admit(packet: bytes, source: Address) -> Admission | None:
        seen.append((packet, source))
        return Admission(peer_id="ann", group="table 7", psk=b"p" * 32) if source == HOME else None

    receiver = DatagramReceiver(game.client, admit=admit)
    game.scripted.answer("Handshake", PENDING)
    assert (await receiver.receive(HELLO, STRANGER)).refused == "NOT_ADMITTED"
    assert game.scripted.raw == []
    await receiver.receive(HELLO, HOME)
    assert seen == [(HELLO, STRANGER), (HELLO, HOME)]
    asked = game.scripted.requests("Handshake")[0].respond
    assert (asked.peer_id, asked.group, asked.psk) == ("ann", "table 7", b"p" * 32)


async def test_a_repeated_first_packet_is_the_same_session(game: Game) -> None:
    """The player repeats what was lost; the service gives the same answer again."""
    game.scripted.answer("Handshake", PENDING)
    first = await game.receiver.receive(HELLO, HOME)
    again = await game.receiver.receive(HELLO, HOME)
    assert again.session is first.session
    assert (again.new_session, again.to_send) == (False, ((ANSWER, HOME),))
    assert len(game.receiver) == 1


async def test_a_resume_goes_to_resume(game: Game) -> None:
    """Step 1 begins with the ticket's names, step 2 answers a resume that the game began."""
    answer = service.ResumeResponse(
        session_id=SESSION_ID,
        connection_id=CONNECTION_ID,
        peer_id="ann",
        to_peer=[ANSWER],
        established=established(),
    )
    game.scripted.answer("Resume", answer)
    back = await game.receiver.receive(RESUME_1, HOME)
    assert back.session is not None
    assert (back.session.peer_id, back.new_session, back.established) == ("ann", True, True)
    ours = service.ResumeResponse(
        session_id=b"o" * 24, connection_id=CONNECTION_ID, to_peer=[b"message 1"], pending=pending()
    )
    done = service.ResumeResponse(session_id=b"o" * 24, established=established())
    game.scripted.answer("Resume", ours, done)
    begun = await game.client.initiate_resume(SESSION_ID, mode=noisegate.RecordMode.DATAGRAM)
    game.receiver.add(begun, AWAY)
    finished = await game.receiver.receive(RESUME_2, AWAY)
    assert (finished.session, finished.established) == (begun, True)
    assert game.scripted.requests("Resume")[2].proceed.message == RESUME_2


async def test_forged_and_replayed_packets_are_results(game: Game) -> None:
    """Nothing that a stranger sends makes the receive loop raise; nothing is sent back."""
    session = await game.play()
    for reason in ("DECRYPT_FAILED", "REPLAY_DETECTED", "COUNTER_TOO_OLD"):
        game.scripted.answer("Decrypt", Refusal(StatusCode.INVALID_ARGUMENT, reason))
        assert await game.receiver.receive(RECORD, STRANGER) == Received(session=session, refused=reason)
    game.scripted.answer("Handshake", Refusal(StatusCode.INVALID_ARGUMENT, "HANDSHAKE_FAILED"))
    assert await game.receiver.receive(HELLO, STRANGER) == Received(refused="HANDSHAKE_FAILED")
    game.scripted.answer("Resume", Refusal(StatusCode.FAILED_PRECONDITION, "TICKET_REJECTED"))
    assert await game.receiver.receive(RESUME_1, STRANGER) == Received(refused="TICKET_REJECTED")
    assert game.receiver.address(session) == HOME


@pytest.mark.parametrize(
    ("packet", "refused"),
    [
        (b"", "NOT_A_PACKET"),
        (b"\x00\x01\x00\x00 stun", "NOT_A_PACKET"),
        (RECORD.ljust(65_536, b"."), "NOT_A_PACKET"),
        (b"\x0d" + CONNECTION_ID + b"id\x01\x01part", "NOT_A_PACKET"),
        (b"\x0e" + bytes(8) + b"retry", "UNEXPECTED_PACKET"),
    ],
)
async def test_what_is_for_no_rpc_costs_no_call(game: Game, packet: bytes, refused: str) -> None:
    """Other protocols of the port, oversized packets, and packets that only a player may get."""
    assert await game.receiver.receive(packet, STRANGER) == Received(refused=refused)
    assert game.scripted.raw == []


@pytest.mark.parametrize("reason", ["CALLER_FORBIDDEN", "INTERNAL", "OVERLOADED"])
async def test_the_services_own_troubles_are_exceptions(game: Game, reason: str) -> None:
    """These are for the operator and say nothing about the packet."""
    game.scripted.answer("Decrypt", Refusal(StatusCode.INTERNAL, reason))
    with pytest.raises(noisegate.NoisegateError) as caught:
        await game.receiver.receive(RECORD, HOME)
    assert caught.value.reason == reason


async def test_an_answer_larger_than_three_times_the_first_packet_is_withheld(game: Game) -> None:
    """A forged source address must not be a way to flood a stranger."""
    large = service.HandshakeResponse(
        session_id=SESSION_ID, connection_id=CONNECTION_ID, to_peer=[bytes(3 * len(HELLO) + 1)], pending=pending()
    )
    game.scripted.answer("Handshake", large)
    first = await game.receiver.receive(HELLO, STRANGER)
    assert (first.to_send, first.withheld) == ((), 1)


async def test_a_repeat_from_elsewhere_is_answered_within_what_it_paid_for(game: Game) -> None:
    """Someone who saw the first packet may send it again from a forged source."""
    large = service.HandshakeResponse(
        session_id=SESSION_ID, connection_id=CONNECTION_ID, to_peer=[bytes(3 * len(HELLO))] * 2, pending=pending()
    )
    game.scripted.answer("Handshake", PENDING, large)
    await game.receiver.receive(HELLO, HOME)
    again = await game.receiver.receive(HELLO, STRANGER)
    assert (again.to_send, again.withheld) == (((bytes(3 * len(HELLO)), STRANGER),), 1)


async def test_a_first_record_makes_a_session_live(game: Game) -> None:
    """IK is done after one packet, which may be a replay; once the player has sealed a record, it is not."""
    game.scripted.answer("Handshake", DONE_AT_ONCE)
    await game.receiver.receive(HELLO, HOME)
    game.opens(counter=0)
    session = (await game.receiver.receive(RECORD, HOME)).session
    assert session is not None
    assert game.receiver.verified(session)
    game.clock.seconds = 1_000.0
    assert (await game.receiver.receive(RECORD, HOME)).session is session


async def test_a_packet_of_an_unknown_session_is_found_by_the_service(game: Game) -> None:
    """After a restart of the game the service still knows the connection id; the address has proved nothing yet."""
    game.opens(counter=9)
    heard = await game.receiver.receive(RECORD, HOME)
    assert game.scripted.requests("Decrypt")[0].session_id == b""
    assert heard.session is not None
    assert (heard.session.id, heard.new_session, heard.plaintexts) == (SESSION_ID, True, (b"hi",))
    assert not game.receiver.verified(heard.session)
    again = await game.receiver.receive(RECORD, HOME)
    assert (again.session, again.new_session) == (heard.session, False)
    assert game.scripted.requests("Decrypt")[1].session_id == SESSION_ID


async def test_a_handshake_begun_before_a_restart_goes_on(game: Game) -> None:
    """The service finds the handshake by the packet's connection id."""
    game.scripted.answer("Handshake", DONE)
    done = await game.receiver.receive(HANDSHAKE_3, HOME)
    assert game.scripted.requests("Handshake")[0].proceed.session_id == b""
    assert done.session is not None
    assert (done.session.id, done.new_session, done.established) == (SESSION_ID, True, True)
    assert not game.receiver.verified(done.session)


async def test_a_new_connection_id_belongs_to_the_known_session(game: Game) -> None:
    """The service changes the id; the first packet that carries it tells the receiver."""
    session = await game.play()
    game.opens(counter=1)
    renamed = b"\x0a" + b"new id.." + RECORD[9:]
    first = await game.receiver.receive(renamed, HOME)
    assert (first.session, first.new_session) == (session, False)
    await game.receiver.receive(renamed, HOME)
    assert [request.session_id for request in game.scripted.requests("Decrypt")] == [b"", SESSION_ID]
    assert len(game.receiver) == 1


async def test_the_players_close_ends_the_session(game: Game) -> None:
    """The receiver forgets it; a later packet asks the service, which knows that it is over."""
    session = await game.play()
    closing = service.DecryptResponse(
        session_id=SESSION_ID, control=service.Control(kind=service.CONTROL_KIND_CLOSE), newest=True, counter=1
    )
    game.scripted.answer("Decrypt", closing)
    end = await game.receiver.receive(RECORD, HOME)
    assert (end.session, end.closed, end.plaintexts) == (session, True, ())
    assert len(game.receiver) == 0
    assert game.receiver.route(session, [b"."]) == []


async def test_a_finished_rotation_is_seen_by_the_records_epoch(game: Game) -> None:
    """The game counts on what its packets say: step, then the first record of the new epoch, without a further call."""
    await game.play()
    rotation, keep_alive = (
        service.DecryptResponse(
            session_id=SESSION_ID, control=service.Control(kind=kind), epoch=epoch, counter=counter, newest=True
        )
        for kind, epoch, counter in ((service.CONTROL_KIND_ROTATION, 0, 7), (service.CONTROL_KIND_KEEP_ALIVE, 1, 0))
    )
    game.scripted.answer("Decrypt", rotation, keep_alive)
    step = await game.receiver.receive(RECORD, HOME)
    assert (step.control, step.epoch, step.counter) == (noisegate.ControlKind.ROTATION, 0, 7)
    over = await game.receiver.receive(RECORD, HOME)
    assert (over.control, over.epoch, over.counter) == (noisegate.ControlKind.KEEP_ALIVE, 1, 0)
    game.opens(counter=3, epoch=1)
    data = await game.receiver.receive(RECORD, HOME)
    assert (data.control, data.epoch, data.counter) == (None, 1, 3)
    assert {name for name, _ in game.scripted.raw} == {"Handshake", "Decrypt"}


async def test_what_opened_no_record_has_no_epoch_and_no_counter(game: Game) -> None:
    """A handshake's packet and a refused one must not look like records of epoch 0."""
    game.scripted.answer("Handshake", PENDING)
    game.scripted.answer("Decrypt", Refusal(StatusCode.INVALID_ARGUMENT, "DECRYPT_FAILED"))
    for packet in (HELLO, RECORD):
        received = await game.receiver.receive(packet, HOME)
        assert (received.epoch, received.counter, received.control) == (None, None, None)


@pytest.mark.parametrize("reason", ["SESSION_NOT_FOUND", "SESSION_CLOSED"])
async def test_a_session_that_the_service_ended_is_forgotten(game: Game, reason: str) -> None:
    """Idle or closed by another caller: the game learns it with the next packet."""
    session = await game.play()
    game.scripted.answer("Decrypt", Refusal(StatusCode.NOT_FOUND, reason))
    end = await game.receiver.receive(RECORD, HOME)
    assert (end.session, end.closed, end.refused) == (session, True, reason)
    assert len(game.receiver) == 0


@pytest.mark.parametrize(("answer", "lives_for"), [(PENDING, 10.0), (DONE_AT_ONCE, 60.0)], ids=["xx", "ik"])
async def test_a_handshake_that_nobody_finishes_is_forgotten(game: Game, answer: Message, lives_for: float) -> None:
    """A first packet may be a replay, so its session is half-open until the player answers."""
    game.scripted.answer("Handshake", answer)
    await game.receiver.receive(HELLO, STRANGER)
    game.clock.seconds = lives_for - 0.5
    await game.receiver.receive(b"\x0e" + bytes(8), STRANGER)
    assert len(game.receiver) == 1
    game.clock.seconds = lives_for
    await game.receiver.receive(b"\x0e" + bytes(8), STRANGER)
    assert len(game.receiver) == 0


async def test_a_session_that_the_game_closes_is_forgotten_by_it(game: Game) -> None:
    """The close record still goes where the player is."""
    session = await game.play()
    game.scripted.answer("CloseSession", service.CloseSessionResponse(to_peer=[b"farewell"]))
    assert game.receiver.route(session, await session.close()) == [(b"farewell", HOME)]
    game.receiver.forget(session)
    assert len(game.receiver) == 0
