"""What header mask and padding do to what an onlooker sees: byte and size distributions, with fixed keys.

The keys are fixed, so every figure is the same in each run: a bound that holds once holds always. A bound of 5 standard
deviations is crossed by chance once in two million tries; the largest test here makes 1,200.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter

import pytest

from noisegate_server.engine.policy import Options
from noisegate_server.noise.primitives import CIPHERS
from noisegate_server.session.constants import MAX_DATAGRAM_PLAINTEXT
from noisegate_server.session.packets import Kind
from tests.support.engines import Engines, establish
from tools.vector_records import Schedule, Wanted, records_of

NAMES = ("h", "k1", "k2", "prk", "i2r", "r2i", "root", "export", "mask")
SCHEDULE = Schedule(**{name: hashlib.sha256(name.encode()).digest() for name in NAMES})
CONNECTION = bytes(range(0xA0, 0xA8))
COUNT = 16_384
HEADER = slice(9, 15)
"""Epoch, phase and counter."""
BITS = 48
SIGMAS = 5.0
CLASSES = (32, 64, 128, 256, 512, 1_024)
OVERHEAD = 15 + 16
fixed_keys = pytest.mark.fixed_ephemeral


def packets(
    contents: list[bytes], *, cipher: str = "ChaChaPoly", masked: bool = False, padded: bool = False
) -> list[bytes]:
    """Records of these contents, one after the other."""
    wanted = Wanted("i2r", 0, Kind.DATA, b"", masked=masked, padded=padded)
    records, aeads = records_of(SCHEDULE, CIPHERS[cipher], CONNECTION, wanted, sends=True)
    return [records.seal(content, b"", 0.0, aeads).ciphertext for content in contents]


def headers(cipher: str, content: bytes, *, masked: bool) -> list[bytes]:
    """Bytes 9 to 14 of records of the same content."""
    return [packet[HEADER] for packet in packets([content] * COUNT, cipher=cipher, masked=masked)]


def bits(header: bytes) -> int:
    """The 48 bits of a header as a number."""
    return int.from_bytes(header, "big")


def chi_square(values: list[int]) -> float:
    """Against a uniform distribution over 256 values."""
    expected = len(values) / 256
    seen = Counter(values)
    return sum((seen[value] - expected) ** 2 / expected for value in range(256))


def far_off(ones: int, count: int) -> bool:
    """Whether this many ones among fair bits are further from half than chance would have them."""
    return abs(ones - count / 2) > SIGMAS * math.sqrt(count) / 2


def at(numbers: list[int], bit: int) -> list[int]:
    """One bit of each number."""
    return [number >> bit & 1 for number in numbers]


def agreements(first: list[int], second: list[int]) -> int:
    """In how many places two rows of bits are the same."""
    return sum(a == b for a, b in zip(first, second, strict=True))


# --- the mask --------------------------------------------------------------------------------------------------------

masked_streams = pytest.mark.parametrize("cipher", list(CIPHERS))


@fixed_keys
def test_without_the_mask_the_header_counts_up() -> None:
    """Epoch and phase stand still and the counter is there to be read: what the mask is for."""
    assert headers("ChaChaPoly", b"roll", masked=False) == [bytes(2) + n.to_bytes(4, "big") for n in range(COUNT)]


@fixed_keys
@masked_streams
def test_every_masked_byte_is_uniform(cipher: str) -> None:
    """Chi-square of each of the six bytes over 16,384 records: within 5 sigma of 255, its mean (sigma is 22.6)."""
    seen = headers(cipher, b"the same content each time", masked=True)
    figures = [chi_square([header[byte] for header in seen]) for byte in range(6)]
    assert all(abs(figure - 255) < SIGMAS * math.sqrt(2 * 255) for figure in figures), figures


@fixed_keys
def test_the_test_of_bytes_can_fail() -> None:
    """Unmasked, five bytes are far from uniform, and the counter's lowest is too even for chance."""
    seen = headers("ChaChaPoly", b"roll", masked=False)
    figures = [chi_square([header[byte] for header in seen]) for byte in range(6)]
    assert all(abs(figure - 255) > SIGMAS * math.sqrt(2 * 255) for figure in figures), figures


@fixed_keys
@masked_streams
def test_no_masked_bit_leans(cipher: str) -> None:
    """Each of the 48 bits is one in half of the records."""
    numbers = [bits(header) for header in headers(cipher, b"", masked=True)]
    assert [bit for bit in range(BITS) if far_off(sum(at(numbers, bit)), COUNT)] == []


@fixed_keys
@masked_streams
def test_no_masked_bit_follows_the_counter(cipher: str) -> None:
    """No bit goes with any of the counter's 14 moving bits (672 pairs), nor with itself in the record before."""
    numbers = [bits(header) for header in headers(cipher, b"roll", masked=True)]
    counter_bits = [at(list(range(COUNT)), bit) for bit in range(14)]
    leaning = []
    for bit in range(BITS):
        row = at(numbers, bit)
        leaning += [(bit, low) for low, other in enumerate(counter_bits) if far_off(agreements(row, other), COUNT)]
        if far_off(agreements(row[1:], row[:-1]), COUNT - 1):
            leaning.append((bit, -1))
    assert leaning == []


@fixed_keys
@masked_streams
def test_no_masked_bit_follows_another(cipher: str) -> None:
    """All 1,128 pairs of the 48 bits."""
    numbers = [bits(header) for header in headers(cipher, b"roll", masked=True)]
    rows = [sum(value << place for place, value in enumerate(at(numbers, bit))) for bit in range(BITS)]
    pairs = [(one, other) for one in range(BITS) for other in range(one)]
    assert len(pairs) == 1_128
    assert [pair for pair in pairs if far_off(COUNT - (rows[pair[0]] ^ rows[pair[1]]).bit_count(), COUNT)] == []


@fixed_keys
def test_the_test_of_pairs_can_fail() -> None:
    """Unmasked, the counter's bits follow themselves."""
    numbers = [bits(header) for header in headers("ChaChaPoly", b"roll", masked=False)]
    assert far_off(agreements(at(numbers, 0), at(list(range(COUNT)), 0)), COUNT)
    assert far_off(sum(at(numbers, 40)), COUNT)


@fixed_keys
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_first_byte_and_connection_id_stay_plain(masked: bool, padded: bool) -> None:
    """The game finds the session by them, and an onlooker the stream: no layer hides that."""
    assert {packet[:9] for packet in packets([b"roll"] * 100, masked=masked, padded=padded)} == {b"\x0a" + CONNECTION}


# --- the padding -----------------------------------------------------------------------------------------------------


def game_like(count: int) -> list[bytes]:
    """Contents whose sizes are spread as a game's may be: many small inputs, some states, few large ones."""
    dice = random.Random(7)
    sizes = [
        round(dice.choice((dice.gauss(24, 8), dice.gauss(300, 120), dice.expovariate(1 / 900)))) for _ in range(count)
    ]
    return [bytes(max(0, size)) for size in sizes]


@fixed_keys
@pytest.mark.parametrize("masked", [False, True])
def test_padded_sizes_fall_on_the_classes_alone(masked: bool) -> None:
    """Of 5,000 records of over 900 sizes an onlooker sees a few, and of the sizes up to a kilobyte six."""
    contents = game_like(5_000)
    plain = {len(packet) for packet in packets(contents, masked=masked)}
    seen = {len(packet) - OVERHEAD for packet in packets(contents, masked=masked, padded=True)}
    assert len(plain) > 900
    assert {size for size in seen if size <= 1_024} <= set(CLASSES)
    assert all(size % 256 == 0 for size in seen if size > 1_024)
    assert len(seen) < 40


@fixed_keys
def test_every_size_goes_to_the_next_class() -> None:
    """0 to 2,100 bytes of content, each with its kind: the smallest class that holds both, so equal within a class."""
    sizes = range(2_101)
    for size, packet in zip(sizes, packets([bytes(size) for size in sizes], padded=True), strict=True):
        wanted = next((each for each in CLASSES if size + 1 <= each), -(-(size + 1) // 256) * 256)
        assert len(packet) == wanted + OVERHEAD


@fixed_keys
def test_the_largest_records_keep_to_a_datagram() -> None:
    """The last class is cut so that the packet fits UDP's 65,507 bytes: there, and there alone, sizes are no class."""
    largest = packets([bytes(MAX_DATAGRAM_PLAINTEXT)], padded=True)[0]
    assert len(largest) == 65_507


@fixed_keys
def test_without_padding_the_size_is_the_contents() -> None:
    """32 bytes more, whatever the mask does."""
    for masked in (False, True):
        assert [len(packet) for packet in packets([bytes(n) for n in range(300)], masked=masked)] == list(
            range(32, 332)
        )


# --- the switches ----------------------------------------------------------------------------------------------------


def test_layers_are_switched_for_each_session(engines: Engines) -> None:
    """Two sessions of one service, one with both layers and one with none: each way, each keeps to its own."""
    first, second = engines.make(), engines.make()
    for options, layered in ((Options(), False), (Options(mask=True, pad=True), True)):
        link = establish(engines, initiator=first, responder=second, options=options)
        for end in link.ends:
            sealed = [end.seal(b"roll") for _ in range(64)]
            counts_up = all(packet[9:11] == b"\0\0" for packet in sealed)
            assert counts_up is not layered
            assert {len(packet) for packet in sealed} == {63 if layered else 36}
