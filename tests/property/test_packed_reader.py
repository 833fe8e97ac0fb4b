"""The request of a batch, read by hand, against protobuf's own reading of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc.convert.packed import Packed, reader
from noisegate_server.rpc.convert.sealed import varint

MESSAGES: dict[str, Any] = {"plaintexts": pb.EncryptBatchRequest, "ciphertexts": pb.DecryptBatchRequest}
every_message = pytest.mark.parametrize("contents", list(MESSAGES))

UINT32S = st.lists(st.integers(0, 2**32 - 1), max_size=40)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "session_ids": st.binary(max_size=200),
        "request_id": st.text(max_size=20),
        "counts": UINT32S,
        "lengths": UINT32S,
        "contents": st.one_of(st.binary(max_size=300), st.integers(0, 40_000).map(bytes)),
        "associated_data_lengths": UINT32S,
        "associated_data": st.binary(max_size=200),
    },
)
PIECES = st.sampled_from([bytes((tag,)) for tag in (0x0A, 0x12, 0x1A, 0x20, 0x22, 0x25, 0x2A, 0x32, 0x3A, 0x42, 0x80)])
"""The tags of all fields, of two that are not packed, and of one of a later version."""


def written(contents: str, fields: dict[str, Any]) -> bytes:
    """A request as protobuf writes it."""
    names = {contents if name == "contents" else name: value for name, value in fields.items()}
    body: bytes = MESSAGES[contents](**names).SerializeToString()
    return body


def as_protobuf_reads(contents: str, body: bytes) -> tuple[Any, ...] | None:
    """The fields of a request; None where it is none."""
    try:
        request = MESSAGES[contents].FromString(body)
    except DecodeError:
        return None
    return (
        request.session_ids, request.request_id, tuple(request.counts), tuple(request.lengths),
        getattr(request, contents), tuple(request.associated_data_lengths), request.associated_data,
    )  # fmt: skip


def fields_of(packed: Packed) -> tuple[Any, ...]:
    """The same of what was read here."""
    return (
        packed.session_ids, packed.request_id, tuple(packed.counts), tuple(packed.lengths),
        packed.body[packed.start : packed.end], tuple(packed.associated_data_lengths), packed.associated_data,
    )  # fmt: skip


def as_we_read(contents: str, body: bytes) -> tuple[Any, ...] | None:
    """Likewise; None where it is refused."""
    try:
        return fields_of(reader(MESSAGES[contents], contents)(body))
    except DecodeError:
        return None


def left(_body: bytes) -> Any:
    """Not for what every library writes."""
    raise AssertionError("left to protobuf")


UNASKED = SimpleNamespace(FromString=left)
"""In protobuf's place where it has nothing to do."""


@every_message
@given(fields=REQUESTS)
def test_what_every_library_writes_is_read_without_protobuf(contents: str, fields: dict[str, Any]) -> None:
    """Each field as protobuf reads it, whichever there are."""
    body = written(contents, fields)
    assert fields_of(reader(UNASKED, contents)(body)) == as_protobuf_reads(contents, body)


@every_message
@given(parts=st.lists(st.one_of(REQUESTS, st.binary(max_size=4), PIECES), max_size=4))
def test_whatever_else_a_caller_sends_reads_as_protobuf_reads_it(contents: str, parts: list[Any]) -> None:
    """A field twice or in another order, numbers not packed, text that is none, lengths beyond the end."""
    body = b"".join(part if isinstance(part, bytes) else written(contents, part) for part in parts)
    assert as_we_read(contents, body) == as_protobuf_reads(contents, body)


@every_message
@pytest.mark.parametrize("tag", [0x0A, 0x22, 0x2A], ids=["session_ids", "lengths", "contents"])
def test_a_field_that_is_cut_is_no_message(contents: str, tag: int) -> None:
    """Whichever it is, and wherever its length ends."""
    for size in (1, 127, 128, 20_000, 2**28, 2**34):
        field = bytes((tag,)) + varint(size)
        for end in range(1, len(field) + 1):
            assert as_we_read(contents, field[:end]) is None
        assert as_we_read(contents, field + bytes(min(size - 1, 100))) is None


@every_message
@pytest.mark.parametrize("tag", [0x0A, 0x22, 0x2A], ids=["session_ids", "lengths", "contents"])
def test_a_length_of_too_many_bytes_is_judged_by_protobuf(contents: str, tag: int) -> None:
    """Five bytes are the most that one has, however small it is."""
    for more in range(9):
        body = bytes((tag, 0x84)) + b"\x80" * more + b"\x00" + bytes(4)
        assert as_we_read(contents, body) == as_protobuf_reads(contents, body)
        assert (as_we_read(contents, body) is None) is (more > 3)


@every_message
@pytest.mark.parametrize("field", [b"\x0a\x00", b"\x22\x04" + bytes(4), b"\x2a\x01x"])
def test_a_field_twice_is_left_to_protobuf(contents: str, field: bytes) -> None:
    """So of very many fields no more are read here than a request has."""
    with pytest.raises(AssertionError, match="left to protobuf"):
        reader(UNASKED, contents)(field * 2 + b"\x0a")
