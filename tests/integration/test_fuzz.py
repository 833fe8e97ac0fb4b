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
from tests.integration.bad_input_cases import LOW_ORDER, METHODS, UNKNOWN_ID, hello
from tests.integration.raw import SERVICE, bytes_method
from tests.support.server import RunningServer

FORBIDDEN: Final = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED)
EXAMPLES: Final = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True, slots=True)
class Target:
    """A blocking channel, and what a fuzzer may use to get past the first checks."""

    channel: grpc.Channel
    ids: tuple[bytes, ...]

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
    """The shared server with three half-open sessions of either kind."""
    with grpc.insecure_channel(server.address) as channel:
        shake = bytes_method(channel, f"/{SERVICE}/Handshake")
        ids = []
        for mode in (1, 2):
            request = pb.HandshakeRequest()
            request.initiate.mode = mode  # type: ignore[assignment]  # a number of the enum
            request.initiate.protocol.pattern = session_pb2.PATTERN_XX
            request.initiate.protocol.suite = session_pb2.SUITE_CHACHA20_POLY1305_X25519
            answer = pb.HandshakeResponse.FromString(shake(request.SerializeToString()))
            ids += [answer.session_id, answer.connection_id]
        yield Target(channel, tuple(each for each in ids if each))


def _values(field: FieldDescriptor, ids: tuple[bytes, ...]) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return _messages(GetMessageClass(field.message_type), ids)
    if field.enum_type is not None:
        return st.sampled_from([*(each.number for each in field.enum_type.values), -1, 99, 2**31 - 1])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.one_of(st.text(max_size=70), st.sampled_from(["", "a", "0", "ffff", "\0", "é" * 33]))
    if field.type == FieldDescriptor.TYPE_BYTES:
        packets = [b"\x09" + each[:8] + bytes([step]) + bytes(64) for each in ids for step in (1, 2, 3)]
        records = [bytes([first]) + each[:8] + bytes(40) for each in ids for first in range(0x08, 0x10)]
        chosen = st.sampled_from([*ids, UNKNOWN_ID, b"", bytes(32), b"\x09" + bytes(31), *LOW_ORDER])
        shaped = st.sampled_from([*packets, *records, hello(), hello(flags=16), hello(age=10**9)])
        return st.one_of(chosen, shaped, st.binary(max_size=200), st.integers(0, 66_000).map(bytes))
    if field.type == FieldDescriptor.TYPE_INT32:
        return st.integers(-(2**31), 2**31 - 1)
    if field.type == FieldDescriptor.TYPE_INT64:
        return st.one_of(st.integers(-3, 700_000), st.integers(-(2**63), 2**63 - 1))
    if field.type == FieldDescriptor.TYPE_UINT32:
        return st.one_of(st.integers(0, 1_100), st.integers(0, 2**32 - 1))
    raise NotImplementedError(field.full_name)


def _messages(kind: Any, ids: tuple[bytes, ...]) -> st.SearchStrategy[Any]:
    def build(fields: dict[str, Any]) -> Any:
        return kind(**fields)

    drawn = {}
    for field in kind.DESCRIPTOR.fields:
        values = _values(field, ids)
        drawn[field.name] = st.lists(values, max_size=3) if field.is_repeated else values
    return st.fixed_dictionaries({}, optional=drawn).map(build)


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
    message = data.draw(_messages(METHODS[method], target.ids))
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
