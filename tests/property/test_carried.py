"""The envelope of Transport, opened by hand, against protobuf's own reading and writing of it."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc.convert import carried

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
        st.text(max_size=8),
    )
)
STRANGERS = st.sampled_from([b"\x38\x07", b"\x3a\x02ab", b"\x39" + bytes(8), b"\x3d" + bytes(4), b"\x0a\x01x"])
"""Fields that the contract does not have: number 7 of each kind, and number 1 of another kind."""


def _number(name: str) -> int:
    return pb.TransportRequest.DESCRIPTOR.fields_by_name[name].number


@given(UINT64, BATCHES, st.lists(STRANGERS, max_size=3), st.lists(STRANGERS, max_size=3))
def test_an_envelope_reads_as_protobuf_reads_it(
    correlation: int, batch: tuple[str, object], before: list[bytes], after: list[bytes]
) -> None:
    """Whatever of a later contract stands around it."""
    name, inside = batch
    request = pb.TransportRequest(correlation_id=correlation, **{name: inside})  # type: ignore[arg-type]
    body = b"".join((*before, request.SerializeToString(), *after))
    assert carried.read(body) == (correlation, _number(name), getattr(request, name).SerializeToString())


@given(st.lists(st.tuples(UINT64, BATCHES), min_size=1, max_size=4))
def test_envelopes_one_behind_the_other_merge_as_protobuf_merges_them(
    parts: list[tuple[int, tuple[str, object]]],
) -> None:
    """The last number counts, the last batch too, and one in several parts is put together."""
    requests = [pb.TransportRequest(correlation_id=n, **{name: batch}) for n, (name, batch) in parts]  # type: ignore[arg-type]
    body = b"".join(request.SerializeToString() for request in requests)
    expected = pb.TransportRequest.FromString(body)
    correlation, field, inside = carried.read(body)
    name = expected.WhichOneof("batch") or ""
    assert (correlation, field) == (expected.correlation_id, _number(name))
    assert FIELDS[name].FromString(inside) == getattr(expected, name)


@pytest.mark.parametrize("part", [b"\x12\x02\x7a\x00", b"\x38\x07"], ids=["a batch in parts", "unknown fields"])
def test_an_envelope_of_very_many_fields_does_not_hold_the_loop(part: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many fields two megabytes have, few of them are read by hand; the others go to protobuf at once.

    Put together part by part, half a million of them took 18 s.
    """
    read = carried._varint
    calls = 0

    def counted(body: bytes, at: int) -> tuple[int, int]:
        nonlocal calls
        calls += 1
        assert calls <= 100, "a loop over all fields"
        return read(body, at)

    monkeypatch.setattr(carried, "_varint", counted)
    body = b"\x08\x05" + part * (2_000_000 // len(part)) + b"\x12\x02\x0a\x00"
    expected = pb.TransportRequest.FromString(body)
    assert carried.read(body) == (5, 2, expected.encrypt.SerializeToString())


@given(st.binary(max_size=64))
def test_any_bytes_are_an_envelope_or_a_decode_error(body: bytes) -> None:
    """What is read here, protobuf reads as well, and to the same number."""
    try:
        correlation, field, inside = carried.read(body)
    except DecodeError:
        return
    again = pb.TransportRequest(correlation_id=correlation).SerializeToString()
    assert pb.TransportRequest.FromString(again).correlation_id == correlation
    assert (field == carried.NOTHING) == (inside == b"") or inside == b""


@pytest.mark.parametrize(
    "body",
    [b"\x08", b"\x08" + b"\xff" * 9 + b"\x02", b"\x08" + b"\x80" * 11, b"\x12\x05abc", b"\x39abc", b"\x00", b"\x0b"],
    ids=["cut varint", "65 bits", "endless varint", "cut message", "cut fixed64", "number 0", "group"],
)
def test_a_broken_envelope_is_refused(body: bytes) -> None:
    """As a message that cannot be parsed."""
    with pytest.raises(DecodeError):
        carried.read(body)


def test_an_empty_envelope_has_no_batch() -> None:
    """It has the number 0, which is as good as any."""
    assert carried.read(b"") == (0, carried.NOTHING, b"")


@given(UINT64, st.binary(max_size=70_000))
def test_an_answer_is_written_as_protobuf_writes_it(correlation: int, ciphertexts: bytes) -> None:
    """Byte by byte."""
    answer = pb.EncryptBatchResponse(ciphertexts=ciphertexts)
    expected = pb.TransportResponse(correlation_id=correlation, encrypt=answer)
    written = carried.write(correlation, _number("encrypt"), (0, answer.SerializeToString()))
    assert written == expected.SerializeToString()


def test_a_refusal_has_the_bytes_of_its_own_call() -> None:
    """Code and status, under the number of the batch."""
    written = pb.TransportResponse.FromString(carried.write(7, 2, (14, b"status")))
    assert written == pb.TransportResponse(correlation_id=7, refused=pb.TransportRefused(code=14, status=b"status"))
