"""Encrypt, Decrypt and Broadcast by hand: what is read and what is written is protobuf's, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine.outcomes import Decrypted
from noisegate_server.rpc.convert.one_content import reader
from noisegate_server.rpc.convert.opened import encode_opened_record
from noisegate_server.rpc.convert.sealed import varint

MESSAGES: dict[str, tuple[Any, str, str]] = {
    "Encrypt": (pb.EncryptRequest, "session_id", "plaintext"),
    "Decrypt": (pb.DecryptRequest, "session_id", "ciphertext"),
    "Broadcast": (pb.BroadcastRequest, "session_ids", "plaintext"),
}
every_message = pytest.mark.parametrize("name", list(MESSAGES))

fields = st.tuples(
    st.binary(max_size=200),
    st.text(max_size=20),
    st.one_of(st.binary(max_size=300), st.integers(0, 40_000).map(bytes)),
    st.binary(max_size=200),
)


def as_protobuf_reads(name: str, body: bytes) -> tuple[Any, ...] | None:
    """The fields of a request; None where it is none."""
    message, session_id, content = MESSAGES[name]
    try:
        request = message.FromString(body)
    except DecodeError:
        return None
    return (
        getattr(request, session_id), getattr(request, content), request.associated_data, request.request_id,
        getattr(request, "ticket", False),
    )  # fmt: skip


def as_we_read(name: str, body: bytes) -> tuple[Any, ...] | None:
    """Likewise."""
    try:
        found = reader(*MESSAGES[name])(body)
    except DecodeError:
        return None
    return found.session_id, found.content, found.associated_data, found.request_id, found.ticket


def written(name: str, values: tuple[bytes, str, bytes, bytes], **more: Any) -> bytes:
    """A request as protobuf writes it."""
    message, session_id, content = MESSAGES[name]
    ids, request_id, inside, data = values
    names = {session_id: ids, content: inside, "request_id": request_id, "associated_data": data}
    body: bytes = message(**names, **more).SerializeToString()
    return body


@every_message
@given(values=fields)
def test_a_request_is_read_as_protobuf_reads_it(name: str, values: tuple[bytes, str, bytes, bytes]) -> None:
    """Each field, there and not, and lengths of one to three bytes."""
    body = written(name, values)
    assert as_we_read(name, body) == as_protobuf_reads(name, body)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_000_000])
@every_message
def test_a_content_of_any_length_is_read_without_protobuf(name: str, size: int) -> None:
    """From the bytes that every library writes."""
    body = written(name, (bytes(24), "r", bytes(size), b"ad"))
    expected = as_protobuf_reads(name, body)
    session_id, content = MESSAGES[name][1:]
    found = reader(None, session_id, content)(body)
    assert (found.session_id, found.content, found.associated_data, found.request_id, found.ticket) == expected


pieces = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([0x0A, 0x12, 0x1A, 0x22, 0x2A, 0x32]), st.binary(max_size=20)).map(
            lambda field: bytes((field[0],)) + varint(len(field[1])) + field[1]
        ),
        # Decrypt's `ticket`, lengths written longer than need be, a group, and whatever comes.
        st.sampled_from(
            [b"\x28\x01", b"\x28\x00", b"\x1a\x81\x00x", b"\x0a\x80\x80\x80\x80\x10", b"\x0b\x0c", b"\x8a\x00\x00"]
        ),
        st.binary(max_size=6),
    ),
    max_size=5,
)


@every_message
@given(parts=pieces, cut=st.integers(0, 3))
def test_whatever_comes_is_read_or_refused_as_protobuf_does_it(name: str, parts: list[bytes], cut: int) -> None:
    """Fields twice, in another order, of another kind, unknown ones, text that is none, and messages that are cut."""
    body = b"".join(parts)
    body = body[: len(body) - cut]
    assert as_we_read(name, body) == as_protobuf_reads(name, body)


def test_a_ticket_is_read() -> None:
    """The one field that is left to protobuf."""
    body = written("Decrypt", (bytes(24), "r", b"packet", b""), ticket=True)
    assert as_we_read("Decrypt", body) == (bytes(24), b"packet", b"", "r", True)


@given(
    opened=st.builds(
        Decrypted,
        session_id=st.binary(min_size=1, max_size=24),
        to_peer=st.lists(st.binary(max_size=300), max_size=3).map(tuple),
        plaintext=st.one_of(st.none(), st.binary(max_size=40_000)),
        control=st.sampled_from([each for each in pb.ControlKind.values() if each]),
        counter=st.integers(0, 2**64 - 1),
        epoch=st.integers(0, 2**32 - 1),
        early=st.booleans(),
        newest=st.booleans(),
        rotation_due=st.booleans(),
        answered=st.sampled_from([b"", bytes(range(8))]),
    )
)
def test_an_opened_record_is_written_as_protobuf_writes_it(opened: Decrypted) -> None:
    """Every field, at its default and not; of the two contents the one that there is, even if it is empty."""
    message = pb.DecryptResponse(
        session_id=opened.session_id,
        to_peer=opened.to_peer,
        counter=opened.counter,
        epoch=opened.epoch,
        early=opened.early,
        newest=opened.newest,
        rotation_due=opened.rotation_due,
    )
    if opened.plaintext is None:
        message.control.kind = opened.control  # type: ignore[assignment]
        message.control.answered = opened.answered
    else:
        message.plaintext = opened.plaintext
    assert encode_opened_record(opened) == message.SerializeToString(deterministic=True)
