"""The whole table over a real engine, bytes to bytes, with a player that knows nothing of our code."""

from __future__ import annotations

import gc
import random
import sys
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.rpc.call import Call, Caller, Code
from noisegate_server.rpc.streams import StreamRow
from noisegate_server.rpc.table import METHODS, SERVICE_PREFIX, STREAMS
from noisegate_server.rpc.unary import Row
from tests.support.engine_table import XX, Service
from tests.support.in_process import LOCAL
from tests.support.rpc_table import reason

OTHER = Caller(identity="spiffe://game.example/other", tenant="spiffe://game.example/other")
NOISE = session_pb2.RECORD_MODE_NOISE
REKEY, RENEGOTIATE = pb.ROTATION_KIND_REKEY, pb.ROTATION_KIND_RENEGOTIATE
IK = session_pb2.Protocol(pattern=session_pb2.PATTERN_IK, suite=session_pb2.SUITE_CHACHA20_POLY1305_X25519)


@pytest.fixture
def service() -> Service:
    """A fresh instance."""
    return Service()


def test_the_table_has_every_method_of_the_contract(service: Service) -> None:
    """And none that the contract does not have, but for health."""
    contract = pb.DESCRIPTOR.services_by_name["SessionCryptoService"]
    rows: dict[str, Row | StreamRow] = {**METHODS, **STREAMS}
    assert set(rows) == {method.name for method in contract.methods}
    for method in contract.methods:
        assert rows[method.name].request.DESCRIPTOR is method.input_type
        assert (method.name in STREAMS) is method.server_streaming
    ours = {name for name in service.table if not name.startswith("/grpc.health.")}
    assert ours == {f"/{contract.full_name}/{method.name}" for method in contract.methods}


def test_every_request_with_a_request_id_is_de_duplicated() -> None:
    """As its field's comment promises; and only those."""
    for name, row in METHODS.items():
        has_id = "request_id" in row.request.DESCRIPTOR.fields_by_name
        expected = 0.0 if not has_id else 10.0 if name in {"Handshake", "Resume"} else 5.0
        assert row.repeat_for == expected, name
        assert (row.owner_of is not None) == has_id, name


def test_a_session_from_handshake_to_close(service: Service) -> None:
    """Each method's answer holds what the player and the engine can confirm."""
    session_id, player = service.session(peer_id="p1", group="g1")
    sealed = service.call("Encrypt", pb.EncryptRequest(session_id=session_id, plaintext=b"to player"))
    assert player.decrypt(sealed.ciphertext) == b"to player"
    opened = service.call(
        "Decrypt", pb.DecryptRequest(session_id=session_id, ciphertext=bytes(player.encrypt(b"to service")))
    )
    assert (opened.session_id, opened.plaintext, opened.WhichOneof("content")) == (
        session_id, b"to service", "plaintext",
    )  # fmt: skip
    service.clock.now += 1.5
    session = service.call("GetSession", pb.GetSessionRequest(session_id=session_id)).session
    assert (session.state, session.mode, session.role) == (
        session_pb2.SESSION_STATE_ESTABLISHED, NOISE, session_pb2.ROLE_RESPONDER,
    )  # fmt: skip
    assert (session.peer_id, session.group, session.sealed, session.opened) == ("p1", "g1", 1, 1)
    assert session.endpoint == "here:1"
    assert session.idle.ToMilliseconds() == 1_500
    assert session.established.handshake_hash == player.get_handshake_hash()
    assert session.established.protocol_name == "Noise_XX_25519_ChaChaPoly_SHA256"
    service.call("CloseSession", pb.CloseSessionRequest(session_id=session_id))
    refused = service.refused("Encrypt", pb.EncryptRequest(session_id=session_id, plaintext=b"x"))
    assert reason(refused) == "SESSION_CLOSED"


def test_capabilities_name_protocols_limits_and_the_key_that_players_see(service: Service) -> None:
    """The static key is the one that a handshake then shows."""
    answer = service.call("GetCapabilities", pb.GetCapabilitiesRequest())
    assert (answer.protocol_version, answer.server_version, answer.endpoint) == (1, "test", "here:1")
    assert (answer.max_plaintext_bytes, answer.max_datagram_plaintext_bytes) == (65_519, 65_475)
    assert answer.max_request_bytes == 73_728
    assert "Noise_XX_25519_ChaChaPoly_SHA256" in {protocol.name for protocol in answer.protocols}
    other = service.call("GetCapabilities", pb.GetCapabilitiesRequest(), OTHER)
    assert other.static_key != answer.static_key
    assert len(answer.static_key) == 32


def test_a_list_goes_page_by_page(service: Service) -> None:
    """Every session once; filters by player and group."""
    ids = {service.session(peer_id=f"p{number % 2}", group="g")[0] for number in range(5)}
    found: list[bytes] = []
    token = ""
    while True:
        page = service.call("ListSessions", pb.ListSessionsRequest(page_size=2, page_token=token))
        found += [session.session_id for session in page.sessions]
        token = page.next_page_token
        if not token:
            break
    assert (len(found), set(found)) == (5, ids)
    assert len(service.call("ListSessions", pb.ListSessionsRequest(peer_id="p1")).sessions) == 2
    assert not service.call("ListSessions", pb.ListSessionsRequest(group="other")).sessions
    assert not service.call("ListSessions", pb.ListSessionsRequest(), OTHER).sessions


def test_a_plain_librarys_player_still_plays_after_an_hour(service: Service) -> None:
    """NOISE has no limit of age by default: it cannot rotate by itself, and nobody asks it to."""
    session_id, player = service.session()
    for _ in range(12):
        service.clock.now += 300
        opened = service.call(
            "Decrypt", pb.DecryptRequest(session_id=session_id, ciphertext=bytes(player.encrypt(b"roll")))
        )
        sealed = service.call("Encrypt", pb.EncryptRequest(session_id=session_id, plaintext=b"six"))
        assert (opened.plaintext, player.decrypt(sealed.ciphertext)) == (b"roll", b"six")
        assert (opened.rotation_due, sealed.rotation_due) == (False, False)
        assert (list(opened.to_peer), list(sealed.to_peer)) == ([], [])


def test_a_noise_sessions_own_limit_of_age_is_kept_where_its_caller_asks(service: Service) -> None:
    """Due at the soft one, REKEY_REQUIRED at the hard one, and Decrypt goes on."""
    limits = session_pb2.RotationLimits(soft_age=Duration(seconds=60), hard_age=Duration(seconds=90))
    session_id, player = service.session(options=session_pb2.SessionOptions(rotation=limits))
    service.clock.now += 60
    sealed = service.call("Encrypt", pb.EncryptRequest(session_id=session_id, plaintext=b"six"))
    assert sealed.rotation_due
    service.clock.now += 30
    refused = service.refused("Encrypt", pb.EncryptRequest(session_id=session_id, plaintext=b"six"))
    assert reason(refused) == "REKEY_REQUIRED"
    opened = service.call(
        "Decrypt", pb.DecryptRequest(session_id=session_id, ciphertext=bytes(player.encrypt(b"roll")))
    )
    assert (opened.plaintext, opened.rotation_due) == (b"roll", True)


def test_a_repeated_decrypt_is_no_replay(service: Service) -> None:
    """With a request_id the same answer; without one the record counts as opened."""
    session_id, player = service.session()
    ciphertext = bytes(player.encrypt(b"once"))
    request = pb.DecryptRequest(session_id=session_id, ciphertext=ciphertext, request_id="r")
    assert service.call("Decrypt", request) == service.call("Decrypt", request)
    request.request_id = ""
    service.refused("Decrypt", request)


def test_a_foreign_session_is_answered_exactly_like_an_unknown_one(service: Service) -> None:
    """Byte for byte, in every method that names a session."""
    session_id, player = service.session()
    unknown = bytes(24)
    ciphertext = bytes(player.encrypt(b"x"))
    requests: list[tuple[str, Any]] = [
        ("Encrypt", lambda sid: pb.EncryptRequest(session_id=sid, plaintext=b"x")),
        ("Decrypt", lambda sid: pb.DecryptRequest(session_id=sid, ciphertext=ciphertext)),
        ("Rotate", lambda sid: pb.RotateRequest(session_id=sid, kind=REKEY, direction=pb.DIRECTION_SEND)),
        ("IssueTicket", lambda sid: pb.IssueTicketRequest(session_id=sid)),
        ("GetSession", lambda sid: pb.GetSessionRequest(session_id=sid)),
        ("CloseSession", lambda sid: pb.CloseSessionRequest(session_id=sid)),
        ("ExportSecret", lambda sid: pb.ExportSecretRequest(session_id=sid, label="voice", length=32)),
        ("Handshake", lambda sid: pb.HandshakeRequest(proceed=pb.ProceedHandshake(session_id=sid, message=b"m"))),
    ]
    for method, make in requests:
        foreign = service.refused(method, make(session_id), OTHER)
        assert foreign == service.refused(method, make(unknown), OTHER), method
        assert reason(foreign) == "SESSION_NOT_FOUND", method
    assert service.call("Decrypt", requests[1][1](session_id)).plaintext == b"x"


@pytest.mark.parametrize("method", list(METHODS))
def test_no_bytes_lead_to_a_defect(service: Service, method: str) -> None:
    """Random bodies, and random values in every field, are answered or refused, never INTERNAL or an exception."""
    session_id, _ = service.session()
    chance = random.Random(f"bodies of {method}")
    kind = METHODS[method].request
    for _ in range(150):
        code, _ = service.raw(method, chance.randbytes(chance.randrange(64)))
        assert code not in {Code.INTERNAL, Code.UNKNOWN}
        message = kind()
        scramble(message, chance, session_id)
        code, _ = service.raw(method, message.SerializeToString())
        assert code not in {Code.INTERNAL, Code.UNKNOWN}


def scramble(message: Any, chance: random.Random, session_id: bytes) -> None:
    """Set about half of the fields to something of their type, often at an edge."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.5:
            continue
        value: Any
        if field.message_type is not None:
            target = getattr(message, field.name)
            scramble(target.add() if field.is_repeated else target, chance, session_id)
            continue
        if field.enum_type is not None:
            value = chance.choice([0, 1, 2, 3, 9, 77])
        elif field.is_repeated:
            getattr(message, field.name).extend(chance.choices([0, 1, 24, 2**31 - 1], k=chance.randrange(3)))
            continue
        elif field.name == "session_ids":
            value = chance.choice([session_id, session_id * 2, b"", bytes(24), b"x"])
        elif field.name == "session_id":
            value = chance.choice([session_id, b"", bytes(24), b"x"])
        elif field.type == field.TYPE_BYTES:
            value = chance.randbytes(chance.choice([0, 1, 14, 32, 33, 48, 96, 1_024, 1_025]))
        elif field.type == field.TYPE_STRING:
            value = "s" * chance.choice([0, 1, 64, 65])
        elif field.type == field.TYPE_BOOL:
            value = True
        else:
            value = chance.choice([0, 1, 999, 1_001, 2**31 - 1])
        setattr(message, field.name, value)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"mode": 0}, "respond.mode"),
        ({"mode": 9}, "respond.mode"),
        ({"psk": bytes(32)}, "respond.psk"),
        ({"psk": b"p" * 31}, "respond.psk"),
        ({"prologue": b"ng1 x"}, "respond.prologue"),
        ({"prologue": bytes(1_025)}, "respond.prologue"),
        ({"payload": bytes(16_385)}, "respond.payload"),
        ({"peer_id": "\u00e9" * 33}, "respond.peer_id"),
        ({"group": "g" * 65}, "respond.group"),
        ({"options": {"idle_timeout": {"seconds": 86_401}}}, "respond.options.idle_timeout"),
        ({"options": {"lifetime": {"nanos": 1}}}, "respond.options.lifetime"),
        ({"options": {"lifetime": {"seconds": -5}}}, "respond.options.lifetime"),
        ({"options": {"rotation": {"soft_age": {"nanos": 1}}}}, "respond.options.rotation.soft_age"),
        ({"options": {"rotation": {"hard_age": {"seconds": -1}}}}, "respond.options.rotation.hard_age"),
        ({"options": {"rotation": {"soft_messages": 2**20 + 1}}}, "respond.options.rotation.soft_messages"),
        ({"options": {"rotation": {"hard_messages": 2**64 - 1}}}, "respond.options.rotation.hard_messages"),
        ({"options": {"rotation": {"soft_bytes": 9, "hard_bytes": 9}}}, "respond.options.rotation.soft_bytes"),
    ],
)
def test_a_bad_field_is_named_by_its_path(service: Service, fields: dict[str, Any], path: str) -> None:
    """What the caller built wrong gets a precise answer."""
    whole: dict[str, Any] = {"mode": NOISE, "protocol": XX, "message": b"m" * 32} | fields
    step = pb.RespondHandshake(**whole)
    reply = service.refused("Handshake", pb.HandshakeRequest(respond=step))
    assert reason(reply) in {"INVALID_REQUEST", "MESSAGE_TOO_LARGE"}
    assert path.encode() in reply[1]


def test_steps_offers_and_selectors_are_checked(service: Service) -> None:
    """The remaining rules of single fields, each by the path that it names."""
    unknown: Any = 5
    wrong: list[tuple[str, Any, str]] = [
        ("Handshake", pb.HandshakeRequest(), "step"),
        ("Resume", pb.ResumeRequest(), "step"),
        ("Handshake", pb.HandshakeRequest(initiate=pb.InitiateHandshake(mode=NOISE)), "initiate.protocol"),
        (
            "Handshake",
            pb.HandshakeRequest(initiate=pb.InitiateHandshake(mode=NOISE, protocol=XX, offer=[XX] * 17)),
            "initiate.offer",
        ),
        (
            "Handshake",
            pb.HandshakeRequest(initiate=pb.InitiateHandshake(mode=NOISE, protocol=XX, offer=[IK])),
            "initiate.offer",
        ),
        (
            "Handshake",
            pb.HandshakeRequest(initiate=pb.InitiateHandshake(mode=NOISE, protocol=XX, remote_static_key=b"k")),
            "initiate.remote_static_key",
        ),
        ("Encrypt", pb.EncryptRequest(session_id=bytes(23)), "session_id"),
        ("Encrypt", pb.EncryptRequest(session_id=bytes(24), associated_data=bytes(1_025)), "associated_data"),
        ("Decrypt", pb.DecryptRequest(session_id=bytes(25)), "session_id"),
        ("Decrypt", pb.DecryptRequest(associated_data=bytes(1_025)), "associated_data"),
        ("Rotate", pb.RotateRequest(session_id=bytes(24)), "kind"),
        ("Rotate", pb.RotateRequest(session_id=bytes(24), kind=REKEY, direction=unknown), "direction"),
        ("Rotate", pb.RotateRequest(session_id=bytes(24), kind=RENEGOTIATE, psk=b"p"), "psk"),
        ("GetSession", pb.GetSessionRequest(), "session_id"),
        ("GetSession", pb.GetSessionRequest(connection_id=b"c"), "connection_id"),
        ("GetSession", pb.GetSessionRequest(session_id=bytes(24), connection_id=bytes(8)), "connection_id"),
        ("ListSessions", pb.ListSessionsRequest(page_size=1_001), "page_size"),
        ("ListSessions", pb.ListSessionsRequest(page_token="f" * 257), "page_token"),
        ("Resume", pb.ResumeRequest(initiate=pb.InitiateResume(session_id=b"x")), "initiate.session_id"),
        ("ExportSecret", pb.ExportSecretRequest(label="voice", length=32), "session_id"),
        ("ExportSecret", pb.ExportSecretRequest(session_id=bytes(24), length=32), "label"),
        ("ExportSecret", pb.ExportSecretRequest(session_id=bytes(24), label="é" * 33, length=32), "label"),
        ("ExportSecret", pb.ExportSecretRequest(session_id=bytes(24), label="l", length=15), "length"),
        ("ExportSecret", pb.ExportSecretRequest(session_id=bytes(24), label="l", length=256), "length"),
        (
            "ExportSecret",
            pb.ExportSecretRequest(session_id=bytes(24), label="l", length=32, context=bytes(1_025)),
            "context",
        ),
    ]
    for method, request, path in wrong:
        reply = service.refused(method, request)
        assert reason(reply) in {"INVALID_REQUEST", "MESSAGE_TOO_LARGE"}, request
        assert path.encode() in reply[1], request


def test_a_refused_encrypt_consumes_no_counter(service: Service) -> None:
    """One byte above the limit changes nothing; the longest plaintext passes."""
    session_id, player = service.session()
    service.refused("Encrypt", pb.EncryptRequest(session_id=session_id, plaintext=bytes(65_520)))
    sealed = service.call("Encrypt", pb.EncryptRequest(session_id=session_id, plaintext=bytes(65_519)))
    assert sealed.counter == 0
    assert player.decrypt(sealed.ciphertext) == bytes(65_519)


@pytest.mark.parametrize(("request_id", "most"), [("", 40), ("r", 56)])
def test_an_encrypt_stays_within_its_budget_of_calls(service: Service, request_id: str, most: int) -> None:
    """From bytes to bytes, as the profiler sees Python and C calls: the straight path must not grow unseen."""
    session_id, _ = service.session()
    function = service.table[SERVICE_PREFIX + "Encrypt"].unary
    assert function is not None
    call = Call(LOCAL)
    bodies = [
        pb.EncryptRequest(
            session_id=session_id, plaintext=b"x" * 200, request_id=request_id and f"{request_id}{number}"
        ).SerializeToString()
        for number in range(20)
    ]
    for body in bodies[:-1]:
        function(call, body)
    calls: list[str] = []

    def profile(frame: Any, event: str, _: object) -> None:
        if event in {"call", "c_call"}:
            calls.append(frame.f_code.co_name)

    before = sys.getprofile()
    # A collection that falls due meanwhile has calls of its own, those of whoever listens to it.
    gc.disable()
    sys.setprofile(profile)
    try:
        function(call, bodies[-1])
    finally:
        sys.setprofile(before)
        gc.enable()
    # The last one is setprofile itself.
    assert len(calls) - 1 <= most
