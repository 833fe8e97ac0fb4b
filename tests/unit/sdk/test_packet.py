"""Reading the first nine bytes of a packet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisegate.packet import PacketType, Peek, peek, step_of


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (0x09, PacketType.HANDSHAKE),
        (0x0A, PacketType.RECORD),
        (0x0B, PacketType.SALTED),
        (0x0C, PacketType.RESUME),
        (0x0D, PacketType.FRAGMENT),
        (0x0E, PacketType.RETRY),
        (0x00, None),  # STUN (RFC 7983)
        (0x08, None),
        (0x0F, None),
        (0x14, None),  # DTLS
        (0x40, None),  # TURN channel, QUIC
        (0x80, None),  # RTP
        (0x89, None),
    ],
)
def test_the_first_byte_says_the_type(first: int, expected: PacketType | None) -> None:
    """0x08 or-ed with the type (docs/protocol.md, section 2); everything else on the port is not ours."""
    found = peek(bytes([first]) + b"12345678" + b"rest")
    assert found == (None if expected is None else Peek(expected, b"12345678"))


@given(st.binary(max_size=40))
def test_no_bytes_break_it(packet: bytes) -> None:
    """Whatever comes from the network is a packet of ours of nine bytes at least, or none."""
    found = peek(packet)
    is_ours = len(packet) >= 9 and 0x09 <= packet[0] <= 0x0E
    assert (found is not None) is is_ours
    if found is not None:
        assert packet.startswith(bytes([0x08 | found.type]) + found.connection_id)
    assert step_of(packet) == (packet[9] if len(packet) > 9 else 0)
