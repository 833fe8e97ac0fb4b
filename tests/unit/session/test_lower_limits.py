"""Limits of rotation that a tenant or a caller lowers, and the ciphers' own below them all."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisegate_server.session.constants import HARD_FAILURES, HARD_MESSAGES, MAX_COUNTER, RESERVED_COUNTERS
from noisegate_server.session.errors import InvalidField
from noisegate_server.session.limits import AEAD_LIMITS, LowerLimits, RotationLimits, limits_for
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import SUITES

SERVICE = RotationLimits()
NAMES = [each.name for each in fields(LowerLimits)]
LOWER = st.builds(
    LowerLimits,
    soft_age=st.floats(0, 400),
    hard_age=st.floats(0, 400),
    soft_messages=st.integers(0, 2**24),
    hard_messages=st.just(0) | st.integers(2_048, 2**24),
    soft_bytes=st.integers(0, 2**41),
    hard_bytes=st.integers(0, 2**41),
)


def of(limits: RotationLimits) -> dict[str, float]:
    """By name."""
    return {name: getattr(limits, name) for name in NAMES}


def test_the_ciphers_limits_are_those_of_their_sources() -> None:
    """RFC 9001, section 6.6 and appendix B.1, computed anew; and our own hard limit of failures is below both."""
    # B.1.1: q <= 2^23 of 2^16 bytes (l = 2^12 blocks of 16) or 2^28 of 2^11; both are as many bytes.
    assert AEAD_LIMITS["AESGCM"].bytes == 2**23 * 2**16 == 2**28 * 2**11
    assert AEAD_LIMITS["AESGCM"].messages == 2**28
    assert (AEAD_LIMITS["AESGCM"].failures, AEAD_LIMITS["ChaChaPoly"].failures) == (2**52, 2**36)
    assert AEAD_LIMITS["ChaChaPoly"].messages < MAX_COUNTER
    # draft-irtf-cfrg-aead-limits, single key: q <= (p^(1/2) 2^64.5 - 1) / (L + 1), with p = 2^-50 and L = 2^7 blocks.
    assert AEAD_LIMITS["AESGCM"].messages <= (2**-25 * 2**64.5 - 1) / (2**7 + 1)
    # Noise, section 14.
    assert AEAD_LIMITS["AESGCM"].bytes <= 2**56
    assert min(each.failures for each in AEAD_LIMITS.values()) > HARD_FAILURES
    assert {spec.cipher for spec in SUITES.values()} == set(AEAD_LIMITS)


@pytest.mark.parametrize("mode", RecordMode)
@pytest.mark.parametrize("cipher", AEAD_LIMITS)
@given(lower=st.lists(LOWER, max_size=3))
def test_no_setting_exceeds_what_a_cipher_allows(mode: RecordMode, cipher: str, lower: list[LowerLimits]) -> None:
    """Nor the service's own limits; each further one only lowers; there is always time to rotate."""
    base = RotationLimits(soft_age=math.inf, hard_age=math.inf, hard_messages=2**70, soft_bytes=2**90, hard_bytes=2**90)
    before = limits_for(base, mode=mode, cipher=cipher)
    for count in range(len(lower) + 1):
        limits = limits_for(base, mode=mode, cipher=cipher, lower=tuple(lower[:count]))
        assert limits.hard_messages <= AEAD_LIMITS[cipher].messages
        assert limits.hard_bytes <= AEAD_LIMITS[cipher].bytes
        assert all(now <= then for now, then in zip(of(limits).values(), of(before).values(), strict=True))
        assert 0 <= limits.soft_messages < limits.data_messages
        before = limits


def test_the_reserve_of_a_noise_rotation_is_within_the_ciphers_limit() -> None:
    """1,024 messages of any size may follow the hard limit of bytes, and still none is over it."""
    limits = limits_for(SERVICE, mode=RecordMode.NOISE, cipher="AESGCM")
    assert limits.hard_bytes + RESERVED_COUNTERS * 65_535 <= AEAD_LIMITS["AESGCM"].bytes


def test_the_services_limits_are_what_they_were() -> None:
    """Without anything lowered: DATAGRAM the table of the document, NOISE the soft ones of messages and bytes alone."""
    for cipher in AEAD_LIMITS:
        assert limits_for(SERVICE, mode=RecordMode.DATAGRAM, cipher=cipher) == SERVICE
        noise = limits_for(SERVICE, mode=RecordMode.NOISE, cipher=cipher)
        assert (noise.soft_age, noise.hard_age) == (math.inf, math.inf)
        assert (noise.soft_messages, noise.soft_bytes) == (SERVICE.soft_messages, SERVICE.soft_bytes)
        assert noise.hard_messages == AEAD_LIMITS[cipher].messages


@pytest.mark.parametrize(
    ("lower", "expected"),
    [
        (LowerLimits(hard_age=60), {"soft_age": 30, "hard_age": 60}),
        (LowerLimits(hard_age=60, soft_age=50), {"soft_age": 50, "hard_age": 60}),
        (LowerLimits(hard_messages=5_120), {"soft_messages": 2_048, "hard_messages": 5_120}),
        (LowerLimits(hard_messages=5_120, soft_messages=4_500), {"soft_messages": 2_048, "hard_messages": 5_120}),
        (LowerLimits(hard_bytes=1_000), {"soft_bytes": 500, "hard_bytes": 1_000}),
        (LowerLimits(soft_bytes=1_000), {"soft_bytes": 1_000}),
        (LowerLimits(), {}),
    ],
)
def test_a_soft_limit_goes_with_its_hard_one(lower: LowerLimits, expected: dict[str, float]) -> None:
    """Where only the hard one is set, and where data would be refused before the soft one is reached."""
    assert of(SERVICE.lowered(lower)) == of(SERVICE) | expected


@pytest.mark.parametrize(
    ("lower", "field", "word"),
    [
        (LowerLimits(soft_age=120.5), "soft_age", "at most 120"),
        (LowerLimits(hard_age=181), "hard_age", "at most 180"),
        (LowerLimits(soft_age=9.9), "soft_age", "at least 10"),
        (LowerLimits(hard_age=-1), "hard_age", "at least 10"),
        (LowerLimits(hard_age=math.nan), "hard_age", "at least 10"),
        (LowerLimits(hard_messages=2_047), "hard_messages", "at least 2,048"),
        (LowerLimits(hard_messages=HARD_MESSAGES + 1), "hard_messages", "at most 8,388,608"),
        (LowerLimits(soft_messages=2**20 + 1), "soft_messages", "at most 1,048,576"),
        (LowerLimits(soft_bytes=2**36 + 1), "soft_bytes", "at most"),
        (LowerLimits(hard_bytes=2**39 + 1), "hard_bytes", "at most"),
        (LowerLimits(soft_messages=4_000, hard_messages=4_000), "soft_messages", "below hard_messages"),
        (LowerLimits(soft_age=60, hard_age=50), "soft_age", "below hard_age"),
        (LowerLimits(soft_bytes=2, hard_bytes=1), "soft_bytes", "below hard_bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_field(lower: LowerLimits, field: str, word: str) -> None:
    """With the limit that holds, so that the caller knows what to mend."""
    with pytest.raises(InvalidField, match=word) as refused:
        lower.check(SERVICE, "respond.options.rotation")
    assert refused.value.field == f"respond.options.rotation.{field}"


@given(lower=LOWER)
def test_lower_limits_are_read_as_they_were_written(lower: LowerLimits) -> None:
    """In tickets and blobs: 48 bytes, or none where nothing is lowered."""
    written = lower.encode()
    assert LowerLimits.decode(written) == lower
    assert len(written) == (48 if lower else 0)


@pytest.mark.parametrize("data", [b"x", bytes(47), bytes(49), b"\x7f\xf0" + bytes(46), b"\x7f\xf8" + bytes(46)])
def test_what_is_no_limits_is_refused(data: bytes) -> None:
    """Another length, an infinite age, one that is no number."""
    with pytest.raises(ValueError, match="limits"):
        LowerLimits.decode(data)
