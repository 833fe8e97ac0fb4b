"""Padding: size classes, and that the kind is found again whatever the content ends in."""

from __future__ import annotations

import pytest

from noisegate_server.session.padding import MalformedPadding, pad, padded_length, unpad


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, 32),
        (32, 32),
        (33, 64),
        (64, 64),
        (65, 128),
        (129, 256),
        (257, 512),
        (512, 512),
        (513, 1_024),
        (1_024, 1_024),
        (1_025, 1_280),
        (1_280, 1_280),
        (1_281, 1_536),
        (65_280, 65_280),
        (65_281, 65_476),
        (65_476, 65_476),
    ],
)
def test_a_length_goes_up_to_its_class(n: int, expected: int) -> None:
    """Content and kind go to 32 ... 1,024, then to multiples of 256, and never over what a datagram holds."""
    assert padded_length(n) == expected


def test_a_smaller_limit_holds_too() -> None:
    """A record with a longer header has less room, and padding keeps to it."""
    assert padded_length(50, limit=60) == 60
    assert padded_length(1_100, limit=1_200) == 1_200


@pytest.mark.parametrize("n", [0, -1, 65_477])
def test_a_length_without_a_class_is_refused(n: int) -> None:
    """Nothing is padded that has no kind or does not fit a datagram."""
    with pytest.raises(ValueError, match="content and kind"):
        padded_length(n)


def test_padding_is_kind_and_then_zero_bytes() -> None:
    """The plaintext is content, kind, zeros up to the class; without padding content and kind alone."""
    assert pad(b"abc", 1, True) == b"abc\x01" + bytes(28)
    assert pad(b"abc", 0x81, False) == b"abc\x81"
    assert pad(b"", 5, False) == b"\x05"
    assert pad(bytes(31), 7, True) == bytes(31) + b"\x07"


@pytest.mark.parametrize("content", [b"", b"\0", b"\0" * 40, b"abc", b"abc\0\0\0", b"\x01\x01", bytes(range(256)) * 5])
@pytest.mark.parametrize("padded", [True, False])
def test_content_comes_back_whatever_it_ends_in(content: bytes, padded: bool) -> None:
    """Zero bytes and kind-like bytes at the end of the content survive."""
    assert unpad(pad(content, 0x82, padded)) == (0x82, content)


@pytest.mark.parametrize("plaintext", [b"", b"\0", bytes(32), bytes(65_476)])
def test_a_plaintext_without_a_kind_is_refused(plaintext: bytes) -> None:
    """All zeros, or nothing, has no kind."""
    with pytest.raises(MalformedPadding):
        unpad(plaintext)


@pytest.mark.parametrize("kind", [0, -1, 256])
def test_a_kind_that_would_be_lost_is_refused(kind: int) -> None:
    """Zero would vanish among the padding, and a byte holds no more than 255."""
    with pytest.raises(ValueError, match="kind"):
        pad(b"abc", kind, False)
