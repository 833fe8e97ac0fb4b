"""The catalogue of refusals, as a caller meets it: one row for each way to get something wrong.

Rows follow security section 3: what the caller built wrong gets a precise reason, what a player made gets a mute one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc import StatusCode

from examples.dice.noise_player import NoisePlayer
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from tests.integration.raw import Body, Row
from tests.support.noise_client import PSK, Udp

INVALID, PRECONDITION = StatusCode.INVALID_ARGUMENT, StatusCode.FAILED_PRECONDITION
NOT_FOUND, ABORTED = StatusCode.NOT_FOUND, StatusCode.ABORTED
UNKNOWN_ID: Final = bytes(range(24))
NOISE, DATAGRAM = session_pb2.RECORD_MODE_NOISE, session_pb2.RECORD_MODE_DATAGRAM
XX_CHACHA: Final = session_pb2.Protocol(
    pattern=session_pb2.PATTERN_XX, suite=session_pb2.SUITE_CHACHA20_POLY1305_X25519
)
LOW_ORDER: Final = tuple(
    bytes.fromhex(each)
    for each in (
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
        "00" * 31 + "80",
        "01" + "00" * 30 + "80",
        "ec" + "ff" * 31,
        "ed" + "ff" * 31,
        "ee" + "ff" * 31,
    )
)
"""The twelve encodings of points of small order on Curve25519 and its twist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What lives at the service while a row is tried."""

    service_key: bytes
    noise: bytes
    """Id of an established NOISE session; the player initiated it with XX."""
    player: NoisePlayer
    other: bytes
    """Id of a second one."""
    other_player: NoisePlayer
    udp: Udp
    other_udp: Udp
    half: bytes
    """Id of a NOISE handshake that waits for message 3."""
    opened: bytes
    """A DATAGRAM record of `udp` that was opened before."""
    sealed: bytes
    """A DATAGRAM record of the service to `udp`."""


FIELD: Final[Row] = (INVALID, "INVALID_REQUEST", "BadRequest")
LARGE: Final[Row] = (INVALID, "MESSAGE_TOO_LARGE", "BadRequest")
PROTOCOL: Final[Row] = (INVALID, "UNSUPPORTED_PROTOCOL", "")
SHAKE: Final[Row] = (INVALID, "HANDSHAKE_FAILED", "")
NOT_DUE: Final[Row] = (PRECONDITION, "HANDSHAKE_STATE", "PreconditionFailure")
MISSING: Final[Row] = (NOT_FOUND, "SESSION_NOT_FOUND", "")
EARLY: Final[Row] = (PRECONDITION, "NOT_ESTABLISHED", "")
SHUT: Final[Row] = (INVALID, "DECRYPT_FAILED", "")
TICKET: Final[Row] = (PRECONDITION, "TICKET_REJECTED", "")
POLICY: Final[Row] = (PRECONDITION, "POLICY_REJECTED", "")


@dataclass(frozen=True, slots=True)
class Case:
    """One row: `body` makes the request."""

    name: str
    method: str
    row: Row
    body: Callable[[World], Body]


def hello(*, flags: int = 0, age: float = 0.0, offer: bytes = b"\x01\x01", choice: int = 0, version: int = 1) -> bytes:
    """A hello of section 2 of the player's protocol."""
    stamp = int((time.time() - age) * 1000).to_bytes(8, "big")
    return bytes([version, flags]) + stamp + bytes([len(offer) // 2]) + offer + bytes([choice])


def initiate(**fields: object) -> pb.HandshakeRequest:
    """A good Initiate (NOISE, XX) but for the fields."""
    good: dict[str, object] = {"mode": NOISE, "protocol": XX_CHACHA}
    return pb.HandshakeRequest(initiate=pb.InitiateHandshake(**(good | fields)))  # type: ignore[arg-type]  # bad on purpose


def respond(**fields: object) -> pb.HandshakeRequest:
    """A good Respond (NOISE, XX) but for the fields."""
    good: dict[str, object] = {
        "mode": NOISE,
        "protocol": XX_CHACHA,
        "message": b"\x09" + bytes(31),
    }
    return pb.HandshakeRequest(respond=pb.RespondHandshake(**(good | fields)))  # type: ignore[arg-type]  # bad on purpose


def proceed(**fields: bytes) -> pb.HandshakeRequest:
    """A Proceed."""
    return pb.HandshakeRequest(proceed=pb.ProceedHandshake(**fields))


def respond_resume(**fields: object) -> pb.ResumeRequest:
    """A Respond of Resume."""
    return pb.ResumeRequest(respond=pb.RespondResume(**({"mode": NOISE} | fields)))  # type: ignore[arg-type]  # as above


def protocol(pattern: int, suite: int = 1) -> session_pb2.Protocol:
    """Any two numbers."""
    return session_pb2.Protocol(pattern=pattern, suite=suite)  # type: ignore[arg-type]  # numbers that do not exist, too


def always(body: Body) -> Callable[[World], Body]:
    """The same request whatever lives."""
    return lambda _: body


def _options(**fields: object) -> session_pb2.SessionOptions:
    return session_pb2.SessionOptions(**fields)  # type: ignore[arg-type]  # as above


METHODS: Final[dict[str, Any]] = {
    "GetCapabilities": pb.GetCapabilitiesRequest,
    "Handshake": pb.HandshakeRequest,
    "Encrypt": pb.EncryptRequest,
    "Decrypt": pb.DecryptRequest,
    "EncryptBatch": pb.EncryptBatchRequest,
    "DecryptBatch": pb.DecryptBatchRequest,
    "Broadcast": pb.BroadcastRequest,
    "Rotate": pb.RotateRequest,
    "Resume": pb.ResumeRequest,
    "IssueTicket": pb.IssueTicketRequest,
    "GetSession": pb.GetSessionRequest,
    "ListSessions": pb.ListSessionsRequest,
    "CloseSession": pb.CloseSessionRequest,
    "SuspendSession": pb.SuspendSessionRequest,
    "RestoreSession": pb.RestoreSessionRequest,
    "ChangeNetwork": pb.ChangeNetworkRequest,
    "ExportSecret": pb.ExportSecretRequest,
}
LONGEST: Final = {"EncryptBatch": 1_376_256, "DecryptBatch": 1_376_256}
"""Bytes of the longest request, where they are not 73,728."""
WITH_ID: Final = (
    "Encrypt",
    "Decrypt",
    "Rotate",
    "IssueTicket",
    "GetSession",
    "CloseSession",
    "SuspendSession",
    "RestoreSession",
    "ChangeNetwork",
    "ExportSecret",
)
ESTABLISHED: Final = ("Encrypt", "Decrypt", "Rotate", "IssueTicket", "SuspendSession", "ChangeNetwork", "ExportSecret")
"""Those of them that are for established sessions alone."""


def named(method: str, session_id: bytes) -> Message:
    """A request that would be good for a session that suits it."""
    request: Message = METHODS[method](session_id=session_id)
    if isinstance(request, pb.RotateRequest):
        request.kind, request.direction = pb.ROTATION_KIND_REKEY, pb.DIRECTION_SEND
    if isinstance(request, pb.ChangeNetworkRequest):
        request.network = session_pb2.NETWORK_CELLULAR
    if isinstance(request, pb.ExportSecretRequest):
        request.label, request.length = "voice", 32
    return request


def _everywhere() -> list[Case]:
    cases = []
    for method in METHODS:
        for name, body in (
            ("no message", b"\xff"),
            ("a field without its value", b"\x0a"),
            ("a length beyond the end", b"\x0a\x05ab"),
            ("a truncated varint", b"\x08\x80"),
            ("a varint of eleven bytes", b"\x08" + b"\xff" * 10 + b"\x01"),
        ):
            cases.append(Case(f"malformed: {name}", method, FIELD, always(body)))
        longest = LONGEST.get(method, 73_728)
        cases.append(Case(f"a request over {longest:,} bytes", method, LARGE, always(bytes(longest + 1))))
    for method in WITH_ID:
        cases.append(Case("unknown session", method, MISSING, always(named(method, UNKNOWN_ID))))
        for length in (1, 8, 23, 25, 1_000):
            request = named(method, b"\0" * length)
            cases.append(Case(f"session id of {length} bytes", method, FIELD, always(request)))
        if method not in ("Decrypt", "GetSession"):
            cases.append(Case("no session id", method, FIELD, always(named(method, b""))))
    cases += [
        Case("handshake not finished", method, EARLY, lambda w, m=method: named(m, w.half))  # type: ignore[misc]  # the default binds the loop's value
        for method in ESTABLISHED
    ]
    for method in WITH_ID:
        if "request_id" not in METHODS[method].DESCRIPTOR.fields_by_name:
            continue
        request = METHODS[method](session_id=UNKNOWN_ID, request_id="é" * 33)
        cases.append(Case("request_id of 66 bytes", method, FIELD, always(request)))
    return cases


def _batches() -> list[Case]:
    cases = []
    for method, contents in (("EncryptBatch", "plaintexts"), ("DecryptBatch", "ciphertexts")):
        kind = METHODS[method]
        many = {"session_ids": UNKNOWN_ID, "counts": [1_025], "lengths": [0] * 1_025}
        large = {"session_ids": UNKNOWN_ID * 1_024, "lengths": [1_280] * 1_023 + [1_281], contents: bytes(1_310_721)}
        cases += [
            Case("a session id that is cut", method, FIELD, always(kind(session_ids=bytes(25)))),
            Case("lengths beyond the contents", method, FIELD, always(kind(session_ids=UNKNOWN_ID, lengths=[1]))),
            Case("fewer items than sessions", method, FIELD, always(kind(session_ids=UNKNOWN_ID))),
            Case("1,025 items", method, FIELD, always(kind(**many))),
            Case("1,310,721 bytes", method, LARGE, always(kind(**large))),
        ]
    cast = pb.BroadcastRequest
    return [
        *cases,
        Case("a session id that is cut", "Broadcast", FIELD, always(cast(session_ids=bytes(25)))),
        Case("1,025 sessions", "Broadcast", LARGE, always(cast(session_ids=UNKNOWN_ID * 1_025))),
        Case(
            "1,311,744 bytes", "Broadcast", LARGE, always(cast(session_ids=UNKNOWN_ID * 1_024, plaintext=bytes(1_281)))
        ),
    ]


def _begun() -> list[Case]:
    """What initiate and respond have in common."""
    cases = []
    for name, make in (("initiate", initiate), ("respond", respond)):
        for what, row, fields in (
            ("no mode", FIELD, {"mode": 0}),
            ("a mode of 99", FIELD, {"mode": 99}),
            ("pattern 0", PROTOCOL, {"protocol": protocol(0)}),
            ("pattern 99", PROTOCOL, {"protocol": protocol(99)}),
            ("pattern -1", PROTOCOL, {"protocol": protocol(-1)}),
            ("NNpsk0, which is for Resume", PROTOCOL, {"protocol": protocol(9), "psk": PSK}),
            ("suite 0", PROTOCOL, {"protocol": protocol(1, 0)}),
            ("suite 99", PROTOCOL, {"protocol": protocol(1, 99)}),
            ("a PSK of 31 bytes", FIELD, {"protocol": protocol(4), "psk": PSK[:31]}),
            ("a PSK of 33 bytes", FIELD, {"protocol": protocol(4), "psk": PSK + b"!"}),
            ("a PSK of zeros", FIELD, {"protocol": protocol(4), "psk": bytes(32)}),
            ("no PSK for a psk pattern", FIELD, {"protocol": protocol(4)}),
            ("a PSK for a pattern without", FIELD, {"psk": PSK}),
            ("a prologue of 1,025 bytes", LARGE, {"prologue": bytes(1_025)}),
            ("a prologue like one of ours", FIELD, {"prologue": b"ng1 hello"}),
            ("a payload of 16,385 bytes", LARGE, {"payload": bytes(16_385)}),
            ("a peer_id of 65 bytes", FIELD, {"peer_id": "p" * 65}),
            ("a peer_id of 66 bytes in 33 letters", FIELD, {"peer_id": "é" * 33}),
            ("a group of 65 bytes", FIELD, {"group": "g" * 65}),
            ("an idle timeout of 0.5 s", FIELD, {"options": _options(idle_timeout=Duration(nanos=500_000_000))}),
            ("an idle timeout of 25 h", FIELD, {"options": _options(idle_timeout=Duration(seconds=90_000))}),
            ("a lifetime of 8 days", FIELD, {"options": _options(lifetime=Duration(seconds=691_200))}),
            ("no network to begin on", FIELD, {"options": _options(network=session_pb2.NETWORK_NONE)}),
            ("a network of 99", FIELD, {"options": _options(network=99)}),
            ("16,385 bytes of early data", FIELD, {"options": _options(max_early_data_bytes=16_385)}),
            ("a negative lifetime", FIELD, {"options": _options(lifetime=Duration(seconds=-5))}),
            ("the longest duration", FIELD, {"options": _options(lifetime=Duration(seconds=2**63 - 1))}),
        ):
            cases.append(Case(f"{name}: {what}", "Handshake", row, always(make(**fields))))
    return cases


def _initiate() -> list[Case]:
    rows: list[tuple[str, Row, Callable[[World], Body]]] = [
        ("no step", FIELD, always(pb.HandshakeRequest())),
        ("initiate: nothing set", FIELD, always(pb.HandshakeRequest(initiate=pb.InitiateHandshake()))),
        ("respond: nothing set", FIELD, always(pb.HandshakeRequest(respond=pb.RespondHandshake()))),
        ("request_id of 65 bytes", FIELD, always(pb.HandshakeRequest(request_id="r" * 65))),
        ("IK without the player's key", FIELD, always(initiate(protocol=protocol(2)))),
        ("XX with the player's key", FIELD, always(initiate(remote_static_key=b"\x09" + bytes(31)))),
        ("a key of 31 bytes", FIELD, always(initiate(protocol=protocol(2), remote_static_key=bytes(31)))),
        ("a key of 33 bytes", FIELD, always(initiate(protocol=protocol(2), remote_static_key=bytes(33)))),
        ("our own key", FIELD, lambda w: initiate(protocol=protocol(2), remote_static_key=w.service_key)),
        ("an offer of 17", FIELD, always(initiate(offer=[protocol(1)] * 17))),
        ("an offer without the protocol", FIELD, always(initiate(offer=[protocol(2)]))),
        ("padding in NOISE mode", FIELD, always(initiate(options=_options(pad=True)))),
    ]
    rows += [
        (f"low-order key {number}", SHAKE, always(initiate(protocol=protocol(2), remote_static_key=point)))
        for number, point in enumerate(LOW_ORDER)
    ]
    return [Case(f"initiate: {name}", "Handshake", row, body) for name, row, body in rows]


RETRY: Final = b"\x0e" + bytes(8) + b"echo 123" + b"\x01\0\x1f"


def _respond() -> list[Case]:
    packet = b"\x09" + bytes(8) + b"\x01"
    rows: list[tuple[str, Row, Callable[[World], Body]]] = [
        (f"message 1 of {size} bytes", SHAKE, always(respond(message=bytes(size)))) for size in (0, 1, 31, 65_536)
    ]
    rows += [
        (f"low-order point {number}", SHAKE, always(respond(message=point))) for number, point in enumerate(LOW_ORDER)
    ]
    rows += [
        ("a hello of zeros", SHAKE, always(respond(hello=bytes(14)))),
        ("a hello of 13 bytes", SHAKE, always(respond(hello=hello()[:13]))),
        ("a hello of version 2", SHAKE, always(respond(hello=hello(version=2)))),
        ("a DATAGRAM hello", SHAKE, always(respond(hello=hello(flags=16)))),
        (
            "a hello of an hour ago",
            (PRECONDITION, "CLOCK_SKEW", ""),
            lambda _: respond(hello=hello(age=3_600)),
        ),
        (
            "a hello of an hour ahead",
            (PRECONDITION, "CLOCK_SKEW", ""),
            lambda _: respond(hello=hello(age=-3_600)),
        ),
        ("a hello whose choice is not ours", POLICY, lambda _: respond(hello=hello(offer=b"\1\1\1\2", choice=1))),
        ("a hello of unknown protocols", POLICY, lambda _: respond(hello=hello(offer=b"\x63\x63"))),
        ("DATAGRAM: no packet", SHAKE, always(respond(mode=DATAGRAM, message=b""))),
        ("DATAGRAM: a packet of noise", SHAKE, always(respond(mode=DATAGRAM, message=bytes(200)))),
        ("DATAGRAM: a hello beyond the end", SHAKE, always(respond(mode=DATAGRAM, message=packet + b"\xff\xff"))),
        (
            "DATAGRAM: a packet of step 3",
            NOT_DUE,
            always(respond(mode=DATAGRAM, message=packet[:9] + b"\x03" + bytes(64))),
        ),
        ("DATAGRAM: a fragment", SHAKE, always(respond(mode=DATAGRAM, message=b"\x0d" + bytes(11) + b"\1" + packet))),
        ("DATAGRAM: a RETRY", SHAKE, always(respond(mode=DATAGRAM, message=RETRY))),
        (
            "DATAGRAM: a hello of unknown protocols",
            POLICY,
            lambda _: respond(
                mode=DATAGRAM, message=packet + b"\0\x0e" + hello(flags=16, offer=b"\x63\x63") + b"\0" + bytes(32)
            ),
        ),
        ("proceed: a RETRY without a session", FIELD, always(proceed(message=RETRY))),
        ("proceed: a RETRY after the end", NOT_DUE, lambda w: proceed(session_id=w.udp.session.id, message=RETRY)),
        ("proceed: unknown session", MISSING, always(proceed(session_id=UNKNOWN_ID, message=b"m"))),
        ("proceed: id of 23 bytes", FIELD, always(proceed(session_id=bytes(23)))),
        ("proceed: nothing set", SHAKE, always(proceed())),
        ("proceed: established NOISE", NOT_DUE, lambda w: proceed(session_id=w.noise, message=bytes(64))),
        (
            "proceed: established DATAGRAM",
            NOT_DUE,
            lambda w: proceed(message=b"\x09" + w.udp.session.connection_id + b"\x03" + bytes(64)),
        ),
        (
            "proceed: unknown connection id",
            MISSING,
            always(proceed(message=b"\x09" + b"\x55" * 8 + b"\x03" + bytes(64))),
        ),
        ("proceed: payload too large", LARGE, lambda w: proceed(session_id=w.half, payload=bytes(16_385))),
    ]
    return [Case(f"respond: {name}", "Handshake", row, body) for name, row, body in rows]


HANDSHAKE_CASES: Final = [*_everywhere(), *_begun(), *_batches(), *_initiate(), *_respond()]
