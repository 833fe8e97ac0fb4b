"""The catalogue's second half: records, rotation, resume, tickets and queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from grpc import StatusCode

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from tests.integration.bad_input_cases import (
    DATAGRAM,
    FIELD,
    HANDSHAKE_CASES,
    LARGE,
    MISSING,
    NOT_DUE,
    PRECONDITION,
    PROTOCOL,
    SHAKE,
    SHUT,
    TICKET,
    UNKNOWN_ID,
    Case,
    World,
    always,
    protocol,
    respond_resume,
)
from tests.integration.raw import Body, Row

CONFLICT: Final[Row] = (StatusCode.ABORTED, "EPOCH_CONFLICT", "")
BLOB: Final[Row] = (PRECONDITION, "BLOB_REJECTED", "")
REPLAY: Final[Row] = (PRECONDITION, "REPLAY_DETECTED", "")
REKEY, RENEGOTIATE = pb.ROTATION_KIND_REKEY, pb.ROTATION_KIND_RENEGOTIATE


def _flip(packet: bytes, at: int) -> bytes:
    return packet[:at] + bytes([packet[at] ^ 1]) + packet[at + 1 :]


def _records() -> list[Case]:
    def seal(session: Callable[[World], bytes], **fields: Any) -> Callable[[World], Body]:
        return lambda w: pb.EncryptRequest(session_id=session(w), **fields)

    def open_(
        session: Callable[[World], bytes], packet: Callable[[World], bytes], **more: Any
    ) -> Callable[[World], Body]:
        return lambda w: pb.DecryptRequest(session_id=session(w), ciphertext=packet(w), **more)

    def just(packet: bytes) -> Callable[[World], bytes]:
        return lambda _: packet

    def noise(w: World) -> bytes:
        return w.noise

    def udp(w: World) -> bytes:
        return w.udp.session.id

    sealing: list[tuple[str, Row, Callable[[World], Body]]] = [
        ("NOISE: 65,520 bytes", LARGE, seal(noise, plaintext=bytes(65_520))),
        ("DATAGRAM: 65,476 bytes", LARGE, seal(udp, plaintext=bytes(65_476))),
        ("associated data of 1,025 bytes", LARGE, seal(noise, associated_data=bytes(1_025))),
    ]
    opening: list[tuple[str, Row, Callable[[World], Body]]] = [
        *((f"NOISE: {size} bytes", SHUT, open_(noise, just(bytes(size)))) for size in (0, 1, 15, 16, 65_536)),
        *((f"DATAGRAM: {size} bytes", SHUT, open_(udp, just(b"\x0a" + bytes(size)))) for size in (0, 14, 31, 65_535)),
        ("NOISE: of another session", SHUT, open_(noise, lambda w: w.other_player.seal(b"x"))),
        ("NOISE: a reflection", SHUT, open_(noise, lambda w: w.sealed)),
        ("DATAGRAM: of another session", SHUT, open_(udp, lambda w: w.other_udp.player.send(b"x"))),
        (
            "DATAGRAM: another's body behind our header",
            SHUT,
            open_(udp, lambda w: w.udp.player.send(b"x")[:15] + w.other_udp.player.send(b"x")[15:]),
        ),
        ("DATAGRAM: a reflection", SHUT, open_(udp, lambda w: w.sealed)),
        (
            "DATAGRAM: associated data that was not sealed",
            SHUT,
            open_(udp, lambda w: w.udp.player.send(b"x"), associated_data=b"a"),
        ),
        ("DATAGRAM: sealed associated data left out", SHUT, open_(udp, lambda w: w.udp.player.send(b"x", b"a"))),
        ("DATAGRAM: opened before", REPLAY, open_(udp, lambda w: w.opened)),
        ("DATAGRAM: opened before, by connection id", REPLAY, open_(lambda _: b"", lambda w: w.opened)),
        ("no id: no packet", SHUT, open_(lambda _: b"", lambda _: b"")),
        ("no id: a packet of noise", SHUT, open_(lambda _: b"", lambda _: bytes(100))),
        ("no id: unknown connection id", MISSING, open_(lambda _: b"", lambda _: b"\x0a" + b"\x55" * 40)),
        ("no id: a handshake packet", MISSING, open_(lambda _: b"", lambda _: b"\x09" + b"\x55" * 40)),
        ("associated data of 1,025 bytes", LARGE, open_(noise, lambda _: bytes(16), associated_data=bytes(1_025))),
        ("DATAGRAM: a SALTED record", SHUT, open_(udp, lambda w: b"\x0b" + w.sealed[1:])),
        ("DATAGRAM: another epoch", SHUT, open_(udp, lambda w: _flip(w.udp.player.send(b"x"), 9))),
        ("DATAGRAM: another phase", SHUT, open_(udp, lambda w: _flip(w.udp.player.send(b"x"), 10))),
        ("DATAGRAM: another counter", SHUT, open_(udp, lambda w: _flip(w.udp.player.send(b"x"), 14))),
    ]
    return [Case(name, "Encrypt", row, body) for name, row, body in sealing] + [
        Case(name, "Decrypt", row, body) for name, row, body in opening
    ]


def _rotations() -> list[Case]:
    def noise(**fields: object) -> Callable[[World], Body]:
        return lambda w: pb.RotateRequest(session_id=w.noise, **fields)  # type: ignore[arg-type]  # bad on purpose

    def udp(**fields: object) -> Callable[[World], Body]:
        return lambda w: pb.RotateRequest(session_id=w.udp.session.id, **fields)  # type: ignore[arg-type]  # likewise

    rows: list[tuple[str, Row, Callable[[World], Body]]] = [
        ("no kind", FIELD, noise()),
        ("a kind of 99", FIELD, noise(kind=99)),
        ("a direction of 99", FIELD, noise(kind=REKEY, direction=99)),
        ("NOISE: REKEY without a direction", FIELD, noise(kind=REKEY)),
        ("NOISE: REKEY with a message", FIELD, noise(kind=REKEY, direction=pb.DIRECTION_SEND, message=b"m")),
        ("NOISE: RENEGOTIATE with a direction", FIELD, noise(kind=RENEGOTIATE, direction=pb.DIRECTION_SEND)),
        ("NOISE: RENEGOTIATE as responder without a message", FIELD, noise(kind=RENEGOTIATE)),
        ("NOISE: RENEGOTIATE with noise", SHAKE, noise(kind=RENEGOTIATE, message=bytes(200))),
        ("NOISE: RENEGOTIATE with one byte", SHAKE, noise(kind=RENEGOTIATE, message=b"m")),
        ("NOISE: a PSK where the pattern has none", FIELD, noise(kind=RENEGOTIATE, message=bytes(200), psk=b"p" * 32)),
        ("NOISE: a PSK of 31 bytes", FIELD, noise(kind=RENEGOTIATE, message=bytes(200), psk=b"p" * 31)),
        ("NOISE: a switch with nothing to switch to", CONFLICT, noise(kind=RENEGOTIATE, switch_send=True)),
        ("NOISE: the other switch", CONFLICT, noise(kind=RENEGOTIATE, switch_receive=True)),
        ("NOISE: a switch and a message", FIELD, noise(kind=RENEGOTIATE, switch_send=True, message=b"m")),
        ("DATAGRAM: a message", FIELD, udp(kind=RENEGOTIATE, message=b"m")),
        ("DATAGRAM: a switch", FIELD, udp(kind=RENEGOTIATE, switch_send=True)),
        ("DATAGRAM: the player's direction", FIELD, udp(kind=REKEY, direction=pb.DIRECTION_RECEIVE)),
    ]
    return [Case(name, "Rotate", row, body) for name, row, body in rows]


def _resumes() -> list[Case]:
    step_2 = b"\x0c" + b"\x55" * 8 + b"\x02" + bytes(48)
    rows: list[tuple[str, Row, Callable[[World], Body]]] = [
        ("no step", FIELD, always(pb.ResumeRequest())),
        ("request_id of 65 bytes", FIELD, always(pb.ResumeRequest(request_id="r" * 65))),
        ("initiate: nothing set", FIELD, always(pb.ResumeRequest(initiate=pb.InitiateResume()))),
        (
            "initiate: unknown session",
            TICKET,
            always(pb.ResumeRequest(initiate=pb.InitiateResume(session_id=UNKNOWN_ID))),
        ),
        (
            "initiate: a session without a ticket",
            TICKET,
            lambda w: pb.ResumeRequest(initiate=pb.InitiateResume(session_id=w.noise)),
        ),
        (
            "initiate: a prologue of 1,025 bytes",
            LARGE,
            lambda w: pb.ResumeRequest(initiate=pb.InitiateResume(session_id=w.noise, prologue=bytes(1_025))),
        ),
        (
            "initiate: early data without a ticket",
            TICKET,
            lambda w: pb.ResumeRequest(initiate=pb.InitiateResume(session_id=w.noise, early_data=b"x")),
        ),
        (
            "initiate: early data of 16,385 bytes",
            LARGE,
            lambda w: pb.ResumeRequest(initiate=pb.InitiateResume(session_id=w.noise, early_data=bytes(16_385))),
        ),
        ("respond: a fallback in DATAGRAM mode", FIELD, always(respond_resume(mode=DATAGRAM, fallback_message=b"m"))),
        ("respond: a fallback's protocol alone", FIELD, always(respond_resume(fallback_protocol=protocol(1)))),
        (
            "respond: a fallback's protocol beside a hello",
            FIELD,
            always(respond_resume(fallback_message=b"m", fallback_protocol=protocol(1), hello=bytes(14))),
        ),
        (
            "respond: a fallback without protocol and hello",
            PROTOCOL,
            always(respond_resume(ticket=b"t", fallback_message=b"m")),
        ),
        (
            "respond: a fallback of 31 bytes",
            SHAKE,
            always(respond_resume(ticket=b"t", fallback_message=bytes(31), fallback_protocol=protocol(1))),
        ),
        (
            "respond: a fallback under NNpsk0",
            PROTOCOL,
            always(respond_resume(ticket=b"t", fallback_message=bytes(48), fallback_protocol=protocol(9))),
        ),
        ("respond: a psk of 31 bytes", FIELD, always(respond_resume(psk=bytes(31)))),
        ("respond: a psk of zeros", FIELD, always(respond_resume(psk=bytes(32)))),
        ("respond: a peer_id of 65 bytes", FIELD, always(respond_resume(peer_id="p" * 65))),
        ("respond: a group of 65 bytes", FIELD, always(respond_resume(group="g" * 65))),
        (
            "respond: options that allow 16,385 bytes of early data",
            FIELD,
            always(respond_resume(options=session_pb2.SessionOptions(max_early_data_bytes=16_385))),
        ),
        ("respond: nothing set", FIELD, always(pb.ResumeRequest(respond=pb.RespondResume()))),
        ("respond: a mode of 99", FIELD, always(respond_resume(mode=99))),
        ("respond: no ticket", TICKET, always(respond_resume(message=bytes(48)))),
        ("respond: a ticket of zeros", TICKET, always(respond_resume(message=bytes(48), ticket=bytes(300)))),
        ("respond: a ticket of 2,000 bytes", TICKET, always(respond_resume(message=bytes(48), ticket=bytes(2_000)))),
        ("respond: a prologue like one of ours", FIELD, always(respond_resume(prologue=b"ng1 x"))),
        ("respond: a payload of 16,385 bytes", LARGE, always(respond_resume(payload=bytes(16_385)))),
        ("respond: DATAGRAM noise", SHAKE, always(respond_resume(mode=DATAGRAM, message=bytes(100)))),
        ("respond: DATAGRAM step 2", NOT_DUE, always(respond_resume(mode=DATAGRAM, message=step_2))),
        (
            "proceed: unknown session",
            MISSING,
            always(pb.ResumeRequest(proceed=pb.ProceedResume(session_id=UNKNOWN_ID, message=b"m"))),
        ),
        ("proceed: nothing set", SHAKE, always(pb.ResumeRequest(proceed=pb.ProceedResume()))),
        ("proceed: id of 25 bytes", FIELD, always(pb.ResumeRequest(proceed=pb.ProceedResume(session_id=bytes(25))))),
        (
            "proceed: unknown connection id",
            MISSING,
            always(pb.ResumeRequest(proceed=pb.ProceedResume(message=step_2))),
        ),
        (
            "proceed: a handshake that is no resume",
            NOT_DUE,
            lambda w: pb.ResumeRequest(proceed=pb.ProceedResume(session_id=w.half, message=bytes(48))),
        ),
        (
            "proceed: an established session",
            NOT_DUE,
            lambda w: pb.ResumeRequest(proceed=pb.ProceedResume(session_id=w.noise, message=bytes(48))),
        ),
    ]
    return [Case(name, "Resume", row, body) for name, row, body in rows]


def _queries() -> list[Case]:
    rows: list[tuple[str, str, Row, Callable[[World], Body]]] = [
        ("neither id", "GetSession", FIELD, always(pb.GetSessionRequest())),
        (
            "both ids",
            "GetSession",
            FIELD,
            lambda w: pb.GetSessionRequest(session_id=w.noise, connection_id=bytes(8)),
        ),
        ("connection id of 7 bytes", "GetSession", FIELD, always(pb.GetSessionRequest(connection_id=bytes(7)))),
        ("unknown connection id", "GetSession", MISSING, always(pb.GetSessionRequest(connection_id=b"\x55" * 8))),
        ("a page of 1,001", "ListSessions", FIELD, always(pb.ListSessionsRequest(page_size=1_001))),
        ("a token that is none", "ListSessions", FIELD, always(pb.ListSessionsRequest(page_token="next"))),
        ("a token with a sign", "ListSessions", FIELD, always(pb.ListSessionsRequest(page_token="-1"))),
        ("a token of 257 bytes", "ListSessions", FIELD, always(pb.ListSessionsRequest(page_token="f" * 257))),
        ("a peer_id of 65 bytes", "ListSessions", FIELD, always(pb.ListSessionsRequest(peer_id="p" * 65))),
        ("a group of 65 bytes", "ListSessions", FIELD, always(pb.ListSessionsRequest(group="g" * 65))),
    ]
    return [Case(name, method, row, body) for name, method, row, body in rows]


def _absences() -> list[Case]:
    def change(**fields: object) -> Callable[[World], Body]:
        return lambda w: pb.ChangeNetworkRequest(**({"session_id": w.udp.session.id} | fields))  # type: ignore[arg-type]  # bad on purpose

    def restore(blob: bytes) -> Callable[[World], Body]:
        return always(pb.RestoreSessionRequest(blob=blob))

    rows: list[tuple[str, str, Row, Callable[[World], Body]]] = [
        (
            "NOISE: the blob",
            "SuspendSession",
            FIELD,
            lambda w: pb.SuspendSessionRequest(session_id=w.noise, return_blob=True),
        ),
        ("no source", "RestoreSession", FIELD, always(pb.RestoreSessionRequest())),
        *(
            (f"a blob of {size} bytes", "RestoreSession", BLOB, restore(bytes(size)))
            for size in (0, 1, 36, 4_096, 70_000)
        ),
        ("no target", "ChangeNetwork", FIELD, always(pb.ChangeNetworkRequest(network=session_pb2.NETWORK_WIFI))),
        ("no network", "ChangeNetwork", FIELD, change()),
        ("a network of 99", "ChangeNetwork", FIELD, change(network=99)),
        ("a network of -1", "ChangeNetwork", FIELD, change(network=-1)),
        (
            "no name",
            "ChangeNetwork",
            FIELD,
            always(pb.ChangeNetworkRequest(peer_id="", network=session_pb2.NETWORK_WIFI)),
        ),
        (
            "a peer_id of 65 bytes",
            "ChangeNetwork",
            FIELD,
            always(pb.ChangeNetworkRequest(peer_id="p" * 65, network=session_pb2.NETWORK_NONE)),
        ),
    ]
    return [Case(name, method, row, body) for name, method, row, body in rows]


CASES: Final = [*HANDSHAKE_CASES, *_records(), *_rotations(), *_resumes(), *_queries(), *_absences()]
