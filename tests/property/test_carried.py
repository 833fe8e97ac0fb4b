"""The envelopes of Transport, opened by hand, against protobuf's own reading and writing of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc import limits
from noisegate_server.rpc.convert import carried
from noisegate_server.rpc.convert.sealed import varint
from noisegate_server.session.errors import InvalidField

UINT64 = st.integers(0, 2**64 - 1)
FIELDS: dict[str, Any] = {
    "encrypt": pb.EncryptBatchRequest,
    "decrypt": pb.DecryptBatchRequest,
    "broadcast": pb.BroadcastRequest,
}
BATCHES = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda name: st.builds(
        lambda ids, request_id: (name, FIELDS[name](session_ids=ids, request_id=request_id)),
        st.binary(max_size=300),
        st.sampled_from(["", "again"]),
    )
)
STRANGERS = st.sampled_from([b"\x38\x07", b"\x3a\x02ab", b"\x39" + bytes(8), b"\x3d" + bytes(4), b"\x0d" + bytes(4)])
"""Fields that the contract does not have: number 7 of each kind, and number 1 of another kind."""


REQUESTS = st.tuples(UINT64, BATCHES, st.lists(STRANGERS, max_size=3), st.lists(STRANGERS, max_size=3))
"""Correlation id, batch, and what stands before and behind them."""


def _number(name: str) -> int:
    return pb.TransportBatch.DESCRIPTOR.fields_by_name[name].number


def _envelope(inside: bytes) -> bytes:
    """A message whose one envelope has this inside; or two, three ones, if the inside is written so."""
    return b"\x0a" + varint(len(inside)) + inside


def _as_protobuf_reads_it(body: bytes) -> list[tuple[int, int, bytes]]:
    """What `carried.read` must give, but for how a batch in parts is written."""
    found = []
    for each in pb.TransportRequest.FromString(body).batches:
        name = each.WhichOneof("batch")
        inside = b"" if name is None else getattr(each, name).SerializeToString()
        found.append((each.correlation_id, carried.NOTHING if name is None else _number(name), inside))
    return found


@given(st.lists(st.one_of(REQUESTS, STRANGERS), max_size=3))
def test_a_message_reads_as_protobuf_reads_it(parts: list[Any]) -> None:
    """Whatever of a later contract stands in it, around its envelopes and inside of them."""
    body = b""
    for part in parts:
        if isinstance(part, bytes):
            body += part
        else:
            correlation, (name, inside), before, after = part
            batch = pb.TransportBatch(correlation_id=correlation, **{name: inside})
            body += _envelope(b"".join((*before, batch.SerializeToString(), *after)))
    assert carried.read(body) == _as_protobuf_reads_it(body)


@given(st.lists(st.tuples(st.integers(1, 2**35 - 1), BATCHES), min_size=1, max_size=limits.MAX_CARRIED_BATCHES))
def test_what_callers_send_is_read_at_once(batches: list[tuple[int, tuple[str, Any]]]) -> None:
    """As protobuf writes it; with the number behind the batch too, for a caller that has its batches ready."""
    ours = [pb.TransportBatch(correlation_id=n, **{name: batch}) for n, (name, batch) in batches]
    body = pb.TransportRequest(batches=ours).SerializeToString()
    assert carried._usual(body) == _as_protobuf_reads_it(body)
    behind = b"".join(
        _envelope(pb.TransportBatch(**{name: batch}).SerializeToString() + b"\x08" + varint(number))
        for number, (name, batch) in batches
    )
    assert carried._usual(behind) == _as_protobuf_reads_it(body)


@given(st.lists(st.tuples(UINT64, BATCHES), min_size=1, max_size=4))
def test_what_stands_in_one_envelope_merges_as_protobuf_merges_it(
    parts: list[tuple[int, tuple[str, object]]],
) -> None:
    """The last number counts, the last batch too, and one in several parts is put together."""
    batches = [pb.TransportBatch(correlation_id=n, **{name: batch}) for n, (name, batch) in parts]  # type: ignore[arg-type]
    body = _envelope(b"".join(batch.SerializeToString() for batch in batches))
    ((correlation, field, inside),) = carried.read(body)
    (expected,) = pb.TransportRequest.FromString(body).batches
    name = expected.WhichOneof("batch") or ""
    assert (correlation, field) == (expected.correlation_id, _number(name))
    assert FIELDS[name].FromString(inside) == getattr(expected, name)


METHODS = {_number(name): message for name, message in FIELDS.items()}
ENDS = (b"\x80" * 4, b"\x80" * 9, b"\xff" * 4, b"\x10", b"\x0f")
PIECES = [*(bytes((tag,)) for tag in b"\x08\x0a\x12\x1a\x22"), *ENDS]
"""What envelopes begin with, and the ends of numbers that are too long."""

PARTS = {
    "a batch in parts": b"\x12\x02\x7a\x00",
    "unknown fields": b"\x38\x07",
    "the number 0": b"\x08\x00",
    "a number": b"\x08\x01",
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("wrap", [bytes, _envelope], ids=["in a message", "in an envelope"])
def test_a_message_of_very_many_fields_does_not_hold_the_loop(
    part: bytes, wrap: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many fields two megabytes have, few of them are read: no caller has a use for so many.

    Put together part by part, half a million of them took 18 s.
    """
    read = carried._varint
    calls = 0

    def counted(body: bytes, at: int, *shifts: range) -> tuple[int, int]:
        nonlocal calls
        calls += 1
        assert calls <= 200, "a loop over all fields"
        return read(body, at, *shifts)

    monkeypatch.setattr(carried, "_varint", counted)
    with pytest.raises(DecodeError):
        carried.read(wrap(part * (2_000_000 // len(part))))


def test_a_message_of_too_many_batches_is_refused() -> None:
    """However many there are; as many as may be are read."""
    envelope = _envelope(b"\x12\x00")
    assert carried.read(envelope * limits.MAX_CARRIED_BATCHES) == [(0, 2, b"")] * limits.MAX_CARRIED_BATCHES
    for count in (limits.MAX_CARRIED_BATCHES + 1, 500_000):
        with pytest.raises(InvalidField, match="at most 32"):
            carried.read(envelope * count)


@given(st.lists(st.one_of(st.binary(max_size=8), st.sampled_from(PIECES)), max_size=12).map(b"".join))
def test_any_bytes_are_a_message_or_a_decode_error(body: bytes) -> None:
    """What is read here, protobuf reads as well, and to the same numbers; but for a batch that its method refuses."""
    try:
        found = carried.read(body)
        for _, number, inside in found:
            (METHODS[number] if number else pb.TransportBatch).FromString(inside)
    except (DecodeError, InvalidField):
        return
    expected = pb.TransportRequest.FromString(body).batches
    assert [correlation for correlation, _, _ in found] == [each.correlation_id for each in expected]


BROKEN = {
    "cut varint": b"\x08", "65 bits": b"\x08" + b"\xff" * 9 + b"\x02", "endless varint": b"\x08" + b"\x80" * 11,
    "cut message": b"\x12\x05abc", "cut fixed64": b"\x39abc", "number 0": b"\x00", "group": b"\x0b",
    "33 bits of tag": b"\x88\x80\x80\x80\x10\x00", "number 0 in 33 bits": b"\x80\x80\x80\x80\x10\x00",
    "tag of six bytes": b"\x88\x80\x80\x80\x80\x00\x00", "length of six bytes": b"\x3a\x80\x80\x80\x80\x80\x00",
    "batch longer than its envelope": b"\x0a\x02\x12\x05abcde", "cut batch in an envelope": b"\x0a\x07\x12\x05abc",
    "six bytes of a batch's length": b"\x12\x81\x80\x80\x80\x80\x00a",
    "six bytes of an envelope's length": b"\x0a\x82\x80\x80\x80\x80\x00\x12\x00",
}  # fmt: skip


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("wrap", [bytes, _envelope], ids=["message", "envelope"])
def test_what_is_broken_is_refused(body: bytes, wrap: Callable[[bytes], bytes]) -> None:
    """As a message that cannot be parsed."""
    with pytest.raises(DecodeError):
        carried.read(wrap(body))


def test_an_empty_envelope_has_no_batch() -> None:
    """It has the number 0, which is as good as any; an empty message has no envelope."""
    assert carried.read(_envelope(b"")) == [(0, carried.NOTHING, b"")]
    assert carried.read(b"") == []


@given(UINT64, st.binary(max_size=70_000))
def test_an_answer_is_written_as_protobuf_writes_it(correlation: int, ciphertexts: bytes) -> None:
    """Byte by byte."""
    answer = pb.EncryptBatchResponse(ciphertexts=ciphertexts)
    expected = pb.TransportAnswer(correlation_id=correlation, encrypt=answer)
    written = carried.write(correlation, _number("encrypt"), (0, answer.SerializeToString()))
    assert written == pb.TransportResponse(answers=[expected]).SerializeToString()


def test_a_refusal_has_the_bytes_of_its_own_call() -> None:
    """Code and status, under the number of the batch."""
    (written,) = pb.TransportResponse.FromString(carried.write(7, 2, (14, b"status"))).answers
    assert written == pb.TransportAnswer(correlation_id=7, refused=pb.TransportRefused(code=14, status=b"status"))


def test_messages_one_behind_the_other_say_the_same() -> None:
    """So a transport may join them."""
    first, second = carried.write(1, 2, (0, b"\x0a\x01x")), carried.write(2, 2, (14, b""))
    joined = pb.TransportResponse.FromString(first + carried.DRAINING + second)
    assert [each.correlation_id for each in joined.answers] == [1, 2]
    assert joined.HasField("draining")
