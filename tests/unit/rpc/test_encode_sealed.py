"""EncryptResponse, written by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc.convert.sealed import encode_sealed, varint
from noisegate_server.session.sealed import Sealed


@given(
    st.binary(min_size=1, max_size=40_000),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.lists(st.binary(max_size=300), max_size=3),
)
def test_the_bytes_are_those_of_protobuf(
    ciphertext: bytes, counter: int, epoch: int, rotation_due: bool, to_peer: list[bytes]
) -> None:
    """Every field, at its default and not, byte for byte."""
    message = pb.EncryptResponse(
        ciphertext=ciphertext, counter=counter, epoch=epoch, rotation_due=rotation_due, to_peer=to_peer
    )
    sealed = Sealed(ciphertext, counter, epoch, rotation_due, tuple(to_peer))
    assert encode_sealed(sealed) == message.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    "number", sorted({(1 << bits) - less for bits in (*range(0, 64, 7), 64) for less in (0, 1)})[1:-1]
)
def test_a_number_is_written_as_protobuf_writes_it(number: int) -> None:
    """The least and the greatest number of each length."""
    assert pb.EncryptResponse(counter=number).SerializeToString()[1:] == varint(number)
