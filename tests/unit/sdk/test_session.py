"""Handles of sessions, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc import StatusCode

import noisegate
from noisegate import Direction, Pattern, Protocol, RecordMode, RotationKind
from noisegate.v1 import session_crypto_service_pb2 as service
from noisegate.v1 import session_pb2 as contract
from tests.unit.sdk.scripted_service import (
    CONNECTION_ID,
    SESSION_ID,
    Refusal,
    ScriptedService,
    established,
    pending,
    scripted_service,
)

QUICK = noisegate.CallPolicy(packet_deadline=5, control_deadline=5, first_backoff=0.001, max_backoff=0.002)
SEALED = service.EncryptResponse(ciphertext=b"record", to_peer=[b"before"], counter=7, epoch=2, rotation_due=True)
STEP_1 = service.HandshakeResponse(session_id=SESSION_ID, to_peer=[b"message 2"], pending=pending(10))
STEP_2 = service.HandshakeResponse(session_id=SESSION_ID, payload=b"from the player", established=established())
CLOSED = service.CloseSessionResponse(to_peer=[b"farewell"])


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedService]:
    """A running scripted service."""
    async with scripted_service() as running:
        yield running


@pytest.fixture
async def client(scripted: ScriptedService) -> AsyncIterator[noisegate.Client]:
    """A client of it."""
    async with noisegate.connect(scripted.address, policy=QUICK) as connected:
        yield connected


async def test_a_handshake_goes_step_by_step_and_ends_with_its_block(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """XX as the responder: message 2 to send, then the player's message 3, then a live session, then a close."""
    scripted.answer("Handshake", STEP_1, STEP_2)
    scripted.answer("CloseSession", CLOSED)
    async with client.respond(
        mode=RecordMode.NOISE, protocol=Protocol(Pattern.XX), message=b"message 1", peer_id="ann", group="table 7"
    ) as session:
        assert (session.to_peer, session.established, session.pending_for) == ((b"message 2",), None, 10)
        assert await session.proceed(b"message 3") == ()
        assert session.established is not None
        assert session.established.expires_in == 1.5
        assert session.payload == b"from the player"
    assert session.ended
    assert session.to_peer == (b"farewell",)
    begin, proceed = scripted.requests("Handshake")
    assert begin.respond.message == b"message 1"
    assert (begin.respond.peer_id, begin.respond.group) == ("ann", "table 7")
    assert begin.respond.protocol.pattern == contract.PATTERN_XX
    assert (proceed.proceed.session_id, proceed.proceed.message) == (SESSION_ID, b"message 3")
    assert begin.request_id != proceed.request_id
    assert scripted.requests("CloseSession")[0].session_id == SESSION_ID


async def test_an_awaited_session_lives_on(scripted: ScriptedService, client: noisegate.Client) -> None:
    """Without a block nothing closes it; nor does a block after `detach`."""
    scripted.answer("Handshake", STEP_2)
    session = await client.initiate(mode=RecordMode.NOISE, protocol=Protocol(Pattern.XX))
    async with session:
        session.detach()
    assert not session.ended
    assert "CloseSession" not in [name for name, _ in scripted.raw]


async def test_nothing_is_sent_before_an_opening_is_awaited(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """An opening that nobody uses costs nothing and warns of nothing."""
    client.respond(mode=RecordMode.NOISE, message=b"message 1")
    assert scripted.raw == []


async def test_later_calls_go_to_the_endpoint_that_the_handshake_named(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """Session ids live at one instance; the client's own target is only where sessions begin."""
    async with scripted_service() as home:
        step = service.HandshakeResponse(session_id=SESSION_ID, endpoint=home.address, established=established())
        scripted.answer("Handshake", step)
        home.answer("Encrypt", SEALED)
        home.answer("CloseSession", CLOSED)
        async with client.respond(mode=RecordMode.NOISE, message=b"message 1") as session:
            await session.encrypt(b"hi")
        assert [name for name, _ in scripted.raw] == ["Handshake"]
        assert [name for name, _ in home.raw] == ["Encrypt", "CloseSession"]
        # The channel must not outlive its server, or grpc logs its loss.
        await client.close()


async def test_sealing_says_all_that_must_be_sent(scripted: ScriptedService, client: noisegate.Client) -> None:
    """`messages` has the service's own messages before the record."""
    scripted.answer("Encrypt", SEALED)
    sealed = await client.session(SESSION_ID).encrypt(b"hi", b"ad")
    assert sealed.messages == (b"before", b"record")
    assert (sealed.counter, sealed.epoch, sealed.rotation_due) == (7, 2, True)
    request = scripted.requests("Encrypt")[0]
    assert (request.plaintext, request.associated_data) == (b"hi", b"ad")


@pytest.mark.parametrize(
    ("answer", "plaintext", "control"),
    [
        (service.DecryptResponse(plaintext=b"hi"), b"hi", None),
        (service.DecryptResponse(plaintext=b""), b"", None),
        (
            service.DecryptResponse(control=service.Control(kind=service.CONTROL_KIND_TICKET)),
            None,
            noisegate.ControlKind.TICKET,
        ),
        (service.DecryptResponse(), None, noisegate.ControlKind.UNKNOWN),
    ],
    ids=["data", "empty", "control", "later contract"],
)
async def test_an_opened_record_is_data_or_control(
    scripted: ScriptedService,
    client: noisegate.Client,
    answer: service.DecryptResponse,
    plaintext: bytes | None,
    control: noisegate.ControlKind | None,
) -> None:
    """An empty plaintext is data all the same."""
    scripted.answer("Decrypt", answer)
    opened = await client.session(SESSION_ID).decrypt(b"record")
    assert (opened.plaintext, opened.control) == (plaintext, control)


async def most_at_once(scripted: ScriptedService, session: noisegate.Session, mode_calls: int) -> dict[str, int]:
    """How many Encrypts and Decrypts were under way at the same time, at most, of `mode_calls` each that were begun."""
    running = {"Encrypt": 0, "Decrypt": 0}
    most = dict(running)

    def answering(name: str, answer: Message) -> None:
        async def slowly(_: Message) -> Message:
            running[name] += 1
            most[name] = max(most[name], running[name])
            # Long enough, in turns of the loop, for any other call to arrive.
            for _turn in range(200):
                await asyncio.sleep(0)
            running[name] -= 1
            return answer

        scripted.answer(name, slowly)

    answering("Encrypt", SEALED)
    answering("Decrypt", service.DecryptResponse(plaintext=b""))
    await asyncio.gather(
        *(session.encrypt(bytes([n])) for n in range(mode_calls)),
        *(session.decrypt(bytes([n])) for n in range(mode_calls)),
    )
    return most


@pytest.mark.parametrize("mode", [RecordMode.NOISE, None], ids=["noise", "unknown"])
async def test_noise_mode_has_one_call_of_a_direction_under_way(
    scripted: ScriptedService, client: noisegate.Client, mode: RecordMode | None
) -> None:
    """Counters there are implicit: calls run in the order in which they were made."""
    session = client.session(SESSION_ID, mode=mode)
    assert await most_at_once(scripted, session, 4) == {"Encrypt": 1, "Decrypt": 1}
    assert [request.plaintext for request in scripted.requests("Encrypt")] == [bytes([n]) for n in range(4)]


async def test_datagram_mode_runs_calls_side_by_side(scripted: ScriptedService, client: noisegate.Client) -> None:
    """Each packet carries its counter, so nothing waits: none is answered here before all of its kind are there."""
    session = client.session(SESSION_ID, mode=RecordMode.DATAGRAM)

    def answering(name: str, answer: Message) -> None:
        all_there = asyncio.Barrier(4)

        async def together(_: Message) -> Message:
            await all_there.wait()
            return answer

        scripted.answer(name, together)

    answering("Encrypt", SEALED)
    answering("Decrypt", service.DecryptResponse(plaintext=b""))
    sealed = await asyncio.gather(*(session.encrypt(bytes([n])) for n in range(4)))
    opened = await asyncio.gather(*(session.decrypt(bytes([n])) for n in range(4)))
    assert (len(sealed), len(opened)) == (4, 4)


async def test_a_failed_call_lets_the_next_one_go(scripted: ScriptedService, client: noisegate.Client) -> None:
    """A refused record does not block its direction."""
    refused = Refusal(StatusCode.INVALID_ARGUMENT, "DECRYPT_FAILED")
    scripted.answer("Decrypt", refused, service.DecryptResponse(plaintext=b"hi"))
    session = client.session(SESSION_ID, mode=RecordMode.NOISE)
    with pytest.raises(noisegate.DecryptFailed):
        await session.decrypt(b"forged")
    assert (await session.decrypt(b"record")).plaintext == b"hi"


@pytest.mark.parametrize("reason", ["SESSION_NOT_FOUND", "SESSION_CLOSED"])
async def test_closing_what_has_ended_is_no_error(
    scripted: ScriptedService, client: noisegate.Client, reason: str
) -> None:
    """The caller wants it gone, and gone it is."""
    scripted.answer("CloseSession", Refusal(StatusCode.NOT_FOUND, reason))
    session = client.session(SESSION_ID)
    assert await session.close() == ()
    assert session.ended
    assert await session.close() == ()
    assert len(scripted.bodies("CloseSession")) == 1


async def test_a_block_does_not_hide_its_error_behind_a_failed_close(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """What went wrong in the block is what the caller must see."""
    scripted.answer("CloseSession", Refusal(StatusCode.INTERNAL, "INTERNAL"))
    with pytest.raises(LookupError):
        async with client.session(SESSION_ID):
            raise LookupError
    with pytest.raises(noisegate.InternalError):
        async with client.session(SESSION_ID):
            pass


async def test_the_players_close_ends_the_handle(scripted: ScriptedService, client: noisegate.Client) -> None:
    """Nothing is left to close at the end of the block."""
    closing = service.DecryptResponse(control=service.Control(kind=service.CONTROL_KIND_CLOSE))
    scripted.answer("Decrypt", closing)
    async with client.session(SESSION_ID) as session:
        await session.decrypt(b"record")
    assert session.ended
    assert scripted.bodies("CloseSession") == []


async def test_rotations_name_what_the_contract_needs(scripted: ScriptedService, client: noisegate.Client) -> None:
    """REKEY by default; a renegotiation carries messages and switches."""
    answer = service.RotateResponse(
        to_peer=[b"rotate"], state=contract.SESSION_STATE_ROTATING, epoch=1, counter=5, ready_to_switch=True
    )
    scripted.answer("Rotate", answer)
    session = client.session(SESSION_ID)
    rotation = await session.rotate(direction=Direction.SEND)
    await session.rotate(RotationKind.RENEGOTIATE, message=b"from the player", switch_send=True, psk=b"p" * 32)
    assert (rotation.state, rotation.to_peer) == (noisegate.SessionState.ROTATING, (b"rotate",))
    assert (rotation.counter, rotation.ready_to_switch) == (5, True)
    rekey, renegotiate = scripted.requests("Rotate")
    assert (rekey.kind, rekey.direction) == (service.ROTATION_KIND_REKEY, service.DIRECTION_SEND)
    assert (renegotiate.kind, renegotiate.direction) == (service.ROTATION_KIND_RENEGOTIATE, 0)
    assert (renegotiate.message, renegotiate.switch_send, renegotiate.switch_receive) == (
        b"from the player",
        True,
        False,
    )


async def test_a_player_resumes_with_a_ticket(scripted: ScriptedService, client: noisegate.Client) -> None:
    """A resume gives a new session that has the ticket's names."""
    scripted.answer("IssueTicket", service.IssueTicketResponse(to_peer=[b"ticket"], expires_in=Duration(seconds=60)))
    ticket = await client.session(SESSION_ID).issue_ticket()
    assert (ticket.to_peer, ticket.expires_in) == ((b"ticket",), 60)
    answer = service.ResumeResponse(
        session_id=SESSION_ID, to_peer=[b"message 2"], peer_id="ann", group="table 7", established=established()
    )
    scripted.answer("Resume", answer)
    session = await client.respond_resume(mode=RecordMode.NOISE, message=b"message 1", ticket=b"opaque")
    assert (session.peer_id, session.group, session.to_peer) == ("ann", "table 7", (b"message 2",))
    assert scripted.requests("Resume")[0].respond.ticket == b"opaque"


async def test_the_service_resumes_and_proceeds_by_resume(scripted: ScriptedService, client: noisegate.Client) -> None:
    """The player's answer to our resume goes to Resume, not to Handshake."""
    begun = service.ResumeResponse(session_id=SESSION_ID, to_peer=[b"message 1"], ticket=b"theirs", pending=pending())
    done = service.ResumeResponse(session_id=SESSION_ID, established=established())
    scripted.answer("Resume", begun, done)
    session = await client.initiate_resume(b"o" * 24, mode=RecordMode.NOISE)
    assert (session.ticket, session.to_peer) == (b"theirs", (b"message 1",))
    await session.proceed(b"message 2")
    assert session.established is not None
    first, second = scripted.requests("Resume")
    assert first.initiate.session_id == b"o" * 24
    assert (second.proceed.session_id, second.proceed.message) == (SESSION_ID, b"message 2")


async def test_options_left_out_are_the_services_defaults(scripted: ScriptedService, client: noisegate.Client) -> None:
    """A zero is not sent as a duration of zero, which the service would have to refuse."""
    scripted.answer("Handshake", STEP_1)
    options = noisegate.SessionOptions(idle_timeout=1.5, pad=True, ratchet=True)
    await client.respond(mode=RecordMode.DATAGRAM, message=b"packet", options=options)
    sent = scripted.requests("Handshake")[0].respond.options
    assert (sent.idle_timeout.seconds, sent.idle_timeout.nanos) == (1, 500_000_000)
    assert (sent.pad, sent.ratchet, sent.mask) == (True, True, False)
    assert not sent.HasField("lifetime")


async def test_sessions_are_listed_over_all_pages(scripted: ScriptedService, client: noisegate.Client) -> None:
    """A restarted match server finds its sessions by group and takes them up again."""
    rows = [
        contract.Session(
            session_id=bytes([n]) * 24,
            mode=contract.RECORD_MODE_DATAGRAM,
            role=contract.ROLE_RESPONDER,
            state=contract.SESSION_STATE_ESTABLISHED,
            group="table 7",
            connection_id=CONNECTION_ID,
            endpoint=scripted.address,
        )
        for n in range(3)
    ]
    scripted.answer(
        "ListSessions",
        service.ListSessionsResponse(sessions=rows[:2], next_page_token="more"),
        service.ListSessionsResponse(sessions=rows[2:]),
    )
    found = [info async for info in client.list_sessions(group="table 7", page_size=2)]
    assert [info.session_id for info in found] == [row.session_id for row in rows]
    first, second = scripted.requests("ListSessions")
    assert (first.group, first.page_size, first.page_token, second.page_token) == ("table 7", 2, "", "more")
    session = client.adopt(found[0])
    assert (session.endpoint, session.mode) == (scripted.address, RecordMode.DATAGRAM)


async def test_capabilities_and_descriptions_are_values(scripted: ScriptedService, client: noisegate.Client) -> None:
    """No message of the contract reaches the game."""
    scripted.answer(
        "GetCapabilities",
        service.GetCapabilitiesResponse(protocol_version=1, static_key=b"k" * 32, modes=[contract.RECORD_MODE_NOISE]),
    )
    scripted.answer(
        "GetSession",
        service.GetSessionResponse(
            session=contract.Session(
                session_id=SESSION_ID,
                mode=contract.RECORD_MODE_NOISE,
                role=contract.ROLE_INITIATOR,
                state=contract.SESSION_STATE_TERMINATED,
                termination_reason=contract.TERMINATION_REASON_IDLE,
            )
        ),
    )
    capabilities = await client.capabilities()
    assert (capabilities.static_key, capabilities.modes) == (b"k" * 32, (RecordMode.NOISE,))
    info = await client.session(SESSION_ID).describe()
    assert (info.state, info.termination_reason) == (
        noisegate.SessionState.TERMINATED,
        noisegate.TerminationReason.IDLE,
    )
    assert info.established is None


def test_what_is_secret_or_personal_is_in_no_repr() -> None:
    """A handle, an opened record or TLS settings may end up in a log."""
    opened = noisegate.Opened(
        session_id=SESSION_ID,
        plaintext=b"secret",
        control=None,
        to_peer=(),
        counter=0,
        epoch=0,
        early=False,
        newest=True,
        rotation_due=False,
    )
    tls = noisegate.Tls(certificate=b"public", key=b"secret")
    admission = noisegate.Admission(psk=b"secret", payload=b"secret")
    received: noisegate.Received[str] = noisegate.Received(plaintexts=(b"secret",), payload=b"secret")
    assert not [value for value in (opened, tls, admission, received) if "secret" in repr(value)]
    handle = noisegate.connect("127.0.0.1:1").session(SESSION_ID)
    assert repr(handle) == "<Session live>"


@pytest.mark.parametrize("number", [0, 99], ids=["not set", "later contract"])
async def test_a_description_without_mode_and_role_can_be_read(
    scripted: ScriptedService, client: noisegate.Client, number: int
) -> None:
    """A session that has ended has neither; and it can be adopted, e.g. to be closed."""
    described = contract.Session(
        session_id=SESSION_ID,
        mode=contract.RecordMode.ValueType(number),
        role=contract.Role.ValueType(number),
        state=contract.SESSION_STATE_TERMINATED,
    )
    scripted.answer("GetSession", service.GetSessionResponse(session=described))
    scripted.answer("ListSessions", service.ListSessionsResponse(sessions=[described]))
    by_id = await client.get_session(SESSION_ID)
    assert (by_id.mode, by_id.role) == (None, None)
    assert await client.session(SESSION_ID).describe() == by_id
    assert [info async for info in client.list_sessions()] == [by_id]
    assert client.adopt(by_id).mode is None
