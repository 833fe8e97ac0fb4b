"""Whatever bytes come, no call ends as UNKNOWN or INTERNAL, and the service goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from tests.integration.bad_input_cases import LOW_ORDER, METHODS, UNKNOWN_ID, XX_CHACHA, hello
from tests.integration.raw import SERVICE, bytes_method
from tests.support.noise_client import PROLOGUE, PSK, Setup, datagram_player, noise_player
from tests.support.server import RunningServer

FORBIDDEN: Final = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED)
EXAMPLES: Final = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True, slots=True)
class Target:
    """A blocking channel, and what a fuzzer may use to get past the first checks."""

    channel: grpc.Channel
    sessions: tuple[bytes, ...]
    connections: tuple[bytes, ...]

    def call(self, method: str, body: bytes) -> None:
        """Any answer but a crash's."""
        ended: Any = bytes_method(self.channel, f"/{SERVICE}/{method}").with_call
        code = grpc.StatusCode.OK
        try:
            ended(body, timeout=10)
        except grpc.RpcError as error:
            refused: Any = error
            code = refused.code()
        assert code not in FORBIDDEN, (method, body)


@pytest.fixture
def target(server: RunningServer) -> Iterator[Target]:
    """The shared server with an established and a half-open session of either mode."""
    with grpc.insecure_channel(server.address) as channel:
        shake = bytes_method(channel, f"/{SERVICE}/Handshake")

        def step(**fields: Any) -> Any:
            return pb.HandshakeResponse.FromString(shake(pb.HandshakeRequest(**fields).SerializeToString()))

        noise, udp = noise_player(Setup(), b""), datagram_player(Setup(), b"")
        now = time.monotonic()
        answers = []
        for mode in (session_pb2.RECORD_MODE_NOISE, session_pb2.RECORD_MODE_DATAGRAM):
            begin = pb.InitiateHandshake(mode=mode, protocol=XX_CHACHA)
            answers.append(step(initiate=begin))
            respond = pb.RespondHandshake(mode=mode, prologue=PROLOGUE)
            if mode == session_pb2.RECORD_MODE_NOISE:
                respond.protocol.CopyFrom(XX_CHACHA)
                respond.message = noise.write_handshake()
                answers.append(step(respond=respond))
                noise.read_handshake(answers[-1].to_peer[0])
                last = noise.write_handshake()
            else:
                respond.message = udp.start(now)[0]
                answers.append(step(respond=respond))
                last = udp.receive(answers[-1].to_peer[0], now).to_send[0]
            step(proceed=pb.ProceedHandshake(session_id=answers[-1].session_id, message=last))
        sessions = tuple(each.session_id for each in answers)
        yield Target(channel, sessions, tuple(each.connection_id for each in answers if each.connection_id))


def _packets(connections: tuple[bytes, ...]) -> list[bytes]:
    heads = [bytes([first]) + each for each in (*connections, bytes(8)) for first in range(0x08, 0x10)]
    return [head + bytes([step]) + bytes(size) for head in heads for step in (0, 1, 2, 3) for size in (0, 40, 64)]


def _named(name: str, target: Target) -> st.SearchStrategy[Any] | None:
    """What a field of this name mostly holds, so that a drawn request gets past the first checks."""
    if name == "request_id":
        return st.one_of(st.sampled_from([""] * 20), st.text(max_size=70))
    if name == "session_id":
        return st.sampled_from([*target.sessions * 6, UNKNOWN_ID, b"", bytes(23)])
    if name == "session_ids":
        some = st.lists(st.sampled_from([*target.sessions * 6, UNKNOWN_ID]), max_size=4).map(b"".join)
        return st.one_of(some, st.sampled_from([b"", bytes(23), UNKNOWN_ID * 1_025]))
    if name == "connection_id":
        return st.sampled_from([*target.connections * 3, b"", bytes(8), bytes(9)])
    if name in ("psk", "remote_static_key"):
        return st.sampled_from([b"", b"", PSK, b"\x09" + bytes(31), bytes(31), *LOW_ORDER])
    if name in ("message", "ciphertext"):
        shaped = st.sampled_from([b"", b"\x09" + bytes(31), b"\x09" + bytes(95), *_packets(target.connections)])
        return st.one_of(shaped, st.binary(max_size=200), st.integers(0, 66_000).map(bytes))
    if name == "hello":
        return st.one_of(st.sampled_from([b"", hello(), hello(flags=16), hello(age=1e6)]), st.binary(max_size=50))
    if name == "page_token":
        return st.one_of(st.just(""), st.integers(0, 2**70).map(lambda cursor: f"{cursor:x}"), st.text(max_size=300))
    return None


def _values(field: FieldDescriptor, target: Target) -> st.SearchStrategy[Any]:
    named = _named(field.name, target)
    if named is not None:
        return named
    if field.message_type is not None:
        return _messages(GetMessageClass(field.message_type), target)
    if field.enum_type is not None:
        return st.sampled_from([*[each.number for each in field.enum_type.values] * 3, -1, 99, 2**31 - 1])
    by_type: dict[int, st.SearchStrategy[Any]] = {
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_STRING: st.one_of(st.sampled_from(["", "a", "\0"]), st.text(max_size=70)),
        FieldDescriptor.TYPE_BYTES: st.one_of(st.binary(max_size=60), st.integers(0, 66_000).map(bytes)),
        FieldDescriptor.TYPE_INT32: st.one_of(st.just(0), st.integers(-(2**31), 2**31 - 1)),
        FieldDescriptor.TYPE_INT64: st.one_of(st.integers(0, 90_000), st.integers(-(2**63), 2**63 - 1)),
        FieldDescriptor.TYPE_UINT32: st.one_of(st.integers(0, 1_100), st.integers(0, 2**32 - 1)),
        FieldDescriptor.TYPE_FIXED32: st.one_of(st.integers(0, 70), st.integers(0, 2**32 - 1)),
        FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    }
    return by_type[field.type]


def _messages(kind: Any, target: Target) -> st.SearchStrategy[Any]:
    drawn = {}
    for field in kind.DESCRIPTOR.fields:
        values = _values(field, target)
        drawn[field.name] = st.lists(values, max_size=3) if field.is_repeated else values
    return st.fixed_dictionaries({}, optional=drawn).map(lambda fields: kind(**fields))


def _good(method: str, target: Target) -> list[Any]:
    """Requests that are answered, or fail at the very end."""
    first = b"\x09" + bytes(31)
    stamp = hello(flags=16)
    packet = b"\x09" + bytes(8) + b"\x01" + len(stamp).to_bytes(2, "big") + stamp + b"\0" + first
    noise, datagram = session_pb2.RECORD_MODE_NOISE, session_pb2.RECORD_MODE_DATAGRAM
    psk = session_pb2.Protocol(pattern=session_pb2.PATTERN_XXPSK3, suite=session_pb2.SUITE_AES256_GCM_X25519)
    if method == "Handshake":
        return [
            pb.HandshakeRequest(initiate=pb.InitiateHandshake(mode=noise, protocol=XX_CHACHA, offer=[XX_CHACHA])),
            pb.HandshakeRequest(initiate=pb.InitiateHandshake(mode=datagram, protocol=psk, psk=PSK)),
            pb.HandshakeRequest(respond=pb.RespondHandshake(mode=noise, protocol=XX_CHACHA, message=first)),
            pb.HandshakeRequest(respond=pb.RespondHandshake(mode=datagram, message=packet)),
            *(pb.HandshakeRequest(proceed=pb.ProceedHandshake(session_id=each)) for each in target.sessions),
        ]
    if method == "Rotate":
        return [
            pb.RotateRequest(session_id=each, kind=kind, direction=direction, message=message)
            for each in target.sessions
            for kind in (pb.ROTATION_KIND_REKEY, pb.ROTATION_KIND_RENEGOTIATE)
            for direction in (pb.DIRECTION_UNSPECIFIED, pb.DIRECTION_SEND, pb.DIRECTION_RECEIVE)
            for message in (b"", first)
        ]
    if method == "Resume":
        respond = pb.RespondResume(mode=noise, message=first + bytes(16), ticket=bytes(300))
        proceeds = [pb.ProceedResume(session_id=each, message=first) for each in target.sessions]
        initiates = [pb.InitiateResume(session_id=each) for each in target.sessions]
        return [
            pb.ResumeRequest(respond=respond),
            *(pb.ResumeRequest(proceed=each) for each in proceeds),
            *(pb.ResumeRequest(initiate=each) for each in initiates),
        ]
    if method == "Broadcast":
        return [pb.BroadcastRequest(session_ids=b"".join(target.sessions), plaintext=b"to all")]
    if method in ("EncryptBatch", "DecryptBatch"):
        contents = "plaintexts" if method == "EncryptBatch" else "ciphertexts"
        items = {"lengths": [3] * (2 * len(target.sessions)), contents: b"abc" * (2 * len(target.sessions))}
        ids = b"".join(target.sessions)
        return [
            METHODS[method](session_ids=ids, counts=[2] * len(target.sessions), **items),
            METHODS[method](session_ids=ids * 2, **items),
        ]
    if "session_id" in METHODS[method].DESCRIPTOR.fields_by_name:
        return [METHODS[method](session_id=each) for each in target.sessions]
    return [METHODS[method]()]


def _set(node: Any, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        node.ClearField(field.name)
        getattr(node, field.name).extend(value)
    elif field.message_type is not None:
        getattr(node, field.name).CopyFrom(value)
    else:
        setattr(node, field.name, value)


@pytest.mark.parametrize("method", METHODS)
@EXAMPLES
@given(body=st.binary(max_size=400))
def test_random_bytes_never_break_a_method(target: Target, method: str, body: bytes) -> None:
    """Most are no message at all; those that are happen to be odd."""
    target.call(method, body)


@pytest.mark.parametrize("method", METHODS)
@EXAMPLES
@given(data=st.data())
def test_random_fields_never_break_a_method(target: Target, method: str, data: st.DataObject) -> None:
    """Valid messages of wild values, with living ids, points of low order and shapes of packets among them."""
    message = data.draw(_messages(METHODS[method], target))
    target.call(method, message.SerializeToString())


@pytest.mark.parametrize("method", METHODS)
@EXAMPLES
@given(data=st.data())
def test_good_requests_with_a_wild_field_never_break_a_method(target: Target, method: str, data: st.DataObject) -> None:
    """What is right but for one or two fields reaches the deepest code."""
    message = data.draw(st.sampled_from(_good(method, target)))
    for _ in range(data.draw(st.integers(0, 2))):
        node = message
        while inner := [each for each, _ in node.ListFields() if each.message_type and not each.is_repeated]:
            if data.draw(st.integers(0, 3)) == 0:
                break
            node = getattr(node, data.draw(st.sampled_from(inner)).name)
        if node.DESCRIPTOR.fields:
            field = data.draw(st.sampled_from(list(node.DESCRIPTOR.fields)))
            values = _values(field, target)
            _set(node, field, data.draw(st.lists(values, max_size=3) if field.is_repeated else values))
    target.call(method, message.SerializeToString())


@EXAMPLES
@given(cut=st.integers(0, 200), more=st.binary(max_size=20), at=st.integers(0, 200), by=st.integers(1, 255))
def test_mutated_handshakes_never_break_it(target: Target, cut: int, more: bytes, at: int, by: int) -> None:
    """A good first packet, cut, lengthened and changed in one byte."""
    stamp = hello(flags=16)
    packet = b"\x09" + bytes(8) + b"\x01" + len(stamp).to_bytes(2, "big") + stamp + b"\0\x09" + bytes(31)
    mutated = bytearray(packet[: len(packet) - cut % len(packet)] + more)
    if mutated:
        mutated[at % len(mutated)] ^= by
    request = pb.HandshakeRequest(respond=pb.RespondHandshake(mode=session_pb2.RECORD_MODE_DATAGRAM))
    request.respond.message = bytes(mutated)
    target.call("Handshake", request.SerializeToString())


def test_the_service_lives_after_all_this(target: Target, server: RunningServer) -> None:
    """It answers at once, and met no defect on the way."""
    began = time.monotonic()
    target.call("GetCapabilities", b"")
    assert time.monotonic() - began < 5
    assert "defect" not in server.log()
