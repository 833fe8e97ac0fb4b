"""What the SDK says and hears of early data and of a handshake beside a resume."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import noisegate
from noisegate import Admission, DatagramReceiver, EarlyData, Pattern, Protocol, RecordMode, SessionOptions
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_service import (
    CONNECTION_ID,
    SESSION_ID,
    ScriptedService,
    established,
    pending,
    scripted_service,
)

HOME = ("198.51.100.1", 4_000)
QUICK = noisegate.CallPolicy(packet_deadline=5, control_deadline=5, first_backoff=0.001, max_backoff=0.002)
RESUME_1 = b"\x0c" + bytes(8) + b"\x01" + b"hello, ticket, message 1".ljust(90, b".")
RESUME_2 = b"\x0c" + CONNECTION_ID + b"\x02" + b"message 2".ljust(49, b".")


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedService]:
    """A service that answers from a script."""
    async with scripted_service() as running:
        yield running


@pytest.fixture
async def client(scripted: ScriptedService) -> AsyncIterator[noisegate.Client]:
    """A client of it."""
    async with noisegate.connect(scripted.address, policy=QUICK) as connected:
        yield connected


def resumed(early_data: bytes = b"") -> service.ResumeResponse:
    """The answer to a RESUME packet."""
    early = service.EARLY_DATA_ACCEPTED if early_data else service.EARLY_DATA_UNSPECIFIED
    return service.ResumeResponse(
        session_id=SESSION_ID,
        connection_id=CONNECTION_ID,
        to_peer=[RESUME_2],
        peer_id="ann",
        established=established(),
        early=early,
        early_data=early_data,
    )


async def test_early_data_is_asked_for_and_handed_over(scripted: ScriptedService, client: noisegate.Client) -> None:
    """And what was sent is not shown in a handle's text."""
    scripted.answer("Resume", resumed(b"jump"))
    session = await client.respond_resume(
        mode=RecordMode.NOISE, message=b"message 1", ticket=b"opaque", accept_early_data=True
    )
    assert scripted.requests("Resume")[0].respond.accept_early_data
    assert (session.early, session.early_data, session.fell_back) == (EarlyData.ACCEPTED, b"jump", False)
    assert "jump" not in repr(session)


async def test_early_data_of_our_own_is_told_of_by_proceed(scripted: ScriptedService, client: noisegate.Client) -> None:
    """Until then nothing is known of it."""
    begun = service.ResumeResponse(session_id=SESSION_ID, to_peer=[b"message 1"], ticket=b"theirs", pending=pending())
    done = service.ResumeResponse(session_id=SESSION_ID, established=established(), early=service.EARLY_DATA_REJECTED)
    scripted.answer("Resume", begun, done)
    session = await client.initiate_resume(b"o" * 24, mode=RecordMode.NOISE, early_data=b"jump")
    assert scripted.requests("Resume")[0].initiate.early_data == b"jump"
    known = [session.early]
    await session.proceed(b"message 2")
    assert [*known, session.early] == [EarlyData.NONE, EarlyData.REJECTED]


async def test_a_refused_ticket_goes_on_as_a_handshake(scripted: ScriptedService, client: noisegate.Client) -> None:
    """Its next step is Handshake's; what the handshake needs went with the resume."""
    fallen = service.ResumeResponse(session_id=SESSION_ID, to_peer=[b"message 2"], pending=pending(), fell_back=True)
    scripted.answer("Resume", fallen)
    scripted.answer("Handshake", service.HandshakeResponse(session_id=SESSION_ID, established=established()))
    session = await client.respond_resume(
        mode=RecordMode.NOISE,
        message=b"message 1",
        ticket=b"opaque",
        fallback_message=b"full message 1",
        fallback_protocol=Protocol(Pattern.XXPSK3),
        psk=b"p" * 32,
        peer_id="ann",
        group="table 7",
        options=SessionOptions(max_early_data_bytes=5),
    )
    sent = scripted.requests("Resume")[0].respond
    assert (sent.fallback_message, sent.fallback_protocol.pattern, sent.psk) == (b"full message 1", 4, b"p" * 32)
    assert (sent.peer_id, sent.group, sent.options.max_early_data_bytes) == ("ann", "table 7", 5)
    assert session.fell_back
    await session.proceed(b"message 3")
    assert session.established is not None
    assert scripted.requests("Handshake")[0].proceed.message == b"message 3"


async def test_a_player_that_must_begin_anew_is_told_so_beside_a_resume_too(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """The handshake that came along chose another protocol than the service does."""
    retry = service.HandshakeRetry(reason=service.HandshakeRetry.REASON_CHOOSE)
    scripted.answer("Resume", service.ResumeResponse(to_peer=[b"retry"], retry=retry, fell_back=True))
    with pytest.raises(noisegate.PlayerMustRetry):
        await client.respond_resume(mode=RecordMode.DATAGRAM, message=RESUME_1)


async def test_the_receive_path_hands_early_data_over_once(scripted: ScriptedService, client: noisegate.Client) -> None:
    """From whichever copy of a packet had it; names and keys of the admission go along for a full handshake."""
    admission = Admission(peer_id="ann", group="g", psk=b"p" * 32, accept_early_data=True)
    receiver: DatagramReceiver[tuple[str, int]] = DatagramReceiver(client, admit=lambda packet, source: admission)
    scripted.answer("Resume", resumed(), resumed(b"jump"), resumed())
    received = [await receiver.receive(RESUME_1, HOME) for _ in range(3)]
    assert [each.early_data for each in received] == [b"", b"jump", b""]
    assert [each.new_session for each in received] == [True, False, False]
    sent = scripted.requests("Resume")[0].respond
    assert (sent.accept_early_data, sent.peer_id, sent.group, sent.psk) == (True, "ann", "g", b"p" * 32)
    assert "jump" not in repr(received[1])


async def test_without_the_admissions_word_early_data_is_not_asked_for(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """Off by default."""
    scripted.answer("Resume", resumed())
    receiver: DatagramReceiver[tuple[str, int]] = DatagramReceiver(client)
    await receiver.receive(RESUME_1, HOME)
    assert not scripted.requests("Resume")[0].respond.accept_early_data
