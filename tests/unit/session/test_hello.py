"""The hello's bytes, the choice, the prologues, and the table of Noise names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from noisegate_server.noise import ProtocolName
from noisegate_server.session.hello import (
    CallerPrologueReserved,
    Flags,
    Hello,
    MalformedHello,
    choose,
    decode_hello,
    encode_hello,
    hello_prologue,
    renegotiate_prologue,
    resume_prologue,
)
from noisegate_server.session.suites import NOISE_NAMES, PROTOCOLS, SUITES, Pattern, Suite

HELLO = Hello(
    flags=Flags.DATAGRAM | Flags.TICKETS,
    timestamp_ms=0x0102030405060708,
    offer=((1, 2), (2, 1), (200, 9)),
    choice=1,
)
# version 1, flags 8 + 16, timestamp, three protocols, the second chosen: as section 2 lays them out.
BYTES = bytes.fromhex("01 18 0102030405060708 03 0102 0201 c809 01")


def test_a_hello_has_the_bytes_of_the_protocol() -> None:
    """Encoding gives the bytes of section 2 and decoding gives the hello back."""
    assert encode_hello(HELLO) == BYTES
    assert decode_hello(BYTES) == HELLO
    assert decode_hello(BYTES).chosen == (2, 1)


@pytest.mark.parametrize("n", [1, 16])
def test_a_hello_has_twelve_bytes_and_two_per_protocol(n: int) -> None:
    """The smallest is 14 bytes, the largest 44."""
    hello = replace(HELLO, offer=((1, 1),) * n, choice=n - 1)
    assert len(encode_hello(hello)) == 12 + 2 * n
    assert decode_hello(encode_hello(hello)) == hello


def test_unknown_flags_and_protocols_can_be_read() -> None:
    """A later version's flags and protocols are numbers to pass over, no reason to refuse."""
    data = bytearray(BYTES)
    data[1] = 0xE1
    hello = decode_hello(bytes(data))
    assert int(hello.flags) == 0xE1
    assert Flags.RATCHET in hello.flags
    assert hello.offer[2] == (200, 9)
    assert encode_hello(hello) == bytes(data)


def _changed(at: int, value: int) -> bytes:
    data = bytearray(BYTES)
    data[at] = value
    return bytes(data)


MALFORMED = {
    "nothing": b"",
    "version 0": _changed(0, 0),
    "version 2": _changed(0, 2),
    "a byte too few": BYTES[:-1],
    "a byte too many": BYTES + b"\0",
    "no protocol": bytes.fromhex("01 18 0102030405060708 00 00"),
    "no protocol, in the least length": bytes.fromhex("01 18 0102030405060708 00 0000 00"),
    "fewer protocols than it has": _changed(10, 2),
    "more protocols than it has": _changed(10, 4),
    "seventeen protocols": BYTES[:10] + b"\x11" + b"\x01\x01" * 17 + b"\0",
    "a choice outside the offer": _changed(17, 3),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_anything_but_one_whole_hello_is_refused(data: bytes) -> None:
    """Another version, length, count or choice is no hello of version 1."""
    with pytest.raises(MalformedHello):
        decode_hello(data)


@pytest.mark.parametrize("cut", range(len(BYTES)))
def test_a_cut_hello_is_refused(cut: int) -> None:
    """No prefix of a hello is a hello."""
    with pytest.raises(MalformedHello):
        decode_hello(BYTES[:cut])


@pytest.mark.parametrize(
    "hello",
    [
        replace(HELLO, version=2),
        replace(HELLO, offer=()),
        replace(HELLO, offer=((1, 1),) * 17),
        replace(HELLO, choice=3),
        replace(HELLO, choice=-1),
        replace(HELLO, timestamp_ms=-1),
        replace(HELLO, timestamp_ms=2**64),
        replace(HELLO, flags=Flags(256)),
        replace(HELLO, offer=((256, 1),), choice=0),
        replace(HELLO, offer=((1, -1),), choice=0),
    ],
)
def test_a_hello_that_has_no_bytes_is_refused(hello: Hello) -> None:
    """What would not come back as it is cannot be encoded."""
    with pytest.raises(MalformedHello):
        encode_hello(hello)


@pytest.mark.parametrize(
    ("preference", "expected"),
    [
        (((2, 1), (1, 2)), 1),
        (((1, 2), (2, 1)), 0),
        (((7, 7), (200, 9)), 2),
        (((7, 7),), None),
        ((), None),
        (((1, 1), (2, 2)), None),
    ],
)
def test_the_responders_order_decides(preference: tuple[tuple[int, int], ...], expected: int | None) -> None:
    """The first of the responder's preference that is offered, wherever the initiator put it."""
    assert choose(HELLO.offer, preference) == expected


def test_a_choice_among_equal_offers_is_the_first() -> None:
    """A protocol offered twice is chosen at its first place, so that both sides compute the same."""
    assert choose(((3, 1), (1, 1), (1, 1)), ((1, 1),)) == 1


def test_the_choice_takes_the_enums_numbers() -> None:
    """Patterns and suites compare with the numbers of an offer."""
    assert choose(((1, 2),), ((Pattern.XX, Suite.AES256_GCM_X25519),)) == 0


def test_prologues_are_label_then_parts() -> None:
    """The bytes of sections 2, 4 and 6."""
    h = bytes(range(32))
    assert hello_prologue(BYTES, b"game") == b"ng1 hello" + BYTES + b"game"
    assert hello_prologue(None, b"game") == b"game"
    assert hello_prologue(None, b"") == b""
    assert resume_prologue(BYTES, b"tick", b"game") == b"ng1 resume" + BYTES + b"\0\x04tick" + b"game"
    assert resume_prologue(None, bytes(258), b"") == b"ng1 resume" + b"\x01\x02" + bytes(258)
    assert renegotiate_prologue(h, 258) == b"ng1 renegotiate" + h + b"\0\0\x01\x02"
    assert renegotiate_prologue(h, None) == b"ng1 renegotiate" + h


@pytest.mark.parametrize("caller", [b"ng1 ", b"ng1 hello", b"ng1 hello" + BYTES, b"ng1 resume", b"ng1 x"])
def test_a_bare_prologue_cannot_pass_for_ours(caller: bytes) -> None:
    """Without a hello the caller's bytes stand alone, so they may not begin like ours."""
    with pytest.raises(CallerPrologueReserved):
        hello_prologue(None, caller)


@pytest.mark.parametrize("caller", [b"ng1", b"ng1-", b"NG1 ", b" ng1 "])
def test_a_bare_prologue_that_only_resembles_ours_is_the_callers(caller: bytes) -> None:
    """The whole prefix counts, at the start, in its case."""
    assert hello_prologue(None, caller) == caller


@pytest.mark.parametrize(("h", "epoch"), [(bytes(31), 1), (bytes(32), 0), (bytes(32), 2**32), (bytes(33), None)])
def test_a_renegotiation_needs_a_whole_hash_and_a_new_epoch(h: bytes, epoch: int | None) -> None:
    """h is 32 bytes; a new epoch is at least 1 and fits four bytes."""
    with pytest.raises(ValueError, match=r"h: |new_epoch: "):
        renegotiate_prologue(h, epoch)


def test_a_resume_prologue_refuses_what_its_length_bytes_cannot_say() -> None:
    """Two bytes count the ticket."""
    with pytest.raises(ValueError, match="ticket"):
        resume_prologue(BYTES, bytes(65_536), b"")


def test_every_protocol_has_one_noise_name() -> None:
    """Names are canonical, distinct and lead back to their numbers."""
    assert NOISE_NAMES[Pattern.XX, Suite.CHACHA20_POLY1305_X25519] == "Noise_XX_25519_ChaChaPoly_SHA256"
    assert NOISE_NAMES[Pattern.IKPSK1, Suite.AES256_GCM_X25519] == "Noise_IKpsk1_25519_AESGCM_SHA256"
    assert NOISE_NAMES[Pattern.NNPSK0, Suite.AES256_GCM_X25519] == "Noise_NNpsk0_25519_AESGCM_SHA256"
    assert len(NOISE_NAMES) == len(Pattern) * len(Suite) == len(PROTOCOLS)
    assert all(PROTOCOLS[name] == pair for pair, name in NOISE_NAMES.items())
    hybrid = NOISE_NAMES[Pattern.IKPSK1, Suite.MLKEM1024_X25519_CHACHA20_POLY1305]
    assert hybrid == "Noise_IKhfs+psk1_25519+MLKEM1024_ChaChaPoly_SHA256"
    plain = r"[A-Z]{2}(psk[0-3])?_25519_(ChaChaPoly|AESGCM)"
    with_kem = r"[A-Z]{2}hfs(\+psk[0-3])?_25519\+MLKEM1024_ChaChaPoly"
    assert all(re.fullmatch(rf"Noise_({plain}|{with_kem})_SHA256", name) for name in PROTOCOLS)


def test_a_suite_runs_a_pattern_with_and_without_hfs_alike() -> None:
    """The hybrid name of each pattern is its plain one with the modifier hfs before any other, and parses as such."""
    for pattern in Pattern:
        plain = ProtocolName.parse(NOISE_NAMES[pattern, Suite.CHACHA20_POLY1305_X25519])
        hybrid = ProtocolName.parse(NOISE_NAMES[pattern, Suite.MLKEM1024_X25519_CHACHA20_POLY1305])
        assert hybrid.modifiers == ("hfs", *plain.modifiers)
        assert (hybrid.pattern.name, hybrid.cipher, hybrid.hash) == (plain.pattern.name, plain.cipher, plain.hash)


def test_the_names_of_a_suite_are_the_parts_of_the_protocol_name() -> None:
    """dh, cipher and hash spell the last three parts."""
    assert tuple(SUITES[Suite.CHACHA20_POLY1305_X25519]) == ("25519", "ChaChaPoly", "SHA256")
    assert SUITES[Suite.AES256_GCM_X25519].cipher == "AESGCM"
    assert tuple(SUITES[Suite.MLKEM1024_X25519_CHACHA20_POLY1305]) == ("25519+MLKEM1024", "ChaChaPoly", "SHA256")


@pytest.mark.parametrize(("enum", "prefix"), [(Pattern, "PATTERN_"), (Suite, "SUITE_")])
def test_numbers_are_those_of_the_contract(enum: type[Pattern] | type[Suite], prefix: str) -> None:
    """Each pattern and suite has the number that session.proto gives it, and none is missing."""
    contract = (Path(__file__).parents[3] / "proto/noisegate/v1/session.proto").read_text(encoding="utf-8")
    numbers = {name: int(number) for name, number in re.findall(rf"^  {prefix}(\w+) = (\d+);", contract, re.MULTILINE)}
    assert numbers.pop("UNSPECIFIED") == 0
    assert {member.name: member.value for member in enum} == numbers
